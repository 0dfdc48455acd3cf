"""Many callers at the one moment that decides."""

import asyncio
import threading

import pytest

from switchgear import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    State,
    TransitionEvent,
)
from switchgear.testing import ManualClock
from threads.together import together

ROUNDS = 20


def opened(clock: ManualClock, **changes: object) -> CircuitBreaker:
    """A breaker that has opened, with its reset timeout just over."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1, 2, 30.0, 60.0).replace(**changes), clock=clock)
    breaker.acquire().failure()
    clock.advance(60)
    return breaker


@pytest.mark.parametrize(
    ("changes", "probes"), [({}, 2), ({"half_open_max_calls": 7}, 7), ({"success_threshold": 50}, 16)]
)
def test_32_threads_at_the_reset(changes: dict[str, int], probes: int) -> None:
    """Of 32 threads that arrive when the reset timeout has passed exactly as many are admitted as there are probes."""
    for _ in range(ROUNDS):
        breaker = opened(ManualClock(), **changes)
        heard: list[TransitionEvent] = []
        breaker.on_transition(heard.append)
        permits = together(32, lambda _, breaker=breaker: breaker.try_acquire())
        admitted = [permit for permit in permits if permit is not None]
        assert len(admitted) == probes
        assert [event.to_state for event in heard] == [State.HALF_OPEN]
        metrics = breaker.get_metrics()
        assert (metrics.rejected_calls, metrics.times_half_opened) == (32 - probes, 1)


def test_32_threads_whose_probes_succeed() -> None:
    """Probes of many threads that succeed close the breaker once; every call is either counted or rejected."""
    for _ in range(ROUNDS):
        breaker = opened(ManualClock())
        heard: list[TransitionEvent] = []
        breaker.on_transition(heard.append)

        def call(_: int, breaker: CircuitBreaker = breaker) -> bool:
            try:
                breaker.call_sync(int)
            except CircuitOpenError:
                return False
            return True

        admitted = sum(together(32, call))
        metrics = breaker.get_metrics()
        assert (metrics.successful_calls, metrics.rejected_calls) == (admitted, 32 - admitted)
        # Closed by the second success, unless every other call had been rejected before. Two threads tell of their
        # changes in any order; the generations have the right one.
        states = [event.to_state for event in sorted(heard, key=lambda event: event.generation)]
        assert states == ([State.HALF_OPEN, State.CLOSED] if admitted > 1 else [State.HALF_OPEN])


def test_32_threads_whose_probes_fail() -> None:
    """Probes of many threads that fail open the breaker once; the other probe's failure is late."""
    for _ in range(ROUNDS):
        clock = ManualClock()
        breaker = opened(clock)
        barrier = threading.Barrier(2)

        def probe(_: int, breaker: CircuitBreaker = breaker, barrier: threading.Barrier = barrier) -> bool:
            permit = breaker.try_acquire()
            if permit is not None:
                barrier.wait(30)
                permit.failure()
            return permit is not None

        assert sum(together(32, probe)) == 2
        metrics = breaker.get_metrics()
        assert (breaker.state, metrics.times_opened) == (State.OPEN, 2)
        assert (metrics.failed_calls, metrics.late_calls, metrics.rejected_calls) == (3, 1, 30)


def test_100_tasks_at_the_reset() -> None:
    """Of 100 tasks that call when the reset timeout has passed exactly as many get through as there are probes."""
    breaker = opened(ManualClock())
    release = asyncio.Event()

    async def operation() -> str:
        await release.wait()
        return "answered"

    async def main() -> list[object]:
        tasks = [asyncio.ensure_future(breaker.call(operation)) for _ in range(100)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert sum(task.done() for task in tasks) == 98
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert results.count("answered") == 2
    assert sum(isinstance(result, CircuitOpenError) for result in results) == 98
    assert breaker.state is State.CLOSED


def test_100_tasks_through_the_decorator_and_the_guard() -> None:
    """The decorator and the async guard share the probes with everybody else."""
    breaker = opened(ManualClock())
    release = asyncio.Event()

    @breaker
    async def decorated() -> str:
        await release.wait()
        return "answered"

    async def guarded() -> str:
        async with breaker.guard():
            await release.wait()
            return "answered"

    async def main() -> list[object]:
        tasks = [asyncio.ensure_future(kind()) for _ in range(50) for kind in (decorated, guarded)]
        for _ in range(3):
            await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert asyncio.run(main()).count("answered") == 2


@pytest.mark.parametrize("each", [1, 5, 500])
def test_8_threads_that_fail_exactly_threshold_times(each: int) -> None:
    """Eight threads whose failures together are the threshold trip the breaker once, with the last of them."""
    for _ in range(ROUNDS):
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(failure_threshold=8 * each))
        heard: list[TransitionEvent] = []
        breaker.on_transition(heard.append)

        def fail(_: int, breaker: CircuitBreaker = breaker) -> None:
            for _ in range(each):
                breaker.acquire().failure()

        together(8, fail)
        metrics = breaker.get_metrics()
        assert breaker.state is State.OPEN
        assert [event.to_state for event in heard] == [State.OPEN]
        assert (metrics.failed_calls, metrics.rejected_calls, metrics.times_opened) == (8 * each, 0, 1)
        assert metrics.late_calls == 0


def test_8_threads_that_fail_one_time_too_few() -> None:
    """One failure fewer than the threshold, from however many threads, leaves the breaker closed."""
    for _ in range(ROUNDS):
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(failure_threshold=8 * 50 + 1))

        def fail(_: int, breaker: CircuitBreaker = breaker) -> None:
            for _ in range(50):
                breaker.acquire().failure()

        together(8, fail)
        assert breaker.get_state() == "CLOSED (failures: 400)"


def test_get_or_create_from_16_threads() -> None:
    """Any number of threads that ask for one name get one object."""
    for _ in range(ROUNDS):
        registry = CircuitBreakerRegistry()
        breakers = together(16, lambda _, registry=registry: registry.get_or_create("quotes"))
        assert {id(breaker) for breaker in breakers} == {id(registry["quotes"])}
        assert registry.list_names() == ["quotes"]


def test_register_from_16_threads() -> None:
    """Of many threads that register one name exactly one does."""
    for _ in range(ROUNDS):
        registry = CircuitBreakerRegistry()

        def register(_: int, registry: CircuitBreakerRegistry = registry) -> CircuitBreaker | None:
            try:
                return registry.register("quotes")
            except ValueError:
                return None

        made = [breaker for breaker in together(16, register) if breaker is not None]
        assert made == [registry["quotes"]]


def test_commands_of_many_threads() -> None:
    """Operators who open and close at once leave a breaker that has heard a consistent story."""
    for _ in range(ROUNDS):
        breaker = CircuitBreaker("quotes")
        heard: list[TransitionEvent] = []
        breaker.on_transition(heard.append)

        def command(number: int, breaker: CircuitBreaker = breaker) -> None:
            for _ in range(25):
                (breaker.force_open, breaker.force_close, breaker.disable)[number % 3]()

        together(6, command)
        generations = sorted(event.generation for event in heard)
        assert generations == list(range(1, len(heard) + 1))
        story = sorted(heard, key=lambda event: event.generation)
        assert [event.from_state for event in story[1:]] == [event.to_state for event in story[:-1]]
        assert story[-1].to_state is breaker.state
        assert breaker.get_metrics().times_opened == sum(event.to_state is State.OPEN for event in heard)
