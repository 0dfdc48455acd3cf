"""What an operation is, and what it has returned: a value, something to await, or nothing that a call can protect."""

import contextlib
import inspect
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, NoReturn

from switchgear.errors import UnprotectedError

_CONTEXT_MANAGERS: Final = (contextlib._GeneratorContextManager, contextlib._AsyncGeneratorContextManager)

PLAIN: Final = frozenset({bool, bytes, dict, float, frozenset, int, list, set, str, tuple, type(None)})
"""Types of results that are neither awaitable nor unfinished: looking here first spares the usual case a slow look."""


def is_awaitable(value: object) -> bool:
    """Tell whether ``await`` takes it; cheaper than ``inspect.isawaitable`` for what is not."""
    return hasattr(type(value), "__await__") or (isinstance(value, GeneratorType) and inspect.isawaitable(value))


def refuse_unfinished(result: object) -> None:
    """Refuse a result whose work begins after the call has returned.

    Raises:
        UnprotectedError: It is a generator, an async generator, or a context manager made from one.
    """
    kind = type(result)
    # The classes of contextlib are abstract ones, and isinstance() of those is slow.
    if kind in (GeneratorType, AsyncGeneratorType) or any(each in kind.__mro__ for each in _CONTEXT_MANAGERS):
        raise UnprotectedError(
            f"a call cannot protect a {type(result).__name__}, which does its work later:"
            " decorate its function with the breaker, or enter guard() inside it"
        )


def refuse_operation(operation: object) -> NoReturn:
    """Refuse what ``call_sync`` cannot call."""
    discard(operation)
    raise UnprotectedError(f"the operation must be callable, not {type(operation).__name__}")


def discard(operation: object) -> None:
    """Close a coroutine that nobody has started and nobody will; leave Futures, Tasks and all else alone."""
    if isinstance(operation, CoroutineType) and not is_spent(operation):
        operation.close()


def spent_coroutine() -> UnprotectedError:
    """Return the refusal of a coroutine that cannot be awaited from its start."""
    return UnprotectedError("this coroutine has been awaited already")


def is_spent(coroutine: "CoroutineType[Any, Any, Any]") -> bool:
    return coroutine.cr_frame is None or coroutine.cr_running or coroutine.cr_suspended


def check_awaitable(operation: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Check what is not callable, before the breaker hears of it.

    Raises:
        UnprotectedError: It is not awaitable, came with arguments, or is a coroutine that somebody has awaited before.
    """
    if not is_awaitable(operation):
        raise UnprotectedError(f"the operation must be callable or awaitable, not {type(operation).__name__}")
    if args or kwargs:
        discard(operation)
        raise UnprotectedError("an awaitable takes no arguments: give call() the function and its arguments")
    if isinstance(operation, CoroutineType) and is_spent(operation):
        raise spent_coroutine()


def steps_of(awaitable: Any) -> Any:
    # Coroutines are their own iterators here, and generators marked by types.coroutine have no __await__.
    return awaitable if isinstance(awaitable, (CoroutineType, GeneratorType)) else awaitable.__await__()
