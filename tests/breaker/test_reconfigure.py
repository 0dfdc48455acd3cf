"""Another configuration while calls are on their way: at once, for every call, and nothing else changes."""

import asyncio
import gc
import sys
import weakref

import pytest

from helpers import Boom, counted, fail, fail_times, ok, ok_later, run, succeed, trip
from switchgear import (
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    State,
)
from switchgear.recovery import Backoff, Ramp
from switchgear.rules import Calls, ChangeDetection, ConsecutiveFailures, FailureRate, SlowCallRate
from switchgear.state import Outcome
from switchgear.throttling import AdaptiveThrottle


def change(breaker: CircuitBreaker, **changes: object) -> None:
    breaker.reconfigure(breaker.config.replace(**changes))


def test_the_configuration_is_the_new_one(breaker):
    """Whoever asks for it gets the object that was given."""
    config = CircuitBreakerConfig.conservative()
    breaker.reconfigure(config)
    assert breaker.config is config


@pytest.mark.parametrize("wrong", [None, {}, 3, CircuitBreakerConfig, "aggressive"])
def test_anything_else_is_refused_and_changes_nothing(breaker, wrong):
    """TypeError, by the type that it was."""
    before = breaker.config
    with pytest.raises(TypeError, match=f"config must be a CircuitBreakerConfig, not {type(wrong).__name__}"):
        breaker.reconfigure(wrong)
    assert breaker.config is before


def test_nobody_is_notified(breaker):
    """No state has changed."""
    trip(breaker)
    heard = []
    breaker.on_transition(heard.append)
    breaker.reconfigure(CircuitBreakerConfig.aggressive())
    assert ([], 1) == (heard, len(breaker.history()))


def test_failures_stay_where_the_rule_stays(breaker):
    """The level goes on; so does what else is not of the rule."""
    fail_times(breaker, 2)
    change(breaker, timeout=5.0, reset_timeout=1.0)
    assert "CLOSED (failures: 2)" == breaker.get_state()
    fail_times(breaker, 1)
    assert 1.0 == breaker.history()[-1].retry_after


@pytest.mark.parametrize("changes", [{"failure_threshold": 4}, {"trip": ChangeDetection()}])
def test_failures_are_forgotten_where_the_rule_is_another(breaker, changes):
    """What a level means depends on its rule."""
    fail_times(breaker, 2)
    change(breaker, **changes)
    assert "CLOSED (failures: 0)" == breaker.get_state()


def test_a_threshold_below_what_has_failed_trips_nothing_by_itself(breaker):
    """The level begins at 0: a breaker does not open because somebody turned a knob."""
    fail_times(breaker, 2)
    change(breaker, failure_threshold=1)
    assert State.CLOSED is breaker.state
    fail_times(breaker, 1)
    assert State.OPEN is breaker.state


def test_a_rule_that_is_said_otherwise_is_the_same_rule(breaker):
    """``trip=ConsecutiveFailures(3)`` is what ``failure_threshold=3`` means."""
    fail_times(breaker, 2)
    change(breaker, trip=ConsecutiveFailures(3))
    assert "CLOSED (failures: 2)" == breaker.get_state()


def test_windows_begin_empty(clock):
    """Also where they are of the same rule: what they hold may have been measured otherwise."""
    rule = FailureRate(0.5, window=Calls(4), minimum_calls=4)
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(trip=rule), clock=clock)
    fail_times(breaker, 3)
    change(breaker, timeout=1.0)
    fail_times(breaker, 3)
    assert State.CLOSED is breaker.state
    fail_times(breaker, 1)
    assert "failure rate 100.0% (4 of 4 calls) reached 50%" == breaker.history()[-1].why


def test_the_deadline_of_open_stays(opened, clock):
    """A spell that has begun ends when it was to end; the next one lasts what is configured then."""
    clock.advance(20)
    change(opened, reset_timeout=5.0)
    with pytest.raises(CircuitOpenError) as caught:
        opened.acquire()
    assert 40.0 == caught.value.retry_after
    clock.advance(40)
    opened.acquire().failure()
    assert 5.0 == opened.history()[-1].retry_after


