"""trio: a call with a timeout runs inside a scope of trio's, one without it is awaited as it is."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig, CircuitOpenError

trio = pytest.importorskip("trio", reason="SKIPPED: trio is not installed")


class Boom(Exception):
    pass


def play(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run a main function in trio, whose clock jumps when nothing else can happen."""
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def breaker_of(timeout: float | None, **changes: Any) -> CircuitBreaker:
    return CircuitBreaker("quotes", CircuitBreakerConfig(timeout=timeout, **changes))


def verdicts(breaker: CircuitBreaker) -> tuple[int, int, int, int]:
    """Successful, failed, ignored, timed out."""
    metrics = breaker.get_metrics()
    return metrics.successful_calls, metrics.failed_calls, metrics.ignored_calls, metrics.timed_out_calls


async def two_steps() -> str:
    await trio.sleep(0)
    await trio.sleep(0)
    return "done"


async def fail() -> None:
    await trio.sleep(0)
    raise Boom


@pytest.fixture(autouse=True, scope="module")
def _trio_testing() -> None:
    import trio.testing  # noqa: F401  # an attribute of trio only once it is imported


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_ends_in_time(timeout: float | None) -> None:
    """A call that ends in time gives its result, with a timeout and without."""
    breaker = breaker_of(timeout)

    async def main() -> None:
        assert await breaker.call(two_steps) == "done"
        assert await breaker.call(two_steps()) == "done"
        assert await breaker.call(lambda a, b: a + b, 1, b=2) == 3

    play(main)
    assert verdicts(breaker) == (3, 0, 0, 0)


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_fails_in_time(timeout: float | None) -> None:
    """An exception of the operation reaches the caller as the same object."""
    breaker = breaker_of(timeout)
    raised = Boom("this one")

    async def main() -> None:
        async def raising() -> None:
            await trio.sleep(1)
            raise raised

        with pytest.raises(Boom) as caught:
            await breaker.call(raising)
        assert caught.value is raised

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 0)


@pytest.mark.parametrize("awaitable", [False, True])
def test_expires(awaitable: bool) -> None:
    """A call that takes longer than its limit is cancelled by trio's clock and raises CallTimeoutError."""
    breaker = breaker_of(10.0)

    async def main() -> None:
        begin = trio.current_time()
        with pytest.raises(CallTimeoutError) as caught:
            await (breaker.call(trio.sleep_forever()) if awaitable else breaker.call(trio.sleep_forever))
        assert caught.value.args == ("quotes", 10.0)
        assert trio.current_time() == begin + 10

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_decorated() -> None:
    """A decorated coroutine function, guard and async generator have the timeout under trio, too."""
    breaker = breaker_of(10.0)

    @breaker
    async def decorated(wait: float) -> str:
        await trio.sleep(wait)
        return "done"

    @breaker
    async def generator(*waits: float) -> Any:
        for wait in waits:
            await trio.sleep(wait)
            yield wait

    async def main() -> None:
        assert await decorated(9) == "done"
        with pytest.raises(CallTimeoutError):
            await decorated(11)
        with pytest.raises(CallTimeoutError):
            async with breaker.guard():
                await trio.sleep(11)
        assert [wait async for wait in generator(9, 9)] == [9, 9]
        with pytest.raises(CallTimeoutError):
            async for _ in generator(9, 11):
                pass

    play(main)
    assert verdicts(breaker) == (2, 3, 0, 3)


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_a_scope_around_is_cancelled(timeout: float | None) -> None:
    """A scope around that is cancelled cancels the call, which is neither success nor failure."""
    breaker = breaker_of(timeout)

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(breaker.call, trio.sleep_forever)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught

    play(main)
    assert verdicts(breaker) == (0, 0, 1, 0)


def test_move_on_after_around_expires_first() -> None:
    """A scope around that expires first catches its own cancellation; to the breaker it is no timeout."""
    breaker = breaker_of(10.0)

    async def main() -> None:
        with trio.move_on_after(5) as scope:
            await breaker.call(trio.sleep_forever)
        assert scope.cancelled_caught

    play(main)
    assert verdicts(breaker) == (0, 0, 1, 0)


def test_move_on_after_around_is_longer() -> None:
    """A scope around that has time left sees the breaker's timeout pass."""
    breaker = breaker_of(10.0)

    async def main() -> None:
        with trio.move_on_after(50) as scope, pytest.raises(CallTimeoutError):
            await breaker.call(trio.sleep_forever)
        assert not scope.cancelled_caught

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_equal_deadlines() -> None:
    """Of a scope around and a breaker with the same deadline the outer one catches, as of two scopes of trio."""
    breaker = breaker_of(10.0)

    async def main() -> None:
        with trio.move_on_after(10) as theirs, trio.move_on_after(10) as inner:
            await trio.sleep_forever()
        with trio.move_on_after(10) as scope:
            await breaker.call(trio.sleep_forever)
        assert (scope.cancelled_caught, theirs.cancelled_caught, inner.cancelled_caught) == (True, True, False)

    play(main)
    assert verdicts(breaker) == (0, 0, 1, 0)


