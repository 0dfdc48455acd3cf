"""A response's body that settles the permit of its request: at its end, where it breaks, or where it is closed.

httpx and httpx2 each ask for an instance of their own base class, and neither may be imported for that: the class of
the stream that is wrapped has the right one among its bases.
"""

from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from switchgear._compat import Permit
    from switchgear.breaker import CircuitBreaker
    from switchgear.integrations._httpx.deadline import Pace


class _Body:
    """One that is dropped before its end and never closed drops the permit, which is released with that.

    Whoever makes one fills it in: for so many attributes an ``__init__`` takes three times as long.
    """

    __slots__ = ("permit", "stream")

    permit: "Permit | None"
    """What the end settles, unless others have: a status that is a failure, or a timeout. None after that."""
    stream: Any
    """What is wrapped."""

    def settle(self) -> None:
        """The host has answered, with a status that is none of a failure, and nothing has gone wrong since."""
        permit = self.permit
        if permit is not None:
            self.permit = None
            if not permit.settled:
                try:
                    permit.success()
                except RuntimeError:
                    # Another thread was faster: the one that closes what this one reads.
                    return


class SyncBody(_Body):
    """The body of a sync response."""

    __slots__ = ()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.stream
        except GeneratorExit:
            # The reader has had enough: close() is what settles, or nothing.
            raise
        except BaseException as error:
            permit, self.permit = self.permit, None
            if permit is not None:
                permit._settle_exception(error)
            raise
        self.settle()

    def close(self) -> None:
        """Close the stream; before its end, that settles too: what was read was good."""
        self.settle()
        self.stream.close()


class AsyncBody(_Body):
    """The body of an async response, and the iterator over it, each step of which has a deadline.

    An async generator would look simpler, and be dearer: the loop keeps a book of those.
    """

    __slots__ = ("_left", "_next", "breaker", "pace", "parts", "soon", "until")

    breaker: "CircuitBreaker"
    """Where the permit is from."""
    pace: "Pace"
    parts: Any
    """The iterator over the stream, from the first step to the last; None before and after."""
    soon: float
    """Until when, on the monotonic clock, it is not worth while to count what is waited."""
    until: float
    """When the last thing that was waited for was there: the headers, or a part."""
    _left: float
    """Seconds that may still be waited, from the moment on when that is counted."""

    def __aiter__(self) -> Self:
        self.parts = parts = self.stream.__aiter__()
        self._next = parts.__anext__
        return self

    async def __anext__(self) -> bytes:
        try:
            # As cheap as it can be at first: what the reader takes between the parts is less than a sixteenth then.
            if monotonic() < self.soon:
                part: bytes = await self.pace.call(self._next)
                self.until = monotonic()
                return part
            return await self._counted()
        except StopAsyncIteration:
            self.parts = None
            self.settle()
            raise
        except BaseException as error:
            permit, self.permit = self.permit, None
            self.pace.settle(permit, self.breaker.name, error)
            raise

    async def _counted(self) -> bytes:
        """Go on, and count what the steps wait."""
        since, pace = monotonic(), self.pace
        if not hasattr(self, "_left"):
            self._left = pace.left(self.until - (self.soon - pace.soon))
        try:
            part: bytes = await pace.call_within(self._left)(self._next)
        finally:
            self._left -= monotonic() - since
        return part

    async def aclose(self) -> None:
        """Close the stream; before its end, that settles too: what was read was good."""
        if self.permit is not None:
            self.settle()
        try:
            parts = self.parts
            # A generator that is left alone would be closed by the loop, later and in another task. One that another
            # task is in the middle of ends with its stream.
            if parts is not None and hasattr(parts, "aclose") and not getattr(parts, "ag_running", False):
                await parts.aclose()
        finally:
            await self.stream.aclose()


class _Kinds(dict[type, Any]):
    """By the class of the stream: a kind of body that is also an instance of what the library of that asks for."""

    def __init__(self, body: type[_Body], base: str) -> None:
        super().__init__()
        self._body = body
        self._base = base

    def __missing__(self, stream: type) -> Any:
        if len(self) >= _KINDS_LIMIT:
            self.clear()
        # Where there is none of this name, it is the client that refuses the response.
        bases = [each for each in stream.__mro__ if each.__name__ == self._base]
        body = self._body
        kind = type(body.__name__, (body, bases[-1]), {"__slots__": ()}) if bases else body
        self[stream] = kind
        return kind


_KINDS_LIMIT: Final = 64

SYNC_KINDS: Final = _Kinds(SyncBody, "SyncByteStream")
ASYNC_KINDS: Final = _Kinds(AsyncBody, "AsyncByteStream")