def test_probes_keep_their_successes(half_opened):
    """Of the new number of them."""
    half_opened.acquire().success()
    assert "HALF_OPEN (successes: 1)" == half_opened.get_state()
    change(half_opened, success_threshold=3)
    half_opened.acquire().success()
    assert State.HALF_OPEN is half_opened.state
    half_opened.acquire().success()
    assert State.CLOSED is half_opened.state


def test_fewer_successes_than_there_were_close_with_the_next(half_opened):
    """It is the verdict that closes, and not the operator."""
    change(half_opened, success_threshold=5)
    succeed(half_opened, 3)
    change(half_opened, success_threshold=2)
    assert State.HALF_OPEN is half_opened.state
    succeed(half_opened)
    assert State.CLOSED is half_opened.state


@pytest.mark.parametrize(("slots", "more"), [(1, 0), (2, 0), (3, 1), (16, 14)])
def test_probes_in_flight_keep_their_slots(half_opened, slots, more):
    """More slots let more probes go; fewer let none go until there is room."""
    kept = [half_opened.acquire(), half_opened.acquire()]
    change(half_opened, half_open_max_calls=slots, success_threshold=20)
    others = [permit for _ in range(20) if (permit := half_opened.try_acquire())]
    assert more == len(others)
    for permit in kept + others:
        permit.success()
    assert 2 + more == half_opened.get_metrics().successful_calls
    assert 0 == half_opened.get_metrics().late_calls


def test_disabled_stays_disabled(breaker):
    """The state is the operator's."""
    breaker.disable()
    change(breaker, mode="observe", max_concurrent=1)
    succeed(breaker, 3)
    assert (State.DISABLED, {}) == (breaker.state, counted(breaker))


def test_counters_stay(breaker):
    """All of them, through a change of everything."""
    fail_times(breaker, 2)
    succeed(breaker, 3)
    before = breaker.get_metrics()
    breaker.reconfigure(
        CircuitBreakerConfig(
            trip=FailureRate(),
            ramp=Ramp(),
            throttle=AdaptiveThrottle(),
            max_concurrent=3,
            mode="observe",
            backoff=Backoff(),
            half_open_max_wait=1.0,
        )
    )
    assert before == breaker.get_metrics()


def test_calls_in_flight_settle_by_the_new_rules(breaker):
    """They are no more late than the configuration is a state."""
    permits = [breaker.acquire() for _ in range(3)]
    change(breaker, failure_threshold=2)
    for permit in permits[:2]:
        permit.failure()
    assert State.OPEN is breaker.state
    permits[2].success()
    assert 1 == breaker.get_metrics().late_calls


def test_exceptions_are_judged_by_the_configuration_that_holds_when_they_come(breaker):
    """The call began when all of them were failures."""

    def ignore_from_now_on() -> None:
        change(breaker, ignore=Boom)
        fail()

    with pytest.raises(Boom):
        breaker.call_sync(ignore_from_now_on)
    assert {"total_calls": 1, "ignored_calls": 1} == counted(breaker)


def test_attempts_stay_where_something_remembers_them(clock):
    """The backoff goes on with another multiplier."""
    config = CircuitBreakerConfig(1, 1, reset_timeout=10.0, backoff=Backoff(2.0, jitter=0.0))
    breaker = CircuitBreaker("quotes", config, clock=clock)
    fail_times(breaker, 1)
    clock.advance(10)
    fail_times(breaker, 1)
    change(breaker, backoff=Backoff(3.0, jitter=0.0))
    clock.advance(20)
    fail_times(breaker, 1)
    assert 90.0 == breaker.history()[-1].retry_after


def test_a_ramp_goes_on_where_it_is(clock):
    """With the steps of the new one, since its own first call."""
    config = CircuitBreakerConfig(3, 1, None, 10.0, ramp=Ramp((0.1, 0.2), step=10.0, seed=1))
    breaker = CircuitBreaker("quotes", config, clock=clock)
    breaker.force_open(for_=10.0)
    clock.advance(10)
    succeed(breaker)
    breaker.try_acquire()
    clock.advance(6)
    change(breaker, ramp=Ramp((0.3, 0.4, 0.5), step=5.0, seed=1))
    assert "HALF_OPEN (ramp: 40%)" == breaker.get_state()


