"""Trip rules for the state machine, each beside what the model has to know of it: numbers."""

from hypothesis import strategies as st

from model import Rate, Score
from switchgear.rules import Calls, ChangeDetection, ConsecutiveFailures, FailureRate, Seconds, SlowCallRate, TripRule


def consecutive(threshold: int) -> Score:
    """What so many failures in a row are to the model."""
    return Score(1, threshold, threshold)


# Small enough to be met within a few steps, and of the lengths by which the machine lets time pass.
WINDOWS: list[tuple[Calls | Seconds, int, int]] = [
    (Calls(2), 2, 0),
    (Calls(5), 5, 0),
    (Seconds(1.0), 0, 100_000_000),
    (Seconds(7.7), 0, 770_000_000),
]


def _failure_rate(rate: float, window: tuple[Calls | Seconds, int, int], minimum: int) -> tuple[TripRule, Rate]:
    rule = FailureRate(rate, window=window[0], minimum_calls=minimum)
    return rule, Rate(*window[1:], rate, minimum, 0)


def _slow_call_rate(
    rate: float, window: tuple[Calls | Seconds, int, int], minimum: int, slower_than: int
) -> tuple[TripRule, Rate]:
    rule = SlowCallRate(rate, slower_than=slower_than / 1e9, window=window[0], minimum_calls=minimum)
    return rule, Rate(*window[1:], rate, minimum, slower_than)


def _change_detection(healthy: float, false_trip_every: int) -> tuple[TripRule, Score]:
    rule = ChangeDetection(healthy=healthy, failing=0.7, false_trip_every=false_trip_every)
    return rule, Score(rule.step, 1, rule.limit)


_RATES = st.sampled_from([0.3, 0.5, 1.0])
_WINDOWS = st.sampled_from(WINDOWS)
_MINIMA = st.integers(1, 2)
_CONSECUTIVE = st.integers(1, 4).map(lambda threshold: (ConsecutiveFailures(threshold), consecutive(threshold)))
_FAILURES = st.builds(_failure_rate, _RATES, _WINDOWS, _MINIMA)
_SLOW = st.builds(_slow_call_rate, _RATES, _WINDOWS, _MINIMA, st.sampled_from([1, 50_000_000, 999_999_999]))
_CHANGES = st.builds(_change_detection, st.sampled_from([0.1, 0.3]), st.sampled_from([5, 50]))

RULES = st.one_of(
    # One or two alone, too: among four the quickest to be met is nearly always a count of failures.
    st.lists(_FAILURES | _SLOW, min_size=1, max_size=2),
    st.lists(_CONSECUTIVE | _FAILURES | _SLOW | _CHANGES, min_size=1, max_size=4),
)
"""Up to four rules, any of which trips, and their numbers."""
