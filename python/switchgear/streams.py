"""State changes for asyncio: streams of events, and waiting for a state.

Nothing here waits in another thread: a transition is told in the thread that made it, which leaves the event in a
buffer and, if somebody waits for it, a callback with that one's loop.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from switchgear.config import _seconds
from switchgear.errors import format_seconds
from switchgear.events import LOCK, Listener, TransitionEvent
from switchgear.state import State

if TYPE_CHECKING:
    from datetime import timedelta

    from switchgear.breaker import CircuitBreaker

T = TypeVar("T")

logger: Final = logging.getLogger("switchgear")

BUFFER_LIMIT: Final = 1_000_000


class Source(Protocol):
    """What a stream listens to: a breaker or a registry."""

    def on_transition(self, listener: Any, /) -> Any:
        """Begin to tell."""

    def off_transition(self, listener: Listener, /) -> None:
        """Tell no more."""


class EventStream:
    """The state changes since this was made: ``async for event in registry.events()``.

    It listens from the moment it is made, which is in a coroutine on asyncio, and belongs to that loop and to one
    reader. It slows nobody: a reader that is more than ``maxlen`` events behind loses the oldest ones, finds in
    ``lost`` how many, and each gap is logged as a warning. It ends with ``aclose()`` or the ``async with`` around it,
    and stops listening also when nobody holds it any more, or at the first event after its loop was closed.

    Args:
        source: The breaker or registry.
        maxlen: Events that wait for the reader at most; 1 to 1,000,000.

    Raises:
        ValueError: ``maxlen`` is no int of that range.
        RuntimeError: There is no running asyncio loop; from the iteration, two read at the same time.
    """

    __slots__ = ("__weakref__", "_mailbox")

    def __init__(self, source: Source, maxlen: int) -> None:
        if type(maxlen) is not int or not 1 <= maxlen <= BUFFER_LIMIT:
            raise ValueError(f"maxlen must be an int from 1 to {BUFFER_LIMIT:,}, not {maxlen!r}")
        mailbox = _Mailbox(source, asyncio.get_running_loop(), maxlen)
        source.on_transition(mailbox)
        self._mailbox = mailbox

    @property
    def lost(self) -> int:
        """Events that came and went before the reader took them."""
        return self._mailbox.lost

    async def aclose(self) -> None:
        """Stop listening; whoever iterates comes to the end. Closing twice is no error."""
        self._mailbox.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TransitionEvent:
        mailbox = self._mailbox
        while not mailbox.closed:
            event = mailbox.take()
            if event is not None:
                return event
            await mailbox.wait()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if hasattr(self, "_mailbox"):
            self._mailbox.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._mailbox.source!r}{', closed' if self._mailbox.closed else ''}>"


class _Mailbox:
    """The listener of a stream. It does not hold the stream, so that one nobody holds can be seen to go."""

    __slots__ = ("buffer", "closed", "loop", "put", "source", "taken", "told", "waiter")

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop, maxlen: int) -> None:
        self.buffer: deque[TransitionEvent] = deque(maxlen=maxlen)
        self.closed = False
        self.loop = loop
        self.put = 0
        self.source = source
        self.taken = 0
        self.told = 0
        self.waiter: asyncio.Future[None] | None = None

    def __call__(self, event: TransitionEvent) -> None:
        """Take an event from any thread."""
        if self.loop.is_closed():
            self.close()
            return
        with LOCK:
            self.put += 1
            self.buffer.append(event)
        self._wake()

    @property
    def lost(self) -> int:
        with LOCK:
            return self.put - self.taken - len(self.buffer)

    def take(self) -> TransitionEvent | None:
        """Take the oldest event, if there is one."""
        with LOCK:
            if not self.buffer:
                return None
            # Looked at before the event is gone: a gap is in front of what follows it.
            lost = self.lost
            event = self.buffer.popleft()
            self.taken += 1
        if lost > self.told:
            logger.warning("a slow reader of state changes lost the oldest %d of them", lost - self.told)
            self.told = lost
        return event

    async def wait(self) -> None:
        """Return once there may be an event, or the end."""
        if self.waiter is not None:
            raise RuntimeError("a stream has one reader; let each have its own stream")
        waiter = self.waiter = self.loop.create_future()
        try:
            # Looked at once more, now that whoever leaves an event knows of us.
            if not self.buffer and not self.closed:
                await waiter
        finally:
            # Who was woken, or cancelled, and comes late finds the next reader's here.
            if self.waiter is waiter:
                self.waiter = None

    def close(self) -> None:
        """Stop listening, from any thread, and let the reader see that it is over."""
        self.source.off_transition(self)
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        with LOCK:
            waiter, self.waiter = self.waiter, None
        # One callback for a wait, however many events come: the queue of a loop that is stuck does not grow.
        if waiter is not None and not _settle_later(self.loop, waiter, None):
            self.close()


async def wait_for(
    breaker: "CircuitBreaker", states: State | Iterable[State], timeout: "float | timedelta | None"
) -> State:
    """Wait until the breaker is in one of the states: ``CircuitBreaker.wait_for``."""
    wanted, limit = _check_states(states), _check_timeout(timeout)
    loop = asyncio.get_running_loop()
    reached: asyncio.Future[State] = loop.create_future()

    def listener(event: TransitionEvent) -> None:
        if event.to_state in wanted or loop.is_closed():
            # The first decides; a loop that is stuck is told no second time.
            breaker.off_transition(listener)
            _settle_later(loop, reached, event.to_state)

    # Listening first and looking then: a change between the two is seen by one of them.
    breaker.on_transition(listener)
    try:
        state = breaker.state
        if state in wanted:
            return state
        async with asyncio.timeout(limit):
            return await reached
    except TimeoutError:
        state = breaker.state
        if state in wanted:
            return state
        names = " or ".join(sorted(wanted))
        text = f"{breaker.name!r} is {state}, and was not {names} within {format_seconds(limit or 0.0)}"
        raise TimeoutError(text) from None
    finally:
        breaker.off_transition(listener)


def _settle_later(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", result: T) -> bool:
    """Give a future its result from any thread; False where its loop was closed and nobody waits any more."""
    try:
        loop.call_soon_threadsafe(_settle, future, result)
    except RuntimeError:
        return False
    return True


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    # Whoever was cancelled meanwhile has left.
    if not future.done():
        future.set_result(result)


def _check_states(states: State | Iterable[State]) -> frozenset[State]:
    # A state is a str, and so an iterable of letters.
    wanted = frozenset(map(State, (states,) if isinstance(states, str) else states))
    if not wanted:
        raise ValueError("states must be a State or several, not none: the wait would have no end")
    return wanted


def _check_timeout(timeout: "float | timedelta | None") -> float | None:
    if timeout is None:
        return None
    seconds = _seconds(timeout)
    if not seconds >= 0.0:
        raise ValueError(f"timeout must be None or a number of seconds (or a timedelta) of 0 or more, not {timeout!r}")
    # Not every loop can set a timer that never comes.
    return None if seconds == math.inf else seconds