@pytest.mark.parametrize("rest", [{}, {"trip": FailureRate()}, {"max_concurrent": 9}, {"mode": "observe"}], ids=str)
def test_a_ramp_that_is_taken_away_is_over(clock, rest):
    """Whatever else the configuration has: the next call finds the breaker CLOSED."""
    config = CircuitBreakerConfig(3, 1, None, 10.0, ramp=Ramp((0.1,), seed=1), **rest)
    breaker = CircuitBreaker("quotes", config, clock=clock)
    breaker.force_open(for_=10.0)
    clock.advance(10)
    succeed(breaker)
    change(breaker, ramp=None)
    assert "HALF_OPEN (successes: 0)" == breaker.get_state()
    succeed(breaker)
    assert (State.CLOSED, "the ramp is over") == (breaker.state, breaker.history()[-1].why)


def test_a_ramp_that_is_added_is_for_the_next_probes(half_opened):
    """Those that are out lead to it when they succeed."""
    change(half_opened, ramp=Ramp((0.5,), seed=1))
    assert "HALF_OPEN (successes: 0)" == half_opened.get_state()
    succeed(half_opened, 2)
    assert "HALF_OPEN (ramp: 50%)" == half_opened.get_state()


def test_places_stay_taken(breaker):
    """A larger bulkhead has its new places free, one that is taken away and set again begins empty."""
    change(breaker, max_concurrent=2)
    kept = [breaker.acquire(), breaker.acquire()]
    change(breaker, max_concurrent=3)
    third = breaker.acquire()
    assert breaker.try_acquire() is None
    change(breaker, max_concurrent=None)
    change(breaker, max_concurrent=1)
    other = breaker.acquire()
    assert breaker.try_acquire() is None
    other.success()
    for permit in [*kept, third]:
        permit.success()
    breaker.acquire().success()
    assert 5 == breaker.get_metrics().successful_calls


def test_a_smaller_bulkhead_lets_nobody_in_before_there_are_fewer_calls_than_it_takes(breaker):
    """Those in flight go on and count, in whichever order they end; growing again in between changes nothing of it."""
    change(breaker, max_concurrent=4)
    first, second, third, fourth = (breaker.acquire() for _ in range(4))
    change(breaker, max_concurrent=1)
    second.success()
    change(breaker, max_concurrent=2)
    first.success()
    assert breaker.try_acquire() is None
    fourth.success()
    fifth = breaker.acquire()
    assert breaker.try_acquire() is None
    change(breaker, max_concurrent=1)
    third.success()
    assert breaker.try_acquire() is None
    fifth.success()
    breaker.acquire().success()
    assert breaker.try_acquire() is not None


def test_calls_of_a_bulkhead_that_was_taken_out_leave_nothing_of_the_next_one(breaker):
    """With no time between them, the old call and the new one have leases that are alike."""
    change(breaker, max_concurrent=1)
    old = breaker.acquire()
    change(breaker, max_concurrent=None)
    change(breaker, max_concurrent=1)
    new = breaker.acquire()
    old.success()
    assert breaker.try_acquire() is None
    new.success()
    breaker.acquire().success()


def test_durations_of_what_another_configuration_leased_are_not_known(clock):
    """A lease tells how long a call took by its own length: with another one the call is neither slow nor fast."""
    rule = SlowCallRate(0.5, slower_than=1.0, window=Calls(4), minimum_calls=2)
    config = CircuitBreakerConfig(trip=rule, timeout=100.0, max_concurrent=5)
    breaker = CircuitBreaker("quotes", config, clock=clock)
    permits = [breaker.acquire() for _ in range(3)]
    clock.advance(10)
    change(breaker, timeout=500.0)
    for permit in permits:
        permit.success()
    assert State.CLOSED is breaker.state
    for _ in range(2):
        permit = breaker.acquire()
        clock.advance(2)
        permit.success()
    assert State.OPEN is breaker.state
    assert "2 of 2 calls" in (breaker.history()[-1].why or "")


