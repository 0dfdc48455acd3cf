"""Code in monty's sandboxes: what it can do, what it cannot, and what the breaker makes of it."""

import asyncio
import os
import signal
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers import counted, run
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry, CircuitOpenError, State
from switchgear.services.sandbox import (
    E2BSandboxCircuitBreaker,
    ExecutionResult,
    SandboxLimitError,
    SandboxStoppedError,
    UnknownSandboxError,
)

pydantic_monty = pytest.importorskip("pydantic_monty", reason="SKIPPED: pydantic-monty is not installed")


@asynccontextmanager
async def service(**options: Any) -> AsyncIterator[E2BSandboxCircuitBreaker]:
    options = {"backend": "monty", "time_limit": 0.3, "registry": CircuitBreakerRegistry()} | options
    options.setdefault("config", CircuitBreakerConfig(3, 2, 20.0, 120.0))
    async with E2BSandboxCircuitBreaker(**options) as made:
        yield made


async def once(code: str, **options: Any) -> ExecutionResult:
    """Run code in a sandbox of its own, and check that the breaker calls it a success."""
    async with service(**options) as sandboxes:
        result = await sandboxes.execute_code(await sandboxes.create_sandbox(), code)
        assert {"total_calls": 2, "successful_calls": 2} == counted(sandboxes.breaker)
        return result


def worker(sandboxes: E2BSandboxCircuitBreaker, identity: str) -> int:
    """The process of a sandbox."""
    pid: int = sandboxes._entries[identity].sandbox.session.worker_pid
    return pid


async def ends(pid: int) -> bool:
    """Tell whether a process ends, within seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # The pool fetches the exit status of a worker when it next has something to do.
        if "Z" == state_of(pid):
            return True
        await asyncio.sleep(0.025)
    return False


def state_of(pid: int) -> str | None:
    """The letter for a process's state, where there is /proc and the process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def name_of(result: ExecutionResult) -> str:
    assert result.error is not None
    return result.error.name


def test_code_runs_as_in_a_notebook() -> None:
    """What code defines is there for the next; the last expression's value, and both streams, come back."""

    async def main() -> list[ExecutionResult]:
        async with service() as sandboxes:
            identity = await sandboxes.create_sandbox()
            cells = [
                "price = 20",
                "import sys\nprint('out'); print('err', file=sys.stderr)\nprice * 2 + 2",
                "def twice(x):\n    return [x, x]\ntwice('a')",
                "twice(price)",
            ]
            return [await sandboxes.execute_code(identity, cell) for cell in cells]

    first, second, third, fourth = run(main())
    assert ExecutionResult(None, "", "") == first
    assert ExecutionResult("42", "out\n", "err\n") == second
    assert (third.text, fourth.text) == ("['a', 'a']", "[20, 20]")


def test_code_that_fails_is_a_success_of_the_sandbox() -> None:
    """An exception in the code is a result with its name, text and traceback."""
    result = run(once("def f():\n    return 1 / 0\nf()"))
    assert result.error is not None
    assert ("ZeroDivisionError", "division by zero") == (result.error.name, result.error.value)
    assert "line 2, in f" in result.error.traceback
    assert "ZeroDivisionError: division by zero" == str(result.error)


@pytest.mark.parametrize("code", ["def (", "x = ", "\0", "\0x", "'", "if 1:\nx", "class A(int): pass", "\ufeff\ufeff$"])
def test_code_that_is_none_is_a_result(code: str) -> None:
    """Source that does not parse, or is not supported, is the code's fault."""
    assert name_of(run(once(code))) in ("SyntaxError", "NotImplementedError")


ESCAPES = [
    "import socket",
    "import subprocess",
    "import ctypes",
    "import builtins",
    "import importlib",
    "import threading",
    "import multiprocessing",
    "import urllib.request",
    "import http.client",
    "import shutil",
    "import gc",
    "import inspect",
    "import pydantic_monty",
    "import os; os.system('touch {file}')",
    "import os; os.popen('touch {file}')",
    "import os; os.fork()",
    "import os; os.kill(1, 9)",
    "import os; os.environ['E2B_API_KEY']",
    "import os; os.getenv('HOME')",
    "import os; os.listdir('/')",
    "import os; os.open('{file}', 1)",
    "import sys; sys.modules['os'].system('x')",
    "import sys; sys._getframe()",
    "open('/etc/passwd').read()",
    "open('{file}', 'w').write('x')",
    "open('../../../../../../etc/passwd')",
    "open('/proc/self/environ').read()",
    "from pathlib import Path; Path('{file}').write_text('x')",
    "from pathlib import Path; list(Path('/').iterdir())",
    "__import__('os').system('touch {file}')",
    "eval(\"__import__('os')\")",
    "exec('import subprocess')",
    "compile('1', 'x', 'eval')",
    "().__class__.__bases__[0].__subclasses__()",
    "getattr((), '__cl' + 'ass__')",
    "object.__subclasses__()",
    "'{{0.__class__}}'.format(1)",
    "(lambda: 0).__globals__",
    "(lambda: 0).__code__",
    "print.__self__",
    "globals()['__builtins__']",
    "breakpoint()",
    "input()",
]


