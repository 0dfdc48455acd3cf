"""Everything that touches trio.

asyncio can arm a timeout when a call first suspends; trio cannot: a cancel scope entered late would break its stack of
scopes. So under trio a call with a timeout runs inside a scope from its beginning.
"""

import inspect
import sys
from typing import TYPE_CHECKING, Any

from switchgear.errors import CallTimeoutError

if TYPE_CHECKING:
    import trio


def in_trio() -> bool:
    """Tell whether the caller is a trio task; never imports trio."""
    module = sys.modules.get("trio")
    # Not whether the thread runs trio: in its guest mode trio shares the thread with another loop.
    return module is not None and bool(module.lowlevel.in_trio_task())


def deadline_scope(timeout: float) -> "trio.CancelScope":
    """Return a fresh, unentered scope that cancels its body after ``timeout`` seconds."""
    import trio

    return trio.move_on_after(timeout)


async def call_with_deadline(
    name: str,
    timeout: float,
    operation: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    expired: list[bool] | None = None,
) -> Any:
    """Call an operation inside a scope, and await what it returns if that is awaitable.

    Args:
        name: The breaker's name, for the error.
        timeout: Seconds until the scope is cancelled.
        operation: The callable.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        expired: Receives one ``True`` if the timeout passed before the operation ended, whatever it ended with: a
            ``CallTimeoutError`` alone does not tell, it may be that of a breaker inside.

    Raises:
        CallTimeoutError: The timeout passed and the operation ended with the cancellation.
    """
    scope = deadline_scope(timeout)
    try:
        with scope:
            result = operation(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result
    finally:
        if scope.cancel_called and expired is not None:
            expired.append(True)
    raise CallTimeoutError(name, timeout)


async def await_with_deadline(
    name: str,
    timeout: float,
    awaitable: Any,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    expired: list[bool] | None = None,
) -> Any:
    """Await inside a scope; otherwise as ``call_with_deadline``, whose arguments an awaitable does not have."""
    return await call_with_deadline(name, timeout, lambda: awaitable, (), {}, expired)
