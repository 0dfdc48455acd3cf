"""Small words that the tests share."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

from switchgear import CircuitBreaker

T = TypeVar("T")


class Boom(Exception):
    """A failure of the dependency."""


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in an event loop of its own."""
    return asyncio.run(coroutine)


def drop(_: object) -> None:
    """Let go of an object that only the argument list held."""
    gc.collect()


def ok() -> str:
    return "ok"


async def ok_async() -> str:
    return "ok"


async def ok_later() -> str:
    await asyncio.sleep(0)
    return "ok"


def fail() -> None:
    raise Boom("boom")


async def fail_async() -> None:
    raise Boom("boom")


def succeed(breaker: CircuitBreaker, times: int = 1) -> None:
    """Let some calls succeed."""
    for _ in range(times):
        breaker.acquire().success()


def fail_times(breaker: CircuitBreaker, times: int) -> None:
    """Let some calls fail."""
    for _ in range(times):
        breaker.acquire().failure(Boom("boom"))


def trip(breaker: CircuitBreaker) -> None:
    """Open a CLOSED breaker by failures."""
    fail_times(breaker, breaker.config.failure_threshold)


def counted(breaker: CircuitBreaker) -> dict[str, int]:
    """Return the counters that are not 0, time spent OPEN aside."""
    counters = breaker.get_metrics()._asdict()
    del counters["total_open_time_ms"]
    return {name: value for name, value in counters.items() if value}
