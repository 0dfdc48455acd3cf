"""SQLite on a thread of its own: calls hop there and back, and what is given up is interrupted, and nothing else.

One thread has the one connection, so statements and transactions are serial by construction. A call is a ``Job``. It
waits in an inbox until the thread takes it up; a transaction has an inbox of its own (a ``Lane``), and while it is open
the thread reads that one alone.

Interrupting has two races. *Hitting the next statement*: ``interrupt()`` is called only under the lock and only while
the job is the current one; SQLite forgets an interrupt that met no running statement when the next one starts. *Losing
the interrupt*: a job that was given up between becoming current and its first step runs on, until the connection sees
the mark that was left on the job.

The thread is a daemon, stopped and joined at the interpreter's exit, and holds nothing of the service: a service that
is forgotten takes its thread and connection along.
"""

import atexit
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty
from typing import Any, Final

from switchgear.services._database.errors import ended
from switchgear.services._database.sqlite_connection import OneConnection
from switchgear.services._database.sqlite_jobs import END, Begin, Commit, Job, Lane, refuse_all
from switchgear.services._database.times import Times
from switchgear.services._threads.inbox import Inbox

JOIN_SECONDS: Final = 5.0
LANE_GRACE: Final = 1.0
"""Seconds past its deadline after which a transaction that nobody ends any more is rolled back by the thread itself."""


