"""What goes between an event loop and SQLite's thread: jobs, and the lanes of transactions."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from switchgear.services._database.rows import Answer, Shape
from switchgear.services._threads.reply import Reply

if TYPE_CHECKING:
    import asyncio
    import weakref

    from switchgear.services._database.sqlite_thread import Worker
    from switchgear.services._threads.inbox import Inbox

END: Final = object()
"""What ends an inbox: the thread's, or a lane's, whose transaction is then rolled back."""


class Job(Reply[Any]):
    """One statement on its way to the thread and back."""

    __slots__ = ("cancelled", "params", "shape", "sql", "worker")

    worker: "Worker"
    """Where it was submitted to."""

    def __init__(self, sql: str, params: Any, shape: Shape) -> None:
        super().__init__()
        self.sql = sql
        self.params = params
        self.shape = shape
        self.cancelled = False

    def left(self) -> None:
        """Give it up."""
        self.worker.give_up(self)

    def answer(self, value: Any, error: BaseException | None) -> bool:
        """Bring the end of it to the loop; False where the loop is closed. Called by the thread."""
        if isinstance(error, StopIteration):
            # An object among the parameters raised it, and a coroutine that raises it has returned.
            stopped, error = error, RuntimeError("a parameter raised StopIteration")
            error.__cause__ = stopped
        return super().answer(value, error)


class Lane:
    """The inbox of one transaction."""

    __slots__ = ("inbox", "over", "task", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.timeout = timeout
        self.task: weakref.ref[asyncio.Task[Any]] | None = None
        """Who is in the transaction. Weak: a task that its loop has left behind is to become garbage, and end this."""
        self.over = False
        """The thread reads the inbox no more."""


class Begin(Job):
    """What opens a transaction, and with it the lane that is read from then on."""

    __slots__ = ("lane",)

    def __init__(self, lane: Lane) -> None:
        # At once, not with the first write: a transaction that has read cannot wait for the lock any more.
        super().__init__("BEGIN IMMEDIATE", None, _nothing)
        self.lane = lane


class Commit(Job):
    """What closes a transaction for good."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("COMMIT", None, _nothing)


def _nothing(answer: Answer) -> None:
    """Shape an answer that nobody reads."""


def refuse_all(inbox: "Inbox | SimpleQueue[Any]", error: Callable[[], BaseException]) -> None:
    """Answer everything in an inbox that nobody reads any more."""
    while True:
        try:
            job = inbox.get_nowait()
        except Empty:
            return
        if isinstance(job, Job):
            job.answer(None, error())
