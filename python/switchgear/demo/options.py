"""What the demo may be asked for."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from switchgear.demo.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SECONDS: Final = 16.0
QUICK_SECONDS: Final = 7.0
# Below, a fault would end before three calls in a row can have timed out. Above, a slow machine could need over 30 s.
SHORTEST, LONGEST = 7.0, 24.0


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments, checked."""

    seconds: float
    """How long the run is to take; a slow machine gets a few seconds more."""

    plain: bool
    """Print a line a second also on a terminal."""

    json: Path | None
    """Where to write the report for programs."""

    rule: str = "consecutive"
    """What trips the breaker: a name in ``rules.RULES``."""


def parse(argv: Sequence[str]) -> Options:
    """Read the arguments; leave with a message and code 2 where they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m switchgear demo",
        description="A trading loop on a breaker while its market-data server, a process of its own, answers 500s, "
        "hangs, cuts connections and is killed. Exit code 0: the breaker opened in each fault, rejected in "
        "microseconds and closed again after each recovery. 1: it did not. 2: the demo could not run.",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        type=_seconds,
        default=DEFAULT_SECONDS,
        metavar="N",
        help=f"how long it takes, {SHORTEST:g} to {LONGEST:g} (default {DEFAULT_SECONDS:g}); within 30 s in any case",
    )
    length.add_argument(
        "--quick",
        dest="seconds",
        action="store_const",
        const=QUICK_SECONDS,
        help=f"the same as --seconds {QUICK_SECONDS:g}",
    )
    parser.add_argument("--plain", action="store_true", help="a line a second, also on a terminal")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write the report for programs to FILE")
    parser.add_argument(
        "--rule",
        choices=sorted(RULES),
        default="consecutive",
        help="what trips the breaker (default consecutive: three failures in a row); see docs/choosing-a-rule.md",
    )
    return Options(**vars(parser.parse_args(argv)))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST <= seconds <= LONGEST:  # false for a NaN too
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from {SHORTEST:g} to {LONGEST:g}")
    return seconds


def _new_file(text: str) -> Path:
    """Refuse at once what could not be written half a minute later."""
    path = Path(text)
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {str(path.parent)!r}")
    return path
