"""One call, one limit: who ends it, and what the caller sees."""

import asyncio
import time

import pytest

from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig
from timeouts.operations import fail, forever, two_steps
from timeouts.sides import NEVER, SOON, TIMEOUT, Compare, Counts, LoopKind, Side


def test_ends_in_time(compare: Compare) -> None:
    """An operation that ends before its limit gives its result, and nothing is left of the limit."""

    async def scenario(side: Side) -> None:
        await side.end(side.task(side.limited(NEVER, two_steps)))

    compare(scenario, (("returned", "done"), 0), counts=Counts(successful=1))


def test_fails_in_time(compare: Compare) -> None:
    """An exception before the limit reaches the caller as it is."""

    async def scenario(side: Side) -> None:
        await side.end(side.task(side.limited(NEVER, fail)))

    compare(scenario, (("raised Boom",), 0), counts=Counts(failed=1))


def test_expires(compare: Compare) -> None:
    """An operation that suspends for longer than its limit is cancelled, and the caller sees a timeout."""

    async def operation_of(side: Side) -> None:
        try:
            await forever()
        except asyncio.CancelledError as error:
            side.note(("operation", error.args))
            raise

    async def scenario(side: Side) -> None:
        await side.end(side.task(side.limited(SOON, lambda: operation_of(side))))

    compare(scenario, ("operation", ()), (TIMEOUT, 0), counts=Counts(failed=1, timed_out=1))


def test_never_suspends(compare: Compare) -> None:
    """A limit that passes while an operation computes, without ever suspending, does not fire."""

    async def scenario(side: Side) -> None:
        async def compute() -> str:
            side.loop_kind.block(2 * SOON)
            return "done"

        await side.end(side.task(side.limited(SOON, compute)))

    compare(scenario, (("returned", "done"), 0), counts=Counts(successful=1))


def test_expiry_between_the_wake_up_and_the_step(compare: Compare) -> None:
    """A limit that comes due when the operation is woken but has not run counts if the loop runs it before the step."""

    async def scenario(side: Side) -> None:
        future = asyncio.get_running_loop().create_future()

        async def wait() -> str:
            await future
            return "done"

        task = side.task(side.limited(SOON, wait))
        await side.until_waiting()
        side.stalled |= task.done() or task.cancelling() > 0
        future.set_result(None)
        side.loop_kind.block(2 * SOON)
        await side.end(task)

    if compare.loop_kind.name == "uvloop":  # it runs timers before what is ready
        compare(scenario, (TIMEOUT, 0), counts=Counts(failed=1, timed_out=1))
    else:
        compare(scenario, (("returned", "done"), 0), counts=Counts(successful=1))


def test_own_timeout_error(compare: Compare) -> None:
    """A TimeoutError that the operation raises by itself is an ordinary failure."""

    async def their_timeout() -> None:
        await asyncio.sleep(0)
        raise TimeoutError("theirs")

    async def scenario(side: Side) -> None:
        await side.end(side.task(side.limited(NEVER, their_timeout)))

    compare(scenario, (("raised TimeoutError",), 0), counts=Counts(failed=1))


def test_own_cancelled_error(compare: Compare) -> None:
    """A CancelledError that nobody asked for stays one, expired limit or not."""

    async def cancel_itself() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError

    async def scenario(side: Side) -> None:
        await side.end(side.task(side.limited(NEVER, cancel_itself)))

    compare(scenario, ("cancelled", 0), counts=Counts(ignored=1))


def test_two_calls_in_one_task(compare: Compare) -> None:
    """A task that has seen a timeout can make calls that end in time, and others that expire."""

    async def scenario(side: Side) -> None:
        async def one_after_another() -> object:
            for _ in range(3):
                try:
                    await side.limited(SOON, forever)
                except TimeoutError:
                    task = asyncio.current_task()
                    side.note(("expired", task.cancelling() if task else None))
            return await side.limited(NEVER, two_steps)

        await side.end(side.task(one_after_another()))

    compare(scenario, *[("expired", 0)] * 3, (("returned", "done"), 0), counts=Counts(1, 3, 0, 3))


