"""Places for calls: as many as there may be, kept by abandoned threads, and nobody waits for one."""

import asyncio
import pickle
import threading

import pytest

from helpers import counted, run
from services.neural_parts import Hanging, service, threads, until
from switchgear import CallTimeoutError, CircuitBreakerConfig, State
from switchgear.errors import CircuitBreakerError
from switchgear.services.neural import WorkersBusyError


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
