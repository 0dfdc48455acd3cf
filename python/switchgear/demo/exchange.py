"""The venue: what orders it received and which it accepted lies in a journal that a SIGKILL cannot take back."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

RECEIVED: Final = "received"
ACCEPTED: Final = "accepted"


class Exchange:
    """Accept each order once, and remember it across a death of the process."""

    def __init__(self, journal: Path) -> None:
        self._accepted = set(entries(journal)[ACCEPTED]) if journal.exists() else set[str]()
        self._lock = Lock()
        # One write a line, unbuffered: what write() has taken is in the kernel's hands.
        self._file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def receive(self, order: str) -> None:
        """Note that a request for this order came in, whatever becomes of it."""
        self._write(RECEIVED, order)

    def accept(self, order: str) -> bool:
        """Accept an order; False where it was accepted before."""
        with self._lock:
            if order in self._accepted:
                return False
            self._accepted.add(order)
            self._write(ACCEPTED, order)
        return True

    def has(self, order: str) -> bool:
        """Tell whether an order was accepted."""
        return order in self._accepted

    def _write(self, what: str, order: str) -> None:
        os.write(self._file, f"{what} {order}\n".encode())


def entries(journal: Path) -> dict[str, list[str]]:
    """Return the orders of a journal by what happened to them, in its order; a line that a death cut off is none."""
    found: dict[str, list[str]] = {RECEIVED: [], ACCEPTED: []}
    for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
        what, _, order = line.partition(" ")
        if line.endswith("\n") and what in found:
            found[what].append(order.rstrip("\n"))
    return found
