"""A hundred thousand calls at once, calls inside calls, and breakers that go away."""

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchgear import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    State,
)
from switchgear.testing import ManualClock


class Boom(Exception):
    pass


@pytest.fixture
def _uncollected() -> Iterator[None]:
    """Half of the time of a hundred thousand tasks goes to the collector, which finds nothing."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_uncollected")
def test_100_000_concurrent_calls() -> None:
    """A hundred thousand calls that are in flight together settle exactly, each as what it was."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000))

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        works, breaks, never = loop.create_future(), loop.create_future(), loop.create_future()

        async def operation(future: "asyncio.Future[str]") -> str:
            return await asyncio.shield(future)

        async def plain(future: "asyncio.Future[str]") -> str:
            return await future

        tasks = [loop.create_task(breaker.call(plain, (works, breaks)[number % 2])) for number in range(90_000)]
        cancelled = [loop.create_task(breaker.call(operation, never)) for _ in range(10_000)]
        await asyncio.sleep(0)
        assert breaker.get_metrics().total_calls == 0
        works.set_result("done")
        breaks.set_exception(Boom())
        for task in cancelled:
            task.cancel()
        results = await asyncio.gather(*tasks, *cancelled, return_exceptions=True)
        never.cancel()
        return results

    results = asyncio.run(main())
    assert results.count("done") == 45_000
    assert sum(isinstance(result, Boom) for result in results) == 45_000
    metrics = breaker.get_metrics()
    assert (metrics.successful_calls, metrics.failed_calls, metrics.ignored_calls) == (45_000, 45_000, 10_000)
    assert (metrics.total_calls, metrics.late_calls, metrics.timed_out_calls) == (100_000, 0, 0)


def test_100_000_calls_while_the_breaker_trips() -> None:
    """Of a hundred thousand calls in flight the threshold trips the breaker; the rest is late, and counted."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(5), clock=ManualClock())
    permits = [breaker.acquire() for _ in range(100_000)]
    for permit in permits:
        permit.failure()
    metrics = breaker.get_metrics()
    assert (metrics.failed_calls, metrics.late_calls, metrics.times_opened) == (100_000, 99_995, 1)


def test_recursion_through_the_breaker() -> None:
    """A call may make calls through the same breaker, as deep as Python goes; each is counted."""
    breaker = CircuitBreaker("quotes")

    def sync(depth: int) -> int:
        return depth and 1 + breaker.call_sync(sync, depth - 1)

    async def plain(depth: int) -> int:
        await asyncio.sleep(0)
        return depth and 1 + await breaker.call(plain, depth - 1)

    @breaker
    def decorated(depth: int) -> int:
        return depth and 1 + decorated(depth - 1)

    assert sync(100) == 100
    assert asyncio.run(plain(60)) == 60
    assert decorated(100) == 100
    assert breaker.get_metrics().successful_calls == 100 + 60 + 101


def test_a_call_that_trips_its_own_breaker() -> None:
    """A call inside a call may open the breaker around it: the outer outcome is then late."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1), clock=ManualClock())

    def inner() -> None:
        raise Boom

    def outer() -> str:
        with pytest.raises(Boom):
            breaker.call_sync(inner)
        with pytest.raises(CircuitOpenError):
            breaker.call_sync(inner)
        return "late"

    assert breaker.call_sync(outer) == "late"
    metrics = breaker.get_metrics()
    assert (breaker.state, metrics.late_calls, metrics.successful_calls) == (State.OPEN, 1, 1)


ENDLESS = """
import asyncio
from switchgear import *
breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000))
{program}
try:
    {start}
except RecursionError:
    metrics = breaker.get_metrics()
    assert metrics.failed_calls == metrics.total_calls > 10, metrics
else:
    raise AssertionError
assert breaker.call_sync(int) == 0
"""


