"""`python -m switchgear doctor` says what runs, why it is not native, and what nobody can have wanted."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import switchgear
from switchgear.cli import doctor, native

BUILD = {"version": "1.0", "rustc": "1.99", "profile": "release", "pyo3": "0.30"}
ABSENT = native.NativeModule(build=None, error=None, files=())


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The report is of this process: its backend, its interpreter, its variables."""
    code = doctor.run(as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["backend"] == switchgear.BACKEND
    assert (report["why_not_native"] is None) == (switchgear.BACKEND == "native")
    assert report["version"] == doctor.installed_version()
    assert report["clock"]["monotonic"] is True
    assert code == (1 if report["problems"] else 0)
    # Without optimisation the native module is a sick one, and nothing else may be.
    assert [problem for problem in report["problems"] if "debug build" not in problem] == []


def test_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The report for people has the same fields, each on a line of its own."""
    monkeypatch.setenv("SWITCHGEAR_TEST", "shown")
    doctor.run(as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"switchgear   {doctor.installed_version()}"
    assert lines[1] == f"backend      {switchgear.BACKEND}"
    (environment,) = (line for line in lines if line.startswith("environment  "))
    assert "SWITCHGEAR_TEST shown" in environment


@pytest.mark.parametrize(
    ("asked", "module", "built", "reason"),
    [
        ("pure", ABSENT, "no cargo on PATH", "SWITCHGEAR_BACKEND=pure asks for the pure one"),
        ("", ABSENT, "no cargo on PATH", "this is the pure wheel, built without Rust: no cargo on PATH"),
        ("", ABSENT, None, "no native module was built"),
        (
            "",
            native.NativeModule(None, "undefined symbol: x", ("_native.so",)),
            None,
            "the native module does not load: undefined symbol: x",
        ),
        (
            "",
            native.NativeModule(None, None, ("_native.cpython-399.so",)),
            None,
            "the native module is built for another interpreter: _native.cpython-399.so",
        ),
    ],
    ids=["asked for", "pure wheel", "bare tree", "broken", "another interpreter"],
)
def test_why_not_native(
    monkeypatch: pytest.MonkeyPatch, asked: str, module: native.NativeModule, built: str | None, reason: str
) -> None:
    """What was asked for comes before what was found, and what was found before how it was built."""
    monkeypatch.setenv("SWITCHGEAR_BACKEND", asked)
    monkeypatch.setattr(native, "build_reason", lambda: built)
    assert native.reason(module) == reason


@pytest.mark.parametrize(
    ("module", "problems"),
    [
        (ABSENT, []),
        (native.NativeModule(BUILD, None, ("_native.so",)), []),
        (native.NativeModule(None, "boom", ("_native.so",)), ["the native module does not load: boom"]),
        (
            native.NativeModule(BUILD | {"profile": "debug"}, None, ()),
            ["the native module is a debug build: right, and many times slower"],
        ),
        (
            native.NativeModule(BUILD | {"version": "0.9"}, None, ()),
            ["the native module is of version 0.9 and the package of 1.0: build it again"],
        ),
    ],
    ids=["absent", "well", "broken", "debug", "stale"],
)
def test_native_problems(module: native.NativeModule, problems: list[str]) -> None:
    """A native module that is absent is no problem; one that is broken, slow or stale is."""
    assert list(native.problems(module, "1.0")) == problems


def test_a_breaker_that_does_not_break(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A backend that loads and does not work is a problem, and the exit code says so."""
    permit = SimpleNamespace(success=lambda: None, failure=lambda: None)
    stuck = SimpleNamespace(state="CLOSED", acquire=lambda: permit)
    monkeypatch.setattr(switchgear, "CircuitBreaker", lambda *_arguments, **_options: stuck)
    assert doctor.run(as_json=False) == 1
    assert "PROBLEM      a breaker that should trip, probe and close went CLOSED -> CLOSED" in capsys.readouterr().out


def test_process() -> None:
    """The command works as a user runs it, with warnings as errors."""
    command = [sys.executable, "-W", "error", "-m", "switchgear", "doctor", "--json"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.stderr == ""
    assert json.loads(process.stdout)["backend"] == switchgear.BACKEND


def test_a_backend_that_is_not_there() -> None:
    """Why the package cannot be imported is told in one line, with code 1: a doctor is for that very case."""
    command = [sys.executable, "-m", "switchgear", "doctor"]
    environment = os.environ | {"SWITCHGEAR_BACKEND": "steam"}
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert "SWITCHGEAR_BACKEND must be 'native' or 'pure', not 'steam'" in line


def test_a_reader_that_has_gone() -> None:
    """`doctor | head -0` ends as it would have, and says nothing of the pipe."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "switchgear", "doctor"]
    process = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert process.stderr == ""
    assert process.returncode == doctor.run(as_json=True)