class Worker:
    """The thread's side: holds the connection, the inboxes and who is being served."""

    def __init__(self, path: str, name: str, times: Times) -> None:
        self.name = name
        self.lane: Lane | None = None
        self.stopping = False
        self._finished = False
        self._inbox = Inbox()
        # Reentrant: what is collected inside a block that holds it may be a caller's coroutine, which gives up its job.
        self._lock = threading.RLock()
        self._current: Job | None = None
        self._connection = OneConnection(path, times, self._lock, self._given_up)
        self._stopped: list[Job] = []
        self.thread: threading.Thread | None = None

    # The loop's side: each of these takes the lock for a moment and waits for nothing else.

    def submit(self, job: Job, lane: Lane | None = None) -> Job:
        """Put a job into an inbox, and return it.

        Raises:
            RuntimeError: The worker is stopped, or the transaction is over.
        """
        if self.stopping:
            raise self.closed()
        if lane is not None and lane.over:
            raise ended()
        job.worker = self
        if self.thread is None:
            self._start()
        # Without the lock: the thread wakes up from this, and would find it taken. Either its last look into the inbox
        # finds the job, or its mark, which it makes before that, is found here.
        if lane is None:
            self._inbox.put(job)
            if self._finished:
                refuse_all(self._inbox, self.closed)
        else:
            lane.inbox.put(job)
            if lane.over:
                refuse_all(lane.inbox, self.closed if self.stopping else ended)
        return job

    def give_up(self, job: Job) -> None:
        """Let a job never start, or interrupt it if it has."""
        with self._lock:
            job.cancelled = True
            if self._current is job:
                self._connection.interrupt()

    def stop(self, job: Job | None = None) -> None:
        """Interrupt what runs, refuse what waits, close the connection and end the thread; ``job`` hears of the end."""
        with self._lock:
            self.stopping = True
            running = self.thread is not None and self.thread.is_alive()
            self._finished = self._finished or not running
            if running:
                if job is not None:
                    job.worker = self
                    self._stopped.append(job)
                if self._current is not None:
                    self._connection.interrupt()
                self._inbox.put(END)
                if self.lane is not None:
                    self.lane.inbox.put(END)
        if not running and job is not None:
            job.answer(None, None)

    def forget(self) -> None:
        """Stop without the lock, for finalisers: they run in any thread, also inside a block that holds it.

        Nothing needs to be interrupted: who awaits an answer keeps the service alive.
        """
        self.stopping = True
        self._inbox.put(END)
        lane = self.lane
        if lane is not None:
            lane.inbox.put(END)

    def closed(self) -> RuntimeError:
        """Return what a call on a closed service raises."""
        return RuntimeError(f"{self.name!r} is closed")

    def _start(self) -> None:
        with self._lock:
            if self.thread is None and not self.stopping:
                self._start_once()

    def _start_once(self) -> None:
        # Not through the service: the thread must not keep it alive.
        thread = threading.Thread(target=self._serve, name=f"switchgear {self.name}", daemon=True)
        self._inbox.open()
        thread.start()
        self.thread = thread
        if not _running:
            atexit.unregister(_stop_all)
            atexit.register(_stop_all)
        _running.add(self)

    # The thread's side.

    def _serve(self) -> None:
        try:
            while (job := self._inbox.get()) is not END:
                if isinstance(job, Begin):
                    self._serve_transaction(job)
                else:
                    self._perform(job, self._autocommitted)
                del job  # while the thread waits, nothing of the last call stays alive
        finally:
            self._finish()

    def _serve_transaction(self, begin: Begin) -> None:
        lane = begin.lane
        with self._lock:
            self.lane = lane
        try:
            if not self._perform(begin, self._connection.execute):
                return
            until = None if lane.timeout is None else time.monotonic() + lane.timeout + LANE_GRACE
            while True:
                try:
                    job = lane.inbox.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
                except Empty:
                    return
                if job is END:
                    return
                self._perform(job, self._inside)
                if isinstance(job, Commit):
                    return
                del job
        finally:
            self._end_lane(lane)

    def _end_lane(self, lane: Lane) -> None:
        if self._connection.in_transaction:
            self._connection.roll_back()
        with self._lock:
            lane.over, self.lane, lane.task = True, None, None
        refuse_all(lane.inbox, self.closed if self.stopping else ended)

    def _perform(self, job: Job, operation: Callable[[Job], Any]) -> bool:
        """Do a job unless it was given up; tell whether its answer was wanted to the last."""
        result, error = None, None
        # In this order, and give_up the other way round: one of the two sees the other. Only leaving takes the lock: no
        # interrupt is on its way when the next job becomes the current one.
        self._current = job
        if job.cancelled:
            with self._lock:
                self._current = None
            return False
        try:
            if self.stopping:
                raise self.closed()
            result = operation(job)
        except BaseException as raised:
            error = raised
        with self._lock:
            self._current = None
        if error is not None and self.stopping and isinstance(error, sqlite3.OperationalError):
            error = self.closed()
        if error is not None:
            self._connection.look_at(error)
        try:
            return job.answer(result, error) and error is None and not job.cancelled
        finally:
            del error  # its traceback holds this frame

    def _autocommitted(self, job: Job) -> Any:
        result = self._connection.execute(job)
        if self._connection.in_transaction:
            self._connection.roll_back()
            raise ValueError("the statement has opened a transaction, which is rolled back: use transaction()")
        return result

    def _inside(self, job: Job) -> Any:
        if not self._connection.in_transaction:
            # SQLite has rolled it back on its own, or the file has failed.
            raise ended()
        return self._connection.execute(job)

    def _given_up(self) -> bool:
        job = self._current
        return self.stopping or (job is not None and job.cancelled)

    def _finish(self) -> None:
        with self._lock:
            self.stopping = True
        try:
            self._connection.close()
        finally:
            self._finished = True
            refuse_all(self._inbox, self.closed)
            _running.discard(self)
            with self._lock:
                stopped, self._stopped = self._stopped, []
                self.thread = None
            for job in stopped:
                job.answer(None, None)


_running: "weakref.WeakSet[Worker]" = weakref.WeakSet()


def _stop_all() -> None:
    """Stop and join every thread at the interpreter's exit: none may run while it is taken down."""
    threads = [worker.thread for worker in list(_running)]
    for worker in list(_running):
        worker.stop()
    until = time.monotonic() + JOIN_SECONDS
    for thread in threads:
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))
