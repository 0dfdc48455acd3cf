"""The demo as users run it: a real server process, real faults, a real breaker."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import switchgear
from switchgear import CircuitBreakerConfig
from switchgear.demo import main
from switchgear.demo.options import Options

pytest.importorskip("httpx2", reason="the demo is not installed: pip install 'switchgear[demo]'")

from switchgear.demo import run as demo
from switchgear.demo.rules import RULES

# Each run keeps a core busy for seconds, and has demands on how fast it is: one at a time.
pytestmark = pytest.mark.xdist_group("demo")

COMMAND = [sys.executable, "-W", "error", "-m", "switchgear", "demo", "--quick"]
FAULTS = {"errors": "HTTPStatusError", "hang": "timed out after", "cut": "RemoteProtocolError", "kill": "Error"}


class Finished(NamedTuple):
    """A run that came to its end."""

    code: int
    out: str
    err: str
    report: dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The quick run: every fault once, about seven seconds."""
    path = tmp_path_factory.mktemp("demo") / "report.json"
    done = subprocess.run([*COMMAND, "--json", str(path)], capture_output=True, text=True, timeout=60, check=False)
    return Finished(done.returncode, done.stdout, done.stderr, json.loads(path.read_text()))


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    """A run that has only just begun to show something."""
    # A process that ignores SIGINT, as what a script runs in the background does, passes that on to its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([*COMMAND, "--plain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        yield process
        process.kill()


def address(title: str) -> tuple[str, int]:
    """Where the server answers, from the demo's first line."""
    found = re.search(r"http://(127\.0\.0\.1):(\d+)$", title.strip())
    assert found, title
    return found[1], int(found[2])


def answers(server: tuple[str, int]) -> bool:
    """Whether anybody listens there."""
    try:
        socket.create_connection(server, timeout=5).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:  # it was there, and is just leaving
        return True
    return True


def test_passes(finished: Finished) -> None:
    """Everything that is demanded holds on this backend, the exit code says so, and nothing is complained of."""
    assert (finished.code, finished.err) == (0, "")
    assert "\nPASSED: " in finished.out
    assert (finished.report["ok"], finished.report["problems"]) == (True, [])
    assert finished.report["backend"] == switchgear.BACKEND


@pytest.mark.parametrize(("fault", "cause"), FAULTS.items())
def test_survives(finished: Finished, fault: str, cause: str) -> None:
    """Each fault trips the breaker by the failure that it means to a caller, and its end closes it."""
    (outcome,) = (each for each in finished.report["faults"] if each["fault"] == fault)
    assert outcome["opened_after"] is not None
    assert cause in outcome["because"]
    assert outcome["rejected"] > 0
    assert outcome["closed_after"] is not None


def test_timeline(finished: Finished) -> None:
    """The timeline is in order, names the fault that was on, and has one trip in each and one closing after it."""
    moments = finished.report["timeline"]
    assert [each["seconds"] for each in moments] == sorted(each["seconds"] for each in moments)
    assert [each["fault"] for each in moments if each["what"].startswith("FAULT: ")] == list(FAULTS)
    trips = [each["fault"] for each in moments if each["what"].startswith("CLOSED -> OPEN")]
    closings = [each["fault"] for each in moments if each["what"] == "HALF_OPEN -> CLOSED"]
    assert (trips, closings) == (list(FAULTS), [None] * len(FAULTS))
    for each in moments:
        assert each["what"] in finished.out


def test_shows_itself_live(finished: Finished) -> None:
    """Where the output is no terminal, there is a line a second with state, rates and percentiles, and no escape."""
    line = r"^ +\d+\.0 s +(CLOSED|OPEN|HALF_OPEN) .* calls .*/s, p50 .* p99 .* rejected .*/s, p50 .* p99 "
    assert len(re.findall(line, finished.out, re.MULTILINE)) >= 6
    assert "\x1b" not in finished.out


def test_leaves_no_server(finished: Finished) -> None:
    """The server was killed and started again on its port; afterwards nobody is there."""
    before, after = finished.report["servers"]
    assert before != after
    assert not answers(address(finished.out.splitlines()[0]))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process on Windows")
def test_interrupted(running: subprocess.Popen[str]) -> None:
    """Ctrl-C ends it at once, without a traceback, and the server with it."""
    assert running.stdout is not None
    server = address(running.stdout.readline())
    assert answers(server)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (130, "\ninterrupted\n")
    assert not answers(server)


def test_killed(running: subprocess.Popen[str]) -> None:
    """The server does not outlive a demo that had no time to stop it."""
    assert running.stdout is not None
    server = address(running.stdout.readline())
    running.kill()
    running.wait()
    until = time.monotonic() + 30
    while answers(server):
        assert time.monotonic() < until, "the server lives on"
        time.sleep(0.02)  # another process's end: no clock of ours is in it


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
def test_redraws_on_a_terminal() -> None:
    """On a terminal the same few lines are drawn over and over."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(COMMAND, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while b"OPEN" not in shown:
            shown += os.read(ours, 65536)
        process.kill()
    os.close(ours)
    frames = shown.split(b"\x1b[9A\r")
    assert len(frames) > 1
    assert {frame.count(b"\x1b[2K") for frame in frames[1:-1]} == {9}


def test_demands_not_met(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A breaker that does not open fails the run, and so do faults that the time was too short for."""
    monkeypatch.setattr(demo, "CONFIG", CircuitBreakerConfig(failure_threshold=1_000_000_000, timeout=0.25))
    monkeypatch.setattr(demo, "LAST_CALL_SECONDS", 3.0)
    assert demo.run(Options(seconds=7.0, plain=True, json=None)) == 1
    out = capsys.readouterr().out
    assert "PASSED" not in out
    verdict = out.partition("\nFAILED\n")[2].splitlines()
    assert verdict == [
        "  errors: the breaker did not open",
        "  errors: no call was rejected",
        "  errors: the breaker did not close again",
        "  hang: the time was over before it came",
        "  cut: the time was over before it came",
        "  kill: the time was over before it came",
    ]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without httpx2 it says what to install."""
    for module in ("switchgear.demo.run", "switchgear.demo.feed"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    assert main([]) == 2
    assert capsys.readouterr().err == "the demo needs httpx2: pip install 'switchgear[demo]'\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the server")
def test_server_that_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that ends before it listens is reported in a line."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    assert main([]) == 2
    assert capsys.readouterr().err == "the demo could not run: the market-data server does not start\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "6.9"],
        ["--seconds", "24.1"],
        ["--seconds", "nan"],
        ["--seconds", "soon"],
        ["--seconds", "9", "--quick"],
        ["--json", ""],
        ["--json", str(Path(__file__).parent)],
        ["--json", str(Path(__file__).parent / "no" / "report.json")],
        ["errors"],
    ],
    ids=" ".join,
)
def test_senseless(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """What makes no sense is refused with code 2 and the usage, before anything runs."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m switchgear demo")


@pytest.mark.once  # what a rule says is compared elsewhere; here the faults meet it, in real time
@pytest.mark.parametrize("rule", sorted(set(RULES) - {"consecutive"}))
def test_every_rule_contains_every_fault(rule: str) -> None:
    """With any of its rules the demo's breaker opens in each fault and closes after it, or its exit code is not 0."""
    ended = subprocess.run([*COMMAND, "--rule", rule], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
