"""The trip rules as values: what they accept, what they refuse, and what the backends are told of them."""

import copy
import doctest
import math
import pickle
from dataclasses import FrozenInstanceError
from datetime import timedelta
from decimal import Decimal

import pytest

from switchgear import rules
from switchgear.rules import (
    RULE_LIMIT,
    SCORE_LIMIT,
    Calls,
    ChangeDetection,
    ConsecutiveFailures,
    FailureRate,
    Rate,
    Score,
    Seconds,
    SlowCallRate,
    meters,
)

NO_INT = [True, False, 1.0, 50.0, "5", None, math.nan, [5], Decimal(5)]
NO_NUMBER = [True, False, "0.5", None, math.nan, math.inf, -math.inf, [0.5], Decimal("0.5"), timedelta(seconds=0.5)]
NO_DURATION = [0, 0.0, -1, True, "30", None, math.nan, math.inf, 10**400, Decimal(1), [1], timedelta(0)]
EXAMPLES = [
    ConsecutiveFailures(3),
    FailureRate(0.25, window=Seconds(30), minimum_calls=7),
    SlowCallRate(0.9, slower_than=2.0, window=Calls(1000)),
    ChangeDetection(healthy=0.02, failing=0.5, false_trip_every=10_000),
    Calls(50),
    Seconds(1.5),
]


def refused(made, **values):
    """Return the text of the refusal, which names each field's value."""
    with pytest.raises(ValueError) as caught:
        made(**values)
    return str(caught.value)


def test_the_docstrings_examples_are_what_happens():
    result = doctest.testmod(rules)
    assert 0 < result.attempted
    assert 0 == result.failed


def test_the_defaults_are_the_documented_ones():
    assert ConsecutiveFailures().threshold == 5
    rate = FailureRate()
    assert (rate.rate, rate.window, rate.minimum_calls) == (0.5, Calls(100), 20)
    slow = SlowCallRate(slower_than=2)
    assert (slow.rate, slow.slower_than, slow.window, slow.minimum_calls) == (0.5, 2.0, Calls(100), 20)
    change = ChangeDetection()
    assert (change.healthy, change.failing, change.false_trip_every) == (0.01, 0.3, 1_000_000)
    assert RULE_LIMIT == 4


@pytest.mark.parametrize("value", [*NO_INT, 0, -1, 1, 100_001], ids=repr)
def test_a_window_of_calls_is_an_int_from_2_to_100_000(value):
    assert refused(Calls, count=value) == f"count must be an int from 2 to 100,000, not {value!r}"
    assert (Calls(2).count, Calls(100_000).count) == (2, 100_000)


@pytest.mark.parametrize("value", [*NO_DURATION, 0.0099, 86_400.1, timedelta(days=2)], ids=repr)
def test_a_window_of_seconds_is_a_duration_from_10_ms_to_a_day(value):
    text = f"seconds must be a number of seconds (or a timedelta) from 0.01 to 86,400, not {value!r}"
    assert refused(Seconds, seconds=value) == text


def test_seconds_are_stored_as_a_float():
    assert [Seconds(given).seconds for given in (0.01, 30, timedelta(days=1))] == [0.01, 30.0, 86_400.0]
    assert type(Seconds(30).seconds) is float


@pytest.mark.parametrize("value", [*NO_INT, 0, -1, 1_000_000_001], ids=repr)
def test_a_threshold_is_an_int_from_1_to_a_billion(value):
    text = f"threshold must be an int from 1 to 1,000,000,000, not {value!r}"
    assert refused(ConsecutiveFailures, threshold=value) == text
    assert ConsecutiveFailures(1_000_000_000).threshold == 1_000_000_000


@pytest.mark.parametrize("made", [FailureRate, lambda rate: SlowCallRate(rate, slower_than=1)], ids=["failure", "slow"])
@pytest.mark.parametrize("value", [*NO_NUMBER, 0, 0.0, -0.1, 1.0000001, 50, 10**400], ids=repr)
def test_a_rate_is_above_0_and_at_most_1(made, value):
    assert refused(made, rate=value) == f"rate must be a number above 0 and at most 1, not {value!r}"


def test_a_rate_of_an_int_is_stored_as_a_float():
    assert type(FailureRate(1).rate) is float
    assert FailureRate(1) == FailureRate(1.0)
    assert FailureRate(5e-324).rate == 5e-324


@pytest.mark.parametrize("window", [100, 30.0, None, "Calls(100)", Calls, timedelta(seconds=1)], ids=repr)
def test_a_window_is_calls_or_seconds(window):
    text = f"window must be Calls(...) or Seconds(...), not {window!r}"
    assert refused(FailureRate, window=window) == text
    assert refused(SlowCallRate, slower_than=1, window=window) == text


@pytest.mark.parametrize("value", [*NO_INT, 0, -1, 51], ids=repr)
def test_minimum_calls_is_at_most_the_calls_of_the_window(value):
    text = f"minimum_calls must be an int from 1 to 50, the calls of the window, not {value!r}"
    assert refused(FailureRate, window=Calls(50), minimum_calls=value) == text
    assert refused(SlowCallRate, slower_than=1, window=Calls(50), minimum_calls=value) == text
    assert FailureRate(window=Calls(50), minimum_calls=50).minimum_calls == 50


