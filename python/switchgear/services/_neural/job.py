"""One piece of work for a thread, and the place that it takes there."""

from typing import TYPE_CHECKING, Any, TypeVar

from switchgear.services._threads.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.services._neural.workers import Pool

T = TypeVar("T")


class WorkEscapedError(RuntimeError):
    """The work raised what must not reach an event loop: ``SystemExit``, ``KeyboardInterrupt``, ``StopIteration``..."""


class Job(Reply[T]):
    """One piece of work."""

    __slots__ = ("_abandoned", "_begun", "_finished", "_pool", "_stop", "_work")

    def __init__(self, pool: "Pool", work: "Callable[[], T]", stop: "Callable[[], object] | None") -> None:
        super().__init__()
        self._pool = pool
        self._work = work
        self._stop = stop
        self._begun = False
        self._finished = False
        self._abandoned = False

    def left(self) -> None:
        """Give the place back if no thread is at it, else stop it, or let it keep the place to its end."""
        pool = self._pool
        with pool.lock:
            if self._finished:
                return
            if not self._begun:
                # Whichever thread comes to it leaves it alone.
                self._finished = True
                pool.busy -= 1
                return
            self._abandoned = True
            pool.abandoned += 1
        if self._stop is not None:
            self._stop()

    def run(self) -> None:
        """Do the work, in a thread, give the place back, and only then answer: the caller may want the place again."""
        pool = self._pool
        with pool.lock:
            if self._finished:
                return
            self._begun = True
        value: Any = None
        error: BaseException | None = None
        try:
            value = self._work()
        except BaseException as raised:
            error = raised if _may_travel(raised) else _escaped(raised)
        with pool.lock:
            pool.busy -= 1
            pool.abandoned -= self._abandoned
            self._finished = True
        try:
            if not self._abandoned:
                self.answer(value, error)
        finally:
            # Its traceback holds this frame.
            del error


def _may_travel(error: BaseException) -> bool:
    # A task that is given SystemExit or KeyboardInterrupt ends the program, CancelledError looks like its own
    # cancellation, and a coroutine that raises StopIteration has returned.
    return isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration))


def _escaped(error: BaseException) -> WorkEscapedError:
    escaped = WorkEscapedError(f"the work in the thread raised {type(error).__name__}: {error}")
    escaped.__cause__ = error
    return escaped
