"""While a service fails in part, a part of the calls is rejected in CLOSED, by chance."""

import asyncio
import itertools
import math

import pytest

from helpers import Boom, counted, ok, run
from model import drawn
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.recovery import Backoff, Ramp
from switchgear.rules import Calls, Seconds
from switchgear.testing import ManualClock
from switchgear.throttling import AdaptiveThrottle


def throttled(clock: ManualClock | None, k: float = 2.0, **settings: object) -> CircuitBreaker:
    """Return a breaker with a throttle over 120 seconds and seed 5, which nothing opens but an operator."""
    settings = {"throttle": AdaptiveThrottle(k, seed=5), "failure_threshold": 1_000_000} | settings
    return CircuitBreaker("quotes", CircuitBreakerConfig(**settings), clock=clock)


def fail(breaker: CircuitBreaker, calls: int) -> list[bool]:
    """Ask for some calls, one after the other; whichever passes fails. Return which did."""
    passed = []
    for _ in range(calls):
        permit = breaker.try_acquire()
        passed.append(permit is not None)
        if permit is not None:
            permit.failure(Boom())
    return passed


def is_rejecting(breaker: CircuitBreaker) -> bool:
    """Tell whether any of 40 calls, which are abandoned, is rejected."""
    permits = [breaker.try_acquire() for _ in range(40)]
    return None in permits


@pytest.mark.parametrize("k", [1.0, 1.1, 2.0, 10.0])
def test_it_rejects_by_the_formula(clock, k):
    """Of requests and accepts so far, with probability ``max(0, (requests - k * accepts) / (requests + 1))``."""
    breaker = throttled(clock, k)
    refused = 0
    for requests in range(300):
        probability = max(0.0, (requests - k * (requests - refused)) / (requests + 1))
        permit = breaker.try_acquire()
        assert (drawn(5 + requests) >= probability) == (permit is not None)
        if permit is None:
            refused += 1
        # Three of four fail.
        elif requests % 4:
            refused += 1
            permit.failure()
        else:
            permit.success()
    assert refused == breaker.get_metrics().failed_calls + breaker.get_metrics().rejected_calls


def test_never_all_of_them(clock):
    """However long the service fails, some calls pass: by them its recovery is found."""
    breaker = throttled(clock)
    fail(breaker, 1000)
    passed = sum(fail(breaker, 20_000))
    # (requests + 1 of them is 1, about) of each: the sum of 1 / n from 1,000 to 21,000 is 3.
    assert 0 < passed < 20


def test_it_lets_up_when_the_service_works(clock):
    """With half of the calls accepted nothing is rejected any more, at ``k`` 2."""
    breaker = throttled(clock)
    fail(breaker, 50)
    while breaker.get_metrics().successful_calls < 200:
        permit = breaker.try_acquire()
        if permit is not None:
            permit.success()
        # Outage by outage leaves the window.
        clock.advance(1.0)
    assert not is_rejecting(breaker)


def test_nothing_is_rejected_while_enough_succeeds(clock):
    """At ``k`` 2 the service may fail every second call, from the first on."""
    breaker = throttled(clock)
    for call in range(400):
        permit = breaker.acquire()
        if call % 2:
            permit.failure()
        else:
            permit.success()


@pytest.mark.parametrize(("later", "rejecting"), [(9.9999, True), (10.0, False)])
def test_the_window_forgets(clock, later, rejecting):
    """What is older than the window counts no more."""
    breaker = throttled(clock, throttle=AdaptiveThrottle(1.0, window=Seconds(10), seed=5))
    fail(breaker, 100)
    clock.advance(later)
    assert rejecting == is_rejecting(breaker)


def test_a_burst_at_a_healthy_service_passes(clock):
    """Calls on their way count as accepted until they fail: a hundred at once are not held against one another."""
    breaker = throttled(clock, 1.0)
    permits = [breaker.acquire() for _ in range(100)]
    for permit in permits:
        permit.success()
    assert {"total_calls": 100, "successful_calls": 100} == counted(breaker)


def test_a_burst_of_tasks_passes():
    """A hundred tasks that begin in one turn of the loop all pass, and so do the next hundred."""
    breaker = throttled(None, 1.0)

    async def operation() -> str:
        await asyncio.sleep(0)
        return "ok"

    async def main() -> list[str]:
        return await asyncio.gather(*(breaker.call(operation) for _ in range(100)))

    assert ["ok"] * 100 == run(main())
    assert ["ok"] * 100 == run(main())


def test_a_burst_that_fails_is_held_against_the_next(clock):
    """Each of the burst is taken back as it fails."""
    breaker = throttled(clock, 1.0)
    for permit in [breaker.acquire() for _ in range(100)]:
        permit.failure()
    assert is_rejecting(breaker)


def test_abandoned_calls_count_as_accepted(clock):
    """Cancellation says nothing of the service, so it is held against nobody."""
    breaker = throttled(clock, 1.0)
    for _ in range(200):
        breaker.acquire().release()


@pytest.mark.parametrize("command", ["reset", "force_open", "disable"])
def test_a_state_change_empties_the_window(clock, command):
    """As with every window: whoever comes back to CLOSED begins with no request and no refusal."""
    breaker = throttled(clock, 1.0)
    fail(breaker, 100)
    getattr(breaker, command)()
    breaker.force_close()
    assert not is_rejecting(breaker)


