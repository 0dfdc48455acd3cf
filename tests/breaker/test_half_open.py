"""HALF_OPEN: a few probes pass and decide."""

import asyncio

import pytest

from helpers import counted, fail_async, run, trip
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.testing import ManualClock


def made_half_open(clock, **config):
    """Return a breaker that is HALF_OPEN with every probe free."""
    breaker = CircuitBreaker("q", CircuitBreakerConfig(**{"failure_threshold": 1, **config}), clock=clock)
    trip(breaker)
    clock.advance(breaker.config.reset_timeout)
    breaker.acquire().release()
    breaker.reset_metrics()
    assert breaker.state is State.HALF_OPEN
    return breaker


def probes(breaker):
    """Take every permit that there is."""
    return list(iter(breaker.try_acquire, None))


def test_enough_successes_close(half_opened):
    half_opened.acquire().success()
    assert half_opened.get_state() == "HALF_OPEN (successes: 1)"
    half_opened.acquire().success()
    assert half_opened.get_state() == "CLOSED (failures: 0)"


def test_any_failure_opens_again(half_opened):
    half_opened.acquire().success()
    half_opened.acquire().failure(ValueError("still down"))
    assert half_opened.state is State.OPEN
    assert half_opened.last_failure == "ValueError: still down"
    assert half_opened.get_metrics().times_opened == 2


def test_the_reset_timeout_counts_anew_after_a_failed_probe(half_opened, clock):
    clock.advance(10)
    half_opened.acquire().failure()
    clock.advance(59.9)
    assert half_opened.try_acquire() is None
    clock.advance(0.1)
    assert half_opened.try_acquire() is not None


def test_successes_of_an_earlier_half_open_do_not_count(half_opened, clock):
    half_opened.acquire().success()
    half_opened.acquire().failure()
    clock.advance(60)
    half_opened.acquire().success()
    assert half_opened.get_state() == "HALF_OPEN (successes: 1)"


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"success_threshold": 1}, 1),
        ({"success_threshold": 3}, 3),
        ({"success_threshold": 100}, 16),
        ({"success_threshold": 3, "half_open_max_calls": 1}, 1),
        ({"success_threshold": 1, "half_open_max_calls": 16}, 16),
    ],
)
def test_half_open_admits_a_limited_number_of_probes_at_a_time(clock, config, limit):
    """``half_open_max_calls``, by default the success threshold, at most 16."""
    assert len(probes(made_half_open(clock, **config))) == limit


def test_every_other_call_is_rejected_as_half_open(half_opened):
    held = probes(half_opened)
    with pytest.raises(CircuitOpenError) as caught:
        half_opened.acquire()
    assert caught.value.state is State.HALF_OPEN
    assert caught.value.retry_after == 30.0
    assert "is OPEN" in str(caught.value)
    assert "every probe is out" in str(caught.value)
    assert len(held) == 2


def test_100_callers_at_the_reset_give_exactly_the_allowed_probes(opened, clock):
    """No stampede: one HALF_OPEN, two probes, 98 rejections."""
    clock.advance(60)

    async def stampede():
        gate = asyncio.Event()
        calls = [asyncio.create_task(opened.call(gate.wait)) for _ in range(100)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*calls, return_exceptions=True)

    results = run(stampede())
    assert sum(result is True for result in results) == 2
    assert sum(isinstance(result, CircuitOpenError) for result in results) == 98
    assert opened.state is State.CLOSED
    assert opened.get_metrics().times_half_opened == 1


def test_an_abandoned_probe_gives_its_slot_back(half_opened):
    held = probes(half_opened)
    held[0].release()
    assert half_opened.get_state() == "HALF_OPEN (successes: 0)"
    assert len(probes(half_opened)) == 1


def test_a_successful_probe_gives_its_slot_back(clock):
    breaker = made_half_open(clock, success_threshold=3, half_open_max_calls=1)
    for successes in range(3):
        assert breaker.get_state() == f"HALF_OPEN (successes: {successes})"
        (probe,) = probes(breaker)
        probe.success()
    assert breaker.state is State.CLOSED


