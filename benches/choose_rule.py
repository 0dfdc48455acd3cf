"""The trip rules on the same simulated services: how soon each finds an outage, how often it trips for nothing.

    python benches/choose_rule.py           # prints the table
    python benches/choose_rule.py --write   # and puts it, with the chart, into docs/

One client makes one call after another, with a pause between. Whether a call fails, and how long it takes, is drawn
from a seed, once for all rules: each sees the same calls. What decides is the public breaker, on a clock of its own.
"""

import argparse
import logging
import platform
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median_low
from typing import Final, TypeAlias

from rule_chart import NEVER, Curve, Panel, Point, chart
from switchgear import CircuitBreaker, CircuitBreakerConfig, State
from switchgear._compat import BACKEND
from switchgear.rules import (
    ChangeDetection,
    ConsecutiveFailures,
    FailureRate,
    Seconds,
    SlowCallRate,
    TripRule,
)
from switchgear.testing import ManualClock

DOCS: Final = Path(__file__).parent.parent / "docs"
HEALTHY: Final = 0.05
"""Of the calls to a healthy service, so many fail, and so many others are slow."""
QUICK, SLOW, PAUSE = 0.05, 3.0, 0.05
"""Seconds: a quick call, a slow one, the pause between two."""
WARM_UP: Final = 150
"""Calls before an outage, so that every window is full."""
LONGEST: Final = 3000
"""Calls of an outage: whoever has not tripped by then has missed it."""
BURST: Final = 6
"""Failures in a row that mean nothing: a restart, the dead connections of a pool."""

Call: TypeAlias = tuple[bool, float]
"""Whether it failed, and the seconds that it took."""
Courses: TypeAlias = list[list[Call]]


@dataclass(frozen=True)
class Outage:
    """What becomes of a service: its failure rate, so many calls after the change, and the share of slow calls."""

    name: str
    rate: Callable[[int], float]
    slow: float = HEALTHY
    length: int = LONGEST

    def course(self, draw: random.Random) -> list[Call]:
        """Return one course of it, the warm-up before it included."""
        during = [_call(draw, self.rate(place), self.slow) for place in range(self.length)]
        return [*healthy(draw, WARM_UP), *during]


OUTAGES: Final = (
    Outage("hard outage", lambda _: 1.0),
    Outage("30 % partial outage", lambda _: 0.3),
    Outage("slow burn", lambda place: min(0.6, HEALTHY + place / 4000)),
    Outage("latency only", lambda _: HEALTHY, slow=0.9),
)
UNLUCKY: Final = Outage("one unlucky burst", lambda place: 1.0 if place < BURST else HEALTHY, length=100)

