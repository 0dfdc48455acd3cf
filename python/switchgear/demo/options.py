"""What the demo may be asked for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from switchgear.demo.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

CHART: Final = Path("switchgear-demo.svg")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take at least, in seconds: something quiet first, then every fault with its recovery."""

    quiet: float
    fault: float
    recovery: float


NORMAL: Final = Pace(2.0, 1.6, 1.4)
QUICK: Final = Pace(0.4, 0.3, 0.2)


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments, checked."""

    pace: Pace
    plain: bool
    """Print a line a second also on a terminal."""

    json: Path | None
    """Where to write the report for programs."""

    chart: Path = CHART
    """Where to draw the timeline."""

    rule: str = "consecutive"
    """What trips the breaker of the market data: a name in ``rules.RULES``."""


def parse(argv: Sequence[str]) -> Options:
    """Read the arguments; leave with a message and code 2 where they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m switchgear demo",
        description="A trading system on five breakers: market data and a venue in a process of their own, SQLite on "
        "disk, a model that is trained at the start, a sandbox for the strategy's code. Faults strike each in turn. "
        "Exit code 0: every fault was contained and healed, and the books agree. 1: not so. 2: the demo could not run.",
    )
    parser.add_argument(
        "--quick", dest="pace", action="store_const", const=QUICK, default=NORMAL, help="under 20 s instead of 60"
    )
    parser.add_argument("--plain", action="store_true", help="a line a second, also on a terminal")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write the report for programs to FILE")
    parser.add_argument(
        "--chart",
        type=_new_file,
        default=CHART,
        metavar="FILE",
        help=f"draw the timeline, an SVG, into FILE (default {CHART})",
    )
    parser.add_argument(
        "--rule",
        choices=sorted(RULES),
        default="consecutive",
        help="what trips the breaker of the market data (default consecutive: three failures in a row);"
        " see docs/choosing-a-rule.md",
    )
    return Options(**vars(parser.parse_args(argv)))


def _new_file(text: str) -> Path:
    """Refuse at once what could not be written half a minute later."""
    path = Path(text)
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {str(path.parent)!r}")
    return path
