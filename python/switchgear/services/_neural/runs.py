"""Runs in a library that a thread must have left before the interpreter is taken down.

A daemon thread that comes back for the interpreter lock after that is ended on the spot, which in C is harmless. In C++
it unwinds frames that allow no exception, and the process is aborted. So at exit the runs are told to end and awaited.
"""

import atexit
import os
import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LEAVE_SECONDS: Final = 5.0
"""How long the exit waits; a run that is told to end does so after the step that it is in."""


class Runs:
    """The runs of this process."""

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        # A forked child has none of them, and may have been born while another thread held the lock.
        self._changed = threading.Condition()
        self._stops: set[Callable[[], object]] = set()
        self._over = False

    def during(self, run: "Callable[[], T]", stop: "Callable[[], object]") -> T:
        """Do a run.

        Args:
            run: What to do.
            stop: Ends it soon; called in another thread, and it must not wait.

        Raises:
            RuntimeError: The interpreter is about to end.
        """
        with self._changed:
            if self._over:
                raise RuntimeError("the interpreter is about to end: no run begins any more")
            self._stops.add(stop)
        try:
            return run()
        finally:
            with self._changed:
                self._stops.discard(stop)
                if self._over:
                    self._changed.notify_all()

    def end(self) -> None:
        """Stop what runs, let nothing begin, and wait, for a time."""
        with self._changed:
            self._over = True
            for stop in self._stops:
                stop()
            self._changed.wait_for(lambda: not self._stops, LEAVE_SECONDS)


RUNS: Final = Runs()

# Not threading's own hook: threads that are no daemons have ended here, and with them what they wait for.
atexit.register(RUNS.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RUNS._begin_anew)
