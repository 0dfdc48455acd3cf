"""`python -m switchgear`: subcommands, the version, and arguments that make no sense."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from switchgear.cli import doctor, main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the version of the installed package and succeeds."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"switchgear {doctor.installed_version()}\n"


@pytest.mark.parametrize("arguments", [[], ["cure"], ["doctor", "--xml"], ["doctor", "now"]], ids=repr)
def test_senseless(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """What makes no sense is refused with code 2 and the usage, before anything runs."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m switchgear")


def test_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo gets its own arguments, help included, and gives the exit code."""
    received: list[list[str]] = []

    def demo(arguments: list[str]) -> int:
        received.append(arguments)
        return 3

    monkeypatch.setitem(sys.modules, "switchgear.demo", SimpleNamespace(main=demo))
    assert main(["demo", "--help"]) == 3
    assert received == [["--help"]]


def test_demo_is_imported_when_asked_for() -> None:
    """The doctor works where the demo's dependencies are not installed."""
    program = "import sys, switchgear.cli; sys.exit('switchgear.demo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
