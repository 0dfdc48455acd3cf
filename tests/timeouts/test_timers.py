"""The queues of suspended calls: one timer for all calls of one limit, always set for the first of them, exactly."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig
from timeouts.operations import forever, two_steps
from timeouts.sides import LoopKind
from virtual_time import VirtualLoop

START = 1000.0


def limited_to(timeout: float) -> CircuitBreaker:
    """A breaker that no number of timeouts opens."""
    return CircuitBreaker(f"limited to {timeout}", CircuitBreakerConfig(1_000_000, timeout=timeout))


async def expiry(breaker: CircuitBreaker) -> float:
    """Wait for the timeout of a call that never ends; when it came, on the loop's clock."""
    with pytest.raises(CallTimeoutError):
        await breaker.call(forever)
    return asyncio.get_running_loop().time()


def test_each_call_expires_at_its_own_deadline() -> None:
    """Calls that suspend at different times expire each exactly one timeout later."""
    breaker = limited_to(10.0)

    async def begin_at(offset: float) -> float:
        await asyncio.sleep(offset)
        return await expiry(breaker)

    async def main() -> list[float]:
        return await asyncio.gather(*(begin_at(offset) for offset in (0.0, 0.25, 0.25, 3.0, 9.875, 12.5, 40.0)))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        ends = runner.run(main())
    assert ends == [START + 10 + offset for offset in (0.0, 0.25, 0.25, 3.0, 9.875, 12.5, 40.0)]


def test_one_timer_for_all_calls_of_one_limit() -> None:
    """A thousand calls that wait at once set one timer."""
    breaker = limited_to(10.0)

    async def main(loop: VirtualLoop) -> None:
        await asyncio.gather(*(expiry(breaker) for _ in range(1000)))
        assert loop.timers == [START + 10]

    run_on_virtual_loop(main)
    assert breaker.get_metrics().timed_out_calls == 1000


def test_the_timer_follows_the_head() -> None:
    """When the timer comes for a call that has ended, it is set anew for the first that still waits."""
    breaker = limited_to(10.0)

    async def main(loop: VirtualLoop) -> None:
        ended = [loop.create_task(breaker.call(asyncio.sleep, delay)) for delay in (1.0, 2.0)]
        await asyncio.sleep(4.0)
        loop.timers.clear()
        assert await expiry(breaker) == START + 14
        assert loop.timers == [START + 14]
        assert all(task.done() for task in ended)

    run_on_virtual_loop(main)


def test_a_queue_that_drained_begins_anew() -> None:
    """A call that suspends after all others of its limit have ended is timed like the first."""
    breaker = limited_to(10.0)

    async def main(loop: VirtualLoop) -> None:
        assert await breaker.call(two_steps) == "done"
        await asyncio.sleep(5.0)
        assert await expiry(breaker) == START + 15
        await asyncio.sleep(100.0)
        assert await expiry(breaker) == START + 125
        assert await breaker.call(two_steps) == "done"

    run_on_virtual_loop(main)


def test_a_call_between_the_end_of_all_and_the_timer() -> None:
    """A timer that is still set for calls long gone does not end a new one early, however often that happens."""
    breaker = limited_to(10.0)

    async def main(loop: VirtualLoop) -> None:
        for _ in range(5):
            assert await breaker.call(two_steps) == "done"
            await asyncio.sleep(9.0)
        begin = loop.time()
        assert await expiry(breaker) == begin + 10

    run_on_virtual_loop(main)


def test_calls_that_leave_from_the_middle() -> None:
    """Calls may end in any order; the others keep their deadlines and their turn."""
    breaker = limited_to(10.0)
    order: list[int] = []

    async def wait(number: int) -> None:
        await asyncio.sleep(number / 100)
        assert await expiry(breaker) == START + 10 + number / 100
        order.append(number)

    async def main(loop: VirtualLoop) -> None:
        tasks = [loop.create_task(wait(number)) for number in range(100)]
        await asyncio.sleep(5.0)
        leaving = random.Random(7).sample(range(100), 60)
        for number in leaving:
            tasks[number].cancel()
        await asyncio.wait(tasks)
        assert order == [number for number in range(100) if number not in leaving]

    run_on_virtual_loop(main)
    assert (breaker.get_metrics().timed_out_calls, breaker.get_metrics().ignored_calls) == (40, 60)


def test_timeouts_of_several_durations() -> None:
    """Limits of several durations on one loop do not hear of each other."""
    durations = (0.5, 30.0, 7.250000001, 7.25, 0.001, 3600.0)

    async def main(loop: VirtualLoop) -> None:
        breakers = [limited_to(duration) for duration in durations for _ in range(3)]
        ends = await asyncio.gather(*(expiry(breaker) for breaker in breakers))
        assert ends == [START + duration for duration in durations for _ in range(3)]
        assert len(loop.timers) == len(durations)

    run_on_virtual_loop(main)


def test_breakers_of_one_duration_share_a_queue() -> None:
    """Breakers of one duration are served by one timer, each call at its own deadline."""

    async def begin_at(offset: float) -> float:
        await asyncio.sleep(offset)
        return await expiry(limited_to(20.0))

    async def main(loop: VirtualLoop) -> None:
        ends = await asyncio.gather(*(begin_at(offset) for offset in (0.0, 1.0, 2.0)))
        assert ends == [START + 20, START + 21, START + 22]
        sleeps = 2  # a sleep of 0 sets no timer
        assert len(loop.timers) == sleeps + 3

    run_on_virtual_loop(main)