def test_failures_of_another_generation_are_not_held_against_this_one(clock):
    """What is late is counted in the metrics and nowhere else."""
    breaker = throttled(clock, 1.0)
    permits = [breaker.acquire() for _ in range(50)]
    breaker.reset()
    breaker.acquire().success()
    for permit in permits:
        permit.failure()
    assert not is_rejecting(breaker)


def test_the_draws_go_on_over_state_changes(clock):
    """The n-th call that asks the throttle draws seed + n, whatever happened between."""
    breaker = throttled(clock, 1.0)
    first = fail(breaker, 30)
    breaker.reset()
    second = fail(breaker, 30)
    numbers = itertools.count(5)
    for passed in (first, second):
        for requests, passes in enumerate(passed):
            # Each call before has failed or was rejected.
            assert (drawn(next(numbers)) >= requests / (requests + 1)) == passes


def test_a_rejection_says_that_it_was_chance(clock):
    """``CircuitOpenError`` of CLOSED with ``retry_after`` 0 and no last failure to tell: no failure either."""
    breaker = throttled(clock, 1.0)
    fail(breaker, 200)
    with pytest.raises(CircuitOpenError, match=r"'quotes' is OPEN to this call \(CLOSED, throttled\)") as caught:
        for _ in range(100):
            breaker.call_sync(ok)
    assert (State.CLOSED, 0.0, None) == (caught.value.state, caught.value.retry_after, caught.value.last_failure)
    assert State.CLOSED is breaker.state


def test_a_rejected_call_counts_as_a_request_and_not_for_the_rules(clock):
    """Only calls that went out are failures: the trip rule sees no rejection."""
    breaker = throttled(clock, 1.0, failure_threshold=5)
    while breaker.state is State.CLOSED:
        fail(breaker, 1)
    metrics = breaker.get_metrics()
    assert 5 == metrics.failed_calls < metrics.rejected_calls


def test_probes_and_ramps_are_not_throttled(clock):
    """HALF_OPEN has limits of its own."""
    breaker = throttled(clock, 1.0, success_threshold=1, ramp=Ramp((0.999,), step=1e6, seed=1))
    fail(breaker, 100)
    breaker.force_open(for_=1.0)
    clock.advance(1.0)
    breaker.acquire().success()
    numbers = itertools.count(1)
    assert [drawn(next(numbers)) < 0.999 for _ in range(300)] == fail(breaker, 300)


def test_the_call_that_ends_a_ramp_is_the_throttles_first(clock):
    """It finds the breaker CLOSED, so it is a request there, and its failure a refusal."""
    breaker = throttled(clock, 1.0, success_threshold=1, ramp=Ramp((0.5,), step=1.0, seed=1))
    breaker.force_open(for_=1.0)
    clock.advance(1.0)
    breaker.acquire().success()
    breaker.try_acquire()
    clock.advance(1.0)
    assert [drawn(5 + requests) >= requests / (requests + 1) for requests in range(30)] == fail(breaker, 30)


def test_a_full_bulkhead_is_no_request(clock):
    """Who finds no place never asks the throttle; who is throttled leaves his place."""
    breaker = throttled(clock, 1.0, max_concurrent=1)
    permit = breaker.acquire()
    for _ in range(50):
        assert breaker.try_acquire() is None
    permit.failure()
    # One request, one refusal: the second of the draws decides.
    expected = [drawn(6 + call) >= (1 + call) / (2 + call) for call in range(30)]
    assert expected == fail(breaker, 30)


def test_disabled_asks_nobody(clock):
    """All pass, unrecorded, and nothing is drawn."""
    breaker = throttled(clock, 1.0)
    fail(breaker, 100)
    breaker.disable()
    assert [True] * 50 == fail(breaker, 50)
    assert 100 == breaker.get_metrics().total_calls


@pytest.mark.parametrize(
    "value", [0.99, 0, -1.0, 1000.1, math.nan, math.inf, "2", True, None, (2.0,), 1 << 5000], ids=type
)
def test_a_k_that_makes_no_sense_is_refused(value):
    """The error names the field, the range and the value."""
    with pytest.raises(ValueError, match=r"^k must be a number from 1 to 1,000, not "):
        AdaptiveThrottle(value)


@pytest.mark.parametrize("value", [Calls(100), 120, None, "120", Seconds])
def test_a_window_is_of_seconds(value):
    """A window over calls would forget nothing while the service is down and everybody is rejected."""
    with pytest.raises(ValueError, match=r"^window must be Seconds\(\.\.\.\), not "):
        AdaptiveThrottle(window=value)


@pytest.mark.parametrize("value", [-1, 1 << 64, True, 1.0, "1"])
def test_a_seed_has_64_bits(value):
    """The error names the field, the range and the value."""
    with pytest.raises(ValueError, match=r"^seed must be None or an int from 0 to 2\*\*64 - 1, not "):
        AdaptiveThrottle(seed=value)


@pytest.mark.parametrize("value", [2.0, AdaptiveThrottle, Backoff(), "adaptive"])
def test_a_throttle_is_a_throttle(value):
    """The configuration takes nothing that would only look like one."""
    with pytest.raises(ValueError, match=r"^throttle must be None or a switchgear\.throttling\.AdaptiveThrottle, not "):
        CircuitBreakerConfig(throttle=value)