def test_code_does_not_get_out(tmp_path: Path) -> None:
    """Files, sockets, processes, the environment and the interpreter's insides are refused, each by an exception."""
    file = tmp_path / "escaped"

    async def main() -> dict[str, ExecutionResult]:
        async with service() as sandboxes:
            identity = await sandboxes.create_sandbox()
            results = {code: await sandboxes.execute_code(identity, code.format(file=file)) for code in ESCAPES}
            # It is sound after all that.
            assert "3" == (await sandboxes.execute_code(identity, "1 + 2")).text
            assert {"total_calls", "successful_calls"} == set(counted(sandboxes.breaker))
            return results

    results = run(main())
    assert [] == [code for code, result in results.items() if result.error is None]
    assert [] == [code for code, result in results.items() if result.text is not None or result.stdout]
    assert not file.exists()


LOOPS = {
    "busy": "while True: pass",
    "that catches everything": "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
    "that sleeps": "import time\ntime.sleep(3600)",
    "that naps": "import time\nwhile True: time.sleep(0.001)",
    "that asks for files": "while True:\n  try: open('x')\n  except Exception: pass",
    "inside the interpreter": "pow(3, 3 * 10**7)",
    "that prints": "while True: print('x' * 100)",
    "over a range": "sum(range(10**15))",
}


@pytest.mark.parametrize("code", LOOPS.values(), ids=LOOPS)
def test_code_that_loops_is_stopped(code: str) -> None:
    """At the time limit the code ends with a TimeoutError; the sandbox begins anew, without its variables."""

    async def main() -> list[ExecutionResult]:
        async with service() as sandboxes:
            identity = await sandboxes.create_sandbox()
            await sandboxes.execute_code(identity, "x = 1")
            pid = worker(sandboxes, identity)
            async with asyncio.timeout(10):
                looped = await sandboxes.execute_code(identity, code)
            assert await ends(pid)
            after = [await sandboxes.execute_code(identity, cell) for cell in ("x", "y = 2\ny")]
            assert {"total_calls": 5, "successful_calls": 5} == counted(sandboxes.breaker)
            return [looped, *after]

    looped, lost, sound = run(main())
    assert ("TimeoutError", "the time limit of 0.3 s is over") == (name_of(looped), looped.error and looped.error.value)
    assert ("NameError", True) == (name_of(lost), lost.restarted)
    assert ("2", False) == (sound.text, sound.restarted)


def test_code_that_loops_is_a_result_under_a_new_configuration_too() -> None:
    """A sandbox that is there already is held to half of the timeout in force; the deadline stays behind that."""

    async def main() -> None:
        async with service(time_limit=None) as sandboxes:
            identity = await sandboxes.create_sandbox()
            sandboxes.reconfigure(CircuitBreakerConfig(timeout=3.0))
            looped = await sandboxes.execute_code(identity, "while True: pass")
            assert "TimeoutError: the time limit of 1.5 s is over" == str(looped.error)
            assert "1" == (await sandboxes.execute_code(identity, "1")).text
            assert {"total_calls": 3, "successful_calls": 3} == counted(sandboxes.breaker)

    run(main())


GREEDY = [
    "'a' * 10**10",
    "10 ** 10**8",
    "[0] * 10**9",
    "list(range(10**9))",
    "bytes(10**10)",
    "'x'.ljust(10**10)",
    "'%1000000000d' % 1",
    "f'{1:1000000000}'",
    "'a'.replace('a', 'b' * 10**9)",
    "a = 'x'\nwhile True: a += a",
    "a = []\nwhile True: a.append('x' * 1000)",
    "a = {}\nwhile True: a[len(a)] = a",
    "a = []\nwhile True: a = [a, a, a, a]",
    "[1] * 10**6",
    "'a' * 40_000_000",
]


