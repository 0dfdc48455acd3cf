"""Mixed calls whose outcomes are known: every batch books what it did, and the breakers must have counted the same."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig, CircuitOpenError
from switchgear.testing import ManualClock

THRESHOLD: Final = 5
PROBES: Final = 2
RESET_TIMEOUT: Final = 60.0


class IgnoredError(Exception):
    """An exception that the breakers are told to ignore."""


@dataclass(slots=True)
class Ledger:
    """What a breaker must have counted, by the names of ``CircuitBreakerMetrics``."""

    breaker: CircuitBreaker
    successful_calls: int = 0
    failed_calls: int = 0
    rejected_calls: int = 0
    ignored_calls: int = 0
    timed_out_calls: int = 0
    late_calls: int = 0
    total_open_time_ms: int = 0
    times_opened: int = 0
    times_half_opened: int = 0

    @property
    def total_calls(self) -> int:
        """Every call that was settled or rejected."""
        return self.successful_calls + self.failed_calls + self.rejected_calls + self.ignored_calls

    def check(self) -> None:
        """Raise unless the breaker has counted exactly this."""
        counted = self.breaker.get_metrics()
        names = ("total_calls", *(each for each in self.__slots__ if each != "breaker"))
        wrong = {name: (getattr(self, name), getattr(counted, name)) for name in names}
        wrong = {name: pair for name, pair in wrong.items() if pair[0] != pair[1]}
        if wrong:
            raise AssertionError(f"{self.breaker.name}: (done, counted) differ: {wrong}")


def work(value: int = 1) -> int:
    return value


async def work_async(value: int = 1, *, extra: int = 0) -> int:
    return value + extra


async def work_suspended(result: int | None) -> int | None:
    await asyncio.sleep(0)
    return result


async def hang() -> None:
    await asyncio.get_running_loop().create_future()


def fail() -> None:
    raise ConnectionError("down")


async def fail_async() -> None:
    await asyncio.sleep(0)
    raise ConnectionError("down")


def ignored() -> None:
    raise IgnoredError


@contextmanager
def expecting(error: type[BaseException]) -> Iterator[None]:
    """Swallow the exception that has to come, and complain when it does not."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"{error.__name__} was to be raised")


def _all(error: type[BaseException], outcomes: list[Any]) -> None:
    others = [outcome for outcome in outcomes if type(outcome) is not error]
    if others:
        raise AssertionError(f"{error.__name__} was to be the outcome of every call; others: {others[:3]}")


def _patient(name: str, **changes: Any) -> CircuitBreaker:
    return CircuitBreaker(name, CircuitBreakerConfig(failure_threshold=1_000_000_000, ignore=IgnoredError, **changes))


