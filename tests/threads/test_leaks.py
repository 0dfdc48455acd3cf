"""No way through a breaker leaves a reference, an object or memory behind."""

import asyncio
import gc
import logging
import pathlib
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.testing import ManualClock
from virtual_time import VirtualLoop

ROUNDS = 2000


class Boom(Exception):
    pass


class Payload:
    """An argument or a result, whose references are counted."""


def fail(*_: object) -> None:
    raise Boom


async def fail_async(*_: object) -> None:
    raise Boom


def echo(argument: object) -> object:
    return argument


async def echo_async(argument: object) -> object:
    return argument


async def echo_later(argument: object) -> object:
    await asyncio.sleep(0)
    return argument


async def many(*arguments: object, **named: object) -> object:
    return arguments, named


class Ways:
    """Each method is one way of using a breaker, from its beginning to its end."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000_000), clock=self.clock)
        self.unlimited = CircuitBreaker("unlimited", CircuitBreakerConfig(1_000_000_000, timeout=None))
        self.short = CircuitBreaker("short", CircuitBreakerConfig(1_000_000_000, timeout=1.0))
        self.judging = CircuitBreaker("judging", CircuitBreakerConfig(1_000_000_000, is_failure=lambda _: True))
        self.fragile = CircuitBreaker("fragile", CircuitBreakerConfig(1, 1), clock=self.clock)
        self.rejecting = CircuitBreaker("rejecting")
        self.rejecting.force_open()
        self.payload = Payload()
        self.decorated = self.breaker(echo)
        self.decorated_async = self.breaker(echo_later)
        self.returns_awaitable = self.breaker(lambda argument: echo_later(argument))

    def run(self, awaitable: Any) -> Any:
        """Await what never suspends."""
        try:
            awaitable.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError

    # Sync.

    def call_sync(self) -> None:
        self.breaker.call_sync(echo, self.payload)

    def call_sync_with_keywords(self) -> None:
        self.breaker.call_sync(echo, argument=self.payload)

    def call_sync_that_fails(self) -> None:
        with pytest.raises(Boom):
            self.breaker.call_sync(fail, self.payload)

    def call_sync_rejected(self) -> None:
        with pytest.raises(CircuitOpenError):
            self.rejecting.call_sync(echo, self.payload)

    def call_sync_judged(self) -> None:
        self.judging.call_sync(echo, self.payload)

    def call_sync_refused(self) -> None:
        with pytest.raises(TypeError):
            self.breaker.call_sync(echo_async, self.payload)

    def a_decorated_function(self) -> None:
        self.decorated(self.payload)

    def a_decorated_method(self) -> None:
        Decorated().method(self.payload)

    def a_guard(self) -> None:
        with self.breaker.guard():
            pass

    def permits(self) -> None:
        self.breaker.acquire().success()
        self.breaker.acquire().failure(Boom())
        self.breaker.acquire().release()
        self.breaker.acquire()
        assert self.rejecting.try_acquire() is None

    def a_trip_and_a_recovery(self) -> None:
        with pytest.raises(Boom):
            self.fragile.call_sync(fail, self.payload)
        with pytest.raises(CircuitOpenError):
            self.fragile.call_sync(echo, self.payload)
        self.clock.advance(60)
        self.fragile.call_sync(echo, self.payload)
        assert self.fragile.state is State.CLOSED

    def a_generator(self) -> None:
        def numbers() -> Iterator[object]:
            yield self.payload

        next(self.breaker(numbers)())

    def reading(self) -> None:
        self.breaker.get_metrics()
        self.breaker.get_state()
        repr(self.rejecting)

    # Async, driven by hand.

    def call(self) -> None:
        self.run(self.breaker.call(echo_async, self.payload))

    def call_with_many_arguments(self) -> None:
        self.run(self.breaker.call(many, *[self.payload] * 20, **dict.fromkeys("abcdefgh", self.payload)))

    def call_of_a_sync_function(self) -> None:
        self.run(self.breaker.call(echo, self.payload))

    def call_of_a_coroutine(self) -> None:
        self.run(self.breaker.call(echo_async(self.payload)))

    def call_that_fails(self) -> None:
        with pytest.raises(Boom):
            self.run(self.breaker.call(fail_async, self.payload))

    def call_rejected(self) -> None:
        with pytest.raises(CircuitOpenError):
            self.run(self.rejecting.call(echo_async, self.payload))

    def call_rejected_with_a_coroutine(self) -> None:
        with pytest.raises(CircuitOpenError):
            self.run(self.rejecting.call(echo_async(self.payload)))

    def call_that_returns_what_iterators_unpack(self) -> None:
        assert self.run(self.breaker.call(echo_async, (self.payload, 1))) == (self.payload, 1)
        assert isinstance(self.run(self.breaker.call(echo_async, Boom(self.payload))), Boom)

    def call_refused(self) -> None:
        for operation in (lambda: (self.payload for _ in ()), 7, None):
            with pytest.raises(TypeError):
                self.run(self.breaker.call(operation))

    def call_never_awaited(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.breaker.call(echo_async, self.payload)

    def call_closed_before_it_begins(self) -> None:
        self.breaker.call(echo_async, self.payload).close()

    def call_closed_while_it_waits(self) -> None:
        call = self.unlimited.call(echo_later, self.payload)
        call.send(None)
        call.close()

    def call_dropped_while_it_waits(self) -> None:
        self.unlimited.call(echo_later, self.payload).send(None)

    def call_thrown_into(self) -> None:
        call = self.unlimited.call(echo_later, self.payload)
        call.send(None)
        with pytest.raises(Boom):
            call.throw(Boom())

    def call_thrown_into_before_it_begins(self) -> None:
        with pytest.raises(Boom):
            self.unlimited.call(echo_later, self.payload).throw(Boom())

    def call_awaited_twice(self) -> None:
        call = self.breaker.call(echo_async, self.payload)
        self.run(call)
        with pytest.raises(RuntimeError):
            call.send(None)

    def call_outside_a_task(self) -> None:
        with pytest.raises(RuntimeError):
            self.breaker.call(echo_later, self.payload).send(None)

    def a_held_permit(self) -> None:
        self.returns_awaitable(self.payload).close()

    # Async, in tasks of a loop.

    async def a_task(self) -> None:
        await asyncio.ensure_future(self.breaker.call(echo_later, self.payload))

    async def a_timeout(self) -> None:
        with pytest.raises(TimeoutError):
            await self.short.call(asyncio.sleep, 5, self.payload)

    async def a_timeout_swallowed(self) -> None:
        async def swallow() -> object:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                return self.payload
            return None

        assert await self.short.call(swallow) is self.payload

    async def a_cancellation(self) -> None:
        task = asyncio.ensure_future(self.breaker.call(asyncio.sleep, 5, self.payload))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    async def a_cancellation_before_the_first_step(self) -> None:
        task = asyncio.ensure_future(self.breaker.call(echo_later, self.payload))
        task.cancel()
        await asyncio.wait([task])

    async def a_failure(self) -> None:
        async def fail_later() -> None:
            await asyncio.sleep(0)
            raise Boom(self.payload)

        with pytest.raises(Boom):
            await self.breaker.call(fail_later)

    async def a_gather(self) -> None:
        await asyncio.gather(*(self.breaker.call(echo_later, self.payload) for _ in range(3)))

    async def a_decorated_coroutine_function(self) -> None:
        await self.decorated_async(self.payload)
        await self.returns_awaitable(self.payload)

    async def an_async_guard(self) -> None:
        async with self.breaker.guard():
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with self.short.guard():
                await asyncio.sleep(5)

    async def an_async_generator(self) -> None:
        async def numbers() -> Any:
            yield self.payload
            await asyncio.sleep(0)
            yield self.payload

        assert [item async for item in self.breaker(numbers)()] == [self.payload] * 2


class Decorated:
    @CircuitBreaker("method")
    def method(self, argument: object) -> object:
        return argument


SYNC = [name for name in vars(Ways) if not name.startswith("_") and name != "run"]
WATCHED = (None, True, fail, echo, echo_async, echo_later, Boom, CircuitOpenError, State.OPEN, RuntimeError, TypeError)


@pytest.fixture(autouse=True)
def _unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest keeps every record."""
    monkeypatch.setattr(logging.getLogger("switchgear"), "disabled", True)


