"""``mode="observe"``: the whole machine runs and nothing is rejected."""

import pytest

from helpers import Boom, counted, fail, fail_async, fail_times, ok, ok_async, ok_later, run, succeed, trip
from model import drawn
from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig, State
from switchgear.recovery import Backoff, Ramp
from switchgear.rules import Calls, FailureRate
from switchgear.testing import ManualClock
from switchgear.throttling import AdaptiveThrottle


def observing(clock: ManualClock | None, **settings: object) -> CircuitBreaker:
    """Return a breaker that trips after 3 failures, closes after 2 probes, 60 s OPEN, and only observes."""
    settings = {"failure_threshold": 3, "success_threshold": 2, "reset_timeout": 60.0} | settings
    return CircuitBreaker("quotes", CircuitBreakerConfig(mode="observe", **settings), clock=clock)


def test_it_trips_and_rejects_nothing(clock):
    """OPEN lets every call pass, and counts each as what it would have been."""
    breaker = observing(clock)
    trip(breaker)
    assert State.OPEN is breaker.state
    for _ in range(4):
        assert "ok" == breaker.call_sync(ok)
    assert {
        "total_calls": 7,
        "failed_calls": 3,
        "successful_calls": 4,
        "would_have_rejected": 4,
        "times_opened": 1,
    } == counted(breaker)


def test_what_would_have_been_rejected_moves_nothing(clock):
    """In OPEN and among the probes: neither its success nor its failure counts for the state."""
    breaker = observing(clock)
    trip(breaker)
    fail_times(breaker, 10)
    clock.advance(60)
    probes = [breaker.acquire(), breaker.acquire()]
    observed = [breaker.acquire() for _ in range(6)]
    for permit in observed[:2]:
        permit.success()
    for permit in observed[2:4]:
        permit.failure(Boom("boom"))
    for permit in observed[4:]:
        permit.release()
    assert "HALF_OPEN (successes: 0)" == breaker.get_state()
    for probe in probes:
        probe.success()
    assert State.CLOSED is breaker.state
    assert 16 == breaker.get_metrics().would_have_rejected


def test_what_would_have_been_rejected_fills_no_window(clock):
    """A call that outlives the state it was let into is late, and no rule sees it."""
    breaker = observing(clock, trip=FailureRate(0.5, window=Calls(4), minimum_calls=2))
    fail_times(breaker, 2)
    late = [breaker.acquire() for _ in range(4)]
    breaker.force_close()
    succeed(breaker)
    for permit in late:
        permit.failure()
    assert (State.CLOSED, 4) == (breaker.state, breaker.get_metrics().late_calls)


def test_late_is_what_outlives_its_generation(clock):
    """Of those that would have been rejected, too."""
    breaker = observing(clock)
    trip(breaker)
    in_time, late = breaker.acquire(), breaker.acquire()
    in_time.success()
    breaker.reset()
    late.success()
    assert 1 == breaker.get_metrics().late_calls


def test_the_sum_holds(clock):
    """The total is the successes, failures and abandoned calls: what would have been rejected is among them."""
    breaker = observing(clock)
    trip(breaker)
    breaker.acquire().success()
    breaker.acquire().failure()
    breaker.acquire().release()
    metrics = breaker.get_metrics()
    assert (6, 0, 3) == (metrics.total_calls, metrics.rejected_calls, metrics.would_have_rejected)
    assert metrics.total_calls == metrics.successful_calls + metrics.failed_calls + metrics.ignored_calls
    breaker.reset_metrics()
    assert {} == counted(breaker)


def test_the_machine_moves_as_it_would(clock):
    """Whatever the calls that would have been rejected do: states, open times and reasons are those of a breaker that
    enforces.
    """
    settings = {"backoff": Backoff(2.0, max=600.0, jitter=0.2, seed=4), "ramp": Ramp((0.3, 0.6), step=5.0, seed=8)}
    enforcing = CircuitBreaker("quotes", CircuitBreakerConfig(3, 2, reset_timeout=60.0, **settings), clock=clock)
    watching = observing(clock, **settings)
    for turn in range(600):
        strict, lenient = enforcing.try_acquire(), watching.acquire()
        fails = turn % 100 < 40
        if strict is not None:
            strict.failure(Boom()) if fails else strict.success()
        # Where it would have been rejected it does what would do the most harm.
        does_fail = fails if strict is not None else turn % 2
        lenient.failure(Boom()) if does_fail else lenient.success()
        clock.advance(1.0)
        assert enforcing.get_state() == watching.get_state()
    assert len(enforcing.history()) > 6
    assert [event._replace(timestamp=0.0) for event in enforcing.history()] == [
        event._replace(timestamp=0.0) for event in watching.history()
    ]
    assert enforcing.get_metrics().rejected_calls == watching.get_metrics().would_have_rejected


