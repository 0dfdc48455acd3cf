"""What wakes a thread, or an event loop, from another thread: a byte in a pipe.

Not a lock, as in ``queue.SimpleQueue``: who releases one keeps the interpreter lock, so that whom it wakes goes back to
sleep until that is free. ``os.write`` lets go of it. And not ``call_soon_threadsafe``, which is a byte in a socket that
the loop reads until there is nothing, with an exception at the end; what it calls waits for the next turn of the loop.
"""

import os
import weakref
from typing import Final

_ENOUGH: Final = 64
"""Bytes to read at a time; there are one or two."""


class Bell:
    """Rung by any thread, heard by one: put what there is to say where it will be looked for, then ring.

    However often it is rung before it is heard, that is one wake-up.
    """

    __slots__ = ("__weakref__", "_rung", "_sink", "source")

    def __init__(self) -> None:
        self.source, self._sink = os.pipe()
        """The end that can be waited at."""
        self._rung = False
        weakref.finalize(self, _close, self.source, self._sink).atexit = False

    def ring(self) -> None:
        """Wake whoever waits, or will wait next."""
        if not self._rung:
            self._rung = True
            try:
                os.write(self._sink, b".")
            except BaseException:
                # A signal's handler raised, and nobody knows whether the byte went out: one too many does no harm.
                self._rung = False
                raise

    def hear(self) -> None:
        """Wait for a ring; what was put before it is there then."""
        try:
            os.read(self.source, _ENOUGH)
        finally:
            # Before the look at what was put: what comes too late for that rings again.
            self._rung = False


def _close(*ends: int) -> None:
    for end in ends:
        os.close(end)
