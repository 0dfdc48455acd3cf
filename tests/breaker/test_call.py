"""call() and call_sync(): what they take, what they give back, what they refuse."""

import asyncio
import contextlib
import inspect
import types

import pytest

from helpers import Boom, counted, drop, fail, fail_async, ok, ok_async, ok_later, run
from switchgear import CircuitOpenError, State


async def echo(*args, **kwargs):
    await asyncio.sleep(0)
    return args, kwargs


class Awaitable:
    """Awaitable, and nothing else."""

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "awaited"


class AsyncCallable:
    async def __call__(self, value):
        return value


@types.coroutine
def old_style():
    yield
    return "old"


@contextlib.contextmanager
def managed():
    yield


@contextlib.asynccontextmanager
async def managed_async():
    yield


def generate():
    yield 1


async def generate_async():
    yield 1


UNFINISHED = [generate, generate_async, managed, managed_async]


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        (ok, "ok"),
        (ok_async, "ok"),
        (ok_later, "ok"),
        (lambda: ok_later(), "ok"),
        (Awaitable, "awaited"),
        (old_style, "old"),
        (lambda: None, None),
    ],
)
def test_call_awaits_what_is_awaitable_and_returns_the_rest(breaker, operation, result):
    assert run(breaker.call(operation)) == result
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_call_passes_arguments_on(breaker):
    assert run(breaker.call(echo, 1, 2, x=3, self=4, operation=5)) == ((1, 2), {"x": 3, "self": 4, "operation": 5})
    assert run(breaker.call(AsyncCallable(), 7)) == 7
    assert breaker.call_sync(lambda *args, **kwargs: (args, kwargs), 1, x=2, self=3) == ((1,), {"x": 2, "self": 3})


@pytest.mark.parametrize("value", [(1, 2), StopIteration(5), ValueError("a value"), None, [], Boom])
def test_any_value_comes_back_as_it_is(breaker, value):
    async def give(later):
        if later:
            await asyncio.sleep(0)
        return value

    assert run(breaker.call(give, False)) is value
    assert run(breaker.call(give, True)) is value
    assert run(breaker.call(lambda: value)) is value
    assert breaker.call_sync(lambda: value) is value


def test_call_takes_an_awaitable(breaker):
    async def main():
        task = asyncio.create_task(ok_later())
        future = asyncio.get_running_loop().create_future()
        future.set_result("future")
        return [await breaker.call(each) for each in (ok_later(), Awaitable(), task, future, old_style())]

    assert run(main()) == ["ok", "awaited", "ok", "future", "old"]
    assert counted(breaker) == {"total_calls": 5, "successful_calls": 5}


def test_the_operations_own_exception_reaches_the_caller_untouched(breaker):
    error = Boom("mine")

    async def raise_async(later):
        if later:
            await asyncio.sleep(0)
        raise error

    def raise_sync():
        raise error

    for call in (lambda: run(breaker.call(raise_async, False)), lambda: run(breaker.call(raise_async, True))):
        with pytest.raises(Boom) as caught:
            call()
        assert caught.value is error
    breaker.reset()
    for call in (lambda: run(breaker.call(raise_sync)), lambda: breaker.call_sync(raise_sync)):
        with pytest.raises(Boom) as caught:
            call()
        assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


def test_nothing_happens_before_the_await(breaker):
    called = []
    call = breaker.call(called.append, 1)
    assert called == []
    assert counted(breaker) == {}
    run(call)
    assert called == [1]


def test_a_call_that_is_never_awaited_warns(breaker):
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        drop(breaker.call(ok_async))
    assert counted(breaker) == {}


