"""SlowCallRate: too many calls, whatever they brought, took too long on the breaker's clock."""

import asyncio

import pytest

from helpers import Boom, counted, run
from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig, State
from switchgear.rules import Calls, ConsecutiveFailures, FailureRate, Seconds, SlowCallRate

RULE = SlowCallRate(0.5, slower_than=2.0, window=Calls(4), minimum_calls=2)


@pytest.fixture
def make(clock):
    def make(*rules, success_threshold=2, **config):
        settings = {"success_threshold": success_threshold, "timeout": 30.0, "reset_timeout": 60.0, **config}
        return CircuitBreaker("quotes", CircuitBreakerConfig(trip=rules or RULE, **settings), clock=clock)

    return make


@pytest.fixture
def take(clock):
    """Return a call of so many seconds: ``take(breaker, 2.5)`` succeeds, ``take(breaker, 2.5, Boom())`` fails."""

    def take(breaker, seconds, error=None):
        permit = breaker.acquire()
        clock.advance(seconds)
        permit.success() if error is None else permit.failure(error)

    return take


def test_slow_successes_trip(make, take):
    breaker = make()
    take(breaker, 0.1)
    take(breaker, 2.5)
    assert breaker.state is State.OPEN
    assert breaker.last_failure == "took 2.5s"
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 2, "times_opened": 1}


def test_slow_failures_trip(make, take):
    breaker = make()
    take(breaker, 0.1)
    take(breaker, 2.5, Boom("late"))
    assert breaker.state is State.OPEN
    assert breaker.last_failure == "Boom: late"


def test_quick_failures_are_not_slow(make, take):
    breaker = make()
    for _ in range(10):
        take(breaker, 0.1, Boom("soon"))
    assert breaker.get_state() == "CLOSED (failures: 0)"


def test_a_quick_success_that_completes_the_minimum_trips_and_is_not_blamed(make, take):
    breaker = make()
    take(breaker, 2.5)
    take(breaker, 0.1)
    assert breaker.state is State.OPEN
    assert breaker.last_failure is None


def test_a_call_has_to_take_longer_than_the_limit(make, take):
    breaker = make()
    for _ in range(4):
        take(breaker, 2.0)
    assert breaker.state is State.CLOSED
    take(breaker, 2.000000001)
    take(breaker, 2.000000001)
    assert breaker.state is State.OPEN


def test_only_calls_of_the_window_count(make, take):
    breaker = make()
    take(breaker, 0.1)
    for _ in range(10):
        for seconds in (0.1, 0.1, 0.1, 2.5):
            take(breaker, seconds)
    assert breaker.state is State.CLOSED


def test_a_window_of_time_takes_a_call_for_when_it_ended(make, take, clock):
    breaker = make(SlowCallRate(1.0, slower_than=2.0, window=Seconds(10), minimum_calls=2))
    take(breaker, 9.0)
    clock.advance(8.0)
    take(breaker, 2.5)
    assert breaker.state is State.CLOSED
    take(breaker, 5.0)
    assert breaker.state is State.OPEN


def test_calls_that_overlap_are_measured_each_on_its_own(make, clock):
    breaker = make()
    first = breaker.acquire()
    clock.advance(1.5)
    second = breaker.acquire()
    clock.advance(1.0)
    second.success()
    assert breaker.state is State.CLOSED
    first.success()
    assert breaker.state is State.OPEN


def test_every_kind_of_call_is_measured(make, clock):
    def work():
        clock.advance(2.5)
        return "ok"

    async def work_async():
        return work()

    def twice(call):
        breaker = make()
        for _ in range(2):
            call(breaker)
        assert breaker.state is State.OPEN
        assert breaker.get_metrics().successful_calls == 2

    twice(lambda breaker: breaker.call_sync(work))
    twice(lambda breaker: breaker(work)())
    twice(lambda breaker: run(breaker.call(work_async)))
    twice(lambda breaker: run(breaker.call(work)))
    twice(lambda breaker: run(breaker(work_async)()))

    def guarded(breaker):
        with breaker.guard():
            work()

    twice(guarded)


