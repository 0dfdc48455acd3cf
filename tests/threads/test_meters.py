"""Trip rules under threads: no outcome is lost or counted twice, so the last of them trips and none before it."""

import pytest

from switchgear import CircuitBreaker, CircuitBreakerConfig, State
from switchgear.rules import Calls, ConsecutiveFailures, FailureRate, Seconds, SlowCallRate
from switchgear.testing import ManualClock
from threads.together import together

THREADS = 8
EACH = 125

RULES = {
    "calls": FailureRate(1.0, window=Calls(1_000), minimum_calls=1_000),
    "seconds": FailureRate(1.0, window=Seconds(60), minimum_calls=1_000),
    "slow": SlowCallRate(1.0, slower_than=1.0, window=Calls(1_000), minimum_calls=1_000),
    "two scores": (ConsecutiveFailures(10_000), ConsecutiveFailures(1_000)),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_thousandth_outcome_trips_and_none_before_it(rule) -> None:
    """Eight threads bring 999 failures, all slow, and nothing happens; one more opens the breaker, once."""
    clock = ManualClock()
    breaker = CircuitBreaker("busy", CircuitBreakerConfig(trip=rule), clock=clock)
    permits = [breaker.acquire() for _ in range(THREADS * EACH)]
    clock.advance(2.0)
    last = permits.pop()

    def fail(thread: int) -> None:
        for permit in permits[thread::THREADS]:
            permit.failure()

    together(THREADS, fail)
    assert (breaker.state, breaker.get_metrics().failed_calls) == (State.CLOSED, 999)
    last.failure()
    assert (breaker.state, breaker.get_metrics().times_opened) == (State.OPEN, 1)


def mixed(breaker: CircuitBreaker) -> None:
    """Bring a thousand outcomes from eight threads, a quarter of them failures."""

    def mix(thread: int) -> None:
        for turn in range(EACH):
            permit = breaker.acquire()
            (permit.failure if (turn + thread) % 4 == 0 else permit.success)()

    together(THREADS, mix)
    assert (breaker.state, breaker.get_metrics().total_calls) == (State.CLOSED, THREADS * EACH)


def fail_until_open(breaker: CircuitBreaker) -> int:
    """Fail until the breaker opens; return how many failures that took."""
    before = breaker.get_metrics().failed_calls
    while breaker.state is State.CLOSED:
        breaker.acquire().failure()
    return breaker.get_metrics().failed_calls - before


def test_a_window_of_calls_forgets_what_many_threads_brought() -> None:
    """After as many successes as it is long, a window holds nothing else: it takes half of it anew to trip."""
    rule = FailureRate(0.5, window=Calls(1_000), minimum_calls=1_000)
    breaker = CircuitBreaker("busy", CircuitBreakerConfig(trip=rule))
    mixed(breaker)
    for _ in range(1_000):
        breaker.acquire().success()
    assert fail_until_open(breaker) == 500


def test_a_window_of_time_has_counted_each_outcome_once() -> None:
    """With 250 failures in 1,000 calls it takes 500 failures more to make it half of all."""
    rule = FailureRate(0.5, window=Seconds(60), minimum_calls=1_000)
    breaker = CircuitBreaker("busy", CircuitBreakerConfig(trip=rule), clock=ManualClock())
    mixed(breaker)
    failures = breaker.get_metrics().failed_calls
    assert fail_until_open(breaker) == 1_000 - 2 * failures