def test_code_that_eats_memory_is_stopped() -> None:
    """At the memory limit the code ends with a MemoryError, if it is not out of time first."""

    async def main() -> dict[str, str]:
        async with service(memory_limit=32 * 1024**2) as sandboxes:
            identity = await sandboxes.create_sandbox()
            names = {code: name_of(await sandboxes.execute_code(identity, code)) for code in GREEDY}
            assert "3" == (await sandboxes.execute_code(identity, "1 + 2")).text
            assert {"total_calls", "successful_calls"} == set(counted(sandboxes.breaker))
            return names

    names = run(main())
    assert {} == {code: name for code, name in names.items() if name not in ("MemoryError", "TimeoutError")}
    assert "MemoryError" == names["'a' * 10**10"]


DEEP = {
    "calls": "def f(n): return f(n + 1)\nf(0)",
    "parentheses": "(" * 100_000 + ")" * 100_000,
    "brackets": "[" * 200_000,
    "a sum": "1+" * 200_000 + "1",
    "signs": "-" * 200_000 + "1",
    "lambdas": "lambda: " * 100_000 + "1",
    "attributes": "x" + ".a" * 200_000,
    "negations": "not " * 200_000 + "1",
    "comparisons in eval": "eval('(' * 100_000 + ')' * 100_000)",
    "repr": "a = []\nfor i in range(100_000): a = [a]\nlen(repr(a))\nraise ValueError",
    "comparison": "a, b = [], []\nfor i in range(100_000): a, b = [a], [b]\na == b\nraise ValueError",
}


def test_depth_overflows_nobodys_stack() -> None:
    """Recursion, in calls, in source and in values, is an exception in the sandbox; nothing of ours falls over."""

    async def main() -> dict[str, ExecutionResult]:
        async with service(time_limit=5.0) as sandboxes:
            identity = await sandboxes.create_sandbox()
            results = {name: await sandboxes.execute_code(identity, code) for name, code in DEEP.items()}
            assert {"total_calls", "successful_calls"} == set(counted(sandboxes.breaker))
            return results

    assert [] == [name for name, result in run(main()).items() if result.error is None]


def test_values_are_shown_without_work_and_within_bounds() -> None:
    """Whatever the last expression's value is, it comes back as text, bounded; sharing does not multiply the work."""
    cells = {
        "a = [0] * 1000\nb = [a] * 1000\nc = [b] * 1000\n[c] * 1000": "[[[[0, 0, ",
        "a = []\nfor i in range(50_000): a = [a]\na": "[[[[",
        "a = [1]\na.append(a)\na": "[1, ",
        "'a' * 5_000_000": "'aaa",
        "2 ** 1_000_000": "<int of 1,000,001 bits>",
        "class A:\n  pass\na = A()\na.x = {1: (2,)}\n[a]": "[A(x={1: (2,)})]",
        "print": "<print>",
        "ValueError('x')": "ValueError('x')",
        "None": None,
    }

    async def main() -> dict[str, ExecutionResult]:
        async with service(time_limit=5.0, max_output=1_000) as sandboxes:
            identity = await sandboxes.create_sandbox()
            return {cell: await sandboxes.execute_code(identity, cell) for cell in cells}

    for cell, result in run(main()).items():
        expected = cells[cell]
        assert result.error is None, cell
        assert (result.text or "").startswith(expected or ""), cell
        assert (result.text is None) == (expected is None)
        assert len(result.text or "") < 1_100


def test_output_is_bounded() -> None:
    """10 MB of output, or of an exception's text, are cut at the limit and marked, and the code runs to its end."""

    async def main() -> list[ExecutionResult]:
        async with service(max_output=1_000, time_limit=5.0) as sandboxes:
            identity = await sandboxes.create_sandbox()
            cells = [
                "for i in range(10_000): print('x' * 1_000)\n'end'",
                "print('x' * 10_000_000)",
                "import sys\nprint('y' * 10_000_000, file=sys.stderr)\nprint('short')",
                "raise ValueError('z' * 10_000_000)",
                "print('x' * 999)",
            ]
            return [await sandboxes.execute_code(identity, cell) for cell in cells]

    many, one, err, raised, whole = run(main())
    marked = "x" * 1_000 + "… [truncated]"
    assert (True, "'end'", 1_000 + 13) == (many.truncated, many.text, len(many.stdout))
    assert (True, marked) == (one.truncated, one.stdout)
    assert (True, "short\n", 1_013) == (err.truncated, err.stdout, len(err.stderr))
    assert raised.error is not None
    assert (True, 1_013, 1_013) == (raised.truncated, len(raised.error.value), len(raised.error.traceback))
    assert (False, "x" * 999 + "\n") == (whole.truncated, whole.stdout)


