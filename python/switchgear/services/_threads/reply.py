"""The answer of another thread, and the wait for it: where a thread and an event loop meet."""

import asyncio
from contextvars import copy_context
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from switchgear.services._threads.mailbox import mailbox

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextvars import Context

    from switchgear.services._threads.mailbox import Mailbox

T = TypeVar("T")


class Reply(Generic[T]):
    """What a thread will answer: awaited once, by the task that made it.

    To asyncio it is a future. An ``asyncio.Future`` costs one more turn of the loop: its result is set in the first
    and its task woken in the second. And it has to be woken always, where an answer is often there before anybody
    waits for it: the thread is woken in the middle of the call that sends it work.
    """

    __slots__ = (
        "_answered",
        "_asyncio_future_blocking",
        "_cancelled",
        "_context",
        "_error",
        "_is_first",
        "_loop",
        "_mailbox",
        "_value",
        "_wake",
    )

    _context: "Context"
    _mailbox: "Mailbox"
    _value: T

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asyncio_future_blocking = False
        self._answered = False
        self._is_first = Lock().acquire
        """Asked once by either side: the second to come, the answer or the task that waits for it, sees to the wake."""
        self._wake: Callable[[Any], object] | None = None
        self._cancelled: asyncio.CancelledError | None = None

    def answer(self, value: Any, error: BaseException | None) -> bool:
        """Bring the answer, from the thread; False where the loop is closed."""
        if self._loop.is_closed():
            return False
        self._value, self._error = value, error
        self._answered = True
        if not self._is_first(False):
            self._mailbox.post(self._arrive)
        return True

    def left(self) -> None:
        """Note that the caller has left before there was an answer."""

    def __await__(self) -> "Generator[Any, None, T]":
        if self._answered:
            # A turn of the loop all the same: others want to run, too.
            yield
        else:
            self._asyncio_future_blocking = True
            try:
                yield self
            except BaseException:
                self._leave()
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

    def _arrive(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            self._context.run(wake, self)

    def _leave(self) -> None:
        self._wake = None
        if not self._answered and self._cancelled is None:
            self.left()

    # What a task asks of a future.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the task that awaits it."""
        return self._loop

    def add_done_callback(self, wake: "Callable[[Any], object]", *, context: "Context | None" = None) -> None:
        """Wake the task, once, when the answer is there."""
        self._wake, self._context = wake, copy_context() if context is None else context
        self._mailbox = mailbox(self._loop)
        if not self._is_first(False):
            self._loop.call_soon(self._arrive)

    def result(self) -> None:
        """Say that the task may go on; what the answer is, is raised and returned where it is awaited."""

    def cancel(self, msg: object = None) -> bool:
        """Wake the task with a cancellation, unless it is being woken already."""
        # Taken before anything is called: a signal's handler may cancel the task once more.
        wake, self._wake = self._wake, None
        if wake is None:
            return False
        self._leave()
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self._loop.call_soon(wake, self, context=self._context)
        return True
