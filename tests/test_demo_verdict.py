"""What the demo demands: the verdict on a run, one missing thing at a time, and the numbers that it rests on."""

import asyncio
import dataclasses
import random

import pytest

from switchgear import CircuitBreakerMetrics, State, TransitionEvent
from switchgear.demo.faults import FAULTS
from switchgear.demo.histogram import Histogram
from switchgear.demo.record import Phase, Tally
from switchgear.demo.text import duration
from switchgear.demo.verdict import REJECTION_LIMIT_SECONDS, Outcome, miscounted, outcome, unmet

GOOD = Outcome(
    fault="errors",
    opened_after=0.01,
    because="HTTPStatusError: 500",
    failed=3,
    failure_p50=0.001,
    rejected=1000,
    rejection_p50=2e-6,
    rejection_p99=4e-6,
    closed_after=0.3,
)
ALL_GOOD = [dataclasses.replace(GOOD, fault=fault.name) for fault in FAULTS]


def transition(at: float, from_state: State, to_state: State) -> TransitionEvent:
    return TransitionEvent("x", from_state, to_state, 1, at, 0.0, "ValueError: boom", None)


def phase(*transitions: TransitionEvent, begun: float = 10.0, cleared: float | None = 12.0) -> Phase:
    phase = Phase(FAULTS[0], begun=begun, cleared=cleared, opened=asyncio.Event(), closed=asyncio.Event())
    for each in transitions:
        phase.note(each)
    return phase


TRIP = transition(10.5, State.CLOSED, State.OPEN)
PROBE = transition(11.0, State.OPEN, State.HALF_OPEN)
FAILED_PROBE = transition(11.1, State.HALF_OPEN, State.OPEN)
CLOSING = transition(12.5, State.HALF_OPEN, State.CLOSED)


def test_met() -> None:
    """Nothing is missing where each fault opened the breaker, was rejected quickly and healed."""
    assert unmet(ALL_GOOD) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"opened_after": None}, "hang: the breaker did not open"),
        ({"rejected": 0, "rejection_p50": None}, "hang: no call was rejected"),
        (
            {"rejection_p50": REJECTION_LIMIT_SECONDS},
            "hang: half of the rejections took 100 µs or more, not under 100 µs",
        ),
        ({"closed_after": None}, "hang: the breaker did not close again"),
    ],
)
def test_unmet(changes: dict[str, float | None], problem: str) -> None:
    """One missing thing in one fault fails the run, and is named."""
    outcomes = [dataclasses.replace(each, **changes) if each.fault == "hang" else each for each in ALL_GOOD]
    assert unmet(outcomes) == [problem]


def test_fault_that_never_came() -> None:
    """A fault that the run did not reach is not survived."""
    assert unmet(ALL_GOOD[:-1]) == ["kill: the time was over before it came"]


def test_outcome() -> None:
    """Times count from the fault's begin and from the repair's, rejections from the loop's own measurements."""
    survived = phase(TRIP, PROBE, FAILED_PROBE, CLOSING)
    survived.tally.rejected.add(2048)
    survived.tally.failed.add(1_048_576)
    expected = Outcome("errors", 0.5, "ValueError: boom", 1, 0.001048576, 1, 2.048e-6, 2.048e-6, 0.5)
    assert outcome(survived) == expected


@pytest.mark.parametrize(
    ("transitions", "opened", "closed"),
    [
        ((), False, False),
        ((FAILED_PROBE, CLOSING), False, True),
        ((transition(12.1, State.CLOSED, State.OPEN), CLOSING), False, True),
        ((TRIP, PROBE), True, False),
        ((TRIP, transition(11.5, State.HALF_OPEN, State.CLOSED)), True, False),
        ((TRIP, CLOSING, transition(12.6, State.CLOSED, State.OPEN)), True, False),
    ],
    ids=["idle", "was open before", "tripped by the repair", "stays open", "closed in the fault", "opened again"],
)
def test_what_counts(transitions: tuple[TransitionEvent, ...], opened: bool, closed: bool) -> None:
    """Opening is a trip while the fault is on; closing is closing after it, and staying so."""
    seen = outcome(phase(*transitions))
    assert (seen.opened_after is not None, seen.closed_after is not None) == (opened, closed)


def test_miscounted() -> None:
    """The breaker's own counters have to be what the loop has seen."""
    tally = Tally()
    for _ in range(3):
        tally.answered.add(1)
    counted = CircuitBreakerMetrics(3, 3, 0, 0, 0, 0, 0, 0, 0, 0)
    assert miscounted(tally, counted) == []
    assert miscounted(tally, counted._replace(successful_calls=2)) == [
        "the breaker counts 2 successful calls where the loop has seen 3"
    ]


def test_percentiles() -> None:
    """A percentile of the histogram is less than 2 % below the exact one, over seven decades."""
    chance = random.Random(2)
    durations = sorted(int(10 ** chance.uniform(2, 9)) for _ in range(5000))
    histogram = Histogram()
    for each in durations:
        histogram.add(each)
    for percent in (1, 50, 90, 99, 100):
        exact = durations[len(durations) * percent // 100 - 1] / 1e9
        measured = histogram.percentile(percent)
        assert measured is not None
        assert 0.98 * exact < measured <= exact


def test_histogram_is_bounded_and_adds_up() -> None:
    """Memory goes with the range of the values and not with their number; a merge is the sum."""
    histogram, total = Histogram(), Histogram()
    for each in range(100_000):
        histogram.add(each)
    assert len(histogram._buckets) < 1000
    total.merge(histogram)
    total.merge(histogram)
    assert (total.count, total.percentile(50)) == (200_000, histogram.percentile(50))
    assert Histogram().percentile(50) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0.00 µs"), (1.5e-6, "1.50 µs"), (42e-6, "42.0 µs"), (0.25, "250 ms"), (1.234, "1.23 s")],
)
def test_durations_for_people(seconds: float | None, text: str) -> None:
    """Three digits and the unit that fits."""
    assert duration(seconds) == text
