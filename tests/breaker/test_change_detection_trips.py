"""ChangeDetection: a level that failures lift and successes lower, and where it trips."""

import pytest

from helpers import Boom, fail_times, succeed
from switchgear import CircuitBreaker, CircuitBreakerConfig, State
from switchgear.rules import Calls, ChangeDetection, ConsecutiveFailures, FailureRate

RULE = ChangeDetection(healthy=0.1, failing=0.5, false_trip_every=1000)


@pytest.fixture
def make(clock):
    def make(*rules):
        return CircuitBreaker("quotes", CircuitBreakerConfig(1, 2, 30.0, 60.0, trip=rules or RULE), clock=clock)

    return make


def level(breaker):
    return breaker._snapshot()[1]


def failures_to_trip(rule):
    return -(-rule.limit // rule.step)


def test_the_rule_is_one_that_these_tests_can_tell_from_others():
    assert RULE.step >= 2
    assert failures_to_trip(RULE) >= 3


def test_a_failure_adds_the_step_and_a_success_takes_one(make):
    breaker = make()
    fail_times(breaker, 2)
    assert level(breaker) == 2 * RULE.step
    succeed(breaker)
    assert level(breaker) == 2 * RULE.step - 1


def test_the_level_never_falls_below_0(make):
    breaker = make()
    succeed(breaker, 3)
    assert level(breaker) == 0
    fail_times(breaker, 1)
    succeed(breaker, RULE.step + 5)
    assert level(breaker) == 0
    fail_times(breaker, 1)
    assert level(breaker) == RULE.step


def test_failures_alone_trip_at_the_limit(make):
    breaker = make()
    fail_times(breaker, failures_to_trip(RULE) - 1)
    assert breaker.state is State.CLOSED
    breaker.acquire().failure(Boom("boom"))
    assert breaker.state is State.OPEN
    assert breaker.last_failure == "Boom: boom"


def test_successes_between_only_delay_the_trip(make):
    """What ConsecutiveFailures never sees: failures that come one at a time, too often."""
    breaker = make()
    failures = 0
    while breaker.state is State.CLOSED:
        fail_times(breaker, 1)
        failures += 1
        if breaker.state is State.CLOSED:
            succeed(breaker)
    assert failures == -(-(RULE.limit - RULE.step) // (RULE.step - 1)) + 1


def test_ignored_and_late_calls_leave_the_level(make):
    breaker = make()
    late = breaker.acquire()
    breaker.reset()
    fail_times(breaker, 1)
    late.failure()
    breaker.acquire().release()
    assert level(breaker) == RULE.step


def test_a_new_spell_of_closed_begins_at_0(make, clock):
    breaker = make()
    fail_times(breaker, failures_to_trip(RULE))
    clock.advance(60)
    succeed(breaker, 2)
    assert level(breaker) == 0
    fail_times(breaker, failures_to_trip(RULE) - 1)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("first", [ConsecutiveFailures(1000), ConsecutiveFailures(failures_to_trip(RULE) + 1)])
def test_a_second_score_counts_like_the_first(make, first):
    breaker = make(first, RULE)
    fail_times(breaker, failures_to_trip(RULE) - 1)
    succeed(breaker, RULE.step)
    fail_times(breaker, 1)
    assert breaker.state is State.CLOSED
    fail_times(breaker, 1)
    assert breaker.state is State.OPEN


def test_a_second_score_begins_anew_with_the_state(make):
    breaker = make(ConsecutiveFailures(1000), RULE)
    fail_times(breaker, failures_to_trip(RULE) - 1)
    breaker.reset()
    fail_times(breaker, failures_to_trip(RULE) - 1)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ((RULE,), "failures rose"),
        ((ConsecutiveFailures(failures_to_trip(RULE)), RULE), "consecutive failures"),
        ((RULE, ConsecutiveFailures(failures_to_trip(RULE))), "failures rose"),
        ((ConsecutiveFailures(1000), RULE), "failures rose"),
        ((FailureRate(1.0, window=Calls(50), minimum_calls=1), RULE), "failure rate"),
    ],
)
def test_the_event_tells_which_rule_it_was(make, rules, why):
    breaker = make(*rules)
    events = []
    breaker.on_transition(events.append)
    for _ in range(failures_to_trip(RULE)):
        if (permit := breaker.try_acquire()) is not None:
            permit.failure()
    assert why in events[0].why