@pytest.mark.parametrize("places", [None, 10])
def test_calls_in_flight_are_as_slow_as_they_are_where_leases_keep_their_length(clock, places):
    """What else is changed leaves the durations known: of calls with a place in a bulkhead, and of probes."""
    rule = SlowCallRate(0.5, slower_than=1.0, window=Calls(4), minimum_calls=2)
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(trip=rule, max_concurrent=places), clock=clock)
    permits = [breaker.acquire() for _ in range(2)]
    clock.advance(10)
    change(breaker, success_threshold=3)
    for permit in permits:
        permit.success()
    assert State.OPEN is breaker.state
    clock.advance(60)
    probe = breaker.acquire()
    clock.advance(10)
    change(breaker, reset_timeout=20.0)
    probe.success()
    assert State.OPEN is breaker.state
    assert "a probe was slow" == breaker.history()[-1].why


def test_calls_from_before_there_was_a_rule_about_slow_ones_are_left_out_of_it(breaker):
    """Nobody took the time when they began."""
    permits = [breaker.acquire() for _ in range(4)]
    change(breaker, trip=SlowCallRate(1.0, slower_than=1.0, window=Calls(2), minimum_calls=2))
    for permit in permits:
        permit.success()
    assert State.CLOSED is breaker.state


def test_the_timeout_of_a_call_is_that_of_its_first_suspension():
    """One that waits already keeps the limit that it has, whatever comes; its error says which that was."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=0.02))

    async def main() -> None:
        for later in (None, 1000.0):
            task = asyncio.ensure_future(_call(breaker, asyncio.sleep, 60))
            await asyncio.sleep(0)
            change(breaker, timeout=later)
            with pytest.raises(CallTimeoutError, match=r"timed out after 0\.02s"):
                await task
            change(breaker, timeout=0.02)

    run(main())
    assert 2 == breaker.get_metrics().timed_out_calls


async def _call(breaker: CircuitBreaker, *arguments: object) -> object:
    return await breaker.call(*arguments)


def test_a_call_that_has_not_suspended_gets_the_limit_that_is_set_then():
    """Made, and even running: what counts is the moment from which it is limited."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=None))

    async def limited() -> None:
        change(breaker, timeout=0.01)
        await asyncio.sleep(60)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(limited)
        change(breaker, timeout=None)
        made = breaker.call(asyncio.sleep, 60)
        decorated = breaker(lambda: asyncio.sleep(60))()
        change(breaker, timeout=0.01)
        for call in (made, decorated):
            with pytest.raises(CallTimeoutError):
                await call

    run(main())


def test_a_limit_that_is_taken_away_before_a_call_suspends_limits_nothing():
    """There is none any more."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=0.001))

    async def main() -> None:
        made = breaker.call(asyncio.sleep, 0.02, "slept")
        change(breaker, timeout=None)
        assert "slept" == await made

    run(main())


def test_the_timeout_of_a_guard_is_that_of_its_entry():
    """The body that has begun keeps it."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=0.02))

    async def main() -> None:
        with pytest.raises(CallTimeoutError, match=r"timed out after 0\.02s"):
            async with breaker.guard():
                change(breaker, timeout=None)
                await asyncio.sleep(60)
        async with breaker.guard():
            change(breaker, timeout=0.0001)
            await asyncio.sleep(0.01)

    run(main())
    assert (1, 1) == (breaker.get_metrics().timed_out_calls, breaker.get_metrics().successful_calls)