def test_an_awaited_argument_is_measured(make, clock):
    async def work():
        await asyncio.sleep(0)
        clock.advance(2.5)

    async def main():
        breaker = make()
        for _ in range(2):
            await breaker.call(work())
        return breaker.state

    assert run(main()) is State.OPEN


def test_an_ignored_call_is_not_measured(make, clock):
    breaker = make(ignore=KeyError)

    def work():
        clock.advance(2.5)
        raise KeyError

    for _ in range(5):
        with pytest.raises(KeyError):
            breaker.call_sync(work)
        permit = breaker.acquire()
        clock.advance(2.5)
        permit.release()
    assert breaker.state is State.CLOSED


def test_a_call_that_times_out_counts_by_the_breakers_clock(make, clock):
    breaker = make(SlowCallRate(1.0, slower_than=2.0, window=Calls(4), minimum_calls=1), timeout=0.01)

    async def hang():
        clock.advance(2.5)
        await asyncio.Event().wait()

    async def main():
        await breaker.call(hang)

    with pytest.raises(CallTimeoutError):
        run(main())
    assert breaker.state is State.OPEN
    assert breaker.last_failure == "timed out after 0.01s"


def test_a_slow_success_of_a_probe_opens_again(make, take, clock):
    """It counts as the success that it was, but is no sign of health."""
    breaker = make()
    take(breaker, 2.5)
    take(breaker, 2.5)
    breaker.reset_metrics()
    clock.advance(60)
    take(breaker, 2.5)
    assert breaker.get_state().startswith("OPEN")
    assert breaker.last_failure == "took 2.5s"
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1, "times_opened": 1, "times_half_opened": 1}


def test_quick_probes_close(make, take, clock):
    breaker = make()
    take(breaker, 2.5)
    take(breaker, 2.5)
    clock.advance(60)
    take(breaker, 2.0)
    assert breaker.get_state() == "HALF_OPEN (successes: 1)"
    take(breaker, 0.1)
    assert breaker.state is State.CLOSED


def test_the_strictest_of_the_rules_judges_probes(make, take, clock):
    breaker = make(
        SlowCallRate(1.0, slower_than=5.0, window=Calls(4), minimum_calls=4),
        ConsecutiveFailures(1),
        SlowCallRate(1.0, slower_than=1.0, window=Seconds(4), minimum_calls=4),
    )
    take(breaker, 0.0, Boom("down"))
    clock.advance(60)
    take(breaker, 1.5)
    assert breaker.get_state().startswith("OPEN")
    assert breaker.last_failure == "took 1.5s"


def test_without_a_rule_for_slow_calls_a_slow_probe_is_a_good_one(make, take, clock):
    breaker = make(FailureRate(1.0, window=Calls(4), minimum_calls=1), success_threshold=1)
    take(breaker, 100.0, Boom("down"))
    clock.advance(60)
    take(breaker, 29.0)
    assert breaker.state is State.CLOSED


def test_a_probe_that_lost_its_slot_is_slow_all_the_same(make, take, clock):
    breaker = make()
    take(breaker, 2.5)
    take(breaker, 2.5)
    clock.advance(60)
    take(breaker, 31.0)
    assert breaker.get_state().startswith("OPEN")


def test_disabled_nothing_is_measured(make, take):
    breaker = make()
    breaker.disable()
    for _ in range(5):
        take(breaker, 2.5)
    breaker.force_close()
    take(breaker, 2.5)
    assert breaker.state is State.CLOSED


def test_a_call_from_before_a_change_of_state_is_late(make, clock):
    breaker = make()
    early = [breaker.acquire() for _ in range(4)]
    clock.advance(5)
    breaker.reset()
    for permit in early:
        permit.success()
    assert breaker.state is State.CLOSED
    assert breaker.get_metrics().late_calls == 4


def test_the_event_tells_of_the_rate(make, take):
    breaker = make()
    events = []
    breaker.on_transition(events.append)
    take(breaker, 2.5)
    take(breaker, 0.1)
    assert "slow-call rate 50.0%" in events[0].why
