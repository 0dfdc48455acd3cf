"""Sandboxes of E2B, by its own SDK: a virtual machine in its cloud for each."""

import asyncio
import logging
import os
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, Final

from switchgear._extras import need
from switchgear.services._sandbox.execution import ExecutionError, ExecutionResult, Output, SandboxStoppedError
from switchgear.services._sandbox.options import checked_key, passwords
from switchgear.services._sandbox.times import Times

logger: Final = logging.getLogger("switchgear")

# E2B's own "base" has no interpreter in it; None is the SDK's word for the template that has.
_TEMPLATES: Final[dict[str, str | None]] = {"base": None}
# How long a creation whose caller has gone is awaited, past the deadline: it is killed if it arrives within that time.
_LATE: Final = 300.0
# What is over the limit of output is dropped as it arrives, but the SDK keeps it: so there is an end to that.
_FLOOD: Final = 100
# How many exceptions behind an exception are looked at for secrets.
_CHAIN: Final = 16


class E2BSandbox:
    """One sandbox of E2B."""

    __slots__ = ("id", "remote")

    def __init__(self, remote: Any) -> None:
        self.id: str = remote.sandbox_id
        self.remote = remote


class _FloodedError(Exception):
    """The code writes without end; raised in the SDK's stream, and caught outside of it."""


class E2BBackend:
    """Make sandboxes of E2B, run code in them and kill them.

    Args:
        times: How long a call and an execution may take.
        api_key: E2B's; default ``E2B_API_KEY``.
        options: More arguments for the SDK: ``domain``, ``proxy``, ``api_url``, ``sandbox_url`` ...
        lifetime: Seconds after which E2B itself kills a sandbox.
        max_output: Characters kept of each text of a result.

    Raises:
        ImportError: The SDK is not installed.
        ValueError: There is no API key, or one that no header can hold.
    """

    name: ClassVar[str] = "e2b"
    isolation: ClassVar[str] = (
        "e2b: a virtual machine for each sandbox in E2B's cloud, with a file system and processes of its own. Nothing"
        " of this process or this machine is in reach. Not confined: the code has the internet, unless"
        " e2b_options={'allow_internet_access': False} is given; it may use the whole machine's memory and time, and"
        " what it is sent is E2B's to see. The template bounds memory and processors, and E2B kills the machine at the"
        " end of its lifetime."
    )

    def __init__(
        self,
        times: Times,
        *,
        api_key: str | None,
        options: Mapping[str, Any] | None,
        lifetime: int,
        max_output: int,
    ) -> None:
        sdk: Any = need("e2b_code_interpreter", "e2b", "E2BSandboxCircuitBreaker with backend='e2b'")
        self._sandboxes: Any = sdk.AsyncSandbox
        key = checked_key(api_key or os.environ.get("E2B_API_KEY"))
        self._secrets = (key, *passwords(options or {}))
        self._create_options = {**(options or {}), "api_key": key, "retries": 0}
        self._lifetime = lifetime
        self._times = times
        self._max_output = max_output
        self._late: set[asyncio.Task[None]] = set()

    def check_template(self, template: str) -> None:
        """Take any: E2B knows which there are."""

    async def create(self, template: str) -> E2BSandbox:
        """Make a sandbox. One whose caller has gone, by a deadline or cancellation, is killed when it arrives."""
        making = asyncio.ensure_future(self._make(template))
        try:
            # Not shield: since 3.14 it reports what a creation raises that nobody waits for any more.
            await asyncio.wait((making,))
        except asyncio.CancelledError:
            self._spawn(self._kill_late(making))
            raise
        return making.result()

    async def execute(self, sandbox: E2BSandbox, code: str) -> ExecutionResult:
        """Run code in a sandbox, in its one kernel."""
        out = Output(self._max_output)
        seconds = self._times.time_limit
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                execution = await self._run(sandbox, code, out)
        except _FloodedError:
            text = f"more than {_FLOOD * self._max_output:,} characters of output; nobody reads on"
            return out.result(None, ExecutionError("OutputLimitError", text, ""))
        except TimeoutError:
            if not limit.expired():
                raise
            await self._check_running(sandbox)
            return out.result(None, ExecutionError("TimeoutError", f"the time limit of {seconds:g} s is over", ""))
        except Exception as error:
            self._hide_secrets(error)
            raise
        raised = execution.error
        return out.result(
            execution.text,
            None if raised is None else ExecutionError(str(raised.name), str(raised.value), _text(raised.traceback)),
        )

    async def stop(self, sandbox: E2BSandbox) -> None:
        """Kill a sandbox; one that is gone already is no error."""
        try:
            await sandbox.remote.kill(request_timeout=self._times.deadline)
        except Exception as error:
            self._hide_secrets(error)
            raise

    async def aclose(self) -> None:
        """Wait for what arrives late, as long as the breaker gives a call, and kill it."""
        # Those of a loop that has ended cannot be awaited in this one.
        late = {task for task in self._late if task.get_loop() is asyncio.get_running_loop()}
        if late:
            _, pending = await asyncio.wait(late, timeout=self._times.deadline)
            if pending:
                logger.warning("%d e2b sandboxes that were being made are left to their lifetime", len(pending))

    async def _make(self, template: str) -> E2BSandbox:
        deadline = self._times.deadline
        try:
            remote = await self._sandboxes.create(
                template=_TEMPLATES.get(template, template),
                timeout=self._lifetime,
                # The breaker's deadline rules: no retries, and no time-outs of the SDK's that are shorter.
                request_timeout=_LATE if deadline is None else deadline + _LATE,
                **self._create_options,
            )
        except Exception as error:
            self._hide_secrets(error)
            raise
        return E2BSandbox(remote)

    async def _kill_late(self, making: "asyncio.Task[E2BSandbox]") -> None:
        try:
            sandbox = await making
        except Exception:
            # Nothing was made, and who asked for it has heard of that in another way.
            return
        try:
            await self.stop(sandbox)
        except Exception as error:
            logger.warning("e2b sandbox %s arrived late and is left to its lifetime: %s", sandbox.id, error)

    async def _run(self, sandbox: E2BSandbox, code: str, out: Output) -> Any:
        return await sandbox.remote.run_code(
            code,
            on_stdout=lambda message: self._take(out, "stdout", message.line),
            on_stderr=lambda message: self._take(out, "stderr", message.line),
            # No limit of the SDK's: its own takes twice as long as it is told (read and write are added up).
            timeout=0,
        )

    async def _check_running(self, sandbox: E2BSandbox) -> None:
        """Tell a loop in the code from a service that hangs: there, this raises or is ended by the deadline."""
        try:
            running = await sandbox.remote.is_running(request_timeout=self._times.deadline)
        except Exception as error:
            self._hide_secrets(error)
            raise
        if not running:
            raise SandboxStoppedError(f"sandbox {sandbox.id!r} is not running any more")

    def _take(self, out: Output, stream: str, text: str) -> None:
        out.write(stream, text)
        if out.seen > _FLOOD * self._max_output:
            raise _FloodedError

    def _hide_secrets(self, error: Exception) -> None:
        """Take out of an exception's text what the server, or a URL in it, has repeated; the object stays the same."""
        chain: BaseException | None = error
        for _ in range(_CHAIN):
            if chain is None:
                return
            chain.args = tuple(self._hidden(arg) if isinstance(arg, str) else arg for arg in chain.args)
            chain = chain.__cause__ or chain.__context__

    def _hidden(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._late.add(task)
        task.add_done_callback(self._late.discard)


def _text(traceback: object) -> str:
    return "\n".join(map(str, traceback)) if isinstance(traceback, list) else str(traceback or "")
