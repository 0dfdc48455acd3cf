"""Deadlines of suspended calls on asyncio.

All calls of one timeout join one first-in-first-out line per event loop: their deadlines come in the order of their
arrival, so one timer, set to the head of the line, serves them all, and joining and leaving are dict operations. The
way out is that of ``asyncio.timeout``: the expiry cancels the task, and only a ``CancelledError`` that nobody else
has asked for becomes a timeout.
"""

import asyncio
import contextvars
import weakref
from typing import Any, Final

from switchgear.errors import UnprotectedError


class Deadline:
    """One call's place in the line; made when it suspends, left when it ends."""

    __slots__ = ("_cancelling", "_task", "_waiting", "expired", "timeout", "when")

    def __init__(
        self, task: "asyncio.Task[Any]", waiting: "dict[Deadline, None]", *, when: float, timeout: float
    ) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self._waiting = waiting
        self.when = when
        self.timeout = timeout
        self.expired = False
        waiting[self] = None

    def leave(self) -> tuple[bool, bool]:
        """Leave the line: the call has ended, and no expiry comes after this.

        Returns:
            Whether the deadline had come; and whether a cancellation is then the deadline's alone.
        """
        self._waiting.pop(self, None)
        if not self.expired:
            return False, False
        return True, self._task.uncancel() <= self._cancelling

    def expire(self) -> None:
        """Cancel the task: it has waited too long."""
        self._waiting.pop(self, None)
        self.expired = True
        self._task.cancel()


class _Line:
    """The suspended calls of one timeout on one loop, the earliest deadline first; kept by the loop's timer alone."""

    __slots__ = ("__weakref__", "_armed_for", "_key", "_loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, key: tuple[int, float]) -> None:
        self._loop = loop
        self._key = key
        self._armed_for: float | None = None
        self.waiting: dict[Deadline, None] = {}

    def arm(self, when: float) -> None:
        """Have the loop look at the line at ``when``, unless it is going to already."""
        if self._armed_for is None:
            # An empty context: the timer must not keep the variables of whichever call happened to arm it.
            self._loop.call_at(when, self._tick, context=contextvars.Context())
            self._armed_for = when

    def _tick(self) -> None:
        # A loop may round a timer down and be early by its own clock; what it was set for is due all the same.
        now = max(self._loop.time(), self._armed_for or 0.0)
        self._armed_for = None
        due = []
        for deadline in self.waiting:
            if deadline.when > now:
                self.arm(deadline.when)
                break
            due.append(deadline)
        else:
            # Nobody waits any more: a timeout that was used once must not stay for ever.
            _lines.pop(self._key, None)
        for deadline in due:
            deadline.expire()


# Weak: the calls in a line know their tasks, and those their loop. A line that was held here would keep a loop that was
# closed with calls pending, and their permits, for ever.
_lines: Final[dict[tuple[int, float], weakref.ref[_Line]]] = {}


def _line(loop: asyncio.AbstractEventLoop, timeout: float) -> _Line:
    key = (id(loop), timeout)
    known = _lines.get(key)
    # One that is gone was that of an earlier loop at the same address.
    line = None if known is None else known()
    if line is None:
        line = _Line(loop, key)
        _lines[key] = weakref.ref(line, lambda gone: _lines.pop(key, None) if _lines.get(key) is gone else None)
    return line


def arm(timeout: float) -> Deadline:
    """Give the current task ``timeout`` seconds from now.

    Raises:
        UnprotectedError: There is no current task, so nothing could be cancelled.
    """
    loop = asyncio._get_running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    if loop is None or task is None:
        raise UnprotectedError(
            "a call with a timeout has suspended outside a task: run it inside one, or use timeout=None"
        )
    line = _line(loop, timeout)
    when = loop.time() + timeout
    line.arm(when)
    return Deadline(task, line.waiting, when=when, timeout=timeout)
