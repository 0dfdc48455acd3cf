"""A call that has been admitted and is yet to be awaited."""

from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from switchgear._pure.call import finish
from switchgear._pure.operation import discard

if TYPE_CHECKING:
    from switchgear._pure.core import Core
    from switchgear._pure.permit import Permit


class HeldCall(Coroutine[Any, Any, Any]):
    """What a decorated function returns where the function returned an awaitable: the rest of the call.

    A coroutine but for one thing. One that is cancelled before its first step runs no code at all: the function's own
    coroutine would be left over, and complain, when the collector comes to it, that nobody has awaited it.
    """

    __slots__ = ("_awaitable", "_coroutine")

    def __init__(self, breaker: "Core", permit: "Permit", awaitable: Any) -> None:
        self._awaitable = awaitable
        self._coroutine = _finish(breaker, permit, awaitable)

    def __await__(self) -> Generator[Any, Any, Any]:
        self._awaitable = None
        return self._coroutine.__await__()

    def send(self, value: Any, /) -> Any:
        """Take one step."""
        self._awaitable = None
        return self._coroutine.send(value)

    def throw(self, typ: Any, val: Any = None, tb: TracebackType | None = None, /) -> Any:
        """Raise inside; before the first step, also close what was to be awaited."""
        self._discard()
        # The form with three arguments is deprecated, and warns.
        return self._coroutine.throw(typ) if val is None and tb is None else self._coroutine.throw(typ, val, tb)

    def close(self) -> None:
        """Close; before the first step, also what was to be awaited."""
        self._discard()
        self._coroutine.close()

    def __del__(self) -> None:
        self._discard()

    def _discard(self) -> None:
        awaitable, self._awaitable = self._awaitable, None
        discard(awaitable)


async def _finish(breaker: "Core", permit: "Permit", awaitable: Any) -> Any:
    # Until it begins, the permit is what gives the grant back: a grant alone would be lost with these arguments.
    return await finish(breaker, permit._take(), awaitable)
