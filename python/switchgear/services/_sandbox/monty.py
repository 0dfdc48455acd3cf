"""Sandboxes of pydantic-monty: a Python interpreter without a way out, one child process for each sandbox."""

import asyncio
import atexit
import functools
import itertools
import time
from contextlib import suppress
from typing import Any, ClassVar, Final

from switchgear._extras import need
from switchgear.services._sandbox.execution import (
    ExecutionError,
    ExecutionResult,
    Output,
    SandboxStoppedError,
    UnknownSandboxError,
)
from switchgear.services._sandbox.shown import showing
from switchgear.services._sandbox.times import Times

# How long past the time limit, as a share of it: monty kills a worker that does not come back to its interpreter ...
_GRACE: Final = 0.25
# ... and we one that does, but waits more than it works: sleeping is not execution time to monty.
_WALL: Final = 1.5
_REST_SECONDS: Final = 0.05


class MontySandbox:
    """One sandbox: a session with a worker process of its own, while it has one."""

    __slots__ = ("id", "running", "session", "stopped", "time_limit")

    def __init__(self, identity: str, session: Any, time_limit: float) -> None:
        self.id = identity
        self.time_limit = time_limit
        """Of its session, whose interpreter holds the code to it; a session cannot be given another."""
        self.session = session
        """None while code runs, and after its end where that cost the session its worker or its sanity."""
        self.running: asyncio.Task[Any] | None = None
        self.stopped = False