def test_a_call_that_never_suspends_sets_no_timer() -> None:
    """Nothing is armed before the first suspension."""
    breaker = limited_to(10.0)

    async def at_once() -> str:
        return "done"

    async def main(loop: VirtualLoop) -> None:
        for _ in range(100):
            assert await breaker.call(at_once) == "done"
        assert loop.timers == []

    run_on_virtual_loop(main)


def test_the_time_counts_from_the_first_suspension() -> None:
    """The limit begins when the operation first suspends, and not when the call is made or the operation begins."""
    breaker = limited_to(10.0)

    async def main(loop: VirtualLoop) -> None:
        async def compute_then_wait() -> None:
            loop.now += 100
            await forever()

        call = breaker.call(compute_then_wait)
        await asyncio.sleep(50)
        with pytest.raises(CallTimeoutError):
            await call
        assert loop.time() == START + 160

    run_on_virtual_loop(main)


def test_a_loop_that_is_held_up() -> None:
    """Deadlines that pass while the loop is held up all expire in its next iteration, in their order."""
    breaker = limited_to(10.0)
    order: list[float] = []

    async def begin_at(offset: float) -> None:
        await asyncio.sleep(offset)
        await expiry(breaker)
        order.append(offset)

    async def main(loop: VirtualLoop) -> None:
        tasks = [loop.create_task(begin_at(offset)) for offset in (0.0, 1.0, 2.0, 3.0)]
        await asyncio.sleep(4.0)
        loop.now += 8.5
        await asyncio.wait(tasks[:3])
        assert (loop.time(), order) == (START + 12.5, [0.0, 1.0, 2.0])
        await tasks[3]
        assert loop.time() == START + 13

    run_on_virtual_loop(main)


def test_a_swallowed_expiry_does_not_come_back() -> None:
    """A call that swallowed its expiry has left the queue: those behind it keep their deadlines."""
    breaker = limited_to(10.0)

    async def swallow() -> float:
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(100)
        return asyncio.get_running_loop().time()

    async def main(loop: VirtualLoop) -> None:
        swallowing = loop.create_task(breaker.call(swallow))
        await asyncio.sleep(5)
        assert await expiry(breaker) == START + 15
        assert await swallowing == START + 110

    run_on_virtual_loop(main)


def test_an_expiry_makes_a_call() -> None:
    """What runs because a call expired may suspend in a call of the same limit at once."""
    breaker = limited_to(10.0)

    async def again_and_again() -> list[float]:
        return [await expiry(breaker) for _ in range(4)]

    async def main(loop: VirtualLoop) -> None:
        ends = await asyncio.gather(again_and_again(), again_and_again())
        assert ends == [[START + 10 * turn for turn in (1, 2, 3, 4)]] * 2

    run_on_virtual_loop(main)


def test_the_shortest_and_the_longest_limit() -> None:
    """A nanosecond and ten years are limits like any other."""

    async def main(loop: VirtualLoop) -> None:
        for duration in (1e-9, 315_360_000.0):
            begin = loop.time()
            assert await expiry(limited_to(duration)) == begin + duration

    run_on_virtual_loop(main)


def test_thousands_of_calls_with_every_end(loop_kind: LoopKind) -> None:
    """Of thousands of concurrent calls, each with its own end and limit, every one is counted as what it was."""
    unit = loop_kind.unit
    breakers = [limited_to(duration * unit) for duration in (1, 2, 5)]

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def at_once() -> None:
        pass

    async def main() -> None:
        loop = asyncio.get_running_loop()
        limitless = [limited_to(100_000 * unit) for _ in range(2)]
        cancelled, others = [], []
        for number in range(3000):
            match number % 6:
                case 0:
                    others.append(loop.create_task(limitless[0].call(two_steps)))
                case 1:
                    others.append(loop.create_task(limitless[1].call(fail)))
                case 2:
                    cancelled.append(loop.create_task(limitless[number % 2].call(forever)))
                case 3:
                    others.append(loop.create_task(limitless[1].call(at_once)))
                case _:
                    others.append(loop.create_task(breakers[number % 3].call(forever)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in cancelled:
            task.cancel()
        await asyncio.wait(cancelled + others)
        breakers.extend(limitless)
        outcomes = [task.exception() for task in others]
        assert sum(isinstance(each, CallTimeoutError) for each in outcomes) == 1000
        assert sum(isinstance(each, ValueError) for each in outcomes) == 500
        assert all(task.cancelled() for task in cancelled)

    with asyncio.Runner(loop_factory=loop_kind.make) as runner:
        runner.run(main())
    metrics = [breaker.get_metrics() for breaker in breakers]
    assert sum(each.total_calls for each in metrics) == 3000
    assert sum(each.successful_calls for each in metrics) == 1000
    assert sum(each.failed_calls for each in metrics) == 1500
    assert sum(each.timed_out_calls for each in metrics) == 1000
    assert sum(each.ignored_calls for each in metrics) == 500


def run_on_virtual_loop(main: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    """Run it in virtual time, and see that nothing was reported to the loop's exception handler."""
    problems: list[object] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        loop.set_exception_handler(lambda _, context: problems.append(context))
        runner.run(main(loop))
    assert problems == []