@pytest.mark.parametrize(
    "code", ["while True: pass", "while True: print(1)", "[[] for i in range(50_000)] + list(range(100_000))"]
)
def test_the_event_loop_runs_while_code_does(code: str) -> None:
    """Nothing waits in the event loop's thread, whatever the code does, and however long its value is to show."""

    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        async with service(max_output=1_000_000) as sandboxes:
            identity = await sandboxes.create_sandbox()
            ticking = asyncio.ensure_future(tick())
            await sandboxes.execute_code(identity, code)
            ticking.cancel()
            return ticks

    assert run(main()) >= 10


def test_a_hundred_executions_at_once() -> None:
    """The calls of one sandbox run one after another and those of several side by side; none is lost or mixed up."""

    async def main() -> None:
        async with service(time_limit=5.0) as sandboxes:
            ids = [await sandboxes.create_sandbox() for _ in range(4)]
            for identity in ids:
                await sandboxes.execute_code(identity, f"me, n = {identity!r}, 0")
            results = await asyncio.gather(
                *(sandboxes.execute_code(ids[i % 4], "n += 1\nprint(me)\n(me, n)") for i in range(100))
            )
            seen = sorted((result.text, result.stdout) for result in results)
            assert sorted((f"({me!r}, {n})", f"{me}\n") for me in ids for n in range(1, 26)) == seen
            assert {"total_calls": 108, "successful_calls": 108} == counted(sandboxes.breaker)

    run(main())


def test_a_cancelled_execution_leaves_nothing_running() -> None:
    """Cancellation is neutral, ends the worker, and the sandbox begins anew."""

    async def main() -> None:
        async with service(time_limit=9.0) as sandboxes:
            identity = await sandboxes.create_sandbox()
            pid = worker(sandboxes, identity)
            task = asyncio.ensure_future(sandboxes.execute_code(identity, "while True: pass"))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await ends(pid)
            assert (await sandboxes.execute_code(identity, "1")).restarted
            assert {"total_calls": 3, "successful_calls": 2, "ignored_calls": 1} == counted(sandboxes.breaker)

    run(main())


def test_cancellation_at_every_step_leaks_no_worker() -> None:
    """Whenever a creation or an execution is cancelled, no process stays and no place is lost."""

    async def main() -> None:
        async with service(max_sandboxes=1) as sandboxes:
            for operation in ("create", "execute"):
                for steps in range(12):
                    identity = None if operation == "create" else await sandboxes.create_sandbox()
                    call = sandboxes.execute_code(identity, "1") if identity else sandboxes.create_sandbox()
                    task = asyncio.ensure_future(call)
                    for _ in range(steps):
                        await asyncio.sleep(0.001 * (steps > 6))
                    task.cancel()
                    done = (await asyncio.gather(task, return_exceptions=True))[0]
                    await sandboxes.stop_sandbox(identity or done) if identity or isinstance(done, str) else None
            assert () == sandboxes.sandboxes
            identity = await sandboxes.create_sandbox()
            assert "2" == (await sandboxes.execute_code(identity, "1 + 1")).text
            assert {"total_calls", "successful_calls", "ignored_calls"} >= set(counted(sandboxes.breaker))
            backend: Any = sandboxes._backend
            await asyncio.gather(*backend._ending)
            assert 1 == await workers(1)

    run(main())


async def workers(expected: int) -> int:
    """Count the child processes, until they are as many as expected or seconds have passed."""
    found = -1
    for _ in range(200):
        found = len(children())
        if found == expected:
            break
        await asyncio.sleep(0.025)
    return found


