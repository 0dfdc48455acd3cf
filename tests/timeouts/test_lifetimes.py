"""What timers keep alive, and what outlives them: loops, tasks, context variables, breakers."""

import asyncio
import contextvars
import gc
import logging
import weakref
from typing import Any

import pytest

from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig
from timeouts.operations import forever, two_steps
from timeouts.sides import NEVER, PAST_BOTH, SOON, Compare, Counts, LoopKind, Side


@pytest.fixture(autouse=True)
def _no_noise_of_pending_tasks() -> Any:
    """Asyncio logs every task that goes away pending, which is what happens here all the time."""
    logger = logging.getLogger("asyncio")
    logger.disabled = True
    yield
    logger.disabled = False


def suspend(loop: asyncio.AbstractEventLoop, breaker: CircuitBreaker) -> "asyncio.Task[Any]":
    """A task that waits in a call."""

    async def main() -> "asyncio.Task[Any]":
        task = loop.create_task(breaker.call(forever))
        await asyncio.sleep(0)
        return task

    return loop.run_until_complete(main())


def test_a_loop_closed_with_timers_armed(loop_kind: LoopKind) -> None:
    """A loop that is closed while calls wait takes them with it: they are ignored, and the next loop works."""
    # More than a unit: what does not wait for it has to end first, also where other processes have the cores.
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=20 * loop_kind.unit))
    for turn in range(5):
        loop = loop_kind.make()
        task = suspend(loop, breaker)
        loop.close()
        assert not task.done()
        del task, loop
        gc.collect()
        assert breaker.get_metrics().ignored_calls == turn + 1
        with asyncio.Runner(loop_factory=loop_kind.make) as runner:
            assert runner.run(wait_in(breaker)) == ["done", "timeout"]
    assert breaker.get_metrics()._replace(total_open_time_ms=0)[:3] == (15, 5, 5)


async def wait_in(breaker: CircuitBreaker) -> list[str]:
    outcomes = [await breaker.call(two_steps)]
    try:
        await breaker.call(forever)
    except CallTimeoutError:
        outcomes.append("timeout")
    return outcomes


@pytest.mark.parametrize("calls", ["ended", "pending", "expired"])
def test_no_timer_holds_a_closed_loop(loop_kind: LoopKind, calls: str) -> None:
    """Nothing of the breaker keeps a loop that is closed and let go, however its calls ended."""
    breaker = CircuitBreaker(
        "quotes", CircuitBreakerConfig(timeout=(1 if calls == "expired" else NEVER) * loop_kind.unit)
    )
    loop = loop_kind.make()
    if calls == "ended":
        loop.run_until_complete(breaker.call(two_steps))
    elif calls == "pending":
        suspend(loop, breaker)
    else:
        with pytest.raises(CallTimeoutError):
            loop.run_until_complete(breaker.call(forever))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
    assert breaker.get_metrics().total_calls == 1


def test_many_loops_leave_nothing(loop_kind: LoopKind) -> None:
    """A program that makes a loop per job does not grow by its timers."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=NEVER * loop_kind.unit))

    def job() -> None:
        with asyncio.Runner(loop_factory=loop_kind.make) as runner:
            assert runner.run(breaker.call(two_steps)) == "done"

    def objects() -> int:
        for _ in range(30):
            job()
        gc.collect()
        return len(gc.get_objects())

    first = objects()
    assert objects() - first < 30


def test_timers_keep_no_context_alive(loop_kind: LoopKind) -> None:
    """A timer that outlives the call which set it does not keep that call's context variables."""
    variable: contextvars.ContextVar[object] = contextvars.ContextVar("request")
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=NEVER * loop_kind.unit))

    class Request:
        pass

    async def handle() -> "weakref.ref[Request]":
        request = Request()
        variable.set(request)
        assert await breaker.call(two_steps) == "done"
        return weakref.ref(request)

    async def main() -> None:
        request = await asyncio.get_running_loop().create_task(handle())
        await asyncio.sleep(0)
        gc.collect()
        assert request() is None

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())


