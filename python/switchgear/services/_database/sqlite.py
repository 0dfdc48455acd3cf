"""The embedded engine: SQLite, driven from any event loop."""

import asyncio
import weakref
from contextlib import suppress
from typing import Any

from switchgear.services._database.rows import Shape
from switchgear.services._database.sqlite_jobs import END, Begin, Commit, Job, Lane
from switchgear.services._database.sqlite_thread import JOIN_SECONDS, Worker
from switchgear.services._database.times import Times


class SqliteEngine:
    """Run statements on a thread of their own, one at a time.

    Args:
        path: The file, or ``":memory:"``.
        name: What the database is called, for messages and the thread.
        times: How long a transaction may take (when that is over for long, it is rolled back even if its event loop is
            gone), and how long a statement waits for a lock that another process holds.
    """

    def __init__(self, path: str, name: str, times: Times) -> None:
        self._times = times
        self._worker = Worker(path, name, times)
        weakref.finalize(self, self._worker.forget).atexit = False

    def check(self) -> None:
        """Refuse what can only wait for itself, and everything once the engine is closed.

        Raises:
            RuntimeError: The engine is closed, or the task has a transaction open in it.
        """
        worker = self._worker
        if worker.stopping:
            raise worker.closed()
        lane = worker.lane
        if lane is not None and lane.task is not None and lane.task() is asyncio.current_task():
            raise RuntimeError("this task has a transaction open, which the call would wait for: use the transaction's")

    def run(self, sql: str, params: Any, shape: Shape) -> Job:
        """Run one statement, committed with its end."""
        return self._worker.submit(Job(sql, params, shape))

    def session(self) -> "SqliteSession":
        """Return a transaction that is yet to begin."""
        return SqliteSession(self, self._worker, self._times.timeout)

    async def aclose(self) -> None:
        """Interrupt what runs, roll back what is open, refuse what waits, and wait for the thread's end."""
        job = Job("", None, len)
        self._worker.stop(job)
        # The thread may be inside a disk that hangs; it is a daemon, and not worth hanging with.
        with suppress(TimeoutError):
            async with asyncio.timeout(JOIN_SECONDS):
                await job


class SqliteSession:
    """One transaction, on the only connection: nobody else is served while it is open."""

    def __init__(self, engine: SqliteEngine, worker: Worker, timeout: float | None) -> None:
        self._engine = engine  # kept alive
        self._worker = worker
        self._lane = Lane(timeout)

    async def begin(self) -> None:
        """Wait for the turn, and for the write lock."""
        task = asyncio.current_task()
        self._lane.task = None if task is None else weakref.ref(task)
        await self._worker.submit(Begin(self._lane))

    async def run(self, sql: str, params: Any, shape: Shape) -> Any:
        """Run one statement of the transaction."""
        return await self._worker.submit(Job(sql, params, shape), self._lane)

    async def commit(self) -> None:
        """Commit, or end with everything undone."""
        await self._worker.submit(Commit(), self._lane)

    async def rollback(self) -> None:
        """Undo everything: before the next statement of anybody, so that there is nothing to wait for."""
        self.abandon()

    def abandon(self) -> None:
        """Undo what was not committed, without waiting; needs no event loop."""
        self._lane.task = None
        self._lane.inbox.put(END)

    def __del__(self) -> None:
        # The body's coroutine was thrown away with its event loop. An END too many is read by nobody.
        self._lane.inbox.put(END)
