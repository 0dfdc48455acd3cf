"""The bare way to a thread and back, as a careful user writes it: the floor of what runs a library in a thread."""

import asyncio
import threading
import time
from collections.abc import Callable
from itertools import repeat
from queue import SimpleQueue
from typing import Any, Final

_REFERENCE_NS: Final = 69.0
"""What ``await f()`` of an empty ``f`` takes on the machine that the budgets were set for, CPython 3.11."""


class Hop:
    """A queue there, ``call_soon_threadsafe`` back, and nothing that could go wrong."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def call(self, work: Callable[..., Any], *given: Any) -> "asyncio.Future[Any]":
        """Return the future of ``work(*given)``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._jobs.put((work, given, loop, future))
        return future

    def close(self) -> None:
        """End the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, given, loop, future = job
            loop.call_soon_threadsafe(future.set_result, work(*given))


async def speed(count: int = 1000) -> float:
    """Return how fast this machine is at this moment: 1 as the one of the budgets, 0.5 half as fast.

    It is the interpreter's speed; switches between threads need not be slower alike.
    """
    begin = time.thread_time_ns()
    for _ in repeat(None, count):
        await _nothing()
    middle = time.thread_time_ns()
    for _ in repeat(None, count):
        pass
    return count * _REFERENCE_NS / (2 * middle - begin - time.thread_time_ns())


async def _nothing() -> None:
    """Do nothing."""
