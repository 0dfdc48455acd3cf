"""The threads of a service: bounded, abandoned where they cannot be stopped, and never in the way of an exit."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from helpers import counted, run
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry, State
from switchgear.errors import CircuitBreakerError
from switchgear.services._neural.workers import Workers
from switchgear.services.neural import NeuralCircuitBreaker, WorkersBusyError


class Hanging:
    """A model that answers when it is told to."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, vector: list[float]) -> list[float]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if vector[0] < 0:
                assert self.release.wait(30)
        finally:
            with self.lock:
                self.running -= 1
        return vector


@pytest.fixture
def model() -> Any:
    model = Hanging()
    yield model
    model.release.set()


def service(model: Any, **changes: Any) -> NeuralCircuitBreaker:
    """A service in a registry of its own."""
    return NeuralCircuitBreaker("m", model, registry=CircuitBreakerRegistry(), **changes)


def threads() -> list[str]:
    """The names of the services' threads."""
    return [each.name for each in threading.enumerate() if each.name.startswith("neural:")]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does; half a minute is for ever."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)


def test_callers_over_the_limit_are_turned_away(model: Hanging) -> None:
    """At once, by an error of its own, which is neutral."""

    async def main() -> None:
        async with service(model, max_concurrent=2) as neural:
            running = [asyncio.create_task(neural.predict([-1.0])) for _ in range(2)]
            await until(lambda: model.running == 2)
            with pytest.raises(WorkersBusyError, match="'neural:m' has no place for another call: 2 at a time") as busy:
                await neural.predict([1.0])
            assert isinstance(busy.value, CircuitBreakerError)
            assert ("neural:m", 2, 0) == (busy.value.name, busy.value.limit, busy.value.abandoned)
            assert str(busy.value) == str(pickle.loads(pickle.dumps(busy.value)))
            model.release.set()
            await asyncio.gather(*running)
            assert [1.0] == await neural.predict([1.0])
            assert {"total_calls": 4, "successful_calls": 3, "ignored_calls": 1} == counted(neural.breaker)

    run(main())


def test_an_abandoned_thread_keeps_its_place(model: Hanging) -> None:
    """It shows, it counts against the limit, and its place is there again when its work has ended."""

    async def main() -> None:
        config = CircuitBreakerConfig(timeout=0.05)
        async with service(model, config=config, max_concurrent=2) as neural:
            with pytest.raises(CallTimeoutError):
                await neural.predict([-1.0])
            assert 1 == neural.abandoned_threads
            assert [1.0] == await neural.predict([1.0])
            with pytest.raises(CallTimeoutError):
                await neural.predict([-1.0])
            with pytest.raises(WorkersBusyError, match="2 at a time, 2 held by threads that nobody waits for"):
                await neural.predict([1.0])
            assert 2 == neural.abandoned_threads
            model.release.set()
            await until(lambda: not neural.abandoned_threads)
            assert [2.0] == await neural.predict([2.0])
            assert "CLOSED (failures: 0)" == neural.get_state()
            assert 2 == len(threads())

    run(main())


def test_a_probe_that_finds_no_place_gives_its_own_back(model: Hanging) -> None:
    """HALF_OPEN waits for a verdict: being busy is none."""

    async def main() -> None:
        config = CircuitBreakerConfig(failure_threshold=1, success_threshold=1, timeout=0.05, reset_timeout=0.01)
        async with service(model, config=config, max_concurrent=1) as neural:
            with pytest.raises(CallTimeoutError):
                await neural.predict([-1.0])
            await asyncio.sleep(0.02)
            for _ in range(3):
                with pytest.raises(WorkersBusyError):
                    await neural.predict([1.0])
            assert neural.breaker.state is State.HALF_OPEN
            model.release.set()
            await until(lambda: not neural.abandoned_threads)
            assert [1.0] == await neural.predict([1.0])
            assert neural.breaker.state is State.CLOSED

    run(main())


def test_a_cancelled_caller_is_neutral(model: Hanging) -> None:
    """It is free at once; the thread is abandoned; the model's late answer goes nowhere."""

    async def main() -> None:
        async with service(model) as neural:
            task = asyncio.create_task(neural.predict([-1.0]))
            await until(lambda: model.running)
            task.cancel("enough")
            with pytest.raises(asyncio.CancelledError, match="enough"):
                await task
            assert 1 == neural.abandoned_threads
            model.release.set()
            await until(lambda: not neural.abandoned_threads)
            assert {"total_calls": 1, "ignored_calls": 1} == counted(neural.breaker)

    run(main())


def test_a_timeout_from_outside_is_a_cancellation(model: Hanging) -> None:
    """asyncio.timeout around a prediction frees the caller, and says nothing of the model."""

    async def main() -> None:
        async with service(model) as neural:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await neural.predict([-1.0])
            assert {"total_calls": 1, "ignored_calls": 1} == counted(neural.breaker)

    run(main())


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


