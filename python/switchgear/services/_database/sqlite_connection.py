"""The one connection of SQLite's thread: opened when it is needed, and let go when its file has failed.

A statement that is given up ends in one of three ways. It runs: ``interrupt()``. It waits for a lock that another
process holds: the same wakes it. It was given up between becoming the thread's job and its first step, where an
interrupt is lost: a progress handler, called after each million steps of SQLite's machine (some 10 ms), sees that. A
smaller number would cost queries a turn at the interpreter lock for each.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final

from switchgear.services._database.rows import Answer
from switchgear.services._database.sqlite_jobs import Job
from switchgear.services._database.sqlite_statements import is_busy, pause, prepare, run
from switchgear.services._database.times import Times

PROGRESS_STEPS: Final = 1_000_000


class OneConnection:
    """Used by the thread alone, but for ``interrupt()``.

    Args:
        path: The file, or ``":memory:"``.
        times: How long a statement waits for a lock that another process holds.
        lock: What whoever calls ``interrupt()`` holds; taken here where the connection comes and goes.
        given_up: Tells whether nobody wants the answer of the current job any more.
    """

    def __init__(self, path: str, times: Times, lock: threading.RLock, given_up: Callable[[], bool]) -> None:
        self._path = path
        self._times = times
        self._lock = lock
        self._changed = threading.Condition(lock)
        self._given_up = given_up
        self._connection: sqlite3.Connection | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; SQLite ends some on its own."""
        return self._connection is not None and self._connection.in_transaction

    def interrupt(self) -> None:
        """End the statement that runs, or its wait for a lock."""
        if self._connection is not None:
            self._connection.interrupt()
        self._changed.notify_all()

    def execute(self, job: Job) -> Any:
        """Execute a statement, trying again for a while where another process holds the lock."""
        try:
            answer = run(self._connection or self._open(), job)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            answer = self._execute_when_free(job)
        return job.shape(answer)

    def roll_back(self) -> None:
        """Undo the transaction."""
        try:
            self._open().execute("ROLLBACK")
        except sqlite3.Error:
            if self.in_transaction:
                self.close()  # which rolls back, too

    def close(self) -> None:
        """Close it; the next statement opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.set_progress_handler(None, 0)
            # SQLite forgets an interrupt with the next statement; until then it would end the checkpoint of the close.
            with suppress(sqlite3.Error):
                connection.execute("SELECT 1").close()
            connection.close()

    def look_at(self, error: BaseException) -> None:
        """Let go of a file that has failed: what mends it may put another in its place."""
        name = getattr(error, "sqlite_errorname", "")
        if self._path != ":memory:" and name.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")):
            self.close()

    def _execute_when_free(self, job: Job) -> Answer:
        # sqlite3's own timeout= waits inside SQLite, where no interrupt reaches it.
        until = time.monotonic() + self._times.max_wait
        for attempt in count():
            with self._changed:
                if not self._given_up():
                    self._changed.wait(pause(attempt))
                given_up = self._given_up()
            try:
                return run(self._connection or self._open(), job)
            except sqlite3.OperationalError as error:
                if given_up or not is_busy(error) or time.monotonic() > until:
                    raise
        raise AssertionError("count() has no end")

    def _open(self) -> sqlite3.Connection:
        connection = self._connection
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=0.0, isolation_level=None, check_same_thread=False)
            try:
                prepare(connection)
                connection.set_progress_handler(self._given_up, PROGRESS_STEPS)
            except BaseException:
                connection.close()
                raise
            with self._lock:
                self._connection = connection
        return connection