@pytest.mark.parametrize(
    ("program", "start"),
    [
        ("def f(): return breaker.call_sync(f)", "f()"),
        ("f = breaker(lambda: f())", "f()"),
        ("async def f(): return await breaker.call(f)", "asyncio.run(f())"),
        ("async def g(): return await f()\nf = breaker(g)", "asyncio.run(g())"),
        ("class A:\n    @breaker\n    def f(self): return self.f()", "A().f()"),
        ("def f():\n    with breaker.guard(): f()", "f()"),
    ],
    ids=["call_sync", "decorated", "call", "decorated coroutine function", "method", "guard"],
)
def test_endless_recursion(program: str, start: str) -> None:
    """Endless recursion through the breaker ends with RecursionError, a failure like any other, and with no crash."""
    script = ENDLESS.format(program=program, start=start)
    # The innermost coroutine may have been made and no frame been left to await it.
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_breaker_collected_while_permits_are_out() -> None:
    """A permit keeps its breaker for as long as it can be settled, and no longer."""
    breaker = CircuitBreaker("quotes")
    gone = weakref.ref(breaker)
    permit = breaker.acquire()
    del breaker
    gc.collect()
    assert gone() is not None
    permit.success()
    del permit
    gc.collect()
    assert gone() is None


def test_a_breaker_that_leaves_its_registry_while_calls_are_in_flight() -> None:
    """Removing a breaker from its registry neither ends nor loses the calls in flight."""
    registry = CircuitBreakerRegistry()
    breaker = registry.register("quotes", CircuitBreakerConfig(timeout=None))

    async def operation() -> str:
        await asyncio.sleep(0)
        return "done"

    call = breaker.call(operation)
    call.send(None)
    gone = weakref.ref(breaker)
    registry.remove("quotes")
    del breaker
    gc.collect()
    assert gone() is not None
    with pytest.raises(StopIteration):
        call.send(None)
    del call
    gc.collect()
    assert gone() is None


def cycle_by_listener() -> CircuitBreaker:
    breaker = CircuitBreaker("quotes")
    breaker.on_transition(lambda event: breaker.state)
    return breaker


def cycle_by_judge() -> CircuitBreaker:
    breakers: list[CircuitBreaker] = []
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(is_failure=lambda _: breakers))
    breakers.append(breaker)
    return breaker


def cycle_by_filter() -> CircuitBreaker:
    class Mine(Exception):
        breaker: CircuitBreaker

    Mine.breaker = CircuitBreaker("quotes", CircuitBreakerConfig(ignore=Mine, record_only=Mine))
    return Mine.breaker


def cycle_by_decorated_function() -> CircuitBreaker:
    breaker = CircuitBreaker("quotes")

    @breaker
    def function() -> object:
        return function

    @breaker
    async def coroutine_function() -> object:
        return coroutine_function

    function()
    return breaker


def cycle_by_subclass() -> CircuitBreaker:
    class Mine(CircuitBreaker):
        itself: CircuitBreaker

    breaker = Mine("quotes")
    breaker.itself = breaker
    return breaker


def cycle_by_permit() -> CircuitBreaker:
    held: list[object] = []
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(is_failure=lambda _: held))
    held.append(breaker.acquire())
    return breaker


def cycle_by_waiting_call() -> CircuitBreaker:
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=None))
    calls: list[Any] = []

    async def operation() -> object:
        await asyncio.sleep(0)
        return calls, breaker

    calls.append(breaker.call(operation))
    calls[0].send(None)
    return breaker


def cycle_by_view() -> CircuitBreaker:
    breaker = CircuitBreaker("quotes")
    breaker.on_transition(breaker.with_fallback(lambda error: breaker).call_sync)
    return breaker


@pytest.mark.parametrize(
    "make",
    [
        cycle_by_listener,
        cycle_by_judge,
        cycle_by_filter,
        cycle_by_decorated_function,
        cycle_by_subclass,
        cycle_by_permit,
        cycle_by_waiting_call,
        cycle_by_view,
    ],
)
def test_a_breaker_in_a_cycle(make: Callable[[], CircuitBreaker]) -> None:
    """A breaker that only a cycle through itself holds is collected."""
    gone = weakref.ref(make())
    gc.collect()
    gc.collect()
    assert gone() is None