def test_every_limit_is_observed(clock):
    """Operator, probes, bulkhead, ramp, throttle: each would reject, none does."""
    for breaker in (
        observing(clock, max_concurrent=1),
        observing(clock, throttle=AdaptiveThrottle(1.0, seed=1), failure_threshold=10**6),
        observing(clock, ramp=Ramp((1e-9,), seed=1)),
    ):
        fail_times(breaker, 20)
        permits = [breaker.acquire() for _ in range(20)]
        for permit in permits:
            permit.failure()
        breaker.force_open(for_=60.0)
        fail_times(breaker, 5)
        clock.advance(60)
        succeed(breaker, 20)
        assert 0 == breaker.get_metrics().rejected_calls
        assert breaker.get_metrics().would_have_rejected > 5


def test_the_throttle_counts_what_it_would_have_rejected_as_refused(clock):
    """So the probability is that of a breaker that enforces, whatever the call then brings."""
    breaker = observing(clock, throttle=AdaptiveThrottle(1.0, seed=5), failure_threshold=10**6)
    refused = 0
    for requests in range(100):
        before = breaker.get_metrics().would_have_rejected
        permit = breaker.acquire()
        rejected = breaker.get_metrics().would_have_rejected - before
        assert rejected == (drawn(5 + requests) < max(0.0, refused / (requests + 1)))
        if rejected or requests % 2:
            refused += 1
        if rejected or not requests % 2:
            permit.success()
        else:
            permit.failure()


def test_who_would_have_found_no_place_holds_none(clock):
    """The bulkhead counts those that it would have let in, so the next is judged as it would have been."""
    breaker = observing(clock, max_concurrent=1)
    first = breaker.acquire()
    second = breaker.acquire()
    second.success()
    breaker.acquire().success()
    assert 2 == breaker.get_metrics().would_have_rejected
    first.success()
    breaker.acquire().success()
    assert 2 == breaker.get_metrics().would_have_rejected


def test_every_way_of_calling_passes(clock):
    """Permits, calls, guards and decorated functions, sync or not."""
    breaker = observing(clock)
    breaker.force_open()

    def guarded() -> None:
        with breaker.guard():
            pass

    async def everything() -> None:
        await breaker.call(ok_async)
        await breaker.call(ok_later())
        await breaker(ok_later)()
        async with breaker.guard():
            pass

    breaker.call_sync(ok)
    breaker(ok)()
    guarded()
    assert breaker.try_acquire() is not None
    run(everything())
    assert 8 == breaker.get_metrics().would_have_rejected
    for act in (lambda: breaker.call_sync(fail), lambda: run(_call(breaker, fail_async))):
        with pytest.raises(Boom):
            act()
    assert State.OPEN is breaker.state


async def _call(breaker: CircuitBreaker, operation) -> object:
    return await breaker.call(operation)


def test_a_fallback_has_nothing_to_answer(clock):
    """There is no rejection; a failure is still answered."""
    breaker = observing(clock)
    breaker.force_open()
    view = breaker.with_fallback(lambda error: type(error).__name__)
    assert "ok" == view.call_sync(ok)
    assert "Boom" == view.call_sync(fail)


def test_the_timeout_holds():
    """It limits the call and is no rejection: of a call that would have been rejected, too."""
    breaker = observing(None, timeout=0.01)
    breaker.force_open()

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(_sleep)

    run(main())
    assert (1, 1) == (breaker.get_metrics().timed_out_calls, breaker.get_metrics().would_have_rejected)


async def _sleep() -> None:
    import asyncio

    await asyncio.sleep(60)


def test_disabled_would_reject_nothing(clock):
    """It counts nothing either."""
    breaker = observing(clock)
    breaker.disable()
    succeed(breaker, 5)
    assert {} == counted(breaker)


def test_from_watching_to_enforcing(clock):
    """One ``reconfigure`` later the same state rejects."""
    breaker = observing(clock)
    trip(breaker)
    observed = breaker.acquire()
    breaker.reconfigure(breaker.config.replace(mode="enforce"))
    assert breaker.try_acquire() is None
    observed.success()
    assert (1, 1) == (breaker.get_metrics().would_have_rejected, breaker.get_metrics().rejected_calls)


@pytest.mark.parametrize("value", ["Observe", "observe ", "", "off", None, True, 1, b"observe", ["observe"]])
def test_modes_that_there_are_not_are_refused(value):
    """The error names the field, both modes and the value."""
    with pytest.raises(ValueError, match=r'^mode must be "enforce" or "observe", not '):
        CircuitBreakerConfig(mode=value)
