"""FailureRate: enough of the last calls, or of the calls of the last while, have failed."""

import contextlib

import pytest

from helpers import Boom, counted, fail, fail_times, ok, succeed
from switchgear import CircuitBreaker, CircuitBreakerConfig, State
from switchgear.rules import Calls, ConsecutiveFailures, FailureRate, Seconds

TEN_CALLS = FailureRate(0.5, window=Calls(10), minimum_calls=4)
TEN_SECONDS = FailureRate(0.5, window=Seconds(10), minimum_calls=4)


@pytest.fixture
def make(clock):
    """Return a breaker that a rule trips; a `failure_threshold` that would trip at once says nothing."""

    def make(*rules, **config):
        return CircuitBreaker("quotes", CircuitBreakerConfig(1, 2, 30.0, 60.0, trip=rules, **config), clock=clock)

    return make


def tripped(breaker, outcomes):
    """Settle calls, ``"."`` a success and ``"x"`` a failure, up to the trip; how many that took, or None."""
    for number, outcome in enumerate(outcomes, 1):
        permit = breaker.acquire()
        permit.success() if outcome == "." else permit.failure(Boom("boom"))
        if breaker.state is State.OPEN:
            return number
    return None


@pytest.mark.parametrize("rule", [TEN_CALLS, TEN_SECONDS])
@pytest.mark.parametrize(
    ("outcomes", "trips_at"),
    [
        ("xxx", None),
        ("xxxx", 4),
        ("..xx", 4),
        ("...x" + "." * 6, None),
        (".....xxxx", None),
        (".....xxxxx", 10),
        (".x.x", 4),
    ],
)
def test_a_rate_that_is_reached_trips_once_there_are_enough_calls(make, rule, outcomes, trips_at):
    assert tripped(make(rule), outcomes) == trips_at


@pytest.mark.parametrize("rule", [TEN_CALLS, TEN_SECONDS])
def test_a_success_trips_where_it_completes_the_minimum_of_calls(make, rule):
    """The rate is over already; there is no failure that would have tripped, so none is blamed."""
    breaker = make(rule)
    assert tripped(breaker, "xxx.") == 4
    assert breaker.last_failure is None
    assert counted(breaker) == {"total_calls": 4, "successful_calls": 1, "failed_calls": 3, "times_opened": 1}


def test_the_failure_that_trips_is_remembered(make):
    breaker = make(TEN_CALLS)
    assert tripped(breaker, "...xxx") == 6
    assert breaker.last_failure == "Boom: boom"


def test_only_the_last_calls_count(make):
    """Each call pushes out the oldest: three failures in ten, however often."""
    breaker = make(FailureRate(0.4, window=Calls(10), minimum_calls=10))
    assert tripped(breaker, "xxx......." * 20) is None
    assert tripped(breaker, "xxx......x") == 10


def test_a_window_of_calls_is_exact_to_the_call(make):
    breaker = make(FailureRate(1.0, window=Calls(3), minimum_calls=3))
    assert tripped(breaker, "xx.xx.xxx") == 9


def test_a_long_window(make):
    breaker = make(FailureRate(0.5, window=Calls(100_000), minimum_calls=1000))
    assert tripped(breaker, ".x.." * 500) is None
    assert tripped(breaker, "x" * 1000) == 1000


def test_a_rate_of_1_wants_every_call_to_fail(make):
    assert tripped(make(FailureRate(1.0, window=Calls(5), minimum_calls=2)), ".xxxxx") == 6


def test_no_failure_never_trips_however_low_the_rate(make):
    assert tripped(make(FailureRate(1e-9, window=Calls(5), minimum_calls=1)), "." * 20) is None


def test_a_window_of_time_forgets_a_bucket_at_a_time(make, clock):
    """It holds nine buckets of a tenth each and what has passed of the tenth."""
    breaker = make(TEN_SECONDS)
    assert tripped(breaker, "xxx") is None
    clock.advance(9.9)
    breaker.acquire().release()
    assert tripped(breaker, "x") == 1

    breaker.reset()
    assert tripped(breaker, "xxx") is None
    clock.advance(10.0)
    assert tripped(breaker, "xxx") is None


