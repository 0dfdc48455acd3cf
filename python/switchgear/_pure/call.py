"""What a call does away from the fast path: it suspends, runs under trio, or was given something unusual."""

import sys
from types import CoroutineType, ModuleType
from typing import TYPE_CHECKING, Any

from switchgear import _trio
from switchgear._pure.operation import (
    PLAIN,
    check_awaitable,
    discard,
    is_awaitable,
    is_spent,
    refuse_unfinished,
    spent_coroutine,
    steps_of,
)
from switchgear._pure.stepper import Stepper, give_back, refused, resume, take
from switchgear._pure.word import IGNORED, Grant
from switchgear.errors import CallTimeoutError

if TYPE_CHECKING:
    from switchgear._pure.core import Core
    from switchgear._pure.permit import Permit
    from switchgear._pure.timer import Deadline

_timer_module: ModuleType | None = None


async def call_awaitable(breaker: "Core", awaitable: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make a call of something that is not callable."""
    check_awaitable(awaitable, args, kwargs)
    try:
        grant = breaker._admit()
    except BaseException:
        discard(awaitable)
        raise
    return await finish(breaker, grant, awaitable)


async def call_under_trio(
    breaker: "Core", timeout: float, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Make a call inside a trio scope, which has to be there from the start."""
    if not callable(operation):
        check_awaitable(operation, args, kwargs)
    try:
        grant = breaker._admit()
    except BaseException:
        discard(operation)
        raise
    refused_result = False

    def begin() -> Any:
        nonlocal refused_result
        result = operation(*args, **kwargs) if callable(operation) else operation
        if not is_awaitable(result):
            refused_result = True
            refuse_unfinished(result)
            refused_result = False
        return result

    expired: list[bool] = []
    try:
        result = await _trio.call_with_deadline(breaker.name, timeout, begin, (), {}, expired)
    except BaseException as error:
        if refused_result:
            breaker._settle(grant, IGNORED)
        else:
            _settle_raised(breaker, grant, error, bool(expired))
        raise
    _settle_returned(breaker, grant, result, bool(expired))
    return result


async def finish(breaker: "Core", grant: Grant, result: Any) -> Any:
    """Bring to its end whatever an operation has returned, and settle."""
    if type(result) in PLAIN:
        breaker._settle_result(grant, result)
        return result
    try:
        awaitable = is_awaitable(result)
        if not awaitable:
            refuse_unfinished(result)
        elif isinstance(result, CoroutineType) and is_spent(result):
            raise spent_coroutine()
    except BaseException:
        breaker._settle(grant, IGNORED)
        raise
    if not awaitable:
        breaker._settle_result(grant, result)
        return result
    send, finished, _ = stepper = take()
    try:
        yielded = send(steps_of(result))
    except BaseException as error:
        breaker._settle_exception(grant, error)
        raise
    if yielded is not finished:
        return await suspended(breaker, grant, stepper, yielded)
    result = _result_of(stepper)
    breaker._settle_result(grant, result)
    return result


async def suspended(breaker: "Core", grant: Grant, stepper: Stepper, yielded: Any) -> Any:
    """Bring a call that has suspended to its end, under the breaker's timeout, and settle."""
    try:
        deadline = _arm(breaker, stepper)
    except BaseException:
        breaker._settle(grant, IGNORED)
        raise
    try:
        result = await resume(stepper, yielded)
    except BaseException as error:
        timeout = None if deadline is None else _end(deadline, breaker, error)
        _settle_raised(breaker, grant, timeout or error, deadline is not None and deadline.expired)
        if timeout is not None:
            raise timeout from error
        raise
    if deadline is not None:
        _end(deadline, breaker, None)
    _settle_returned(breaker, grant, result, deadline is not None and deadline.expired)
    return result


async def timed(breaker: "Core", awaitable: Any, permit: "Permit") -> Any:
    """Await one step of what holds a permit under the breaker's timeout, which settles the permit if it passes."""
    timeout = breaker.config.timeout
    if timeout is not None and _trio.in_trio():
        return await _timed_under_trio(breaker, timeout, awaitable, permit)
    send, finished, _ = stepper = take()
    yielded = send(steps_of(awaitable))
    if yielded is finished:
        return _result_of(stepper)
    deadline = _arm(breaker, stepper)
    try:
        result = await resume(stepper, yielded)
    except BaseException as error:
        expiry = None if deadline is None else _end(deadline, breaker, error)
        if deadline is not None and deadline.expired and (expiry is not None or isinstance(error, Exception)):
            permit._settle_timeout()
        if expiry is not None:
            raise expiry from error
        raise
    if deadline is not None:
        _end(deadline, breaker, None)
        if deadline.expired:
            permit._settle_timeout()
    return result


async def _timed_under_trio(breaker: "Core", timeout: float, awaitable: Any, permit: "Permit") -> Any:
    expired: list[bool] = []
    try:
        result = await _trio.await_with_deadline(breaker.name, timeout, awaitable, expired=expired)
    except Exception:
        if expired:
            permit._settle_timeout()
        raise
    if expired:
        permit._settle_timeout()
    return result


def settle_first_step(breaker: "Core", grant: Grant, error: BaseException) -> None:
    """Settle by what starting a coroutine raised.

    Raises:
        UnprotectedError: It had ended before: the caller's mistake, no failure.
    """
    if refused(error):
        breaker._settle(grant, IGNORED)
        raise spent_coroutine() from None
    breaker._settle_exception(grant, error)


def _result_of(stepper: Stepper) -> Any:
    finished = stepper[1]
    result, finished.result = finished.result, None
    give_back(stepper)
    return result


def _arm(breaker: "Core", stepper: Stepper) -> "Deadline | None":
    timeout = breaker.config.timeout
    if timeout is None:
        return None
    try:
        deadline = arm(timeout)
    except BaseException:
        stepper[2].close()
        raise
    return deadline


def arm(timeout: float) -> "Deadline":
    """Give the current task ``timeout`` seconds from now.

    Raises:
        UnprotectedError: There is no current task, so nothing could be cancelled.
    """
    deadline: Deadline = _timer().arm(timeout)
    return deadline


def _timer() -> ModuleType:
    # Found when the first call suspends: the timer needs asyncio, and until then nobody does. An import statement in
    # its place costs as much as the timer.
    global _timer_module
    if _timer_module is None:
        from switchgear._pure import timer

        _timer_module = timer
    return _timer_module


def _end(deadline: "Deadline", breaker: "Core", error: BaseException | None) -> CallTimeoutError | None:
    """Leave the line, as a call ends with ``error`` or None; the error in its place if it is the expiry's own."""
    expired, alone = deadline.leave()
    if expired and alone and _is_cancellation(error):
        return CallTimeoutError(breaker.name, deadline.timeout)
    return None


def _is_cancellation(error: BaseException | None) -> bool:
    # Where a deadline was armed, asyncio is there.
    return isinstance(error, sys.modules["asyncio"].CancelledError)


def _settle_raised(breaker: "Core", grant: Grant, error: BaseException, expired: bool) -> None:
    # A BaseException beside the expiry (a cancellation from outside) is ignored as it is without one.
    if expired and isinstance(error, Exception):
        breaker._settle_timeout(grant)
    else:
        breaker._settle_exception(grant, error)


def _settle_returned(breaker: "Core", grant: Grant, result: Any, expired: bool) -> None:
    if expired:
        breaker._settle_timeout(grant)
    else:
        breaker._settle_result(grant, result)
