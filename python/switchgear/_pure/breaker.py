"""The base of the public breaker: its calls."""

import sys
from collections.abc import Awaitable, Callable, Coroutine
from types import CoroutineType, FunctionType
from typing import Any, Final, ParamSpec, TypeVar, overload

from switchgear import _trio
from switchgear._pure import stepper as steppers
from switchgear._pure.call import call_awaitable, call_under_trio, finish, settle_first_step, suspended, timed
from switchgear._pure.core import Core
from switchgear._pure.operation import PLAIN, discard, is_awaitable, refuse_operation, refuse_unfinished
from switchgear._pure.permit import Permit, new_permit
from switchgear._pure.transition import FULL
from switchgear._pure.word import IGNORED, Grant
from switchgear.errors import UnprotectedError

P = ParamSpec("P")
R = TypeVar("R")

_modules: Final = sys.modules
_take: Final = steppers.pool.pop
_give_back: Final = steppers.pool.append


class Breaker(Core):
    """State, counters and calls of a breaker. Private: the public class is ``switchgear.CircuitBreaker``."""

    __slots__ = ()

    @overload
    def call(
        self, operation: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def call(self, operation: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...
    @overload
    def call(self, operation: Awaitable[R], /) -> Coroutine[Any, Any, R]: ...
    async def call(self, operation: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call an operation through the breaker and await what it returns.

        Nothing happens before the first step of the ``await``: that is when the call is admitted or rejected. The
        timeout counts from the first suspension and cancels the task, with the semantics of ``asyncio.timeout``. A
        cancellation, and every other ``BaseException`` that is no ``Exception``, is neither success nor failure.

        Args:
            operation: A callable, async or not; or an awaitable. On rejection a coroutine is closed, a Future or
                Task left alone.
            *args: Positional arguments of a callable.
            **kwargs: Keyword arguments of a callable.

        Returns:
            The operation's result, awaited where it is awaitable.

        Raises:
            CircuitOpenError: The call was rejected.
            CallTimeoutError: The call took longer than the configured ``timeout``.
            TypeError: The operation is neither callable nor awaitable, an awaitable was given arguments, or the
                result is a generator or a context manager made from one, which ends after the call.
            RuntimeError: A coroutine had been awaited before, or a call with a timeout suspends outside a task.
            BaseException: Whatever the operation raises, the same object.
        """
        # This body is as flat as it is because the twin has a budget: six bare awaits.
        if "trio" in _modules:
            timeout = self.config.timeout
            if timeout is not None and _trio.in_trio():
                return await call_under_trio(self, timeout, operation, args, kwargs)
        if type(operation) is not FunctionType and not callable(operation):
            return await call_awaitable(self, operation, args, kwargs)
        word = self._word
        grant = word.grant or self._admit()
        try:
            # Three times the same: each spared level of unpacking is a tenth of the budget.
            if kwargs:
                result = operation(*args, **kwargs)
            elif args:
                result = operation(*args)
            else:
                result = operation()
        except BaseException as error:
            self._settle_exception(grant, error)
            raise
        if type(result) is not CoroutineType or result.cr_suspended:
            return await finish(self, grant, result)
        try:
            stepper = _take()
        except IndexError:
            stepper = steppers.new_stepper()
        send, finished, _ = stepper
        try:
            yielded = send(result)
        except BaseException as error:
            settle_first_step(self, grant, error)
            raise
        if yielded is not finished:
            return await suspended(self, grant, stepper, yielded)
        result, finished.result = finished.result, None
        _give_back(stepper)
        if self._word is word and word.quick:
            self._successful += 1
        else:
            self._settle_result(grant, result)
        return result

    def call_sync(self, operation: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a sync operation through the breaker. It cannot be interrupted, so it has no timeout.

        Args:
            operation: A callable that does its work before it returns.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The operation's result.

        Raises:
            CircuitOpenError: The call was rejected.
            TypeError: The operation is not callable, or its result is awaitable, a generator, or a context manager
                made from one: work that is yet to be done.
            BaseException: Whatever the operation raises, the same object.
        """
        if not callable(operation):
            refuse_operation(operation)
        word = self._word
        grant = word.grant or self._admit()
        try:
            result = operation(*args, **kwargs)
        except BaseException as error:
            self._settle_exception(grant, error)
            raise
        if type(result) not in PLAIN:
            try:
                if is_awaitable(result):
                    discard(result)
                    raise UnprotectedError("call_sync() cannot await a result; use call()")
                refuse_unfinished(result)
            except BaseException:
                self._settle(grant, IGNORED)
                raise
        if self._word is word and word.quick:
            self._successful += 1
        else:
            self._settle_result(grant, result)
        return result

    def acquire(self) -> Permit:
        """Ask for the right to make one call, for loops that are not calls.

        You settle the permit, and your word counts: the configuration's filters are not asked. It is no context
        manager; ``guard()`` is, and asks them.

        Returns:
            A permit, to be settled exactly once: ``success()``, ``failure(exc)`` or ``release()``.

        Raises:
            CircuitOpenError: The call was rejected.
        """
        return new_permit(self, self._word.grant or self._admit())

    def try_acquire(self) -> Permit | None:
        """Ask as ``acquire()`` does; None when rejected, which spares an exception."""
        grant: Grant | None = self._word.grant or self._try_admit()[1]
        return None if grant is None or grant is FULL else new_permit(self, grant)

    def _timed(self, awaitable: Awaitable[R], permit: Permit) -> Coroutine[Any, Any, R]:
        """Await one step of what holds ``permit`` under the timeout, which settles the permit if it passes."""
        return timed(self, awaitable, permit)
