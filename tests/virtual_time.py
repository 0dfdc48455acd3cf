"""An event loop whose time passes only when nothing else can happen."""

import asyncio
import math
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import Any


class Deadlock(RuntimeError):
    """Everybody waits, and no timer will ever wake anybody."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready; then, instead of sleeping, moves its clock to the earliest timer, exactly.

    ``timers`` are the times that somebody set a timer for, in order. No thread can wake it: it is for tests in which
    everything happens inside the loop.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self.timers: list[float] = []
        super().__init__(_InstantSelector(self))

    def time(self) -> float:
        return self.now

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self.timers.append(when)
        return super().call_at(when, callback, *args, context=context)

    def move_to_earliest_timer(self) -> None:
        # The loop has just taken cancelled handles off the top of its heap.
        if not self._scheduled:
            raise Deadlock(f"nothing is left that could happen; tasks: {asyncio.all_tasks(self)}")
        self.now = max(self.now, self._scheduled[0].when())
        # A timer is due before `now + resolution`, which has to be another number than `now`, ten years on as well.
        self._clock_resolution = math.ulp(self.now)


class _InstantSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._virtual = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._virtual.move_to_earliest_timer()
        return ready