def test_a_hundred_tasks_share_the_places(model: Hanging) -> None:
    """No more run than may, each gets the answer to its own question, and the sums are exact."""

    async def main() -> None:
        async with service(model, max_concurrent=3) as neural:

            async def ask(number: int) -> int:
                turned_away = 0
                for _ in range(20):
                    try:
                        assert [float(number)] == await neural.predict([float(number)])
                    except WorkersBusyError:
                        turned_away += 1
                        await asyncio.sleep(0)
                return turned_away

            turned_away = sum(await asyncio.gather(*map(ask, range(100))))
            metrics = neural.get_metrics()
            assert (2000, turned_away) == (metrics.total_calls, metrics.ignored_calls)
            assert 2000 == metrics.successful_calls + metrics.ignored_calls
            assert model.most <= 3
            assert len(threads()) <= 3

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


def test_closing_lets_calls_end(model: Hanging) -> None:
    """A call that runs is answered; a new one is refused and not counted; the threads go. Twice is no error."""

    async def main() -> None:
        neural = service(model)
        running = [asyncio.create_task(neural.predict([-1.0])) for _ in range(3)]
        await until(lambda: model.running == 3)
        await neural.aclose()
        await neural.aclose()
        with pytest.raises(RuntimeError, match="'neural:m' is closed"):
            await neural.predict([1.0])
        assert 3 == len(threads())
        model.release.set()
        assert [[-1.0]] * 3 == await asyncio.gather(*running)
        await until(lambda: not threads())
        assert {"total_calls": 3, "successful_calls": 3} == counted(neural.breaker)

    run(main())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # only how many


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="SKIPPED: no /proc/self/fd here")  # noqa: PTH112
def test_nothing_is_left_of_services_that_were_used() -> None:
    """Closed or forgotten: threads and pipes go; one that was never used has none."""
    before = open_files()

    async def use(close: bool) -> None:
        neural = service(list)
        await neural.predict([1.0])
        assert threads()
        if close:
            await neural.aclose()
        del neural
        gc.collect()
        await until(lambda: not threads())

    for close in (True, False):
        run(use(close))
    unused = [service(list) for _ in range(100)]
    assert before == open_files()
    del unused


def test_the_callers_data_is_let_go(model: Hanging) -> None:
    """A thread that waits for work holds neither the last vector nor the last answer nor the last error."""

    class Answer(list[float]):
        pass

    class Mistake(Exception):
        pass

    def answer(vector: list[float]) -> Answer:
        if vector[0] < 0:
            raise Mistake
        return Answer(vector)

    async def main() -> None:
        workers = Workers("m", 1)
        with pytest.raises(Mistake):
            await workers.submit(lambda: answer([-1.0]))
        assert [1.0] == await workers.submit(lambda: answer([1.0]))
        await asyncio.sleep(0.02)
        left = [type(each).__name__ for each in gc.get_objects() if isinstance(each, (Answer, Mistake))]
        assert [] == left
        workers.close()

    gc.collect()
    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


PROGRAM = """
import asyncio, logging, time
from switchgear import CallTimeoutError, CircuitBreakerConfig
from switchgear.services.neural import NeuralCircuitBreaker

logging.disable()

async def main():
    neural = NeuralCircuitBreaker("m", lambda vector: time.sleep(600), config=CircuitBreakerConfig(timeout=0.05))
    try:
        await neural.predict([1.0])
    except CallTimeoutError:
        print(neural.abandoned_threads)

asyncio.run(main())
"""


def test_an_abandoned_thread_does_not_hold_up_the_exit() -> None:
    """The interpreter ends though a model hangs for ten minutes."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "1\n", "") == (done.returncode, done.stdout, done.stderr)


FORKED = """
import asyncio, os, sys
from switchgear.services.neural import NeuralCircuitBreaker

neural = NeuralCircuitBreaker("m", list, max_concurrent=2)
asyncio.run(neural.predict([1.0]))
child = os.fork()
answers = [asyncio.run(neural.predict([float(n)])) for n in range(3)]
assert answers == [[0.0], [1.0], [2.0]], answers
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: no fork here")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """The service works on both sides of a fork, with neither taking the other's work."""
    # From 3.12 on, a fork beside threads is warned of.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_no_thread_to_be_had_is_a_rejection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread to give, the model was not asked: neutral, and the place is free again."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with service(list, max_concurrent=1) as neural:
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", refuse)
                with pytest.raises(WorkersBusyError):
                    await neural.predict([1.0])
            assert [1.0] == await neural.predict([1.0])
            assert {"total_calls": 2, "successful_calls": 1, "ignored_calls": 1} == counted(neural.breaker)

    run(main())


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
