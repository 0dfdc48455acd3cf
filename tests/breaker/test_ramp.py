"""After its probes HALF_OPEN lets a growing part of the calls pass, step by step, and then closes."""

import itertools
import math

import pytest

from helpers import Boom, counted, fail, fail_times, ok, ok_later, run, succeed
from model import drawn
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.recovery import Backoff, Ramp
from switchgear.rules import Calls, FailureRate, SlowCallRate
from switchgear.testing import ManualClock

STEPS = (0.05, 0.25, 0.5)


def ramping(clock: ManualClock, ramp: Ramp | None = None, **settings: object) -> CircuitBreaker:
    """Return a breaker whose probes have succeeded; by default its ramp takes 5, 25 and 50 % for a second each."""
    settings = {"failure_threshold": 3, "success_threshold": 1, "timeout": None, "reset_timeout": 10.0} | settings
    ramp = Ramp(STEPS, step=1.0, seed=7) if ramp is None else ramp
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(ramp=ramp, **settings), clock=clock)
    breaker.force_open(for_=10.0)
    clock.advance(10.0)
    succeed(breaker, breaker.config.success_threshold)
    assert State.HALF_OPEN is breaker.state
    return breaker


def passing(breaker: CircuitBreaker, calls: int) -> list[bool]:
    """Ask for some calls, which succeed where they pass."""
    permits = [breaker.try_acquire() for _ in range(calls)]
    for permit in permits:
        if permit is not None:
            permit.success()
    return [permit is not None for permit in permits]


def pass_one(breaker: CircuitBreaker) -> None:
    """Ask until a call passes; it fails."""
    while (permit := breaker.try_acquire()) is None:
        pass
    permit.failure(Boom("boom"))


def test_the_steps_rise_with_time(clock):
    """Each step lasts ``step`` seconds, to the tick, and the first call after the last finds the breaker CLOSED."""
    breaker = ramping(clock)
    breaker.try_acquire()
    seen = []
    for _ in range(3):
        seen.append(breaker.get_state())
        clock.advance(0.9999)
        seen.append(breaker.get_state())
        clock.advance(0.0001)
    assert [f"HALF_OPEN (ramp: {part}%)" for part in (5, 5, 25, 25, 50, 50)] == seen
    breaker.acquire().success()
    assert "CLOSED (failures: 0)" == breaker.get_state()
    assert "the ramp is over" == breaker.history()[-1].why


def test_time_alone_closes_nothing(clock):
    """Past its last step a ramp goes on reading as that step until a call comes."""
    breaker = ramping(clock)
    breaker.try_acquire()
    clock.advance(1000)
    assert "HALF_OPEN (ramp: 50%)" == breaker.get_state()
    assert State.HALF_OPEN is breaker.state


def test_it_begins_with_the_first_call_after_the_probes(clock):
    """Without calls there is nothing to try, so the time before the first one is no part of a step."""
    breaker = ramping(clock)
    clock.advance(1000)
    assert "HALF_OPEN (ramp: 5%)" == breaker.get_state()
    breaker.try_acquire()
    clock.advance(0.9999)
    assert "HALF_OPEN (ramp: 5%)" == breaker.get_state()
    clock.advance(0.0001)
    assert "HALF_OPEN (ramp: 25%)" == breaker.get_state()


def test_who_passes_is_drawn_from_the_seed(clock):
    """The n-th call of the ramps passes where SplitMix64 of seed + n is below the step's part."""
    breaker = ramping(clock)
    numbers = itertools.count(7)
    for part in STEPS:
        assert [drawn(next(numbers)) < part for _ in range(200)] == passing(breaker, 200)
        clock.advance(1.0)
    assert [True] * 50 == passing(breaker, 50)


def test_the_next_ramp_goes_on_drawing(clock):
    """The number of the call counts through all ramps of a breaker, so that two ramps do not draw the same."""
    breaker = ramping(clock, Ramp((0.5,), step=1.0, seed=3))
    first = passing(breaker, 40)
    breaker.force_open(for_=10.0)
    clock.advance(10.0)
    succeed(breaker)
    assert [drawn(3 + call) < 0.5 for call in range(80)] == first + passing(breaker, 40)


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_seeds_go_round(clock, seed):
    """The seed is a number of 64 bits: past the largest comes 0."""
    breaker = ramping(clock, Ramp((0.5,), seed=seed))
    assert [drawn((seed + call) % 2**64) < 0.5 for call in range(50)] == passing(breaker, 50)


