"""What an attack on trip rules, recovery and streams broke, and must not break again."""

import asyncio

import pytest

from helpers import run
from switchgear import CircuitBreaker, CircuitBreakerConfig, State
from switchgear.recovery import Backoff
from switchgear.rules import Calls, FailureRate, Seconds, SlowCallRate
from switchgear.state import Outcome
from switchgear.testing import ManualClock


class Huge(Exception):
    """Asks for longer than any float."""

    retry_after = 10**400


class Interrupting(Exception):
    """Is interrupted by Ctrl-C while it is asked."""

    @property
    def retry_after(self) -> float:
        raise KeyboardInterrupt


def half_open(**settings: object) -> CircuitBreaker:
    """Return a breaker whose next call is its only probe."""
    clock = ManualClock()
    config = CircuitBreakerConfig(1, 1, reset_timeout=1.0, **settings)
    breaker = CircuitBreaker("service", config, clock=clock)
    breaker.acquire().failure()
    clock.advance(1.0)
    return breaker


def fail_with(error: BaseException) -> None:
    raise error


def by_call_sync(breaker: CircuitBreaker, error: BaseException) -> None:
    breaker.call_sync(fail_with, error)


def by_guard(breaker: CircuitBreaker, error: BaseException) -> None:
    with breaker.guard():
        raise error


def by_call(breaker: CircuitBreaker, error: BaseException) -> None:
    async def operation() -> None:
        raise error

    run(breaker.call(operation))


WAYS = pytest.mark.parametrize("way", [by_call_sync, by_guard, by_call])


@WAYS
def test_an_absurd_wish_is_no_wish(way) -> None:
    """A ``retry_after`` past every float changes nothing: the caller gets its own exception, the probe settles."""
    breaker = half_open()
    with pytest.raises(Huge):
        way(breaker, Huge())
    assert (breaker.state, breaker.history()[-1].retry_after) == (State.OPEN, 1.0)


@WAYS
def test_who_is_interrupted_while_asking_has_settled(way) -> None:
    """Ctrl-C in a ``retry_after`` property leaves, after the call has settled as the failure that it was."""
    breaker = half_open()
    with pytest.raises(KeyboardInterrupt):
        way(breaker, Interrupting())
    assert (breaker.state, breaker.get_metrics().failed_calls) == (State.OPEN, 2)


@WAYS
def test_who_is_interrupted_while_judging_has_settled(way) -> None:
    """Ctrl-C in ``classify`` leaves, after the call has settled as ignored: its probe gives the place back."""

    def judge(error: Exception) -> Outcome | None:
        raise KeyboardInterrupt

    breaker = half_open(classify=judge)
    with pytest.raises(KeyboardInterrupt):
        way(breaker, ValueError())
    assert breaker.get_metrics().ignored_calls == 1
    breaker.acquire().success()
    assert breaker.state is State.CLOSED


def test_what_is_settled_by_hand_is_not_judged() -> None:
    """A guard whose body has settled the permit asks nobody about the exception after."""
    asked: list[Exception] = []
    breaker = CircuitBreaker("x", CircuitBreakerConfig(classify=asked.append))
    with pytest.raises(ValueError), breaker.guard() as permit:
        permit.success()
        raise ValueError
    assert asked == []


def test_a_default_cap_follows_the_reset_timeout() -> None:
    """``replace`` does not take a default for what somebody has asked for."""
    assert CircuitBreakerConfig().replace(reset_timeout=1000.0).reset_timeout == 1000.0


def test_a_window_that_was_never_used_is_of_no_lap() -> None:
    """A breaker made just before the laps of its window wrap around counts from its first call."""
    rule = FailureRate(0.5, window=Seconds(1), minimum_calls=2)
    breaker = CircuitBreaker("x", CircuitBreakerConfig(trip=rule), clock=ManualClock(2**18 - 1))
    for _ in range(2):
        breaker.acquire().failure()
    assert breaker.state is State.OPEN


@WAYS
def test_an_answer_that_trips_is_described_as_what_it_was(way) -> None:
    """An exception that counts as a success is no ``last_failure``; that it was slow is."""
    clock = ManualClock()
    rule = FailureRate(0.5, window=Calls(4), minimum_calls=2)
    breaker = CircuitBreaker("x", CircuitBreakerConfig(trip=rule, record_only=KeyError), clock=clock)
    breaker.acquire().failure()
    with pytest.raises(ValueError):
        way(breaker, ValueError("answered"))
    assert (breaker.state, breaker.last_failure) == (State.OPEN, None)


def test_a_slow_answer_by_an_exception_is_described_as_slow() -> None:
    """An exception that counts as a success may trip by being slow."""
    clock = ManualClock()
    rule = SlowCallRate(0.5, slower_than=1.0, window=Calls(2), minimum_calls=1)
    breaker = CircuitBreaker("x", CircuitBreakerConfig(trip=rule, record_only=KeyError), clock=clock)

    def slow() -> None:
        clock.advance(5.0)
        raise ValueError("answered")

    with pytest.raises(ValueError):
        breaker.call_sync(slow)
    assert (breaker.state, breaker.last_failure) == (State.OPEN, "took 5s")


def test_a_small_multiplier_reaches_the_longest_open_time() -> None:
    """The open time grows for as many attempts as it takes."""
    clock = ManualClock()
    config = CircuitBreakerConfig(1, 1, reset_timeout=1.0, backoff=Backoff(1.05, max=600.0, jitter=0.0))
    breaker = CircuitBreaker("x", config, clock=clock)
    for _ in range(200):
        breaker.acquire().failure()
        clock.advance(breaker.history()[-1].retry_after)
    assert breaker.history()[-1].retry_after == 600.0


@pytest.mark.parametrize("wrong", ["30", b"30"])
def test_text_is_no_time(wrong: object) -> None:
    """``permit.failure(retry_after=...)`` takes numbers; the permit stays unsettled."""
    permit = CircuitBreaker("x").acquire()
    with pytest.raises(TypeError):
        permit.failure(retry_after=wrong)  # type: ignore[arg-type]
    permit.release()


def test_a_cancelled_reader_does_not_take_the_next_one_along() -> None:
    """A reader that was cancelled and has not noticed yet leaves the next reader's waiter alone."""

    async def main() -> list[State]:
        breaker = CircuitBreaker("x")
        async with breaker.events() as events:
            gone = asyncio.create_task(anext(events))
            await asyncio.sleep(0)
            breaker.force_open()
            gone.cancel()
            seen = [(await anext(events)).to_state]
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, breaker.force_close)
            async with asyncio.timeout(10):
                seen.append((await anext(events)).to_state)
        return seen

    assert asyncio.run(main()) == [State.OPEN, State.CLOSED]