@dataclass(slots=True)
class Load:
    """Three breakers: one that never opens, one whose every call times out, and one that keeps opening and closing."""

    steady: Ledger = field(default_factory=lambda: Ledger(_patient("steady", is_failure=lambda result: result is None)))
    hanging: Ledger = field(default_factory=lambda: Ledger(_patient("hanging", timeout=0.002)))
    clock: ManualClock = field(default_factory=ManualClock)
    tripping: Ledger = field(init=False)
    transitions: int = 0

    def __post_init__(self) -> None:
        config = CircuitBreakerConfig(THRESHOLD, PROBES, reset_timeout=RESET_TIMEOUT)
        self.tripping = Ledger(CircuitBreaker("tripping", config, clock=self.clock))
        self.tripping.breaker.on_transition(self._heard)

    @property
    def ledgers(self) -> tuple[Ledger, Ledger, Ledger]:
        """Everything that is booked."""
        return self.steady, self.hanging, self.tripping

    @property
    def calls(self) -> int:
        """How many calls have been made."""
        return sum(ledger.total_calls for ledger in self.ledgers)

    async def batch(self) -> None:
        """Make about 100,000 calls of every kind, and check every counter."""
        self.succeed(15_000)
        await self.succeed_async(10_000)
        await self.crowd(self._suspend, tasks=500, times=20)
        self.fail(6_000)
        await self.crowd(self._fail_suspended, tasks=200, times=10)
        self.permits(4_000)
        self.threads(count=4, times=2_000)
        await self.cancel(1_000)
        await self.time_out(500)
        for _ in range(50):
            await self.trip_and_recover(rejections=250)
        await self.come_and_go(50)
        for ledger in self.ledgers:
            ledger.check()
        if self.transitions != 3 * self.tripping.times_opened:
            raise AssertionError(f"{self.transitions} transitions heard, {self.tripping.times_opened} trips made")

    def succeed(self, times: int) -> None:
        breaker = self.steady.breaker
        decorated = breaker(work)
        for _ in range(times):
            decorated()
            breaker.call_sync(work, 2)
        for _ in range(times // 10):
            with breaker.guard():
                work()
        self.steady.successful_calls += 2 * times + times // 10

    async def succeed_async(self, times: int) -> None:
        breaker = self.steady.breaker
        decorated = breaker(work_async)
        for _ in range(times):
            await breaker.call(work_async)
            await breaker.call(work_async, 1, extra=2)
            await decorated(3)
        for _ in range(times // 10):
            await breaker.call(work_async(1))
            async with breaker.guard():
                await work_async()
        self.steady.successful_calls += 3 * times + 2 * (times // 10)

    async def crowd(self, one: Callable[[int], Any], *, tasks: int, times: int) -> None:
        """Run ``one(times)`` in many tasks at once."""
        await asyncio.gather(*[one(times) for _ in range(tasks)])

    async def _suspend(self, times: int) -> None:
        for _ in range(times // 2):
            await self.steady.breaker.call(work_suspended, 1)
            # To the steady breaker None is the result of a failure.
            await self.steady.breaker.call(work_suspended, None)
            self.steady.successful_calls += 1
            self.steady.failed_calls += 1

    async def _fail_suspended(self, times: int) -> None:
        for _ in range(times):
            with expecting(ConnectionError):
                await self.steady.breaker.call(fail_async)
            self.steady.failed_calls += 1

    def fail(self, times: int) -> None:
        """Fail, half of it with an exception that is ignored."""
        breaker = self.steady.breaker
        for _ in range(times // 2):
            with expecting(ConnectionError):
                breaker.call_sync(fail)
            with expecting(IgnoredError):
                breaker.call_sync(ignored)
        self.steady.failed_calls += times // 2
        self.steady.ignored_calls += times // 2

    def permits(self, times: int) -> None:
        """Settle permits in every way: one in four is dropped."""
        breaker = self.steady.breaker
        for _ in range(times // 4):
            breaker.acquire().success()
            breaker.acquire().failure(ConnectionError("down"))
            breaker.acquire().release()
            breaker.acquire()
        self.steady.successful_calls += times // 4
        self.steady.failed_calls += times // 4
        self.steady.ignored_calls += 2 * (times // 4)

    def threads(self, *, count: int, times: int) -> None:
        """Succeed and fail in threads of their own."""
        breaker = self.steady.breaker

        def run() -> None:
            for _ in range(times // 2):
                breaker.call_sync(work)
                with expecting(ConnectionError):
                    breaker.call_sync(fail)

        running = [threading.Thread(target=run) for _ in range(count)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        self.steady.successful_calls += count * (times // 2)
        self.steady.failed_calls += count * (times // 2)

    async def cancel(self, times: int) -> None:
        """Cancel calls that hang."""
        tasks = [asyncio.ensure_future(self.steady.breaker.call(hang)) for _ in range(times)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        _all(asyncio.CancelledError, await asyncio.gather(*tasks, return_exceptions=True))
        self.steady.ignored_calls += times

    async def time_out(self, times: int) -> None:
        """Let calls hang until the breaker's timeout takes them."""
        calls = [self.hanging.breaker.call(hang) for _ in range(times)]
        _all(CallTimeoutError, await asyncio.gather(*calls, return_exceptions=True))
        self.hanging.failed_calls += times
        self.hanging.timed_out_calls += times

    async def trip_and_recover(self, *, rejections: int) -> None:
        """Open the breaker, be rejected, let two probes close it again; and settle one permit too late."""
        ledger, breaker = self.tripping, self.tripping.breaker
        late = breaker.acquire()
        for _ in range(THRESHOLD):
            with expecting(ConnectionError):
                breaker.call_sync(fail)
        late.success()
        for _ in range(rejections // 5):
            with expecting(CircuitOpenError):
                breaker.call_sync(work)
            for _ in range(3):
                with expecting(CircuitOpenError):
                    await breaker.call(work_async)
            if breaker.try_acquire() is not None:
                raise AssertionError("an open breaker has let a call through")
        self.clock.advance(RESET_TIMEOUT)
        for _ in range(PROBES):
            await breaker.call(work_async)
        ledger.failed_calls += THRESHOLD
        ledger.late_calls += 1
        ledger.successful_calls += 1 + PROBES
        ledger.rejected_calls += 5 * (rejections // 5)
        ledger.total_open_time_ms += round(RESET_TIMEOUT * 1000)
        ledger.times_opened += 1
        ledger.times_half_opened += 1

    async def come_and_go(self, times: int) -> None:
        """Make breakers, each with a timeout of its own, and drop them with a call in flight."""
        for number in range(times):
            brief = Ledger(_patient(f"brief-{number}", timeout=100.0 + number))
            brief.breaker.on_transition(self._heard)
            waiting = asyncio.ensure_future(brief.breaker.call(hang))
            await brief.breaker.call(work_suspended, 1)
            brief.successful_calls += 1
            brief.check()
            del brief
            waiting.cancel()
            with expecting(asyncio.CancelledError):
                await waiting

    def _heard(self, _event: object) -> None:
        self.transitions += 1
