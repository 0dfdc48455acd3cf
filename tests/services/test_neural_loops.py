"""Calls and event loops: whatever makes the tasks, cancels them at any moment, or ends under them."""

import asyncio
import threading
import time
from typing import Any

import pytest

from helpers import counted, run
from services.neural_parts import Hanging, service, until
from switchgear import CallTimeoutError, CircuitBreakerConfig
from switchgear.services.neural import WorkersBusyError


def python_task(loop: Any, coroutine: Any, **options: Any) -> Any:
    """A task of asyncio's own Python code, in place of the C one."""
    return asyncio.tasks._PyTask(coroutine, loop=loop, **options)  # type: ignore[attr-defined]


# Eager tasks, which begin inside create_task, are there from 3.12 on.
FACTORIES = [None, python_task, *filter(None, [getattr(asyncio, "eager_task_factory", None)])]


@pytest.mark.parametrize("factory", FACTORIES)
def test_tasks_of_every_kind(model: Hanging, factory: Any) -> None:
    """Whatever makes the tasks: they are woken, timed and cancelled."""

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        async with service(model, config=CircuitBreakerConfig(timeout=0.2)) as neural:
            assert [[1.0]] * 4 == await asyncio.gather(*[neural.predict([1.0]) for _ in range(4)])
            late, cancelled = (asyncio.create_task(neural.predict([-1.0])) for _ in range(2))
            cancelled.cancel()
            assert [CallTimeoutError, asyncio.CancelledError] == [
                type(each) for each in await asyncio.gather(late, cancelled, return_exceptions=True)
            ]

    run(main())


def test_a_task_that_is_cancelled_before_it_began(model: Hanging) -> None:
    """Nothing is asked and nothing is counted."""

    async def main() -> None:
        async with service(model) as neural:
            task = asyncio.create_task(neural.predict([1.0]))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert {} == counted(neural.breaker)

    run(main())


def test_cancellation_at_every_moment_of_a_call() -> None:
    """However far a call has come, its end is one: answered or cancelled, once, and its place is free again."""

    async def main() -> None:
        async with service(list, max_concurrent=4) as neural:
            ended = {"answered": 0, "cancelled": 0, "turned away": 0}
            for number in range(600):
                task = asyncio.create_task(neural.predict([1.0]))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                if number % 3 == 0:
                    time.sleep(0.0002)
                task.cancel()
                try:
                    assert [1.0] == await task
                    ended["answered"] += 1
                except asyncio.CancelledError:
                    ended["cancelled"] += 1
                except WorkersBusyError:
                    # Four threads that were begun and have not had the processor since.
                    ended["turned away"] += 1
            await until(lambda: not neural.abandoned_threads)
            assert 600 == sum(ended.values())
            metrics = neural.get_metrics()
            assert metrics.total_calls == metrics.successful_calls + metrics.ignored_calls
            assert ended["answered"] > 0 < ended["cancelled"]
            assert ended["answered"] <= metrics.successful_calls
            # Every place is there.
            answers = await asyncio.gather(*[neural.predict([float(n)]) for n in range(4)])
            assert [[0.0], [1.0], [2.0], [3.0]] == answers

    run(main())


def test_two_loops_one_after_another_and_two_at_once(model: Hanging) -> None:
    """A service belongs to no event loop."""
    neural = service(model, max_concurrent=100)

    async def some(offset: int) -> list[list[float]]:
        return await asyncio.gather(*[neural.predict([float(offset + n)]) for n in range(20)])

    assert [[float(n)] for n in range(20)] == run(some(0))
    assert [[float(100 + n)] for n in range(20)] == run(some(100))
    answers: dict[int, list[list[float]]] = {}
    beside = [threading.Thread(target=lambda o=o: answers.update({o: run(some(o))})) for o in (1000, 2000)]
    for each in beside:
        each.start()
    for each in beside:
        each.join()
    assert {offset: [[float(offset + n)] for n in range(20)] for offset in (1000, 2000)} == answers
    run(neural.aclose())


def test_a_loop_that_ends_leaves_its_call_behind(model: Hanging) -> None:
    """What a loop was closed with is abandoned, and the next loop finds the service working."""
    neural = service(model, max_concurrent=2)

    async def leave() -> None:
        asyncio.get_running_loop().create_task(neural.predict([-1.0]))
        await until(lambda: model.running)

    async def again() -> None:
        assert 1 == neural.abandoned_threads
        assert [1.0] == await neural.predict([1.0])
        model.release.set()
        await until(lambda: not neural.abandoned_threads)

    run(leave())
    run(again())
    run(neural.aclose())


def test_a_loop_that_is_closed_under_a_call(model: Hanging) -> None:
    """Where nobody cancels the tasks of a closed loop, the answer finds nobody, and the thread lives on."""
    neural = service(model, max_concurrent=1)
    loop = asyncio.new_event_loop()
    call = neural.predict([-1.0])
    loop.run_until_complete(asyncio.wait([loop.create_task(call)], timeout=0.05))
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # what is being tested
    loop.close()
    model.release.set()

    async def again() -> None:
        await until(lambda: not model.running)
        await until(lambda: neural._workers._pool.busy == 0)
        assert [1.0] == await neural.predict([1.0])

    run(again())
    run(neural.aclose())


def test_it_works_on_uvloop() -> None:
    """The calls are woken on another loop than asyncio's own, too."""
    uvloop = pytest.importorskip("uvloop", reason="SKIPPED: uvloop is not installed")

    async def main() -> None:
        async with service(list, max_concurrent=50) as neural:
            answers = await asyncio.gather(*[neural.predict([float(n)]) for n in range(50)])
            assert [[float(n)] for n in range(50)] == answers

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_without_asyncio_there_is_no_call() -> None:
    """Under trio, and under no loop at all, a call is refused before the breaker hears of it."""
    trio = pytest.importorskip("trio", reason="SKIPPED: trio is not installed")
    neural = service(list)
    with pytest.raises(RuntimeError, match="no running event loop"):
        trio.run(neural.predict, [1.0])
    assert {} == counted(neural.breaker)


def test_it_works_in_debug_mode(model: Hanging) -> None:
    """The debug mode of asyncio, which looks closely at what a task waits for, finds nothing."""

    async def main() -> None:
        config = CircuitBreakerConfig(timeout=0.05)
        async with service(model, config=config) as neural:
            assert [1.0] == await neural.predict([1.0])
            with pytest.raises(CallTimeoutError):
                await neural.predict([-1.0])

    asyncio.run(main(), debug=True)