def children() -> list[int]:
    """The pids of monty's workers under this process."""
    if not Path("/proc/self").exists():
        pytest.skip("SKIPPED: processes are counted in /proc")
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdigit() and "monty" in (each / "comm").read_text():
                fields = (each / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == os.getpid() and fields[0] != "Z":
                    found.append(int(each.name))
        except OSError:
            continue
    return found


def test_a_worker_that_dies_is_a_failure() -> None:
    """A sandbox that is killed raises, and trips; its id is good for a new beginning. Stopping is never rejected."""

    async def main() -> None:
        async with service(time_limit=5.0) as sandboxes:
            identity = await sandboxes.create_sandbox()
            for _ in range(2):
                os.kill(worker(sandboxes, identity), signal.SIGKILL)
                with pytest.raises(pydantic_monty.MontyCrashedError):
                    await sandboxes.execute_code(identity, "1")
                assert (await sandboxes.execute_code(identity, "1")).restarted
            assert {"total_calls": 5, "successful_calls": 3, "failed_calls": 2} == counted(sandboxes.breaker)
            more = [await sandboxes.create_sandbox() for _ in range(3)]
            running = [asyncio.ensure_future(sandboxes.execute_code(each, "while True: pass")) for each in more]
            pids = [worker(sandboxes, each) for each in more]
            await asyncio.sleep(0.1)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            died = await asyncio.gather(*running, return_exceptions=True)
            assert [pydantic_monty.MontyCrashedError] * 3 == [type(error) for error in died]
            assert State.OPEN is sandboxes.breaker.state
            with pytest.raises(CircuitOpenError):
                await sandboxes.execute_code(identity, "1")
            with pytest.raises(CircuitOpenError):
                await sandboxes.create_sandbox()
            await sandboxes.stop_sandbox(identity)
            assert tuple(more) == sandboxes.sandboxes

    run(main())


@pytest.mark.skipif(os.name == "nt", reason="SKIPPED: the worker that hangs is a shell script")
def test_a_worker_that_never_answers_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker's deadline ends a creation that hangs, and the process with it."""
    pid_file = tmp_path / "pid"
    binary = tmp_path / "monty"
    hangs = tmp_path / "hangs"
    real = Path(sysconfig.get_path("scripts")) / "monty"
    binary.write_text(f'#!/bin/sh\necho $$ > {pid_file}\n[ -e {hangs} ] && exec sleep 60\nexec {real} "$@"\n')
    hangs.touch()
    binary.chmod(0o700)
    monkeypatch.setenv("MONTY_BIN", str(binary))

    async def main() -> None:
        async with service(config=CircuitBreakerConfig(3, 2, 0.5, 120.0), time_limit=0.2) as sandboxes:
            with pytest.raises(CallTimeoutError):
                await sandboxes.create_sandbox()
            assert await ends(int(pid_file.read_text()))
            # The same where a sandbox begins anew.
            hangs.unlink()
            identity = await sandboxes.create_sandbox()
            await sandboxes.execute_code(identity, "import time\ntime.sleep(60)")
            hangs.touch()
            with pytest.raises(CallTimeoutError):
                await sandboxes.execute_code(identity, "1")
            assert await ends(int(pid_file.read_text()))
            expected = {"total_calls": 4, "successful_calls": 2, "failed_calls": 2, "timed_out_calls": 2}
            assert expected == counted(sandboxes.breaker)

    run(main())


def test_a_worker_that_cannot_be_started_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the worker's binary every creation fails, until the breaker opens."""
    monkeypatch.setenv("MONTY_BIN", str(tmp_path / "missing"))

    async def main() -> None:
        async with service() as sandboxes:
            for _ in range(3):
                with pytest.raises(RuntimeError, match="spawn"):
                    await sandboxes.create_sandbox()
            assert State.OPEN is sandboxes.breaker.state

    run(main())


def test_stopping_ends_what_runs() -> None:
    """Who waits for code in a sandbox that is stopped hears of it, neutrally; so do those who wait for their turn."""

    async def main() -> None:
        async with service(time_limit=9.0) as sandboxes:
            identity = await sandboxes.create_sandbox()
            pid = worker(sandboxes, identity)
            running, waiting = (
                asyncio.ensure_future(sandboxes.execute_code(identity, "while True: pass")) for _ in range(2)
            )
            await asyncio.sleep(0.1)
            await sandboxes.stop_sandbox(identity)
            with pytest.raises(SandboxStoppedError, match=identity):
                await running
            with pytest.raises(UnknownSandboxError, match="stopped"):
                await waiting
            assert await ends(pid)
            assert {"total_calls": 2, "successful_calls": 1, "ignored_calls": 1} == counted(sandboxes.breaker)
            for operation in (sandboxes.stop_sandbox(identity), sandboxes.execute_code(identity, "1")):
                with pytest.raises(UnknownSandboxError, match=identity):
                    await operation

    run(main())


def test_closing_stops_everything() -> None:
    """Closing ends every sandbox and what runs in it; after it, and after it again, nothing is there."""

    async def main() -> None:
        sandboxes = E2BSandboxCircuitBreaker(backend="monty", registry=CircuitBreakerRegistry())
        ids = [await sandboxes.create_sandbox() for _ in range(3)]
        pids = [worker(sandboxes, identity) for identity in ids]
        running = asyncio.ensure_future(sandboxes.execute_code(ids[0], "while True: pass"))
        making = asyncio.ensure_future(sandboxes.create_sandbox())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await sandboxes.aclose()
        await sandboxes.aclose()
        results = await asyncio.gather(running, making, return_exceptions=True)
        assert isinstance(results[0], SandboxStoppedError)
        assert isinstance(results[1], (RuntimeError, UnknownSandboxError))
        assert [True] * 3 == [await ends(pid) for pid in pids]
        assert 0 == await workers(0)
        assert () == sandboxes.sandboxes
        operations = (sandboxes.create_sandbox(), sandboxes.execute_code(ids[0], "1"), sandboxes.stop_sandbox(ids[0]))
        for operation in operations:
            with pytest.raises(RuntimeError, match="closed"):
                await operation

    run(main())


def test_two_event_loops_one_after_another() -> None:
    """A service and its sandboxes outlive an event loop, also where executions waited for their turn in both."""
    sandboxes = E2BSandboxCircuitBreaker(backend="monty", registry=CircuitBreakerRegistry())

    async def first() -> str:
        identity = await sandboxes.create_sandbox()
        await asyncio.gather(*(sandboxes.execute_code(identity, f"x{i} = {i}") for i in range(3)))
        return identity

    async def second(identity: str) -> list[ExecutionResult]:
        async with sandboxes:
            return await asyncio.gather(*(sandboxes.execute_code(identity, f"x{i}") for i in range(3)))

    assert ["0", "1", "2"] == [result.text for result in run(second(run(first())))]


def test_sandboxes_are_apart() -> None:
    """Each sandbox has a process and variables of its own, and a stopped one leaves none to its successor."""

    async def main() -> None:
        async with service() as sandboxes:
            one, other = await sandboxes.create_sandbox(), await sandboxes.create_sandbox()
            await sandboxes.execute_code(one, "secret = 1")
            assert worker(sandboxes, one) != worker(sandboxes, other)
            assert "NameError" == name_of(await sandboxes.execute_code(other, "secret"))
            await sandboxes.stop_sandbox(one)
            third = await sandboxes.create_sandbox()
            assert third not in (one, other)
            assert "NameError" == name_of(await sandboxes.execute_code(third, "secret"))

    run(main())


def test_there_is_a_limit_to_sandboxes() -> None:
    """Over max_sandboxes, those in the making included, a creation is refused without asking the breaker."""

    async def main() -> None:
        async with service(max_sandboxes=2) as sandboxes:
            results = await asyncio.gather(*(sandboxes.create_sandbox() for _ in range(5)), return_exceptions=True)
            assert [SandboxLimitError] * 3 == [type(result) for result in results if not isinstance(result, str)]
            assert {"total_calls": 2, "successful_calls": 2} == counted(sandboxes.breaker)
            await sandboxes.stop_sandbox(sandboxes.sandboxes[0])
            await sandboxes.create_sandbox()

    run(main())


def test_bad_input_is_refused_and_not_counted() -> None:
    """What no sandbox could be sent never reaches the breaker."""

    async def main() -> None:
        async with service() as sandboxes:
            identity = await sandboxes.create_sandbox()
            before = counted(sandboxes.breaker)
            for code, kind, words in (
                (b"1", TypeError, "code must be a str, not bytes"),
                (None, TypeError, "not NoneType"),
                ("x = '\ud800'", ValueError, "index 5"),
                ("x" * 1_000_001, ValueError, "1,000,000 characters"),
            ):
                with pytest.raises(kind, match=words):
                    await sandboxes.execute_code(identity, code)  # type: ignore[arg-type]
            for unknown, error in (("nobody", UnknownSandboxError), ("", UnknownSandboxError), (5, TypeError)):
                with pytest.raises(error):
                    await sandboxes.execute_code(unknown, "1")  # type: ignore[arg-type]
                with pytest.raises(error):
                    await sandboxes.stop_sandbox(unknown)  # type: ignore[arg-type]
            for template, error in (("python", ValueError), ("", ValueError), (None, TypeError)):
                with pytest.raises(error, match="template"):
                    await sandboxes.create_sandbox(template)  # type: ignore[arg-type]
            assert before == counted(sandboxes.breaker)

    run(main())
