"""Under trio: the same calls, the timeout through trio's own scopes."""

import pytest

from helpers import Boom, counted
from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig, CircuitOpenError

trio = pytest.importorskip("trio")

TIMED_OUT = {"total_calls": 1, "failed_calls": 1, "timed_out_calls": 1}
IGNORED = {"total_calls": 1, "ignored_calls": 1}


@pytest.fixture(params=[30.0, None], ids=["with a timeout", "without"])
def any_breaker(request):
    return CircuitBreaker("q", CircuitBreakerConfig(3, timeout=request.param))


@pytest.fixture
def hasty():
    """Gives a call 10 ms, and trips at the first failure."""
    return CircuitBreaker("q", CircuitBreakerConfig(1, timeout=0.01))


async def ok_later(*values):
    await trio.sleep(0)
    return values


def test_calls_work_under_trio(any_breaker):
    async def main():
        assert await any_breaker.call(ok_later, 1) == (1,)
        assert await any_breaker.call(ok_later(2)) == (2,)
        assert await any_breaker.call(lambda: 3) == 3
        assert await any_breaker.call(lambda: ok_later(4)) == (4,)
        assert await any_breaker(ok_later)(5) == (5,)
        async with any_breaker.guard():
            await trio.sleep(0)
        assert [value async for value in any_breaker(numbers)()] == [0, 1, 2]

    trio.run(main)
    assert counted(any_breaker) == {"total_calls": 7, "successful_calls": 7}


async def numbers():
    for value in range(3):
        await trio.sleep(0)
        yield value


def test_failures_and_rejections_are_those_of_asyncio(any_breaker):
    error = Boom("mine")

    async def fail_later():
        await trio.sleep(0)
        raise error

    async def main():
        for _ in range(3):
            with pytest.raises(Boom) as caught:
                await any_breaker.call(fail_later)
            assert caught.value is error
        with pytest.raises(CircuitOpenError):
            await any_breaker.call(ok_later())

    trio.run(main)
    assert counted(any_breaker) == {"total_calls": 4, "failed_calls": 3, "rejected_calls": 1, "times_opened": 1}


@pytest.mark.parametrize("form", ["callable", "awaitable", "decorated", "guard", "async generator"])
def test_the_timeout_works_under_trio(hasty, form):
    @hasty
    async def decorated():
        await trio.sleep_forever()

    @hasty
    async def generator():
        await trio.sleep_forever()
        yield

    async def main():
        match form:
            case "callable":
                await hasty.call(trio.sleep_forever)
            case "awaitable":
                await hasty.call(trio.sleep_forever())
            case "decorated":
                await decorated()
            case "guard":
                async with hasty.guard():
                    await trio.sleep_forever()
            case _:
                await anext(generator())

    with pytest.raises(CallTimeoutError) as caught:
        trio.run(main)
    assert caught.value.args == ("q", 0.01)
    assert counted(hasty) == {**TIMED_OUT, "times_opened": 1}
    assert hasty.last_failure == "timed out after 0.01s"


def test_our_timeout_is_a_failure_whatever_is_ignored():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(timeout=0.01, ignore=Exception))

    async def main():
        with pytest.raises(CallTimeoutError):
            await breaker.call(trio.sleep_forever)

    trio.run(main)
    assert counted(breaker) == TIMED_OUT


def test_a_timeout_of_a_breaker_inside_is_an_ordinary_failure(hasty):
    outer = CircuitBreaker("outer")

    async def main():
        with pytest.raises(CallTimeoutError) as caught:
            await outer.call(hasty.call, trio.sleep_forever)
        assert caught.value.name == "q"

    trio.run(main)
    assert counted(outer) == {"total_calls": 1, "failed_calls": 1}


@pytest.mark.parametrize("guarded", [False, True])
def test_a_cancellation_from_outside_is_ignored(any_breaker, guarded):
    async def body():
        if guarded:
            async with any_breaker.guard():
                await trio.sleep_forever()
        else:
            await any_breaker.call(trio.sleep_forever)

    async def main():
        with trio.move_on_after(0.01) as scope:
            await body()
        assert scope.cancelled_caught

    trio.run(main)
    assert counted(any_breaker) == IGNORED


def test_unfinished_work_is_refused_under_trio(any_breaker):
    def generate():
        yield 1

    async def main():
        with pytest.raises(TypeError):
            await any_breaker.call(generate)

    trio.run(main)
    assert counted(any_breaker) == IGNORED


def test_asyncio_still_works_where_trio_is_loaded(hasty):
    import asyncio

    with pytest.raises(CallTimeoutError):
        asyncio.run(hasty.call(lambda: asyncio.Event().wait()))
    assert counted(hasty) == {**TIMED_OUT, "times_opened": 1}