def test_without_a_seed_breakers_draw_for_themselves(clock):
    """Processes that restart together must not let the same calls pass."""
    draws = {tuple(passing(ramping(clock, Ramp((0.5,))), 64)) for _ in range(4)}
    assert 4 == len(draws)


def test_a_rejection_says_that_it_was_chance(clock):
    """Who is not of the part gets ``CircuitOpenError`` of HALF_OPEN, ``retry_after`` 0: the next call may pass."""
    breaker = ramping(clock, Ramp((1e-9,), seed=1))
    with pytest.raises(CircuitOpenError, match=r"'quotes' is OPEN to this call .*not its turn") as caught:
        breaker.call_sync(ok)
    assert (State.HALF_OPEN, 0.0) == (caught.value.state, caught.value.retry_after)
    assert {"rejected_calls": 1, "times_opened": 1, "times_half_opened": 1} == {
        name: count for name, count in counted(breaker).items() if name not in ("total_calls", "successful_calls")
    }


def test_a_single_failure_ends_no_ramp(clock):
    """The probes have succeeded: from here on the rules count as in CLOSED, and one success forgives."""
    breaker = ramping(clock, Ramp((0.9,), seed=1))
    for _ in range(2):
        pass_one(breaker)
    assert "HALF_OPEN (ramp: 90%)" == breaker.get_state()
    passing(breaker, 5)
    for _ in range(2):
        pass_one(breaker)
    assert State.HALF_OPEN is breaker.state
    pass_one(breaker)
    assert State.OPEN is breaker.state


def test_failures_of_a_ramp_are_forgotten_when_it_closes(clock):
    """CLOSED begins with nothing counted."""
    breaker = ramping(clock, Ramp((0.9,), step=1.0, seed=1))
    for _ in range(2):
        pass_one(breaker)
    clock.advance(1.0)
    fail_times(breaker, 2)
    assert "CLOSED (failures: 2)" == breaker.get_state()


@pytest.mark.parametrize("rule", [FailureRate(0.5, window=Calls(4), minimum_calls=4), None])
def test_a_rule_that_is_met_opens_as_a_failed_attempt(clock, rule):
    """The next open time has grown by the backoff, and the event names the rule, not a probe."""
    backoff = Backoff(2.0, max=600.0, jitter=0.0)
    breaker = ramping(clock, Ramp((0.9,), seed=1), backoff=backoff, trip=rule)
    while breaker.state is State.HALF_OPEN:
        pass_one(breaker)
    event = breaker.history()[-1]
    assert (State.HALF_OPEN, State.OPEN, 20.0) == (event.from_state, event.to_state, event.retry_after)
    assert event.why == ("failure rate 100.0% (4 of 4 calls) reached 50%" if rule else "3 consecutive failures")
    assert event.failures[-1] == "Boom: boom"


def test_a_slow_call_of_a_ramp_is_a_slow_call_and_no_failed_probe(clock):
    """In a ramp slowness counts by its rate; a slow probe reopens at once."""
    rule = SlowCallRate(1.0, slower_than=1.0, window=Calls(2), minimum_calls=2)
    breaker = ramping(clock, Ramp((0.9,), step=100.0, seed=1), trip=rule)
    for state in (State.HALF_OPEN, State.OPEN):
        while (permit := breaker.try_acquire()) is None:
            pass
        clock.advance(1.1)
        permit.success()
        assert state is breaker.state


def test_attempts_are_forgotten_only_once_it_has_stayed_closed(clock):
    """A ramp is a part of the attempt: a trip right after it goes on where the backoff was."""
    backoff = Backoff(2.0, max=600.0, jitter=0.0)
    breaker = ramping(clock, Ramp((0.9,), step=1.0, seed=1), backoff=backoff)
    for _ in range(3):
        pass_one(breaker)
    clock.advance(20.0)
    succeed(breaker)
    breaker.try_acquire()
    clock.advance(1.0)
    succeed(breaker)
    assert State.CLOSED is breaker.state
    fail_times(breaker, 3)
    assert 20.0 == breaker.history()[-1].retry_after


