"""fork() with calls in flight, and interpreters that end with calls pending."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

FORK = """
import asyncio, logging, os, signal, sys, threading, time, warnings
from switchgear import *
from switchgear.testing import ManualClock

logging.getLogger("switchgear").disabled = True
warnings.simplefilter("ignore", DeprecationWarning)  # of fork() in a threaded program

def use(breaker):
    "Everything that a breaker is for."
    assert breaker.call_sync(int) == 0
    breaker.acquire().success()
    assert breaker(lambda x: x)(7) == 7
    async def main():
        assert await breaker.call(asyncio.sleep, 0, "slept") == "slept"
        try:
            await breaker.call(asyncio.sleep, 20)
        except CallTimeoutError:
            pass
        async with breaker.guard():
            await asyncio.sleep(0)
    asyncio.run(main())
    breaker.force_open()
    assert breaker.try_acquire() is None
    breaker.reset()
    assert breaker.state is State.CLOSED
    breaker.get_metrics(), breaker.get_state()

def in_child(act):
    "Do it in a child, which is killed if it hangs."
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status}"
"""

FORKS = {
    "permits are out": """
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000, timeout=0.005))
        permits = [breaker.acquire() for _ in range(10)]
        def act():
            for permit in permits:
                permit.failure()
            assert breaker.get_metrics().failed_calls == 10
            use(breaker)
        in_child(act)
        assert breaker.get_metrics().total_calls == 0
        for permit in permits:
            permit.success()
        assert breaker.get_metrics().successful_calls == 10
        use(breaker)
    """,
    "probes are out": """
        clock = ManualClock()
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(2, 1, 0.005, 60.0), clock=clock)
        breaker.acquire().failure()
        breaker.acquire().failure()
        clock.advance(60)
        probe = breaker.acquire()
        def act():
            assert breaker.try_acquire() is None
            clock.advance(1)
            assert breaker.try_acquire() is not None
            breaker.reset()
            use(breaker)
        in_child(act)
        probe.success()
        assert breaker.state is State.CLOSED
    """,
    "threads are calling": """
        sys.setswitchinterval(1e-6)
        breakers = [CircuitBreaker(str(n), CircuitBreakerConfig(2, 1, 0.005, 0.001)) for n in range(4)]
        registry = default_registry()
        over = False
        def work(number):
            breaker = breakers[number]
            breaker.on_transition(lambda event: None)
            while not over:
                registry.get_or_create(str(time.monotonic_ns() % 50))
                permit = breaker.try_acquire()
                if permit is not None:
                    permit.failure() if time.monotonic_ns() % 3 else permit.success()
                breaker.get_metrics()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        def act():
            for breaker in breakers:
                breaker.reset()
                use(breaker)
                breaker.on_transition(print)
                breaker.off_transition(print)
            use(registry.get_or_create("another", CircuitBreakerConfig(timeout=0.005)))
        try:
            for _ in range(15):
                in_child(act)
        finally:
            over = True
        for thread in threads:
            thread.join()
    """,
    "a thread imports what its state change needs": """
        class Slow:
            def find_spec(name, path, target=None):
                if name == "switchgear.history":
                    begun.set()
                    time.sleep(0.1)
        sys.meta_path.insert(0, Slow)
        begun = threading.Event()
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=0.005))
        thread = threading.Thread(target=breaker.force_open)
        thread.start()
        assert begun.wait(10)
        def act():
            breaker.reset()
            use(breaker)
        in_child(act)
        thread.join()
        assert breaker.state is State.OPEN
    """,
    "a loop runs": """
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000, timeout=0.005))
        slow = CircuitBreaker("slow", CircuitBreakerConfig(timeout=30.0))
        async def main():
            release = asyncio.Event()
            tasks = [asyncio.ensure_future(slow.call(release.wait)) for _ in range(10)]
            await asyncio.sleep(0)
            in_child(lambda: use(breaker))
            release.set()
            assert await asyncio.gather(*tasks) == [True] * 10
        asyncio.run(main())
        assert slow.get_metrics().successful_calls == 10
        use(breaker)
    """,
    "the child ends as interpreters do": """
        breaker = CircuitBreaker("quotes", CircuitBreakerConfig(timeout=0.005))
        permits = [breaker.acquire() for _ in range(10)]
        child = os.fork()
        if child == 0:
            use(breaker)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        use(breaker)
    """,
}

SHUTDOWN = """
import asyncio, atexit, logging, sys, threading, time, warnings
from switchgear import *
warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, of a loop that was never closed
logging.getLogger("asyncio").disabled = True  # it reports each task that goes away pending, breaker or not
breaker = CircuitBreaker("quotes")
unlimited = CircuitBreaker("unlimited", CircuitBreakerConfig(timeout=None))