@pytest.mark.parametrize("timeout", [0.002, 0.0155])
def test_the_error_of_an_expiry(loop_kind: LoopKind, timeout: float) -> None:
    """An expiry raises CallTimeoutError with the breaker's name and limit, from the cancellation that it was."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=timeout))
    with asyncio.Runner(loop_factory=loop_kind.make) as runner, pytest.raises(CallTimeoutError) as caught:
        runner.run(run_directly(breaker))
    assert ("quotes", timeout) == caught.value.args
    assert f"call through 'quotes' timed out after {timeout}s" == str(caught.value)
    assert asyncio.CancelledError is type(caught.value.__cause__)


async def run_directly(breaker: CircuitBreaker) -> None:
    await breaker.call(forever)


def test_no_running_task(loop_kind: LoopKind) -> None:
    """A call with a timeout that suspends outside any task is refused with RuntimeError, and its operation closed."""
    breaker = CircuitBreaker("quotes")
    events = []

    async def suspends() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            events.append("closed")

    with pytest.raises(RuntimeError, match="timeout=None"):
        breaker.call(suspends).send(None)
    assert ["closed"] == events
    assert (0, 1) == (breaker.get_metrics().failed_calls, breaker.get_metrics().ignored_calls)


def test_no_running_task_in_a_callback(loop_kind: LoopKind) -> None:
    """A callback of the loop is no task either, even while tasks of that loop and of others exist."""
    breaker = CircuitBreaker("quotes")
    caught: list[BaseException] = []

    def callback() -> None:
        try:
            breaker.call(forever).send(None)
        except RuntimeError as error:
            caught.append(error)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())
    assert 1 == len(caught)
    assert 1 == breaker.get_metrics().ignored_calls


def test_no_running_task_without_timeout() -> None:
    """A call without a timeout needs no task: whoever drives it by hand may."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=None))
    call = breaker.call(two_steps)
    assert [None, None] == [call.send(None), call.send(None)]
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    assert "done" == stop.value.value
    assert 1 == breaker.get_metrics().successful_calls


def test_a_task_of_another_loop_in_another_thread(loop_kind: LoopKind) -> None:
    """The task that is cancelled is the one that awaits, whatever other loops run in other threads."""
    import threading

    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=0.005))
    outcomes: list[str] = []
    meeting = threading.Barrier(3)

    async def main() -> None:
        meeting.wait(10)
        try:
            await breaker.call(asyncio.sleep, 20)
        except CallTimeoutError:
            task = asyncio.current_task()
            outcomes.append(f"timeout, {task.cancelling() if task else None} left")

    def in_thread() -> None:
        with asyncio.Runner(loop_factory=loop_kind.make) as runner:
            runner.run(main())

    threads = [threading.Thread(target=in_thread) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ["timeout, 0 left"] * 3 == outcomes
    assert 3 == breaker.get_metrics().timed_out_calls


def test_loop_without_task_in_this_thread_and_task_elsewhere() -> None:
    """A task that another thread is running is never taken for one's own."""
    import threading

    entered, done = threading.Event(), threading.Event()

    async def occupy() -> None:
        entered.set()
        done.wait(10)

    thread = threading.Thread(target=asyncio.run, args=(occupy(),))
    thread.start()
    try:
        assert entered.wait(10)
        breaker = CircuitBreaker("quotes")
        with pytest.raises(RuntimeError, match="timeout=None"):
            breaker.call(asyncio.sleep, 0).send(None)
    finally:
        done.set()
        thread.join(10)
    assert 1 == breaker.get_metrics().ignored_calls


def test_blocking_is_not_interrupted() -> None:
    """call_sync cannot be interrupted and is not timed, however short the limit."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=0.001))

    async def main() -> None:
        breaker.call_sync(time.sleep, 0.005)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert (1, 0) == (breaker.get_metrics().successful_calls, breaker.get_metrics().timed_out_calls)