RATES: Final = (0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
RULES: Final[dict[str, tuple[TripRule, list[TripRule]]]] = {
    "ConsecutiveFailures(5)": (ConsecutiveFailures(), [ConsecutiveFailures(count) for count in range(2, 7)]),
    "FailureRate(0.5, window=Calls(100))": (FailureRate(), [FailureRate(rate) for rate in RATES]),
    "FailureRate(0.5, window=Seconds(30))": (
        FailureRate(window=Seconds(30)),
        [FailureRate(rate, window=Seconds(30)) for rate in RATES],
    ),
    "SlowCallRate(0.5, slower_than=2.0)": (
        SlowCallRate(slower_than=2.0),
        [SlowCallRate(rate, slower_than=2.0) for rate in RATES],
    ),
    "ChangeDetection(healthy=0.05)": (
        ChangeDetection(healthy=HEALTHY),
        [ChangeDetection(healthy=HEALTHY, false_trip_every=10**power) for power in range(2, 8)],
    ),
}
"""Each rule as the table has it, and at the settings that make its curve."""


def main() -> int:
    """Simulate, print, and write where that is asked for."""
    options = _options()
    logging.getLogger("switchgear").setLevel(logging.CRITICAL)  # every trip would be a line
    draw = random.Random(options.seed)
    service = healthy(draw, options.calls)
    courses = {each.name: [each.course(draw) for _ in range(options.courses)] for each in (*OUTAGES, UNLUCKY)}
    rows, curves = [], {}
    for name, (chosen, settings) in RULES.items():
        points = {}
        for rule in settings:
            print(f"  {rule}", file=sys.stderr, flush=True)
            points[rule] = _point(rule, service, courses, options.calls)
        rows.append(_row(name, points[chosen], _burst(chosen, courses[UNLUCKY.name])))
        curves[name] = (list(points.values()), settings.index(chosen))
    table = "\n".join([*_head(), *rows])
    print(table)
    if options.write:
        _write(table, curves, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the trip rules on the same simulated services.")
    parser.add_argument("--calls", type=int, default=1_000_000, metavar="N", help="healthy calls (default 1,000,000)")
    parser.add_argument("--courses", type=int, default=100, metavar="N", help="courses of each outage (default 100)")
    parser.add_argument("--seed", type=int, default=1954, metavar="N", help="of all that is drawn (default 1954)")
    parser.add_argument("--write", action="store_true", help="put table and chart into docs/")
    return parser.parse_args()


def healthy(draw: random.Random, calls: int) -> list[Call]:
    """Return so many calls to a service that is well."""
    return [_call(draw, HEALTHY, HEALTHY) for _ in range(calls)]


def _call(draw: random.Random, rate: float, slow: float) -> Call:
    return draw.random() < rate, SLOW if draw.random() < slow else QUICK


def trips(rule: TripRule, calls: Iterable[Call]) -> Iterator[int]:
    """Make the calls through a breaker and yield the place of each that trips; it is closed again at once."""
    clock = ManualClock()
    breaker = CircuitBreaker("service", CircuitBreakerConfig(timeout=None, trip=rule), clock=clock)
    for place, (failed, duration) in enumerate(calls):
        permit = breaker.acquire()
        clock.advance(duration)
        if failed:
            permit.failure()
        else:
            permit.success()
        clock.advance(PAUSE)
        if breaker.state is not State.CLOSED:
            yield place
            breaker.reset()


def delay(rule: TripRule, course: list[Call]) -> float:
    """Return how many calls of an outage it takes to trip, infinite if it is missed."""
    return next((place - WARM_UP + 1 for place in trips(rule, course) if place >= WARM_UP), NEVER)


def _point(rule: TripRule, service: list[Call], courses: dict[str, Courses], calls: int) -> Point:
    false_trips = sum(1 for _ in trips(rule, service))
    delays = {each.name: median_low(delay(rule, course) for course in courses[each.name]) for each in OUTAGES}
    return Point(false_trips * 1_000_000 / calls, delays)


def _burst(rule: TripRule, courses: Courses) -> float:
    return sum(delay(rule, course) < NEVER for course in courses) / len(courses)


def _head() -> list[str]:
    names = [
        "rule",
        "false trips in a million healthy calls",
        *(each.name for each in OUTAGES),
        f"{UNLUCKY.name}: trips",
    ]
    return [f"| {' | '.join(names)} |", f"|---|{'--:|' * (len(names) - 1)}"]


def _row(name: str, point: Point, burst: float) -> str:
    delays = ("never" if calls == NEVER else f"{calls:,.0f}" for calls in point.delays.values())
    return f"| `{name}` | {point.false_trips:,.0f} | {' | '.join(delays)} | {burst:.0%} |"


def _write(table: str, curves: dict[str, tuple[list[Point], int]], options: argparse.Namespace) -> None:
    panels = [
        Panel(each.name, [Curve(name, points, chosen) for name, (points, chosen) in curves.items()]) for each in OUTAGES
    ]
    (DOCS / "choosing-a-rule.svg").write_text(chart(panels))
    about = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with {platform.python_implementation()} {platform.python_version()},"
        f" backend {BACKEND}, by `python benches/choose_rule.py --write`: {options.calls:,} healthy calls, the same"
        f" {options.courses} courses of each outage for every rule, seed {options.seed}."
    )
    page = DOCS / "choosing-a-rule.md"
    text = page.read_text()
    mark = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
    if not mark.search(text):
        raise SystemExit(f"{page} has no place for the table: <!-- measured --> ... <!-- end -->")
    page.write_text(mark.sub(lambda found: f"{found[1]}\n{table}\n\n{about}\n\n{found[2]}", text))


if __name__ == "__main__":
    sys.exit(main())
