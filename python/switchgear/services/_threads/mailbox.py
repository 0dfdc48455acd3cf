"""What threads have for an event loop: one wake-up of it for whatever has come together."""

import asyncio
import os
import sys
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from switchgear.services._threads.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable


class Mailbox(Protocol):
    """What takes calls for an event loop, from any thread."""

    def post(self, call: "Callable[[], object]") -> None:
        """Have the loop call this soon; one that is closed never does."""


class BellMailbox:
    """The mailbox of a loop that watches files. The loop holds it, and lets go of it when it is closed."""

    __slots__ = ("__weakref__", "_bell", "_calls")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._bell = bell = Bell()
        # So that a child of a fork(), which has it as well, can take a ring and stop nobody.
        os.set_blocking(bell.source, False)
        loop.add_reader(bell.source, self._deliver)

    def post(self, call: "Callable[[], object]") -> None:
        self._calls.append(call)
        self._bell.ring()

    def _deliver(self) -> None:
        try:
            self._bell.hear()
        except BlockingIOError:
            return
        calls = self._calls
        try:
            # What is posted because of these waits for the next turn: it is others' turn before.
            for _ in range(len(calls)):
                calls.popleft()()
        except BaseException:
            # A task ends the loop, with SystemExit for one. The rest is for the loop that cleans up after it.
            self._bell.ring()
            raise


class LoopMailbox:
    """The mailbox of a loop that watches no files, such as the usual one of Windows."""

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)

    def post(self, call: "Callable[[], object]") -> None:
        loop = self._loop()
        if loop is not None:
            try:
                loop.call_soon_threadsafe(call)
            except RuntimeError:
                return  # it is closed


def mailbox(loop: asyncio.AbstractEventLoop) -> Mailbox:
    """Return the mailbox of the running loop; nobody else may ask."""
    held = _HELD.get(loop)
    found = None if held is None else held()
    return _made(loop) if found is None else found


def _made(loop: asyncio.AbstractEventLoop) -> Mailbox:
    if sys.platform != "win32":
        try:
            made = BellMailbox(loop)
        except NotImplementedError:
            pass
        else:
            # Not held here: it leads to the loop, which would never become garbage.
            _HELD[loop] = weakref.ref(made)
            return made
    plain = LoopMailbox(loop)
    _HELD[loop] = lambda: plain
    return plain


_HELD: "Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Callable[[], Mailbox | None]]]" = (
    weakref.WeakKeyDictionary()
)
