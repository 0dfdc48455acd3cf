"""anyio on asyncio: its cancel scopes around and inside a call."""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig
from timeouts.operations import Boom, fail, forever, two_steps
from virtual_time import VirtualLoop

anyio = pytest.importorskip("anyio", reason="SKIPPED: anyio is not installed")

SOON = 0.005
NEVER = 1000.0


@pytest.fixture(params=["virtual time", "asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Run a main function in anyio on each loop."""
    options: dict[str, Any] = {}
    if request.param == "virtual time":
        options["loop_factory"] = VirtualLoop
    elif request.param == "uvloop":
        if importlib.util.find_spec("uvloop") is None:
            pytest.skip("SKIPPED: uvloop is not installed")
        options["use_uvloop"] = True
    return lambda main: anyio.run(main, backend="asyncio", backend_options=options)


def breaker_of(timeout: float | None) -> CircuitBreaker:
    return CircuitBreaker("quotes", CircuitBreakerConfig(timeout=timeout))


def verdicts(breaker: CircuitBreaker) -> tuple[int, int, int, int]:
    """Successful, failed, ignored, timed out."""
    metrics = breaker.get_metrics()
    return metrics.successful_calls, metrics.failed_calls, metrics.ignored_calls, metrics.timed_out_calls


def requests_to_cancel() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def test_expires(play: Any) -> None:
    """A call expires under anyio as under asyncio, and leaves no request to cancel."""
    breaker = breaker_of(SOON)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(anyio.sleep, NEVER)
        assert requests_to_cancel() == 0
        await anyio.sleep(0)

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_move_on_after_around_expires(play: Any) -> None:
    """A scope around that expires first is a cancellation to the breaker, and the scope catches it."""
    breaker = breaker_of(NEVER)

    async def main() -> None:
        with anyio.move_on_after(SOON) as scope:
            await breaker.call(forever)
        assert scope.cancelled_caught
        assert requests_to_cancel() == 0
        await anyio.sleep(0)

    play(main)
    assert verdicts(breaker) == (0, 0, 1, 0)


def test_move_on_after_around_is_longer(play: Any) -> None:
    """A scope around that has time left sees the breaker's timeout pass."""
    breaker = breaker_of(SOON)

    async def main() -> None:
        with anyio.move_on_after(NEVER) as scope:
            with pytest.raises(CallTimeoutError):
                await breaker.call(forever)
            await anyio.sleep(0)
        assert not scope.cancelled_caught

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_fail_after_around_expires(play: Any) -> None:
    """Anyio's own timeout around is a TimeoutError, and no CallTimeoutError."""
    breaker = breaker_of(NEVER)

    async def main() -> None:
        with pytest.raises(TimeoutError) as caught, anyio.fail_after(SOON):
            await breaker.call(forever)
        assert type(caught.value) is TimeoutError

    play(main)
    assert verdicts(breaker) == (0, 0, 1, 0)


def test_move_on_after_inside_expires(play: Any) -> None:
    """A scope inside the operation that expires first is the operation's own business."""
    breaker = breaker_of(NEVER)

    async def operation() -> str:
        with anyio.move_on_after(SOON):
            await forever()
        return await two_steps()

    async def main() -> None:
        assert await breaker.call(operation) == "done"
        assert requests_to_cancel() == 0

    play(main)
    assert verdicts(breaker) == (1, 0, 0, 0)


def test_move_on_after_inside_is_longer(play: Any) -> None:
    """A scope inside with time left lets the breaker's expiry through."""
    breaker = breaker_of(SOON)

    async def operation() -> None:
        with anyio.move_on_after(NEVER):
            await forever()

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(operation)
        await anyio.sleep(0)
        assert requests_to_cancel() == 0

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_a_scope_cancelled_around(play: Any) -> None:
    """A scope around that somebody cancels cancels the call, level-triggered, through the breaker."""
    breaker = breaker_of(NEVER)
    attempts = []

    async def operation() -> None:
        for _ in range(3):
            try:
                await anyio.sleep(NEVER)
            except anyio.get_cancelled_exc_class():
                attempts.append("cancelled")
        await anyio.sleep(NEVER)

    async def main() -> None:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await breaker.call(operation)
        assert scope.cancelled_caught

    play(main)
    assert attempts == ["cancelled"] * 3
    assert verdicts(breaker) == (0, 0, 1, 0)


def test_task_group_around(play: Any) -> None:
    """A timeout in a task of a group cancels the siblings' calls, which are no failures."""
    breaker, sibling = breaker_of(SOON), breaker_of(NEVER)

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sibling.call, forever)
                tasks.start_soon(breaker.call, forever)
        assert [type(error) for error in caught.value.exceptions] == [CallTimeoutError]

    play(main)
    assert (verdicts(breaker), verdicts(sibling)) == ((0, 1, 0, 1), (0, 0, 1, 0))


def test_task_group_inside(play: Any) -> None:
    """An expiry ends a group inside the operation, children first."""
    breaker = breaker_of(SOON)
    ended = []

    async def child() -> None:
        try:
            await forever()
        finally:
            ended.append("child")

    async def operation() -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child)
                tasks.start_soon(child)
        finally:
            ended.append("group")

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(operation)
        await anyio.sleep(0)

    play(main)
    assert ended == ["child", "child", "group"]
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_task_group_inside_fails(play: Any) -> None:
    """A group inside that fails in time is a failure of the operation."""
    breaker = breaker_of(NEVER)

    async def operation() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(forever)
            tasks.start_soon(fail)

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await breaker.call(operation)
        assert [type(error) for error in caught.value.exceptions] == [Boom]

    play(main)
    assert verdicts(breaker) == (0, 1, 0, 0)


def test_shielded_cleanup(play: Any) -> None:
    """A shielded cleanup runs to its end after the expiry."""
    breaker = breaker_of(SOON)
    steps = []

    async def operation() -> None:
        try:
            await forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(SOON)
                steps.append("cleaned up")

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            await breaker.call(operation)

    play(main)
    assert steps == ["cleaned up"]
    assert verdicts(breaker) == (0, 1, 0, 1)


def test_async_guard(play: Any) -> None:
    """The async guard has the timeout, too, and lets a scope around through."""
    expiring, patient = breaker_of(SOON), breaker_of(NEVER)

    async def main() -> None:
        with pytest.raises(CallTimeoutError):
            async with expiring.guard():
                await anyio.sleep(NEVER)
        with anyio.move_on_after(SOON) as scope:
            async with patient.guard():
                await anyio.sleep(NEVER)
        assert scope.cancelled_caught

    play(main)
    assert (verdicts(expiring), verdicts(patient)) == ((0, 1, 0, 1), (0, 0, 1, 0))


def test_a_worker_thread() -> None:
    """A sync call in one of anyio's threads goes through the same breaker."""
    breaker = breaker_of(SOON)

    async def main() -> None:
        assert await anyio.to_thread.run_sync(breaker.call_sync, str, 7) == "7"

    anyio.run(main)
    assert verdicts(breaker) == (1, 0, 0, 0)
