"""The venue: what orders it received, accepted and cancelled lies in a journal that a SIGKILL cannot take back."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RECEIVED: Final = "received"
ACCEPTED: Final = "accepted"
CANCELLED: Final = "cancelled"


class Exchange:
    """Accept each order once, and remember it across a death of the process."""

    def __init__(self, journal: Path) -> None:
        before = entries(journal) if journal.exists() else {}
        self._accepted = set(before.get(ACCEPTED, ()))
        self._cancelled = set(before.get(CANCELLED, ()))
        self._lock = Lock()
        # One write a line, unbuffered: what write() has taken is in the kernel's hands.
        self._file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def receive(self, order: str) -> None:
        """Note that a request for this order came in, whatever becomes of it."""
        self._write(RECEIVED, order)

    def accept(self, order: str) -> bool:
        """Accept an order, once; False where it was cancelled before it came."""
        with self._lock:
            if order in self._cancelled:
                return False
            if order not in self._accepted:
                self._write(ACCEPTED, order)
                self._accepted.add(order)
        return True

    def cancel(self, order: str) -> bool:
        """Never accept this order from now on, however late it comes; False where it was accepted already."""
        with self._lock:
            if order in self._accepted:
                return False
            if order not in self._cancelled:
                self._write(CANCELLED, order)
                self._cancelled.add(order)
        return True

    def has(self, order: str) -> bool:
        """Tell whether an order was accepted."""
        return order in self._accepted

    def _write(self, what: str, order: str) -> None:
        os.write(self._file, f"{what} {order}\n".encode())


def entries(journal: Path) -> dict[str, list[str]]:
    """Return the orders of a journal by what happened to them, in its order; a line that a death cut off is none."""
    found: dict[str, list[str]] = {RECEIVED: [], ACCEPTED: [], CANCELLED: []}
    for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
        what, _, order = line.partition(" ")
        if line.endswith("\n") and what in found:
            found[what].append(order.rstrip("\n"))
    return found
