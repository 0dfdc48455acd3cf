"""The command line of switchgear: `doctor`, and `demo`, which is imported only when it is asked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from switchgear.cli import doctor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Run the subcommand that `argv` names and return its exit code.

    Args:
        argv: the arguments after the program's name.

    Returns:
        0 when the subcommand is content, another code when it is not.

    Raises:
        SystemExit: for `--help` and `--version` (code 0), and for arguments that make no sense (code 2).

    Example:
        >>> from switchgear.cli import main
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    if argv[:1] == ["demo"]:  # it parses its own arguments, `demo --help` included
        from switchgear.demo import main as demo

        return demo(argv[1:])

    parser = argparse.ArgumentParser(prog="python -m switchgear", description="A circuit breaker on a Rust core.")
    parser.add_argument("--version", action="version", version=f"switchgear {doctor.installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="a trading loop through the faults of its data source")
    examine = commands.add_parser("doctor", help="the backend, why it is not native if it is not, what is installed")
    examine.add_argument("--json", action="store_true", help="print the report for programs")
    return doctor.run(as_json=parser.parse_args(argv).json)
