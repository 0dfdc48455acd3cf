"""The callable that the decorator returns."""

import functools
import sys
from types import MethodType
from typing import TYPE_CHECKING, Any

from switchgear._pure.held import HeldCall
from switchgear._pure.operation import PLAIN, is_awaitable, refuse_unfinished
from switchgear._pure.permit import new_permit
from switchgear._pure.word import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear._pure.breaker import Breaker


def _binds(function: object) -> bool:
    """Tell whether it becomes a method as an attribute of a class: a callable object does not, nor a bound method."""
    if isinstance(function, functools.partial):
        return sys.version_info >= (3, 14)
    return hasattr(type(function), "__get__") and not isinstance(function, MethodType)


class GuardedFunction:
    """A function, every call of which passes through a breaker.

    Attributes that it lacks are the function's own, so for ``inspect`` it is as good as one.

    Args:
        breaker: What the calls pass through.
        function: What they call.
        is_async: Whether the function is a coroutine function; its calls are those of ``Breaker.call`` then.
    """

    __slots__ = ("__dict__", "__weakref__", "_binds", "_breaker", "_function", "_is_async")

    def __init__(self, breaker: "Breaker", function: "Callable[..., Any]", is_async: bool) -> None:
        self._breaker = breaker
        self._function = function
        self._is_async = is_async
        self._binds = _binds(function)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        breaker = self._breaker
        if self._is_async:
            return breaker.call(self._function, *args, **kwargs)
        word = breaker._word
        grant = word.grant or breaker._admit()
        try:
            result = self._function(*args, **kwargs)
        except BaseException as error:
            breaker._settle_exception(grant, error)
            raise
        if type(result) not in PLAIN:
            if is_awaitable(result):
                return HeldCall(breaker, new_permit(breaker, grant), result)
            try:
                refuse_unfinished(result)
            except BaseException:
                breaker._settle(grant, IGNORED)
                raise
        if breaker._word is word and word.quick:
            breaker._successful += 1
        else:
            breaker._settle_result(grant, result)
        return result

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None or not self._binds else MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        # Not self._function: where that is missing (a copy being made), looking it up would come here again.
        return getattr(object.__getattribute__(self, "_function"), name)

    def __reduce__(self) -> str:
        # Pickled as functions are: by name.
        qualified_name: str = self.__qualname__
        return qualified_name

    def __repr__(self) -> str:
        return f"<{self._function!r} through breaker {self._breaker.name!r}>"