@pytest.mark.parametrize("value", [*NO_INT, 0, -1, 1_000_001], ids=repr)
def test_minimum_calls_in_a_window_of_seconds_is_at_most_a_million(value):
    text = f"minimum_calls must be an int from 1 to 1,000,000, not {value!r}"
    assert refused(FailureRate, window=Seconds(1), minimum_calls=value) == text
    assert FailureRate(window=Seconds(1), minimum_calls=1_000_000).minimum_calls == 1_000_000


@pytest.mark.parametrize("value", [*NO_DURATION, 315_360_001], ids=repr)
def test_slower_than_is_a_duration_above_0(value):
    text = "slower_than must be a number of seconds (or a timedelta) above 0 and at most 315,360,000"
    assert refused(SlowCallRate, slower_than=value) == f"{text}, not {value!r}"


def test_slower_than_is_stored_in_seconds():
    assert SlowCallRate(slower_than=timedelta(milliseconds=250)).slower_than == 0.25


@pytest.mark.parametrize("value", [*NO_NUMBER, 0, 1, 1.0, 1.5, -0.3, 1e-9, 10**400], ids=repr)
def test_failing_is_a_rate_below_1(value):
    assert refused(ChangeDetection, failing=value) == f"failing must be a number above 1e-09 and below 1, not {value!r}"


@pytest.mark.parametrize("value", [*NO_NUMBER, 0, 1, 0.3, 0.4, -0.01, 9e-10], ids=repr)
def test_healthy_is_a_rate_below_failing(value):
    text = f"healthy must be a number from 1e-09 and below failing, 0.3, not {value!r}"
    assert refused(ChangeDetection, healthy=value) == text


@pytest.mark.parametrize("value", [*NO_INT, 0, -1, 10**12 + 1], ids=repr)
def test_false_trip_every_is_an_int_up_to_a_million_millions(value):
    text = f"false_trip_every must be an int from 1 to 1,000,000,000,000, not {value!r}"
    assert refused(ChangeDetection, false_trip_every=value) == text


@pytest.mark.parametrize("rule", EXAMPLES, ids=repr)
def test_a_rule_is_a_frozen_value(rule):
    """Equal and hashed by value, copied, pickled, and never changed; its repr makes it again."""
    assert {rule} == {copy.deepcopy(rule)} == {pickle.loads(pickle.dumps(rule))}
    assert eval(repr(rule), vars(rules)) == rule
    with pytest.raises(FrozenInstanceError):
        setattr(rule, next(iter(rule.__match_args__ or ["healthy"])), 1)
    assert not hasattr(rule, "__dict__")


def test_windows_and_what_follows_are_named():
    """A row of bare numbers would say nothing to whoever reads a configuration."""
    with pytest.raises(TypeError, match="positional"):
        FailureRate(0.5, Calls(100))
    with pytest.raises(TypeError, match="positional"):
        SlowCallRate(0.5, 2.0)
    with pytest.raises(TypeError, match="slower_than"):
        SlowCallRate()
    with pytest.raises(TypeError, match="positional"):
        ChangeDetection(0.01)


def test_failures_in_a_row_are_a_score_that_any_success_takes_to_0():
    assert meters((ConsecutiveFailures(7),)) == (Score(1, SCORE_LIMIT, 7),)
    assert SCORE_LIMIT == 2**42 - 1


@pytest.mark.parametrize("change", [ChangeDetection(), ChangeDetection(healthy=1e-9, failing=2e-9)], ids=repr)
def test_change_detection_is_a_score_of_its_step_and_limit(change):
    """Both fit into the level's 42 bits, even where no rate is smaller."""
    assert meters((change,)) == (Score(change.step, 1, change.limit),)
    assert change.step + change.limit <= SCORE_LIMIT


def test_rates_are_windows_of_calls_or_of_ten_buckets():
    made = meters(
        (
            FailureRate(0.25, window=Calls(50), minimum_calls=7),
            FailureRate(1, window=Seconds(30)),
            SlowCallRate(slower_than=2, window=Calls(50)),
            SlowCallRate(slower_than=timedelta(milliseconds=1), window=Seconds(1)),
        )
    )
    assert made == (
        Rate(calls=50, bucket_ns=0, rate=0.25, minimum_calls=7, slower_than_ns=0),
        Rate(calls=0, bucket_ns=3_000_000_000, rate=1.0, minimum_calls=20, slower_than_ns=0),
        Rate(calls=50, bucket_ns=0, rate=0.5, minimum_calls=20, slower_than_ns=2_000_000_000),
        Rate(calls=0, bucket_ns=100_000_000, rate=0.5, minimum_calls=20, slower_than_ns=1_000_000),
    )
    assert all(type(number) in (int, float) for rate in made for number in rate)


def test_ten_buckets_are_never_shorter_than_the_window():
    (rate,) = meters((FailureRate(window=Seconds(1 / 3)),))
    assert rate.bucket_ns == 33_333_334


def test_slower_than_a_part_of_a_nanosecond_is_no_count_of_failures():
    (rate,) = meters((SlowCallRate(slower_than=1e-12),))
    assert rate.slower_than_ns == 1
