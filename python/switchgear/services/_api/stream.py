"""A body that is read by the caller: its end, whole or broken, is what settles the permit."""

from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from switchgear.services._api.quiet import OURS

if TYPE_CHECKING:
    from switchgear._compat import Permit
    from switchgear.services._api.exchange import Exchange


def watch(response: Any, permit: "Permit", exchange: "Exchange") -> None:
    """Settle the permit at the end of this response's body, even where the caller swallows what broke it."""
    response.stream = _watched(exchange.library.AsyncByteStream)(response.stream, permit, exchange.closed)


def is_of_exchange(error: Exception, response: Any, exchange: "Exchange") -> bool:
    """Say whether an exception in the caller's block came from the service, and not from what he does with it."""
    try:
        return error.request is response.request and not exchange.closed()  # type: ignore[attr-defined]  # what has none is not the library's
    except (AttributeError, RuntimeError):
        return False


async def _quietly(parts: AsyncIterator[bytes]) -> bytes | None:
    """Return the next part, None where there is none: no more of it is logged than of what the service reads itself."""
    # Not around the loop over the parts: the mark would be on the reader's other requests, too.
    mark = OURS.set(True)
    try:
        return await anext(parts, None)
    finally:
        OURS.reset(mark)


@lru_cache(maxsize=2)
def _watched(base: Any) -> Any:
    class Watched(base):  # type: ignore[misc]  # of the one library or the other
        """The stream of a response, and the permit of its exchange."""

        def __init__(self, stream: Any, permit: "Permit", closed: Callable[[], bool]) -> None:
            self._stream = stream
            self._permit = permit
            self._closed = closed

        async def __aiter__(self) -> AsyncIterator[bytes]:
            permit, parts = self._permit, aiter(self._stream)
            try:
                while (part := await _quietly(parts)) is not None:
                    yield part
            except Exception as error:
                # By the breaker's configuration, in which the user's word comes before ours.
                if not permit.settled and not self._closed():
                    permit._settle_exception(error)
                raise
            if not permit.settled:
                permit.success()

        async def aclose(self) -> None:
            await self._stream.aclose()

        def __getattr__(self, name: str) -> Any:
            # What the library wants to know of its own stream, such as the time that it took.
            return getattr(self._stream, name)

    return Watched