def test_a_dropped_probe_gives_its_slot_back(half_opened):
    probes(half_opened)
    assert len(probes(half_opened)) == 2


def test_a_cancelled_probe_gives_its_slot_back(half_opened):
    async def main():
        task = asyncio.create_task(half_opened.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        held = probes(half_opened)
        assert len(held) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(probes(half_opened)) == 1
        del held

    run(main())
    assert half_opened.state is State.HALF_OPEN


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_a_base_exception_in_a_probe_says_nothing(half_opened, error):
    def interrupted():
        raise error

    with pytest.raises(error):
        half_opened.call_sync(interrupted)
    assert half_opened.get_state() == "HALF_OPEN (successes: 0)"
    assert len(probes(half_opened)) == 2


def test_an_ignored_exception_in_a_probe_says_nothing(clock):
    breaker = made_half_open(clock, ignore=KeyError, success_threshold=1)
    with pytest.raises(KeyError):
        breaker.call_sync({}.__getitem__, "missing")
    assert breaker.get_state() == "HALF_OPEN (successes: 0)"
    assert len(probes(breaker)) == 1


def test_an_exception_outside_record_only_in_a_probe_is_a_success(clock):
    breaker = made_half_open(clock, record_only=OSError, success_threshold=1)
    with pytest.raises(KeyError):
        breaker.call_sync({}.__getitem__, "missing")
    assert breaker.state is State.CLOSED


def test_a_failing_awaited_probe_opens_again(half_opened):
    with pytest.raises(Exception, match="boom"):
        run(half_opened.call(fail_async))
    assert half_opened.state is State.OPEN


def test_a_hung_probe_loses_its_slot_when_its_lease_is_over(half_opened, clock):
    """The lease of a probe is its timeout."""
    hung = probes(half_opened)
    clock.advance(29.9)
    assert half_opened.try_acquire() is None
    clock.advance(0.1)
    assert len(probes(half_opened)) == 2
    assert len(hung) == 2


def test_without_a_timeout_a_lease_is_the_reset_timeout(clock):
    breaker = made_half_open(clock, timeout=None, reset_timeout=7.0, success_threshold=1)
    hung = probes(breaker)
    clock.advance(6.9)
    assert breaker.try_acquire() is None
    clock.advance(0.1)
    assert breaker.try_acquire() is not None
    assert len(hung) == 1


def test_a_rejection_tells_when_the_first_lease_ends(half_opened, clock):
    first = half_opened.acquire()
    clock.advance(10)
    second = half_opened.acquire()
    with pytest.raises(CircuitOpenError) as caught:
        half_opened.acquire()
    assert caught.value.retry_after == 20.0
    first.release()
    second.release()


def test_a_probe_that_lost_its_slot_still_counts(half_opened, clock):
    """Its generation is current, so its word on the dependency is welcome; its slot is another's by now."""
    slow = probes(half_opened)
    clock.advance(30)
    fast = probes(half_opened)
    slow[0].success()
    assert half_opened.get_state() == "HALF_OPEN (successes: 1)"
    assert half_opened.try_acquire() is None
    slow[1].failure()
    assert half_opened.state is State.OPEN
    assert "late_calls" not in counted(half_opened)
    assert len(fast) == 2


def test_a_probe_that_lost_its_slot_does_not_free_the_next_holders(clock):
    breaker = made_half_open(clock, success_threshold=5, half_open_max_calls=1, timeout=30.0)
    slow = breaker.acquire()
    clock.advance(30)
    fast = breaker.acquire()
    slow.release()
    assert breaker.try_acquire() is None
    fast.release()
    assert breaker.try_acquire() is not None


def test_it_can_never_be_stuck():
    """However many probes hang, each lease ends, and the next probe decides."""
    clock = ManualClock()
    breaker = made_half_open(clock, success_threshold=1)
    held = []
    for _ in range(50):
        held += probes(breaker)
        clock.advance(30)
    breaker.acquire().success()
    assert breaker.state is State.CLOSED
    assert len(held) == 50
