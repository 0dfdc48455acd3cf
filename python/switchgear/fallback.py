"""A view of a breaker that answers for it where a call was rejected or failed."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from switchgear.errors import CircuitBreakerError, UnprotectedError
from switchgear.protect import bound_alike, is_coroutine_function, is_generator_function, protect

if TYPE_CHECKING:
    from switchgear._compat import Breaker

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class FallbackView:
    """The same calls as the breaker's, with a fallback: made by ``cb.with_fallback(f, on=...)``.

    The fallback answers what the breaker rejected, timed out or counted as a failure. Ignored exceptions, exceptions
    outside ``record_only`` and every ``BaseException`` that is no ``Exception`` (a cancellation) reach the caller. So
    does the refusal of what no breaker can protect: an async function given to ``call_sync``, a generator, a coroutine
    that was awaited before. An exception in the fallback does too, with the original one as its ``__context__``. The
    breaker counts what it would count without the view.
    """

    __slots__ = ("_breaker", "_fallback", "_on")

    def __init__(
        self,
        breaker: "Breaker",
        fallback: Callable[[Exception], Any],
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> None:
        if not callable(fallback):
            raise TypeError(f"fallback must be callable, not {type(fallback).__name__}")
        classes: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)
        if not all(isinstance(each, type) and issubclass(each, Exception) for each in classes):
            raise TypeError(f"on must be an Exception class or a tuple of them, not {on!r}")
        self._breaker = breaker
        self._fallback = fallback
        self._on = classes

    @overload
    async def call(self, operation: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def call(self, operation: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def call(self, operation: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def call(self, operation: Awaitable[T], /) -> T: ...
    async def call(self, operation: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call through the breaker; where that is rejected or fails, answer ``fallback(error)``.

        Args:
            operation: As for ``CircuitBreaker.call``.
            *args: The operation's positional arguments.
            **kwargs: The operation's keyword arguments.

        Returns:
            The operation's result, or the fallback's, awaited where it is awaitable.
        """
        try:
            return await self._breaker.call(operation, *args, **kwargs)
        except self._on as error:
            if not self._answers(error):
                raise
            answer = self._fallback(error)
            return await answer if inspect.isawaitable(answer) else answer

    def call_sync(self, operation: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a sync operation through the breaker; where that is rejected or fails, answer ``fallback(error)``.

        Raises:
            TypeError: The fallback's answer is awaitable, and nobody here can await it.
        """
        try:
            return self._breaker.call_sync(operation, *args, **kwargs)
        except self._on as error:
            if not self._answers(error):
                raise
            answer: R = self._fallback(error)
            if inspect.isawaitable(answer):
                if inspect.iscoroutine(answer):
                    answer.close()
                raise TypeError("an async fallback cannot answer call_sync(); use call()") from error
            return answer

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Protect a function and answer for it: the decorator.

        A plain function that returns an awaitable keeps its fallback while that is awaited; where it is rejected
        before, the caller gets the fallback's answer as it is.

        Raises:
            TypeError: It is a generator function, sync or async: half a stream has no fallback. Or a class, or
                nothing that can be protected.
        """
        return self._protect(function)  # type: ignore[no-any-return]

    def _protect(self, function: Any) -> Any:
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(self._protect(function.__func__))
        if is_generator_function(function):
            raise TypeError(f"cannot answer for {function!r}: a generator that fails midway has no fallback")
        shell = self._async_shell(function) if is_coroutine_function(function) else self._sync_shell(function)
        return bound_alike(function, functools.update_wrapper(shell, function))

    def _async_shell(self, function: Any) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def shell(*args: Any, **kwargs: Any) -> Any:
            return await self.call(function, *args, **kwargs)

        return shell

    def _sync_shell(self, function: Any) -> Callable[..., Any]:
        protected = protect(self._breaker, function)

        def shell(*args: Any, **kwargs: Any) -> Any:
            try:
                result = protected(*args, **kwargs)
            except self._on as error:
                if not self._answers(error):
                    raise
                return self._fallback(error)
            return self._answered(result) if inspect.isawaitable(result) else result

        return shell

    async def _answered(self, awaitable: Awaitable[Any]) -> Any:
        try:
            return await awaitable
        except self._on as error:
            if not self._answers(error):
                raise
            answer = self._fallback(error)
            return await answer if inspect.isawaitable(answer) else answer

    def _answers(self, error: Exception) -> bool:
        """Tell whether an error is a rejection, a timeout or a failure of this breaker."""
        if isinstance(error, CircuitBreakerError) and error.args[:1] == (self._breaker.name,):
            return True
        if isinstance(error, UnprotectedError):
            return False
        config = self._breaker.config
        if isinstance(error, config.ignore):
            return False
        return config.record_only is None or isinstance(error, config.record_only)
