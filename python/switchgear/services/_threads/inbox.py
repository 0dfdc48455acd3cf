"""What an event loop has for a thread."""

from collections import deque
from queue import Empty
from typing import Any

from switchgear.services._threads.bell import Bell


class Inbox:
    """A queue that one thread reads, after ``open()``, and that any may fill, before it as well."""

    __slots__ = ("_bell", "_items")

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._bell: Bell | None = None

    def open(self) -> None:
        """Make ready to wait; what is never waited for has no need of a bell."""
        self._bell = Bell()

    def put(self, item: Any) -> None:
        """Add something; it waits for nothing, so that finalisers may do it."""
        self._items.append(item)
        if self._bell is not None:
            self._bell.ring()

    def get(self) -> Any:
        """Wait for something."""
        bell = self._bell
        assert bell is not None
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                bell.hear()

    def get_nowait(self) -> Any:
        """Return what is there.

        Raises:
            Empty: There is nothing.
        """
        try:
            return self._items.popleft()
        except IndexError:
            raise Empty from None