def test_an_ended_call_keeps_nothing_alive(loop_kind: LoopKind) -> None:
    """When a call has ended, neither its task nor its operation is held by the queue, whose timer is still set."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=NEVER * loop_kind.unit))

    class Payload:
        async def use(self) -> None:
            await asyncio.sleep(0)

    async def main() -> None:
        payload = Payload()
        task = asyncio.get_running_loop().create_task(breaker.call(payload.use))
        await task
        gone = weakref.ref(task), weakref.ref(payload)
        del task, payload
        await asyncio.sleep(0)
        gc.collect()
        assert [reference() for reference in gone] == [None, None]

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())


def test_a_task_that_nobody_holds(compare: Compare) -> None:
    """A waiting task that only its limit knows of is neither lost nor kept for ever: it expires."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                side.note("cancelled by the expiry")
                raise
            finally:
                side.note("over")

        async def caller() -> None:
            try:
                await side.limited(SOON, operation)
            except TimeoutError:
                side.note("timeout")

        # Not side.task(), which would hold it.
        task = weakref.ref(asyncio.get_running_loop().create_task(caller()))
        await side.until_waiting()
        gc.collect()
        await asyncio.sleep(side.seconds(PAST_BOTH))
        gc.collect()
        side.note(("gone", task() is None))

    compare(
        scenario, "cancelled by the expiry", "over", "timeout", ("gone", True), counts=Counts(failed=1, timed_out=1)
    )


def test_a_task_that_nobody_holds_without_limit(loop_kind: LoopKind) -> None:
    """A waiting task that nobody holds, in a call without a limit, is collected, and its call ignored."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=None))

    async def main() -> None:
        task = weakref.ref(asyncio.get_running_loop().create_task(breaker.call(forever)))
        await asyncio.sleep(0)
        gc.collect()
        assert task() is None

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())
    assert breaker.get_metrics().ignored_calls == 1


def test_a_waiting_call_is_closed_by_hand(loop_kind: LoopKind) -> None:
    """A call that is closed while it waits leaves the queue at once: its deadline finds nobody."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=SOON * loop_kind.unit))

    async def main() -> None:
        call = breaker.call(forever)
        call.send(None)
        call.close()
        await asyncio.sleep(PAST_BOTH * loop_kind.unit)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())
    assert (breaker.get_metrics().ignored_calls, breaker.get_metrics().timed_out_calls) == (1, 0)


def test_a_waiting_call_is_dropped(loop_kind: LoopKind) -> None:
    """A call that is driven by hand and dropped while it waits leaves the queue, too."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=SOON * loop_kind.unit))

    async def main() -> None:
        call = breaker.call(forever)
        call.send(None)
        del call
        gc.collect()
        await asyncio.sleep(PAST_BOTH * loop_kind.unit)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())
    assert (breaker.get_metrics().ignored_calls, breaker.get_metrics().timed_out_calls) == (1, 0)


def test_a_breaker_that_nobody_holds(loop_kind: LoopKind) -> None:
    """A breaker lives as long as a call waits in it, and no longer."""

    async def main() -> None:
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=SOON * loop_kind.unit))
        gone = weakref.ref(breaker)
        task = asyncio.get_running_loop().create_task(breaker.call(forever))
        await asyncio.sleep(0)
        del breaker
        gc.collect()
        assert gone() is not None
        await asyncio.wait([task])
        assert isinstance(task.exception(), CallTimeoutError)
        del task
        gc.collect()
        assert gone() is None

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())


def test_a_loop_that_is_stopped_and_started_again(loop_kind: LoopKind) -> None:
    """A loop that stands still while a call waits goes on with it: the deadline is as it was."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=SOON * loop_kind.unit))
    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        loop = runner.get_loop()
        task = suspend(loop, breaker)
        with pytest.raises(CallTimeoutError):
            loop.run_until_complete(task)
        # Another one: two steps may take longer than that deadline on a machine that is busy.
        assert loop.run_until_complete(CircuitBreaker("patient").call(two_steps)) == "done"