def test_steps_of_a_generator_have_the_limit_of_their_moment():
    """Each step is limited by what holds when it suspends."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=None))

    @breaker
    async def numbers():
        yield 1
        await asyncio.sleep(60)

    async def main() -> None:
        iterator = numbers()
        assert 1 == await anext(iterator)
        change(breaker, timeout=0.01)
        with pytest.raises(CallTimeoutError):
            await anext(iterator)

    run(main())


def test_listeners_may_reconfigure(clock):
    """In the middle of a trip: the event tells of the trip, and the next call meets the new configuration."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(2, 1, reset_timeout=10.0), clock=clock)

    @breaker.on_transition
    def harden(event):
        change(breaker, failure_threshold=1, reset_timeout=breaker.config.reset_timeout * 2)

    fail_times(breaker, 2)
    assert ("2 consecutive failures", 10.0) == (breaker.history()[0].why, breaker.history()[0].retry_after)
    clock.advance(10)
    fail_times(breaker, 1)
    assert 40.0 == breaker.history()[-1].retry_after


def test_a_listener_may_reconfigure_what_admits(clock):
    """During the arrival that begins to probe: the probe goes out, and settles by the new configuration."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1, 2, reset_timeout=10.0), clock=clock)
    fail_times(breaker, 1)
    clock.advance(10)
    breaker.on_transition(lambda event: change(breaker, success_threshold=1, ramp=Ramp((0.5,)), max_concurrent=1))
    breaker.acquire().success()
    assert "HALF_OPEN (ramp: 50%)" == breaker.get_state()


@pytest.mark.parametrize("times", [1, 5000])
def test_judges_may_reconfigure_from_inside(times):
    """``is_failure`` and ``classify`` that replace the very configuration that they are of, and are freed by it, and
    collected while they run: nothing dangles, and nothing is left.
    """
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000))
    gone: list[weakref.ref[object]] = []

    class Judge:
        """A callable of its own each time, that only the configuration holds."""

        def __init__(self) -> None:
            gone.append(weakref.ref(self))

        def __call__(self, subject: object) -> bool | Outcome | None:
            breaker.reconfigure(new())
            if times == 1:
                gc.collect()
            return None if isinstance(subject, Exception) else False

    def new() -> CircuitBreakerConfig:
        return CircuitBreakerConfig(1_000_000, is_failure=Judge(), classify=Judge(), ignore=(KeyError,))

    for _ in range(times):
        breaker.call_sync(ok)
        with pytest.raises(Boom):
            breaker.call_sync(fail)
        breaker.acquire().failure(Boom())
        with pytest.raises(Boom), breaker.guard():
            fail()
        run_by_hand(breaker.call(ok))
    breaker.reconfigure(CircuitBreakerConfig())
    gc.collect()
    assert [] == [judge for judge in gone if judge() is not None]
    assert (2 * times, 3 * times) == breaker.get_metrics()[1:3]


def run_by_hand(call) -> object:
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    return stop.value.value


def test_finalizers_of_what_is_replaced_may_reconfigure():
    """What goes with a configuration may run code, which may replace the configuration once more."""
    breaker = CircuitBreaker("quotes")
    left = [50]

    class Judge:
        def __call__(self, result: object) -> bool:
            return False

        def __del__(self) -> None:
            if left[0]:
                left[0] -= 1
                breaker.reconfigure(CircuitBreakerConfig(is_failure=Judge()))
                breaker.call_sync(ok)

    breaker.reconfigure(CircuitBreakerConfig())
    breaker.reconfigure(CircuitBreakerConfig(is_failure=Judge()))
    breaker.reconfigure(CircuitBreakerConfig())
    gc.collect()
    for _ in range(60):
        breaker.reconfigure(CircuitBreakerConfig())
    assert ([0], 50) == (left, breaker.get_metrics().successful_calls)


def test_a_judge_that_goes_while_the_exceptions_text_is_made(clock):
    """``__str__`` and ``retry_after`` of the exception that trips run in the middle of it, too."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1, backoff=Backoff(jitter=0.0)), clock=clock)

    class Rude(Exception):
        @property
        def retry_after(self) -> float:
            change(breaker, classify=lambda error: None)
            return 100.0

        def __str__(self) -> str:
            change(breaker, classify=lambda error: None, timeout=None)
            gc.collect()
            return "rude"

    def raise_it() -> None:
        raise Rude

    with pytest.raises(Rude):
        breaker.call_sync(raise_it)
    assert ("Rude: rude", 100.0) == (breaker.last_failure, breaker.history()[-1].retry_after)