def test_probes_that_come_late_change_nothing(clock):
    """With the ramp the probes are over: a failure of one that hung neither counts in it nor ends it."""
    config = CircuitBreakerConfig(1, 1, None, 10.0, half_open_max_calls=3, ramp=Ramp((0.9,), seed=1))
    breaker = CircuitBreaker("quotes", config, clock=clock)
    breaker.force_open(for_=10.0)
    clock.advance(10.0)
    probes = [breaker.acquire() for _ in range(3)]
    for probe in probes[:2]:
        probe.success()
    probes[2].failure()
    assert "HALF_OPEN (ramp: 90%)" == breaker.get_state()
    assert (2, 1, 2) == (
        breaker.get_metrics().successful_calls,
        breaker.get_metrics().failed_calls,
        breaker.get_metrics().late_calls,
    )


def test_calls_of_a_ramp_that_is_over_are_late(clock):
    """The close raises the generation, as every change of state does."""
    breaker = ramping(clock, Ramp((0.9,), step=1.0, seed=1), failure_threshold=1)
    while (permit := breaker.try_acquire()) is None:
        pass
    clock.advance(1.0)
    breaker.acquire().success()
    permit.failure()
    assert (State.CLOSED, 1) == (breaker.state, breaker.get_metrics().late_calls)


def test_a_ramp_is_one_state_and_two_events(clock):
    """Listeners hear of HALF_OPEN once and of CLOSED at the end; the ramp's begin is no change of state."""
    breaker = ramping(clock)
    breaker.try_acquire()
    clock.advance(3.0)
    breaker.acquire().success()
    assert ["OPEN", "HALF_OPEN", "CLOSED"] == [str(event.to_state) for event in breaker.history()]
    assert 1 == breaker.get_metrics().times_half_opened
    assert [1, 2, 4] == [event.generation for event in breaker.history()]
    assert "'quotes': HALF_OPEN -> CLOSED, the ramp is over" == str(breaker.history()[-1])


@pytest.mark.parametrize(
    ("command", "state"),
    [("force_open", State.OPEN), ("force_close", State.CLOSED), ("disable", State.DISABLED), ("reset", State.CLOSED)],
)
def test_an_operator_ends_a_ramp(clock, command, state):
    """Commands mean in a ramp what they mean everywhere, and what was in flight is late."""
    breaker = ramping(clock, Ramp((0.9,), seed=1))
    while (permit := breaker.try_acquire()) is None:
        pass
    getattr(breaker, command)()
    assert (state, "an operator's command") == (breaker.state, breaker.history()[-1].why)
    permit.success()
    assert (state is not State.DISABLED) == breaker.get_metrics().late_calls
    if state is not State.OPEN:
        assert [True] * 20 == passing(breaker, 20)


def test_half_open_max_wait_is_for_probes_alone(clock):
    """A ramp has its verdicts already, so waiting ends none."""
    breaker = ramping(clock, half_open_max_wait=5.0)
    clock.advance(100)
    breaker.try_acquire()
    assert "HALF_OPEN (ramp: 5%)" == breaker.get_state()


def test_more_than_the_probes_may_be_in_flight(clock):
    """A ramp limits what begins, by chance, and not what is in flight at a time."""
    breaker = ramping(clock, Ramp((0.9,), seed=1), half_open_max_calls=1)
    permits = [permit for _ in range(50) if (permit := breaker.try_acquire())]
    assert len(permits) > 40