class Suspend:
    def __await__(self):
        yield

async def forever():
    await asyncio.get_running_loop().create_future()

def pending_tasks(loop, count=50):
    async def main():
        tasks = [loop.create_task(breaker.call(forever)) for _ in range(count)]
        tasks += [loop.create_task(breaker(forever)()) for _ in range(count)]
        await asyncio.sleep(0)
        return tasks
    return loop.run_until_complete(main())
"""

SHUTDOWNS = {
    "tasks of an open loop": """
        loop = asyncio.new_event_loop()
        tasks = pending_tasks(loop)
    """,
    "tasks of a closed loop": """
        loop = asyncio.new_event_loop()
        tasks = pending_tasks(loop)
        loop.close()
    """,
    "tasks of uvloop": """
        import uvloop
        loop = uvloop.new_event_loop()
        tasks = pending_tasks(loop)
    """,
    "a loop whose run was interrupted": """
        class Enough(BaseException):
            pass
        async def main():
            tasks.extend(asyncio.ensure_future(breaker.call(forever)) for _ in range(50))
            await asyncio.sleep(0)
            raise Enough
        tasks = []
        try:
            asyncio.run(main())
        except Enough:
            pass
    """,
    "calls driven by hand": """
        calls = [unlimited.call(lambda: Suspend()) for _ in range(50)]
        for call in calls:
            call.send(None)
    """,
    "permits": """
        permits = [breaker.acquire() for _ in range(50)]
    """,
    "guards and generators that were entered": """
        @breaker
        def numbers():
            yield from range(10)
        generators = [numbers() for _ in range(50)]
        for generator in generators:
            next(generator)
        guards = [breaker.guard() for _ in range(50)]
        for guard in guards:
            guard.__enter__()
    """,
    "a daemon thread inside a call": """
        inside = threading.Event()
        def work():
            inside.set()
            time.sleep(1000)
        threading.Thread(target=breaker.call_sync, args=(work,), daemon=True).start()
        inside.wait(10)
    """,
    "daemon threads that call all the time": """
        sys.setswitchinterval(1e-6)
        def work():
            while True:
                breaker.call_sync(int)
                breaker.acquire().failure()
                breaker.acquire()
                breaker.reset()
        logging.getLogger("switchgear").disabled = True
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.02)
    """,
    "a daemon thread with a loop": """
        started = threading.Event()
        async def main():
            tasks = [asyncio.ensure_future(breaker.call(forever)) for _ in range(50)]
            await asyncio.sleep(0)
            started.set()
            await asyncio.gather(*tasks)
        threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
        started.wait(10)
    """,
    "exit handlers and finalizers that call": """
        class Last:
            def __del__(self):
                breaker.call_sync(int)
                breaker.acquire()
        last = Last()
        last.itself = last
        sys.last_of_all = Last()
        atexit.register(breaker.call_sync, int)
        atexit.register(lambda: asyncio.run(breaker.call(asyncio.sleep, 0)))
    """,
    "everything in one cycle": """
        class Knot:
            pass
        knot = Knot()
        knot.call = unlimited.call(lambda: Suspend())
        knot.call.send(None)
        knot.permit, knot.guard, knot.breaker = unlimited.acquire(), breaker.guard(), breaker
        knot.itself = knot
        breaker.on_transition(lambda event, knot=knot: None)
        sys.knot = knot
    """,
}


def run(script: str) -> None:
    """Run a script: nothing on standard error, exit code 0."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: this system has no fork()")
@pytest.mark.parametrize("while_", FORKS)
def test_fork(while_: str) -> None:
    """A child that is forked while calls are in flight can use every breaker, and the parent goes on as if alone."""
    run(FORK + textwrap.dedent(FORKS[while_]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: this system has no fork()")
def test_a_fork_before_anything_was_used() -> None:
    """What is imported for the fork's sake has no part in its end that it had not in its beginning."""
    run("import os, switchgear\nif child := os.fork():\n    assert os.waitpid(child, 0)[1] == 0\n")


@pytest.mark.parametrize("pending", SHUTDOWNS)
def test_interpreter_shutdown(pending: str) -> None:
    """An interpreter that ends with calls pending ends quietly and with success."""
    if "uvloop" in pending and importlib.util.find_spec("uvloop") is None:
        pytest.skip("SKIPPED: uvloop is not installed")
    run(SHUTDOWN + textwrap.dedent(SHUTDOWNS[pending]))