class MontyBackend:
    """Make sandboxes of pydantic-monty, run code in them and stop them.

    Args:
        times: How long one execution may take; it may sleep for half as long again.
        memory_limit: Bytes that one sandbox may hold.
        max_output: Characters kept of each text of a result.
        max_sandboxes: Worker processes at most.

    Raises:
        ImportError: pydantic-monty is not installed.
    """

    name: ClassVar[str] = "monty"

    def __init__(self, times: Times, *, memory_limit: int, max_output: int, max_sandboxes: int) -> None:
        self._monty: Any = need("pydantic_monty", "sandbox", "E2BSandboxCircuitBreaker with backend='monty'")
        self._times = times
        self._memory_limit = memory_limit
        self._max_output = max_output
        # A stopped sandbox's worker may end a moment after the place is given to another.
        self._max_processes = 2 * max_sandboxes
        self._pool: Any = None
        self._ids = itertools.count(1)
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def isolation(self) -> str:
        """What is confined, and what is not."""
        return (
            "monty: an interpreter of a subset of Python, written in Rust, in a child process for each sandbox."
            " The code has no files, no network, no processes, no environment variables, no C extensions and no"
            f" third-party packages; it has a clock and random numbers. It is held to {self._times.time_limit:g} s an"
            f" execution and {self._memory_limit:,} bytes of memory. A crash of the interpreter ends the child,"
            " not this process. Not confined by the operating system: the child has this user's rights, so that a hole"
            " in the interpreter itself would have them, too."
        )

    def check_template(self, template: str) -> None:
        """Refuse a template: monty has one kind of sandbox.

        Raises:
            ValueError: It is not ``"base"``.
        """
        if template != "base":
            raise ValueError(f"the monty backend has no templates but 'base', not {template!r}")

    async def create(self, template: str) -> MontySandbox:
        """Make a sandbox. A creation that is cancelled leaves no process."""
        if self._pool is None:
            _part_in_peace()
            pool = self._monty.AsyncMonty(
                min_processes=0,
                max_processes=self._max_processes,
                max_checkouts_per_worker=1,
                feed_duration_limit_grace=_GRACE * self._times.time_limit,
            )
            await pool.__aenter__()
            if self._pool is None:
                self._pool = pool
            else:
                # Two first creations at once; it has no worker yet.
                await pool.__aexit__(None, None, None)
        limit = self._times.time_limit
        return MontySandbox(f"monty-{next(self._ids)}", await self._session(limit), limit)

    async def execute(self, sandbox: MontySandbox, code: str) -> ExecutionResult:
        """Run code in a sandbox, in a new session where an earlier execution has cost it the one that it had."""
        sandbox.running = running = asyncio.ensure_future(self._run(sandbox, code))
        try:
            return await running
        except asyncio.CancelledError:
            if sandbox.stopped and not _cancelled_from_outside():
                raise SandboxStoppedError(f"sandbox {sandbox.id!r} was stopped while code ran in it") from None
            raise
        finally:
            sandbox.running = None

    async def stop(self, sandbox: MontySandbox) -> None:
        """End a sandbox at once, also while code runs in it."""
        sandbox.stopped = True
        if sandbox.running is not None:
            sandbox.running.cancel()
        session, sandbox.session = sandbox.session, None
        if session is not None:
            await session.__aexit__(None, None, None)

    async def aclose(self) -> None:
        """End the pool; its sandboxes have been stopped before."""
        # Those of a loop that has ended cannot be awaited in this one.
        while ending := {task for task in self._ending if task.get_loop() is asyncio.get_running_loop()}:
            await asyncio.wait(ending)
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.__aexit__(None, None, None)

    async def _session(self, time_limit: float) -> Any:
        pool = self._pool
        if pool is None:
            raise UnknownSandboxError("the service was closed")
        limits = {
            "max_feed_duration_secs": time_limit,
            "max_memory": self._memory_limit,
            # Every denied open() is a suspension, and the number is never reset: the wall clock bounds them.
            "max_suspensions": 2**31 - 1,
        }
        session = pool.checkout(limits=limits, os_policy={"sleep_system_max": float("inf")})
        try:
            await session.__aenter__()
        except BaseException:
            self._discard(session)
            raise
        return session

    async def _run(self, sandbox: MontySandbox, code: str) -> ExecutionResult:
        # Whatever ends this before its end leaves the sandbox without a session, and the session without a process.
        session, sandbox.session = sandbox.session, None
        restarted = session is None
        if restarted:
            sandbox.time_limit = self._times.time_limit
            session = await self._session(sandbox.time_limit)
        limit = min(sandbox.time_limit, self._times.time_limit)
        try:
            result, sound = await self._feed(session, code, limit, restarted=restarted)
        except BaseException:
            self._discard(session)
            raise
        if sound and not sandbox.stopped:
            sandbox.session = session
        else:
            self._discard(session)
        return result

    async def _feed(self, session: Any, code: str, limit: float, *, restarted: bool) -> tuple[ExecutionResult, bool]:
        """Return the result, and whether the session may be used again."""
        out = Output(self._max_output)
        value: object = None
        error: ExecutionError | None = None
        overrun = full = False
        try:
            async with asyncio.timeout(_WALL * limit):
                value = await session.feed_run(code, print_callback=out.write)
        except TimeoutError:
            overrun = True
        except self._monty.MontyCrashedError as crash:
            # Killed by monty's watchdog: the code was in an operation that the interpreter cannot leave, like 3**10**8.
            overrun = crash.timed_out
            if not overrun:
                raise
        except self._monty.MontyError as raised:
            error = _described(raised)
            # Where the interpreter stopped in the midst of something, monty answers for its heap no more.
            overrun = error.name == "TimeoutError" and error.value.startswith("feed time limit exceeded")
            full = error.name == "MemoryError"
        if overrun:
            error = ExecutionError("TimeoutError", f"the time limit of {limit:g} s is over", "")
        sound = not overrun and session.worker_pid is not None and not (full and await self._is_full(session))
        text = None if value is None else await _shown(value, self._max_output)
        return out.result(text, error, restarted=restarted), sound

    async def _is_full(self, session: Any) -> bool:
        """Tell whether what the code has left behind leaves no room for any other."""
        try:
            await session.feed_run(f"bytes({self._memory_limit // 16})[:0]")
        except self._monty.MontyError:
            return True
        return False

    def _discard(self, session: Any) -> None:
        task = asyncio.ensure_future(_end(session))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _shown(value: object, limit: int) -> str:
    work = showing(value, limit)
    while True:
        try:
            next(work)
        except StopIteration as end:
            text: str = end.value
            return text
        await asyncio.sleep(0)


@functools.cache
def _part_in_peace() -> None:
    """Let monty's own threads come to rest before the interpreter ends.

    They let go of Python objects a moment after they have answered. An interpreter that ends in that moment is aborted:
    measured with the bare library (1.4, CPython 3.11, a busy machine), 91 of 1,008 programs that ended right after
    their last answer, and with this pause none of 840. Nothing tells when the threads have done.
    """
    atexit.register(time.sleep, _REST_SECONDS)


async def _end(session: Any) -> None:
    # Of a session whose worker is gone there is nothing to end.
    with suppress(Exception):
        await session.__aexit__(None, None, None)


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _described(error: Any) -> ExecutionError:
    name, _, value = error.display(format="type-msg").partition(": ")
    return ExecutionError(name, value, error.display())
