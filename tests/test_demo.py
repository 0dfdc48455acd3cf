"""The demo as users run it: a real server process, a real database, model and sandbox, real faults."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import switchgear
from switchgear.demo import main
from switchgear.demo.faults import FAULTS
from switchgear.demo.rules import RULES

for library in ("httpx2", "msgspec", "numpy", "pydantic_monty", "sklearn"):
    pytest.importorskip(library, reason="SKIPPED: the demo is not installed: pip install 'switchgear[demo]'")

from switchgear.demo import run as demo  # noqa: E402
from switchgear.demo.options import QUICK, Options  # noqa: E402

# Each run keeps a core busy for seconds, and has demands on how fast it is: one at a time.
pytestmark = pytest.mark.xdist_group("demo")

COMMAND = [sys.executable, "-W", "error", "-m", "switchgear", "demo", "--quick"]


class Finished(NamedTuple):
    """A run that came to its end."""

    code: int
    out: str
    err: str
    report: dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The quick run: every fault once, in ten to twenty seconds."""
    folder = tmp_path_factory.mktemp("demo")
    files = ["--json", str(folder / "report.json"), "--chart", str(folder / "chart.svg")]
    # Behind a proxy that is none, as on many a company's machine: loopback is not its business.
    environment = {**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([*COMMAND, *files], capture_output=True, text=True, timeout=90, check=False, env=environment)
    return Finished(done.returncode, done.stdout, done.stderr, json.loads((folder / "report.json").read_text()))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has only just begun to show something."""
    # A process that ignores SIGINT, as what a script runs in the background does, passes that on to its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*COMMAND, "--plain"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
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


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_contains_and_heals(finished: Finished, fault: Any) -> None:
    """Each fault opens the breakers of what it strikes and no other, is fallen back from, and leaves all closed."""
    if any(skipped.startswith(fault.name) for skipped in finished.report["skipped"]):
        pytest.skip(f"SKIPPED: {fault.name} cannot be done here")
    (phase,) = (each for each in finished.report["faults"] if each["fault"] == fault.name)
    assert sorted(fault.trips) == phase["opened"]
    assert phase["fallbacks"][fault.fallback] > 0
    assert len(phase["healed"]) == 5
    assert all(phase["healed"].values())
    assert fault.begins in finished.out


def test_trades_before_and_between(finished: Finished) -> None:
    """There is something to reconcile: orders were accepted, rejected, and asked after; none is left unknown."""
    orders = finished.report["orders"]
    assert orders["accepted"] > 0
    assert orders["rejected"] > 0
    assert orders["unknown"] == 0
    assert finished.report["recovered"] > 0
    assert all(each["successful_calls"] > 0 for each in finished.report["metrics"].values())


def test_draws_the_timeline(finished: Finished) -> None:
    """The chart is an SVG with a lane for each breaker, each fault, and spells in every state."""
    drawn = Path(finished.report["chart"]).read_text(encoding="utf-8")
    texts = [each.text for each in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {*finished.report["metrics"], *(each["fault"] for each in finished.report["faults"])} <= set(texts)
    assert {"CLOSED", "OPEN", "HALF_OPEN", "a fault"} <= set(texts)
    assert "<title>OPEN</title>" in drawn
    assert "<polyline" in drawn


def test_shows_itself_live(finished: Finished) -> None:
    """Where the output is no terminal, there is a line a second with the five states and the pace, and no escape."""
    line = r"^ +\d+\.\d s  .*  market \w+  order \w+  e2b \w+  neural \w+  database \w+  [\d,]+ rounds/s$"
    assert len(re.findall(line, finished.out, re.MULTILINE)) >= 5
    assert "\x1b" not in finished.out


def test_leaves_no_server(finished: Finished) -> None:
    """The server was killed and started again on its port; afterwards nobody is there."""
    before, after = finished.report["servers"]
    assert before != after
    assert not answers(address(finished.out.splitlines()[0]))


@pytest.mark.once
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


@pytest.mark.once
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


@pytest.mark.once
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
def test_redraws_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal the same few lines are drawn over and over."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(COMMAND, stdout=theirs, stderr=theirs, env=environment, cwd=tmp_path) as process:
        os.close(theirs)
        shown = b""
        while b"OPEN (elapsed" not in shown:
            shown += os.read(ours, 65536)
        process.kill()
    os.close(ours)
    frames = shown.split(b"\x1b[10A\r")
    assert len(frames) > 2
    assert {frame.count(b"\x1b[2K") for frame in frames[1:-1]} == {10}


@pytest.mark.once
def test_a_run_that_is_cut_short_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Faults that the time was too short for are missing, and the exit code says so."""
    monkeypatch.setattr(demo, "LAST_CALL_SECONDS", 3.0)
    assert demo.run(Options(pace=QUICK, plain=True, json=None, chart=tmp_path / "chart.svg")) == 1
    out = capsys.readouterr().out
    assert "PASSED" not in out
    assert "  sandbox-kill: the time was over before it came\n" in out or "SKIPPED: sandbox-kill" in out
    assert "  code-loops: the time was over before it came\n" in out


@pytest.mark.once
def test_books_that_disagree_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that is missing in the database is found at the end, whatever the breakers did."""
    monkeypatch.setattr(demo, "FAULTS", FAULTS[:1])
    real = demo._written
    monkeypatch.setattr(demo, "_written", lambda database: real(database)[1:])
    assert demo.run(Options(pace=QUICK, plain=True, json=None, chart=tmp_path / "chart.svg")) == 1
    verdict = capsys.readouterr().out.partition("\nFAILED\n")[2].splitlines()
    assert verdict == ["  1 accepted orders are not in the database, 0 in it were not accepted"]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without httpx2 it says what to install."""
    for module in ("switchgear.demo.run", "switchgear.demo.control"):
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
    assert capsys.readouterr().err == "the demo could not run: the server does not start\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seconds", "9"],
        ["--rule", "luck"],
        ["--chart", ""],
        ["--chart", str(Path(__file__).parent)],
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
def test_every_rule_notices_what_happens_to_the_quotes(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With any of its rules the market data's breaker opens in each of its faults and closes after it."""
    monkeypatch.setattr(demo, "FAULTS", [fault for fault in FAULTS if fault.trips[:1] == ("market_data_api",)])
    assert demo.run(Options(pace=QUICK, plain=True, json=None, chart=tmp_path / "chart.svg", rule=rule)) == 0
    assert "PASSED" in capsys.readouterr().out