def test_awaiting_one_call_twice_is_a_runtime_error(breaker):
    async def main():
        call = breaker.call(ok_async)
        await call
        with pytest.raises(RuntimeError):
            await call

    run(main())
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_asyncio_takes_a_call_wherever_it_takes_a_coroutine(breaker):
    async def main():
        task = asyncio.create_task(breaker.call(ok_later))
        gathered = await asyncio.gather(breaker.call(ok_later), breaker.call(ok_async))
        waited = await asyncio.wait_for(breaker.call(ok_later), 30)
        async with asyncio.TaskGroup() as group:
            grouped = group.create_task(breaker.call(ok_later))
        return [await task, *gathered, waited, grouped.result()]

    assert run(main()) == ["ok"] * 5
    assert asyncio.run(breaker.call(ok_async)) == "ok"
    call = breaker.call(ok_async)
    assert inspect.isawaitable(call)
    call.close()


def test_closing_an_unstarted_call_says_nothing(breaker):
    breaker.call(ok_async).close()
    assert counted(breaker) == {}


def test_closing_a_suspended_call_closes_the_operation_and_is_ignored(breaker):
    closed = []

    async def operation():
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def main():
        call = breaker.call(operation)
        call.send(None)
        call.close()

    run(main())
    assert closed == [True]
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_a_cancelled_call_is_ignored(breaker):
    async def main():
        task = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_a_task_cancelled_before_its_first_step_is_not_counted(breaker):
    async def main():
        task = asyncio.create_task(breaker.call(ok_async))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert counted(breaker) == {}


def test_an_operation_may_swallow_a_cancellation(breaker):
    async def stubborn():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "still here"

    async def main():
        task = asyncio.create_task(breaker.call(stubborn))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert run(main()) == "still here"
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_a_stop_iteration_from_a_sync_operation_becomes_a_runtime_error_under_call(breaker):
    """PEP 479: through an await it would look like a return."""
    stop = StopIteration("not a return")

    def raise_stop():
        raise stop

    with pytest.raises(RuntimeError) as caught:
        run(breaker.call(raise_stop))
    assert caught.value.__cause__ is stop
    with pytest.raises(StopIteration) as caught:
        breaker.call_sync(raise_stop)
    assert caught.value is stop
    assert counted(breaker) == {"total_calls": 2, "failed_calls": 2}


def test_a_coroutine_is_closed_when_its_call_is_rejected(opened):
    """No "never awaited" from it: warnings are errors here."""
    coroutine = ok_async()
    with pytest.raises(CircuitOpenError):
        run(opened.call(coroutine))
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_a_future_or_task_is_left_alone_when_its_call_is_rejected(opened):
    async def main():
        task = asyncio.create_task(ok_later())
        future = asyncio.get_running_loop().create_future()
        for each in (task, future):
            with pytest.raises(CircuitOpenError):
                await opened.call(each)
        assert not future.cancelled()
        return await task

    assert run(main()) == "ok"


@pytest.mark.parametrize("operation", [None, 42, "text", object()])
def test_what_is_neither_callable_nor_awaitable_is_a_type_error(breaker, operation):
    async def main():
        await breaker.call(operation)

    with pytest.raises(TypeError, match=type(operation).__name__):
        run(main())
    with pytest.raises(TypeError, match=type(operation).__name__):
        breaker.call_sync(operation)
    assert counted(breaker) == {}


def test_no_operation_is_a_type_error(breaker):
    with pytest.raises(TypeError):
        breaker.call()
    with pytest.raises(TypeError):
        breaker.call_sync()
    with pytest.raises(TypeError):
        breaker.call(operation=ok)


def test_an_awaitable_takes_no_arguments(breaker):
    async def main(awaitable):
        with pytest.raises(TypeError, match="argument"):
            await breaker.call(awaitable, 1)
        with pytest.raises(TypeError, match="argument"):
            await breaker.call(awaitable, x=1)

    run(main(Awaitable()))
    assert counted(breaker) == {}


def test_a_coroutine_awaited_before_is_a_runtime_error_and_no_failure(breaker):
    async def main():
        finished = ok_async()
        await finished
        suspended = ok_later()
        suspended.send(None)
        for coroutine in (finished, suspended):
            with pytest.raises(RuntimeError, match="awaited"):
                await breaker.call(coroutine)
        suspended.close()

    run(main())
    assert "failed_calls" not in counted(breaker)
    assert "successful_calls" not in counted(breaker)