def references(ways: Ways) -> list[int]:
    """The reference counts of everything that passes through a breaker."""
    call = ways.breaker.call(echo_async, None)
    call.close()
    classes = [type(call), type(ways.decorated), type(ways.breaker.acquire()), type(ways.breaker)]
    mine = [ways.payload, ways.breaker, ways.unlimited, ways.short, ways.rejecting, ways.judging, ways.fragile]
    mine += [each.name for each in mine[1:]] + [ways.decorated, ways.decorated_async]
    return [sys.getrefcount(each) for each in (*WATCHED, *classes, *mine)]


async def tidy() -> None:
    """Let every timer of the loop run out, and collect what is garbage."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, VirtualLoop):
        await asyncio.sleep(3600)
        loop.timers.clear()
    gc.collect()


async def repeat(way: Callable[[], Awaitable[None] | None], times: int) -> None:
    for _ in range(times):
        awaitable = way()
        if awaitable is not None:
            await awaitable


@pytest.mark.parametrize("name", SYNC)
def test_nothing_is_left(name: str) -> None:
    """Going this way thousands of times leaves every reference count, and the number of objects, as it was."""
    ways = Ways()
    way = getattr(ways, name)

    async def main() -> tuple[list[int], list[int]]:
        await repeat(way, 300)
        await tidy()
        objects, blocks, before = len(gc.get_objects()), sys.getallocatedblocks(), references(ways)
        await repeat(way, ROUNDS)
        await tidy()
        after = references(ways)
        # Less than one a round: what is kept for the next call, or grew once, is no leak.
        assert len(gc.get_objects()) - objects < ROUNDS / 10
        assert sys.getallocatedblocks() - blocks < ROUNDS / 2
        return before, after

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        if asyncio.iscoroutinefunction(way):
            before, after = runner.run(main())
        else:
            # Outside the loop: some of these ways have to be outside any task.
            main_by_hand = main()
            with pytest.raises(StopIteration) as stop:
                main_by_hand.send(None)
            before, after = stop.value.value
    assert [index for index, count in enumerate(before) if abs(after[index] - count) > ROUNDS / 10] == []


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="SKIPPED: no /proc/self/statm on this system")
@pytest.mark.parametrize("name", ["call_with_many_arguments", "call", "permits", "call_rejected", "call_never_awaited"])
def test_resident_memory_is_flat(name: str) -> None:
    """Memory that Python's own counters do not see, such as that of a native call's arguments, is given back, too."""
    way = getattr(Ways(), name)

    def resident() -> int:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(5_000):
        way()
    gc.collect()
    before = resident()
    for _ in range(30_000):
        way()
    gc.collect()
    assert resident() - before < 1_000_000