@pytest.mark.parametrize(("outer", "inner"), [(5.0, 10.0), (10.0, 5.0)])
def test_breaker_in_breaker(outer: float, inner: float) -> None:
    """Of two breakers the one that expires first raises; the outer counts the inner's timeout as a plain failure."""
    around, within = breaker_of(outer), breaker_of(inner)

    async def main() -> None:
        with pytest.raises(CallTimeoutError) as caught:
            await around.call(within.call, trio.sleep_forever)
        assert caught.value.timeout == 5.0

    play(main)
    if outer < inner:
        assert (verdicts(around), verdicts(within)) == ((0, 1, 0, 1), (0, 0, 1, 0))
    else:
        assert (verdicts(around), verdicts(within)) == ((0, 1, 0, 0), (0, 1, 0, 1))


def test_a_scope_inside() -> None:
    """A scope inside the operation stands in trio's stack of scopes as it should, and expires by itself."""
    breaker = breaker_of(10.0)

    async def operation() -> str:
        with trio.move_on_after(3):
            await trio.sleep_forever()
        return await two_steps()

    async def main() -> None:
        assert await breaker.call(operation) == "done"

    play(main)
    assert verdicts(breaker) == (1, 0, 0, 0)


def test_a_nursery_inside() -> None:
    """An expiry cancels a nursery inside the operation, and is a timeout all the same."""
    breaker = breaker_of(10.0)
    ended = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("child")

    async def operation() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(child)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(operation)

    play(main)
    assert ended == ["child", "child"]
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_cleanup_after_the_expiry() -> None:
    """A shielded cleanup runs to its end; another exception in it reaches the caller, of a call that timed out."""
    breaker = breaker_of(10.0)

    async def operation(error: Exception | None) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(30)
            if error is not None:
                raise error

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(operation, None)
        assert trio.current_time() == pytest.approx(40)
        with pytest.raises(Boom):
            await breaker.call(operation, Boom())

    play(main)
    assert verdicts(breaker) == (0, 2, 0, 2)


def test_swallowed_expiry() -> None:
    """An operation that returns a value after its limit gives the caller that value, and counts as timed out."""
    breaker = breaker_of(10.0)

    async def operation() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
        return "too late"

    async def main() -> None:
        assert await breaker.call(operation) == "too late"

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 1)


@pytest.mark.parametrize("timeout", [None, 10.0])
def test_rejected(timeout: float | None) -> None:
    """A rejected call never begins; a coroutine that it was given is closed."""
    breaker = breaker_of(timeout)
    breaker.force_open()

    async def main() -> None:
        for operation in (two_steps, two_steps()):
            with pytest.raises(CircuitOpenError):
                await breaker.call(operation)

    play(main)
    assert breaker.get_metrics().rejected_calls == 2


def test_many_at_once() -> None:
    """A thousand concurrent calls expire, end and fail each as it should."""
    breaker = breaker_of(10.0, failure_threshold=10_000)

    async def caught(operation: Any) -> None:
        with pytest.raises((CallTimeoutError, Boom)):
            await breaker.call(operation)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(333):
                nursery.start_soon(breaker.call, two_steps)
                nursery.start_soon(caught, fail)
                nursery.start_soon(caught, trio.sleep_forever)

    play(main)
    assert verdicts(breaker) == (333, 666, 0, 333)


def test_without_timeout_nothing_is_entered() -> None:
    """Without a timeout the operation runs directly in the caller's scope."""
    breaker = breaker_of(None)

    async def main() -> None:
        async def deadline() -> float:
            await trio.sleep(0)
            return float(trio.current_effective_deadline())

        assert await breaker.call(deadline) == float("inf")
        with trio.fail_after(7):
            assert await breaker.call(deadline) == trio.current_time() + 7

    play(main)


def test_asyncio_and_trio_in_one_process() -> None:
    """One breaker serves calls under trio and calls under asyncio, one after the other."""
    import asyncio

    breaker = breaker_of(0.005)

    async def in_trio() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(trio.sleep_forever)

    async def in_asyncio() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(asyncio.sleep, 10)

    for _ in range(2):
        play(in_trio)
        asyncio.run(in_asyncio())
    assert verdicts(breaker) == (0, 4, 0, 4)