def test_buckets_leave_one_after_the_other(make, clock):
    breaker = make(TEN_SECONDS)
    for outcomes in ("x", ".", ".", ".", ".", ".", ".", ".", ".", "."):
        assert tripped(breaker, outcomes) is None
        clock.advance(1)
    # The first failure has left with its second: 4 of now 13 calls, then 9 of 18.
    assert tripped(breaker, "xxxx") is None
    assert tripped(breaker, "xxxxx") == 5


def test_a_window_of_time_that_saw_no_call_for_long_is_empty(make, clock):
    breaker = make(TEN_SECONDS)
    assert tripped(breaker, "xxx") is None
    clock.advance(86_400)
    assert tripped(breaker, "xxx") is None
    assert tripped(breaker, "x") == 1


@pytest.mark.parametrize("rule", [TEN_CALLS, TEN_SECONDS])
def test_every_change_of_state_empties_the_window(make, clock, rule):
    breaker = make(rule)
    assert tripped(breaker, "xxx") is None
    breaker.reset()
    assert tripped(breaker, "xxx") is None
    breaker.disable()
    fail_times(breaker, 5)
    breaker.force_close()
    assert tripped(breaker, "xxx") is None
    assert tripped(breaker, "x") == 1
    clock.advance(60)
    succeed(breaker, 2)
    assert breaker.get_state() == "CLOSED (failures: 0)"
    assert tripped(breaker, "xxx") is None
    assert tripped(breaker, "x") == 1


@pytest.mark.parametrize("rule", [TEN_CALLS, TEN_SECONDS])
def test_probes_are_not_in_the_window(make, clock, rule):
    breaker = make(rule)
    fail_times(breaker, 4)
    clock.advance(60)
    breaker.acquire().failure()
    clock.advance(60)
    succeed(breaker, 2)
    # In an empty window the rate is over from the start; with two probes in it, it would be half.
    assert tripped(breaker, "xxx.") == 4


@pytest.mark.parametrize("rule", [TEN_CALLS, TEN_SECONDS])
def test_what_is_ignored_or_late_is_not_in_the_window(make, rule):
    breaker = make(rule)
    late = [breaker.acquire() for _ in range(5)]
    breaker.reset()
    for permit in late:
        permit.failure()
    for _ in range(5):
        breaker.acquire().release()
    assert tripped(breaker, "xxx") is None
    assert tripped(breaker, ".") == 1


def test_a_call_that_ends_after_the_trip_is_late(make):
    breaker = make(TEN_CALLS)
    permit = breaker.acquire()
    assert tripped(breaker, "xxxx") == 4
    permit.success()
    assert breaker.get_metrics().late_calls == 1


def test_a_breaker_without_a_score_shows_no_failures(make):
    breaker = make(TEN_CALLS)
    fail_times(breaker, 3)
    assert breaker.get_state() == "CLOSED (failures: 0)"


def test_consecutive_failures_beside_a_rate_are_shown_and_trip(make):
    breaker = make(FailureRate(0.9, window=Calls(10), minimum_calls=10), ConsecutiveFailures(3))
    assert tripped(breaker, "xx.xx") is None
    assert breaker.get_state() == "CLOSED (failures: 2)"
    assert tripped(breaker, "x") == 1


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ((ConsecutiveFailures(3), FailureRate(0.5, window=Calls(5), minimum_calls=3)), "3 consecutive failures"),
        ((FailureRate(0.5, window=Calls(5), minimum_calls=3), ConsecutiveFailures(3)), "failure rate 100.0%"),
        ((ConsecutiveFailures(9), ConsecutiveFailures(3)), "3 consecutive failures"),
    ],
)
def test_of_several_rules_the_first_that_is_met_is_why(make, rules, why):
    breaker = make(*rules)
    events = []
    breaker.on_transition(events.append)
    assert tripped(breaker, "xxx") == 3
    assert why in events[0].why


@pytest.mark.parametrize("rule", [TEN_CALLS, TEN_SECONDS])
def test_whole_calls_count_like_permits(make, rule):
    breaker = make(rule, is_failure=lambda result: result == "bad")
    for operation in (ok, fail, lambda: "bad", ok):
        with contextlib.suppress(Boom):
            breaker.call_sync(operation)
    assert breaker.state is State.OPEN
