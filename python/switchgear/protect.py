"""The decorator: choose, once and at decoration, how a function is protected for its whole life."""

import contextlib
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from switchgear import _compat
from switchgear.guard import Guard

if TYPE_CHECKING:
    from switchgear._compat import Breaker

# A decorated function is contextlib's own helper; its code object is the one thing that gives it away.
_CONTEXTMANAGER_CODE: Final = contextlib.contextmanager(iter).__code__
_ASYNCCONTEXTMANAGER_CODE: Final = contextlib.asynccontextmanager(aiter).__code__


def protect(breaker: "Breaker", function: Any) -> Any:
    """Return ``function`` with every call of it passing through ``breaker``.

    Raises:
        TypeError: It is a class or not callable.
    """
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(protect(breaker, function.__func__))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"cannot protect {function!r}: neither a function nor a callable object")
    code = getattr(function, "__code__", None)
    if isinstance(function, MethodType) and code in (_CONTEXTMANAGER_CODE, _ASYNCCONTEXTMANAGER_CODE):
        # Its __wrapped__ is the plain function's, which has not been given a self.
        return MethodType(protect(breaker, function.__func__), function.__self__)
    if code is _CONTEXTMANAGER_CODE:
        return contextlib.contextmanager(_generator_shell(breaker, function.__wrapped__))
    if code is _ASYNCCONTEXTMANAGER_CODE:
        return contextlib.asynccontextmanager(_async_generator_shell(breaker, function.__wrapped__))
    if _is(inspect.isgeneratorfunction, function):
        return bound_alike(function, _generator_shell(breaker, function))
    if _is(inspect.isasyncgenfunction, function):
        return bound_alike(function, _async_generator_shell(breaker, function))
    return _guarded(breaker, function, is_async=is_coroutine_function(function))


def is_coroutine_function(function: Any) -> bool:
    """Tell whether calling it gives a coroutine: also for callable objects, partials and marked functions."""
    if _is(inspect.iscoroutinefunction, function):
        return True
    asyncio = sys.modules.get("asyncio")
    # Below 3.12 only asyncio knows the marker of functions that merely behave like coroutine functions.
    return sys.version_info < (3, 12) and asyncio is not None and bool(asyncio.iscoroutinefunction(function))


def bound_alike(function: Any, shell: Any) -> Any:
    """Return a shell that binds as an attribute of a class only if what it stands for does."""
    binds = hasattr(type(function), "__get__") and not isinstance(function, MethodType)
    return shell if binds else staticmethod(shell)


def is_generator_function(function: Any) -> bool:
    """Tell whether calling it gives a generator, sync or async, or a context manager made from one."""
    return (
        getattr(function, "__code__", None) in (_CONTEXTMANAGER_CODE, _ASYNCCONTEXTMANAGER_CODE)
        or _is(inspect.isgeneratorfunction, function)
        or _is(inspect.isasyncgenfunction, function)
    )


def _is(predicate: Callable[[Any], bool], function: Any) -> bool:
    if predicate(function):
        return True
    if isinstance(function, functools.partial):
        return _is(predicate, function.func)
    if isinstance(function, (FunctionType, BuiltinFunctionType, MethodType)):
        return False
    return predicate(type(function).__call__)


def _guarded(breaker: "Breaker", function: Any, *, is_async: bool) -> Any:
    guarded: Any = _compat.GuardedFunction(breaker, function, is_async)
    # A function's attributes are copied as functools.wraps would; an object's own state must not be, it would go
    # stale: what is not copied is forwarded.
    updated = ("__dict__",) if isinstance(function, (FunctionType, MethodType)) else ()
    functools.update_wrapper(guarded, function, updated=updated)
    if is_async and not inspect.iscoroutinefunction(guarded):
        _mark_as_coroutine_function(guarded)
    return guarded


def _mark_as_coroutine_function(guarded: Any) -> None:
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(guarded)
    else:
        from asyncio import coroutines

        guarded._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]


def _generator_shell(breaker: "Breaker", function: Callable[..., Any]) -> Callable[..., Generator[Any, Any, Any]]:
    @functools.wraps(function)
    def shell(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with Guard(breaker):
            return (yield from function(*args, **kwargs))

    return shell


def _first_step(generator: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Begin an async generator that the shell around it alone will close.

    At its end an event loop closes every generator that has told it of its beginning, all at once. It would do so with
    this one while the shell does, which is an error; so this one does not tell.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _async_generator_shell(breaker: "Breaker", function: Callable[..., Any]) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Wrap a function that returns an async generator: one permit for all of it, the timeout for each step."""

    @functools.wraps(function)
    async def shell(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with Guard(breaker) as permit:
            generator = function(*args, **kwargs)
            step = _first_step(generator)
            while True:
                try:
                    item = await breaker._timed(step, permit)
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                except GeneratorExit:
                    await breaker._timed(generator.aclose(), permit)
                    raise
                except BaseException as error:
                    step = generator.athrow(error)
                else:
                    step = generator.asend(sent)

    return shell
