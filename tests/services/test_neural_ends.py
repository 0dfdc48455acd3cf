"""The ends of services and programs: threads, pipes and data go, and none is in the way of an exit or a fork."""

import asyncio
import gc
import os
import subprocess
import sys

import pytest

from helpers import counted, run
from services.neural_parts import Hanging, service, threads, until
from switchgear.services._neural.workers import Workers


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

    async def use(close: bool) -> None:
        neural = service(list)
        await neural.predict([1.0])
        assert threads()
        if close:
            await neural.aclose()
        del neural
        gc.collect()
        await until(lambda: not threads())

    before = open_files()
    for close in [True, False] * 10:
        run(use(close))
    unused = [service(list) for _ in range(100)]
    # Not the same number: what other tests have left goes when it likes.
    assert open_files() < before + 10
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