def test_every_way_of_calling_is_drawn(clock):
    """Calls, guards and decorated functions, sync or not, are drawn as permits are."""
    breaker = ramping(clock, Ramp((0.5,), step=1e6, seed=9))
    expected = iter([drawn(9 + call) < 0.5 for call in range(100)])

    def passes(act) -> bool:
        try:
            act()
        except CircuitOpenError:
            return False
        return True

    def guarded() -> None:
        with breaker.guard():
            pass

    async def guarded_async() -> None:
        async with breaker.guard():
            pass

    ways = (
        lambda: breaker.call_sync(ok),
        breaker(ok),
        guarded,
        lambda: run(breaker.call(ok_later)),
        lambda: run(breaker(ok_later)()),
        lambda: run(guarded_async()),
    )
    for _ in range(10):
        for way in ways:
            assert next(expected) == passes(way)


def test_a_listener_of_the_close_finds_no_ramp(clock):
    """A listener of the close may make a call itself: it finds CLOSED, and no ramp."""
    breaker = ramping(clock, Ramp((0.5,), step=1.0, seed=9))
    seen = []

    @breaker.on_transition
    def look(event):
        seen.append((breaker.get_state(), breaker.call_sync(ok)))

    breaker.try_acquire()
    clock.advance(1.0)
    with pytest.raises(Boom):
        breaker.call_sync(fail)
    assert [("CLOSED (failures: 0)", "ok")] == seen
    assert "CLOSED (failures: 1)" == breaker.get_state()


@pytest.mark.parametrize("step", [0.0001, 100_000_000.0])
def test_steps_may_be_very_short_or_very_long(clock, step):
    """A step may be a tick, or longer than any program runs."""
    breaker = ramping(clock, Ramp((0.25, 0.5), step=step, seed=1))
    breaker.try_acquire()
    clock.advance(step)
    assert "HALF_OPEN (ramp: 50%)" == breaker.get_state()


def test_a_ramp_may_have_a_hundred_steps(clock):
    """``get_state`` names each without noise."""
    breaker = ramping(clock, Ramp([part / 101 for part in range(1, 101)], step=1.0, seed=1))
    breaker.try_acquire()
    clock.advance(99.0)
    assert "HALF_OPEN (ramp: 99.0099%)" == breaker.get_state()


@pytest.mark.parametrize(
    "steps",
    [
        *((), (0.0,), (1.0,), (1,), (0,), (-0.1,), (0.5, 1.5), (math.nan,), (math.inf,), (True,), (0.2, True)),
        *("0.5", ("0.5",), 0.5, None, {}, ([0.1],), [0.5] * 101, itertools.repeat(0.5), iter(())),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0][:40],
)
def test_steps_that_make_no_sense_are_refused(steps):
    """The error names the field, the range and the value; what never ends is not waited for."""
    with pytest.raises(ValueError, match=r"^steps must be 1 to 100 numbers above 0 and below 1, not "):
        Ramp(steps)


@pytest.mark.parametrize("steps", [(0.5, 0.5), (0.5, 0.25), (0.1, 0.3, 0.2)])
def test_steps_that_do_not_rise_are_refused(steps):
    """The error names the pair that does not."""
    with pytest.raises(ValueError, match=r"^steps must rise, and 0.* comes after 0.* in "):
        Ramp(steps)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("step", value) for value in (0, -1.0, math.nan, math.inf, "1", True, None, 315_360_001)),
        *(("seed", value) for value in (-1, 1 << 64, True, 1.0, "1")),
    ],
)
def test_ramps_that_make_no_sense_are_refused(field, value):
    """The error begins with the field's name and ends with the value."""
    with pytest.raises(ValueError, match=rf"^{field} must be .*, not {value!r}$"):
        Ramp(**{field: value})


@pytest.mark.parametrize("value", [0.5, (0.5,), Ramp, Backoff(), True])
def test_a_ramp_is_a_ramp(value):
    """The configuration takes nothing that would only look like one."""
    with pytest.raises(ValueError, match=r"^ramp must be None or a switchgear.recovery.Ramp, not "):
        CircuitBreakerConfig(ramp=value)


def test_steps_may_be_any_iterable():
    """They are kept as a tuple of floats, so ramps that say the same are equal and hash alike."""
    ramps = [Ramp([0.25, 0.5]), Ramp(part / 4 for part in (1, 2)), Ramp((0.25, 0.5))]
    assert 1 == len(set(ramps))
    assert (0.25, 0.5) == ramps[1].steps