def test_nothing_is_left_of_thousands_of_configurations(clock):
    """Replacing costs no reference and no memory, whatever the configuration holds."""
    rules = (FailureRate(), SlowCallRate(slower_than=1.0), ChangeDetection())
    configs = [
        CircuitBreakerConfig(),
        CircuitBreakerConfig(trip=rules, is_failure=ok, classify=ok, ignore=(KeyError,), record_only=(OSError,)),
        CircuitBreakerConfig(ramp=Ramp(), throttle=AdaptiveThrottle(), max_concurrent=100, backoff=Backoff()),
    ]
    breaker = CircuitBreaker("quotes", configs[0], clock=clock)
    watched = [*configs, *rules, ok, configs[1].ignore, configs[1].record_only, breaker]

    def replace(times: int) -> tuple[int, list[int]]:
        for turn in range(times):
            breaker.reconfigure(configs[turn % 3])
        gc.collect()
        return sys.getallocatedblocks(), [sys.getrefcount(each) for each in watched]

    replace(300)
    blocks, references = replace(3)
    blocks_later, references_later = replace(6000)
    assert references == references_later
    assert blocks_later - blocks < 600


def test_a_cycle_through_a_later_configuration_is_collected():
    """The collector sees what replaced the first configuration as it sees the first."""

    def make() -> "weakref.ref[CircuitBreaker]":
        held: list[object] = []
        breaker = CircuitBreaker("quotes")
        held.append(breaker)
        breaker.reconfigure(CircuitBreakerConfig(is_failure=lambda result: held))
        breaker.reconfigure(CircuitBreakerConfig(is_failure=lambda result: held, classify=lambda error: held))
        return weakref.ref(breaker)

    gone = make()
    gc.collect()
    gc.collect()
    assert gone() is None


def test_a_call_in_flight_outlives_its_breakers_name_and_configuration():
    """The call holds the breaker, and with it what it settles by."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=None, is_failure=lambda result: True))
    call = breaker.call(ok_later)
    call.send(None)
    breaker.reconfigure(CircuitBreakerConfig(timeout=None, is_failure=lambda result: result == "ok"))
    gone = weakref.ref(breaker)
    del breaker
    gc.collect()
    assert "ok" == run_by_hand(call)
    del call
    gc.collect()
    assert gone() is None


def test_the_registry_compares_with_the_configuration_that_holds(caplog):
    """``get_or_create`` warns of what differs from the present one, not from the first."""
    registry = CircuitBreakerRegistry()
    first, second = CircuitBreakerConfig(3), CircuitBreakerConfig(4)
    breaker = registry.get_or_create("quotes", first)
    breaker.reconfigure(second)
    assert breaker is registry.get_or_create("quotes", CircuitBreakerConfig(4))
    assert [] == caplog.records
    assert breaker is registry.get_or_create("quotes", first)
    assert "keeps its configuration" in caplog.text
    assert breaker.config is second


def test_a_subclass_of_the_breaker_and_of_the_configuration(clock):
    """Both may be derived; a subclass may watch."""

    class Config(CircuitBreakerConfig):
        pass

    class Breaker(CircuitBreaker):
        def reconfigure(self, config: CircuitBreakerConfig) -> None:
            self.seen = config
            super().reconfigure(config)

    breaker = Breaker("quotes", clock=clock)
    config = Config(1)
    breaker.reconfigure(config)
    fail_times(breaker, 1)
    assert (config, config, State.OPEN) == (breaker.seen, breaker.config, breaker.state)


def test_a_decorated_function_and_a_view_follow(breaker):
    """They hold the breaker, not its configuration."""
    protected, view = breaker(ok), breaker.with_fallback(lambda error: "fallback")
    change(breaker, is_failure=lambda result: True, failure_threshold=1)
    assert "ok" == protected()
    assert "fallback" == view.call_sync(ok)
    assert State.OPEN is breaker.state
