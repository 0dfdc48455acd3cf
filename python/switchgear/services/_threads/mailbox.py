"""What threads have for an event loop: one wake-up of it for whatever has come together."""

import asyncio
import os
import sys
import weakref
from collections import deque
from contextlib import suppress
from contextvars import Context
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
        # The loop would keep the context of whoever was the first to wait.
        Context().run(loop.add_reader, bell.source, self._deliver)

    def post(self, call: "Callable[[], object]") -> None:
        self._calls.append(call)
        self._bell.ring()

    def _deliver(self) -> None:
        calls = self._calls
        try:
            with suppress(BlockingIOError):
                self._bell.hear()
            # What is posted because of these waits for the next turn: it is others' turn before.
            for _ in range(len(calls)):
                # In its place until it is done: called twice it does nothing.
                calls[0]()
                calls.popleft()
        except BaseException:
            # A task ends the loop, or a signal's handler at any of these lines. The rest is for whoever runs it next.
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
        except OSError:
            # No file is to be had. Not for good: another time there may be one.
            return LoopMailbox(loop)
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
