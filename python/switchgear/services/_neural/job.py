"""One piece of work for a thread, and the wait for it: where a thread and an event loop meet."""

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Context

    from switchgear.services._neural.workers import Pool

T = TypeVar("T")


class WorkEscapedError(RuntimeError):
    """The work raised what must not reach an event loop: ``SystemExit``, ``KeyboardInterrupt``, ``StopIteration``..."""


class Job(Generic[T]):
    """One piece of work, to be awaited once, in the task that submitted it.

    To asyncio it is a future. An ``asyncio.Future`` costs one more turn of the loop: its result is set in the first
    and its task woken in the second.
    """

    __slots__ = (
        "_abandoned",
        "_asyncio_future_blocking",
        "_begun",
        "_cancelled",
        "_context",
        "_error",
        "_finished",
        "_loop",
        "_pool",
        "_stop",
        "_value",
        "_wake",
        "_work",
    )

    _value: T

    def __init__(self, pool: "Pool", work: "Callable[[], T]", stop: "Callable[[], object] | None") -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._stop = stop
        self._asyncio_future_blocking = False
        self._wake: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._error: BaseException | None = None
        self._cancelled: asyncio.CancelledError | None = None
        self._begun = False
        self._finished = False
        self._abandoned = False

    def __await__(self) -> "Generator[Any, None, T]":
        if self._finished:
            # It was quicker than we are. A turn of the loop all the same: others want to run, too.
            yield
        else:
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException:
                self._abandon()
                raise
        if self._cancelled is not None:
            raise self._cancelled
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            # Its traceback holds this frame.
            del error

    # What a task asks of a future.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the task that awaits it."""
        return self._loop

    def add_done_callback(self, wake: "Callable[[Any], object]", *, context: "Context | None" = None) -> None:
        """Wake the task, once, when the work has ended."""
        with self._pool.lock:
            if not self._finished:
                self._wake, self._context = wake, context
                return
        self._loop.call_soon(wake, self, context=context)

    def result(self) -> None:
        """Say that the task may go on; what came of the work is raised and returned where it is awaited."""

    def cancel(self, msg: object = None) -> bool:
        """Wake the task with a cancellation, unless it is being woken already."""
        with self._pool.lock:
            wake, self._wake = self._wake, None
        if wake is None:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._abandon()
        self._loop.call_soon(wake, self, context=self._context)
        return True

    def _abandon(self) -> None:
        pool = self._pool
        with pool.lock:
            if self._finished or self._abandoned:
                return
            self._wake = None
            if not self._begun:
                # Nobody is at it: whichever thread comes to it leaves it alone, and the place is free.
                self._finished = True
                pool.busy -= 1
                return
            self._abandoned = True
            pool.abandoned += 1
        if self._stop is not None:
            self._stop()

    # What a thread does with it.

    def run(self) -> None:
        """Do the work, give the place back, and only then wake the caller: it may want the place again."""
        pool = self._pool
        with pool.lock:
            if self._finished:
                return
            self._begun = True
        error: BaseException | None = None
        try:
            self._value = self._work()
        except BaseException as raised:
            error = raised if _may_travel(raised) else _escaped(raised)
        with pool.lock:
            pool.busy -= 1
            pool.abandoned -= self._abandoned
            self._finished = True
            self._error = None if self._abandoned else error
            wake, self._wake = self._wake, None
        error = None
        if wake is not None:
            try:
                self._loop.call_soon_threadsafe(wake, self, context=self._context)
            except RuntimeError:
                # The loop was closed with the call pending: there is nobody to wake.
                self._error = None


def _may_travel(error: BaseException) -> bool:
    # A task that is given SystemExit or KeyboardInterrupt ends the program, CancelledError looks like its own
    # cancellation, and a coroutine that raises StopIteration has returned.
    return isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration))


def _escaped(error: BaseException) -> WorkEscapedError:
    escaped = WorkEscapedError(f"the work in the thread raised {type(error).__name__}: {error}")
    escaped.__cause__ = error
    return escaped
