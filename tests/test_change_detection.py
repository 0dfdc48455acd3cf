"""Page's CUSUM: its numbers are exact, against an independent solution of the chain and against simulation."""

import math
import random
import re
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from switchgear import _cusum
from switchgear.rules import ChangeDetection

# Arithmetic in plain Python, whatever runs the breakers.
pytestmark = pytest.mark.once


def dense(rate: float, step: int, limit: int) -> Fraction:
    """Solve the chain's linear system by elimination, in fractions: slow, and with no rounding at all."""
    failure = Fraction(rate)
    rows = []
    for level in range(limit):
        row = [Fraction(0)] * limit + [Fraction(1)]
        row[level] += 1
        row[max(0, level - 1)] -= 1 - failure
        if level + step < limit:
            row[level + step] -= failure
        rows.append(row)
    for pivot in reversed(range(limit)):
        for other in range(pivot):
            if factor := rows[other][pivot] / rows[pivot][pivot]:
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[pivot], strict=True)]
    return rows[0][-1] / rows[0][0]


def simulated(rate: float, step: int, limit: int, calls: int, seed: int) -> float:
    """Return the mean calls between trips, over so many Bernoulli calls drawn as the gaps between failures."""
    draw, scale = random.Random(seed).random, 1.0 / math.log1p(-rate)
    made = trips = level = 0
    while made < calls:
        successes = int(math.log(1.0 - draw()) * scale)
        made += successes + 1
        level = max(0, level - successes) + step
        if level >= limit:
            trips += 1
            level = 0
    return made / trips


@pytest.mark.parametrize(
    ("healthy", "failing", "step"),
    # r2 / r1 by hand: 3.74791 / 0.346625 = 10.81; 1.60944 / 0.693147 = 2.32; 1.79176 / 1.38629 = 1.29, below 2.
    [(0.01, 0.3, 10), (0.25, 0.625, 1), (0.6, 0.9, 1), (0.001, 0.002, 692), (0.05, 0.1, 13)],
)
def test_the_step_is_the_ratio_of_the_log_likelihoods(healthy, failing, step):
    success = -math.log((1 - failing) / (1 - healthy))
    failure = math.log(failing * (1 - healthy) / (healthy * (1 - failing)))
    assert step == max(2, round(failure / success)) - 1
    assert step == _cusum.step_for(healthy, failing)


@settings(deadline=None, max_examples=100)
@given(rate=st.floats(0.001, 1.0), step=st.integers(1, 15), limit=st.integers(1, 40))
def test_the_mean_is_that_of_the_chain(rate, step, limit):
    assert _cusum.mean_calls(rate, step, limit) == pytest.approx(float(dense(rate, step, limit)), rel=1e-11)


@pytest.mark.parametrize("rate", [1e-6, 1e-4, 0.01, 0.3, 0.999])
def test_the_mean_keeps_its_digits_where_trips_are_rare(rate):
    """Up to 10**45 calls between trips: any recursion that subtracts has lost all of them by then."""
    assert _cusum.mean_calls(rate, 6, 60) == pytest.approx(float(dense(rate, 6, 60)), rel=1e-11)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_the_limit_is_the_smallest_that_keeps_the_promise(data):
    healthy = data.draw(st.floats(0.001, 0.4))
    failing = data.draw(st.floats(healthy * 1.5, 0.99))
    between = data.draw(st.integers(1, 10_000_000))
    assume(healthy < _cusum.balance(healthy, failing) < failing)
    change = ChangeDetection(healthy=healthy, failing=failing, false_trip_every=between)
    assert change.calls_between_false_trips >= between
    if change.limit > 1:
        assert between > _cusum.mean_calls(healthy, change.step, change.limit - 1)


def test_the_default_trips_at_the_fourth_failure_in_a_row_and_once_in_1_27_million_healthy_calls():
    change = ChangeDetection()
    assert (change.step, change.limit) == (10, 35)
    assert change.expected_calls_to_trip(1) == 4.0
    assert change.calls_between_false_trips == pytest.approx(float(dense(0.01, 10, 35)), rel=1e-12)
    assert change.calls_between_false_trips == change.expected_calls_to_trip(0.01)


