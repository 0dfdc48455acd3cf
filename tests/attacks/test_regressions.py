"""What an attack once broke stays mended; each test names the rule."""

import asyncio
import functools
import subprocess
import sys
import time
from unittest import mock

import pytest

from helpers import run
from switchgear import BACKEND, CircuitBreaker, CircuitBreakerConfig
from switchgear.testing import ManualClock


def test_call_sync_leaves_the_callers_arguments_alone() -> None:
    """A tuple that is unpacked into call_sync is the same tuple while the operation runs."""
    cb = CircuitBreaker("x")
    seen: list[object] = []

    class Client:
        def get(self) -> str:
            seen.append(partial.args[0])
            return "answer"

    bound = Client().get
    partial = functools.partial(cb.call_sync, bound)
    assert "answer" == partial()
    assert [bound] == seen


def test_a_future_of_another_loop_arms_nothing_there() -> None:
    """Waiting for a future of a loop that is not running fails as it does without a breaker."""
    other = asyncio.new_event_loop()
    future = other.create_future()

    async def wait() -> None:
        await future

    with pytest.raises(RuntimeError, match="different loop"):
        run(CircuitBreaker("x").call(wait))
    other.close()


def test_a_coroutine_that_somebody_runs_survives_an_unstarted_call_of_it() -> None:
    """Closing a call that was never driven closes only a coroutine that nobody has begun."""

    async def main() -> str:
        async def flight() -> str:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return "landed"

        coroutine = flight()
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        call = CircuitBreaker("x").call(coroutine)
        call.close()
        return await task

    assert "landed" == run(main())


def test_call_sync_refuses_a_coroutine_that_somebody_runs_and_leaves_it_running() -> None:
    """What cannot be awaited here is refused, and closed only if nobody has begun it."""

    async def main() -> str:
        async def flight() -> str:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return "landed"

        coroutine = flight()
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        with pytest.raises(TypeError):
            CircuitBreaker("x").call_sync(lambda: coroutine)
        return await task

    assert "landed" == run(main())


def test_a_patched_monotonic_clock_is_followed() -> None:
    """Whoever patches time.monotonic moves the loop's time, and the timeout with it."""
    ahead = time.monotonic() + 1_000_000

    async def main() -> None:
        with mock.patch("time.monotonic", return_value=ahead):
            await CircuitBreaker("x").call(asyncio.sleep, 0)

    run(main())


def test_a_stop_iteration_of_is_failure_is_an_error() -> None:
    """A StopIteration never passes for a returned value (PEP 479)."""
    cb = CircuitBreaker("x", CircuitBreakerConfig(is_failure=lambda _: next(iter(()))))

    async def main() -> None:
        await cb.call(asyncio.sleep, 0)

    with pytest.raises(RuntimeError):
        run(main())


CHAIN = """
import asyncio, switchgear
cb = switchgear.CircuitBreaker("x")
async def operation(): ...
def chain(length):
    call = cb.call(operation)
    for _ in range(length):
        call = cb.call(call)
    return call
async def main():
    await chain(30_000)
"""


def alive_after(program: str) -> None:
    """Run a program of its own: what is broken here takes the whole process along."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{CHAIN}{program}\nprint('alive')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "alive\n") == (done.returncode, done.stdout), done.stderr[-500:]


@pytest.mark.skipif(BACKEND == "pure", reason="SKIPPED: the twin's calls are CPython's own coroutines")
def test_a_long_chain_of_calls_that_nobody_awaits_is_freed() -> None:
    """A call of a call, 100,000 deep, goes away without a stack as deep."""
    alive_after("chain(100_000)")


@pytest.mark.skipif(BACKEND == "pure", reason="SKIPPED: the twin's calls are CPython's own coroutines")
def test_a_long_chain_of_calls_that_is_awaited_is_a_recursion_error() -> None:
    """A call of a call, 30,000 deep, ends in RecursionError and not in the C stack."""
    alive_after("try: asyncio.run(main())\nexcept RecursionError: pass\nelse: raise SystemExit('no error')")


def test_a_call_that_was_awaited_is_no_failure_of_another() -> None:
    """An awaitable that is spent is the caller's mistake, not the service's."""
    cb = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=1))

    async def main() -> None:
        call = cb.call(asyncio.sleep, 0)
        await call
        with pytest.raises(RuntimeError, match="awaited"):
            await cb.call(call)

    run(main())
    assert 0 == cb.get_metrics().failed_calls


def test_a_manual_clock_never_goes_back() -> None:
    """A clock that would pass what a deadline can hold refuses to, and stays where it is."""
    clock = ManualClock(120_000_000)
    with pytest.raises(ValueError, match="120,000,000"):
        clock.advance(1.0)
    with pytest.raises(ValueError, match="120,000,000"):
        clock.advance(10**400)
    assert 120_000_000.0 == clock.now()
    cb = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=1, reset_timeout=315_360_000), clock=clock)
    cb.acquire().failure()
    assert cb.try_acquire() is None


@pytest.mark.skipif(BACKEND == "pure", reason="SKIPPED: the twin runs in sub-interpreters")
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="SKIPPED: _xxsubinterpreters has another name from 3.13 on")
def test_a_sub_interpreter_is_refused() -> None:
    """The native module is not to be had in a sub-interpreter, and the main one goes on."""
    program = """
import _xxsubinterpreters as interpreters, switchgear
sub = interpreters.create()
interpreters.run_string(sub, '''
try:
    import switchgear._native
except ImportError:
    print(True)
''')
interpreters.destroy(sub)
print(switchgear.CircuitBreaker("x").call_sync(lambda: "alive"))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert (0, "True\nalive\n") == (done.returncode, done.stdout), done.stderr