def test_a_coroutine_awaited_before_is_not_closed_by_a_rejection(opened):
    """It is somebody else's."""

    async def main():
        suspended = ok_later()
        suspended.send(None)
        with pytest.raises((RuntimeError, CircuitOpenError)):
            await opened.call(suspended)
        assert inspect.getcoroutinestate(suspended) == inspect.CORO_SUSPENDED
        suspended.close()

    run(main())


def test_an_operation_that_returns_a_spent_coroutine_is_no_failure(breaker):
    async def main():
        finished = ok_async()
        await finished
        suspended = ok_later()
        suspended.send(None)
        for coroutine in (finished, suspended):
            with pytest.raises(RuntimeError, match="awaited"):
                await breaker.call(lambda coroutine=coroutine: coroutine)
        assert inspect.getcoroutinestate(suspended) == inspect.CORO_SUSPENDED
        suspended.close()

    run(main())
    assert counted(breaker) == {"total_calls": 2, "ignored_calls": 2}


def test_a_runtime_error_of_the_operation_is_a_failure_like_any_other(breaker):
    async def reuse():
        coroutine = ok_async()
        await coroutine
        await coroutine

    with pytest.raises(RuntimeError, match="cannot reuse"):
        run(breaker.call(reuse))
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1}


@pytest.mark.parametrize("operation", UNFINISHED)
def test_work_that_begins_after_the_call_is_refused(breaker, operation):
    with pytest.raises(TypeError):
        run(breaker.call(operation))
    with pytest.raises(TypeError):
        breaker.call_sync(operation)
    assert counted(breaker) == {"total_calls": 2, "ignored_calls": 2}


@pytest.mark.parametrize("operation", [ok_async, Awaitable, old_style])
def test_call_sync_refuses_an_awaitable_result(breaker, operation):
    with pytest.raises(TypeError):
        breaker.call_sync(operation)
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_call_sync_refuses_an_awaitable(breaker):
    future = Awaitable()
    with pytest.raises(TypeError):
        breaker.call_sync(future)
    assert counted(breaker) == {}


def test_a_refused_probe_gives_its_slot_back(half_opened):
    for _ in range(5):
        with pytest.raises(TypeError):
            half_opened.call_sync(generate)
    assert half_opened.get_state() == "HALF_OPEN (successes: 0)"


def test_failures_count_the_same_in_every_form(breaker):
    for call in (
        lambda: breaker.call_sync(fail),
        lambda: run(breaker.call(fail)),
        lambda: run(breaker.call(fail_async)),
    ):
        with pytest.raises(Boom):
            call()
    assert breaker.state is State.OPEN


def test_calls_nest_and_interleave(breaker):
    async def inner(value):
        await asyncio.sleep(0)
        return value

    async def outer(value):
        first = await breaker.call(inner, value)
        return first + await breaker.call(inner, value)

    async def main():
        return await asyncio.gather(*(breaker.call(outer, value) for value in range(100)))

    assert run(main()) == [2 * value for value in range(100)]
    assert counted(breaker) == {"total_calls": 300, "successful_calls": 300}


def test_results_are_not_kept_alive(breaker):
    class Result:
        alive = 0

        def __init__(self):
            Result.alive += 1

        def __del__(self):
            Result.alive -= 1

    async def make(later):
        if later:
            await asyncio.sleep(0)
        return Result()

    async def main():
        for later in (False, True):
            await breaker.call(make, later)
            assert Result.alive == 0

    run(main())


def test_the_context_of_a_call_is_the_callers(breaker):
    """The operation sees an exception that the caller is handling, as it would without a breaker."""
    outer = ValueError("outer")

    async def operation():
        raise Boom("inner")

    async def main():
        try:
            raise outer
        except ValueError:
            with pytest.raises(Boom) as caught:
                await breaker.call(operation)
        assert caught.value.__context__ is outer

    run(main())