@pytest.mark.parametrize(
    ("change", "rate"),
    [
        (ChangeDetection(false_trip_every=10_000), 0.01),
        (ChangeDetection(healthy=0.05, failing=0.2, false_trip_every=20_000), 0.05),
        (ChangeDetection(), 0.3),
        (ChangeDetection(healthy=0.001, failing=0.02), 0.02),
    ],
    ids=["false trips", "false trips, rates closer", "detection", "detection of a rare failure"],
)
def test_the_mean_is_what_ten_million_calls_show(change, rate):
    """Within 10 %: more than 800 trips are in them, so that the mean is within 4 % two times in three."""
    measured = simulated(rate, change.step, change.limit, calls=10_000_000, seed=1954)
    assert change.expected_calls_to_trip(rate) == pytest.approx(measured, rel=0.1)


def test_a_rate_of_nothing_never_trips():
    change = ChangeDetection()
    assert change.expected_calls_to_trip(0) == math.inf
    assert change.expected_calls_to_trip(0.0) == math.inf
    assert change.expected_calls_to_trip(1e-300) == math.inf
    assert change.expected_calls_to_trip(5e-324) == math.inf


@pytest.mark.parametrize("value", [-0.1, 1.1, True, None, "0.5", math.nan], ids=repr)
def test_a_wrong_rate_is_a_value_error(value):
    with pytest.raises(ValueError) as caught:
        ChangeDetection().expected_calls_to_trip(value)
    assert str(caught.value) == f"rate must be a number from 0 to 1, not {value!r}"


def test_rates_that_are_too_close_for_the_promise_say_what_would_fit(monkeypatch):
    monkeypatch.setattr(_cusum, "LEVEL_LIMIT", 10_000)  # with fewer levels it is the same, in no time
    close = {"healthy": 1e-3, "failing": 1.01e-3}
    with pytest.raises(ValueError) as caught:
        ChangeDetection(**close, false_trip_every=10**12)
    told = re.match(r"false_trip_every must be an int from 1 to ([0-9,]+) for healthy=0.001 and", str(caught.value))
    assert told is not None
    assert "failing=0.00101, not 1000000000000: it takes a limit above 10,000;" in str(caught.value)
    most = int(told[1].replace(",", ""))
    assert ChangeDetection(**close, false_trip_every=most).limit == 10_000
    with pytest.raises(ValueError, match=rf"from 1 to {told[1]} for"):
        ChangeDetection(**close, false_trip_every=most + 1)


def test_a_step_over_every_limit_says_what_would_fit():
    with pytest.raises(ValueError, match=r"false_trip_every must be an int from 1 to 10,000,000 for healthy=1e-07"):
        ChangeDetection(healthy=1e-7, failing=1e-6, false_trip_every=10_000_001)
    assert ChangeDetection(healthy=1e-7, failing=1e-6, false_trip_every=10_000_000).limit == 1


def test_the_neighbour_of_a_float_is_a_rate_too():
    """The logarithms keep their digits: neither divides by 0 nor returns a step of nonsense."""
    assert _cusum.step_for(0.3, math.nextafter(0.3, 1)) == 2
    assert _cusum.step_for(1e-9, math.nextafter(1e-9, 1)) == 999_999_999
    assert ChangeDetection(healthy=0.01, failing=math.nextafter(1, 0), false_trip_every=1000).step == 1


@pytest.mark.parametrize(
    ("healthy", "failing", "fits"),
    [(0.299, 0.3, "0.334"), (0.35, 0.4, "0.501"), (0.49, 0.5, "0.501"), (0.6, 0.9, None), (0.5, 0.99, None)],
)
def test_rates_that_whole_numbers_cannot_tell_apart(healthy, failing, fits):
    """Where the level falls at the failing rate no change is found, and where it rises at the healthy one all trip."""
    with pytest.raises(
        ValueError, match=rf"^failing must be further above healthy, {healthy}, than {failing}: "
    ) as error:
        ChangeDetection(healthy=healthy, failing=failing)
    assert str(error.value).endswith("none will do" if fits is None else f"; {fits} will do")
    if fits is not None:
        ChangeDetection(healthy=healthy, failing=float(fits), false_trip_every=1)


def test_equal_values_are_computed_once():
    """A configuration may be made for every key of a family: the second one only looks up."""
    change = {"healthy": 0.02, "failing": 0.25, "false_trip_every": 123_456}
    ChangeDetection(**change)
    known = _cusum.design.cache_info()
    ChangeDetection(**change)
    assert _cusum.design.cache_info().misses == known.misses
