"""Code that nobody vouches for, run behind a breaker: in E2B's cloud, or in an interpreter without a way out."""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from switchgear.config import CircuitBreakerConfig
from switchgear.errors import CallTimeoutError
from switchgear.services._sandbox.execution import (
    ExecutionError,
    ExecutionResult,
    SandboxLimitError,
    SandboxStoppedError,
    UnknownSandboxError,
)
from switchgear.services._sandbox.options import check_code, chosen, count, e2b_arguments
from switchgear.services._sandbox.times import Times
from switchgear.services._sandbox.verdicts import judge
from switchgear.services._service import Service

if TYPE_CHECKING:
    from switchgear.registry import CircuitBreakerRegistry

__all__ = [
    "E2BSandboxCircuitBreaker",
    "ExecutionError",
    "ExecutionResult",
    "SandboxLimitError",
    "SandboxStoppedError",
    "UnknownSandboxError",
]

logger: Final = logging.getLogger("switchgear")

_DEFAULTS: Final = CircuitBreakerConfig(failure_threshold=3, success_threshold=2, timeout=60.0, reset_timeout=120.0)


class Backend(Protocol):
    """What makes sandboxes, runs code in them and stops them; knows nothing of the breaker."""

    @property
    def name(self) -> str: ...
    @property
    def isolation(self) -> str: ...
    def check_template(self, template: str) -> None: ...
    async def create(self, template: str) -> Any: ...
    async def execute(self, sandbox: Any, code: str) -> ExecutionResult: ...
    async def stop(self, sandbox: Any) -> None: ...
    async def aclose(self) -> None: ...


class _Entry:
    """A sandbox in the books: whose turn it is there, and whether it was stopped."""

    __slots__ = ("_lock", "_loop", "sandbox", "stopped")

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def turn(self) -> asyncio.Lock:
        # A lock belongs to the loop in which somebody first waited for it; a sandbox may see one loop after another.
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lock = loop, asyncio.Lock()
        return self._lock


class E2BSandboxCircuitBreaker(Service):
    """Run code in sandboxes, behind the breaker ``e2b:<name>``.

    Code that raises, loops or eats memory is answered with an ``ExecutionResult`` that says so: the sandbox did its
    work, and the call is a success. What trips the breaker is a service that does not answer, or not well.

    Use it from one event loop at a time. The calls of one sandbox run one after another, those of several side by
    side. A call that is cancelled, or that the breaker's deadline ends, leaves nothing running: a monty sandbox
    begins anew with its next execution, a sandbox of E2B that is made too late is killed when it arrives.

    Args:
        name: What the service is called; default ``"sandbox"``, which makes the breaker ``e2b:sandbox``.
        backend: ``"e2b"`` (extra ``e2b``), ``"monty"`` (extra ``sandbox``), or None, the default: E2B where its SDK is
            installed and there is a key, else monty.
        config: The breaker's configuration; default 3 failures, 2 successes, 60 s a call, 120 s OPEN.
        registry: Where the breaker is registered; default the process's registry.
        time_limit: Seconds that one execution may take before it ends with a ``TimeoutError`` in its result, above 0
            and at most half of the breaker's timeout, which is the default (30.0 where the breaker has no timeout).
            Where the breaker is reconfigured to less than twice as much, half of its timeout counts.
        memory_limit: Bytes that one monty sandbox may hold, 1 MiB to 16 GiB, default 64 MiB; one of E2B has what its
            template says.
        max_output: Characters kept of each text of a result, 1 to 100,000,000, default 100,000; one that is cut ends
            in the 13 of ``… [truncated]`` beside them.
        max_sandboxes: Sandboxes at a time, 1 to 10,000, default 32.
        api_key: E2B's; default the environment variable ``E2B_API_KEY``.
        lifetime: Seconds after which E2B itself kills a sandbox, 1 to 86,400, default 300.
        e2b_options: More for the SDK: ``domain``, ``api_url``, ``sandbox_url``, ``proxy``, ``http_version``,
            ``metadata``, ``envs``, ``allow_internet_access``, ``network``.

    Raises:
        ImportError: The backend is not installed, or none is; the text says what to install.
        ValueError: A value is out of range, there is no API key for E2B, or the name is empty, or that of a breaker
            which no service has made.
        TypeError: A value has the wrong type.
    """

    def __init__(
        self,
        name: str = "sandbox",
        *,
        backend: str | None = None,
        config: CircuitBreakerConfig | None = None,
        registry: "CircuitBreakerRegistry | None" = None,
        time_limit: float | None = None,
        memory_limit: int = 64 * 1024**2,
        max_output: int = 100_000,
        max_sandboxes: int = 32,
        api_key: str | None = None,
        lifetime: int = 300,
        e2b_options: Mapping[str, Any] | None = None,
    ) -> None:
        kind = chosen(backend, api_key)
        count("memory_limit", memory_limit, 1024**2, 16 * 1024**3)
        count("max_output", max_output, 1, 100_000_000)
        count("lifetime", lifetime, 1, 86_400)
        self._max_sandboxes = count("max_sandboxes", max_sandboxes, 1, 10_000)
        options = e2b_arguments(kind, api_key, e2b_options)
        times = Times(time_limit)
        self._backend: Backend
        # Imported late: each needs a library of an extra of its own. Before the breaker is registered, and the limit
        # checked by the registration: what cannot be made leaves no breaker behind.
        if kind == "e2b":
            from switchgear.services._sandbox.e2b import E2BBackend

            self._backend = E2BBackend(
                times, api_key=api_key, options=options, lifetime=lifetime, max_output=max_output
            )
        else:
            from switchgear.services._sandbox.monty import MontyBackend

            self._backend = MontyBackend(
                times, memory_limit=memory_limit, max_output=max_output, max_sandboxes=max_sandboxes
            )
        super().__init__(
            "e2b", name, defaults=_DEFAULTS, classify=judge, config=config, registry=registry, check=times.check
        )
        times.follow(self.breaker)
        self._entries: dict[str, _Entry] = {}
        self._in_the_making = 0
        self._closed = False

    @property
    def backend(self) -> str:
        """Which backend runs the code: ``"e2b"`` or ``"monty"``."""
        return self._backend.name

    @property
    def isolation(self) -> str:
        """In words, what the code is confined to, and what it is not."""
        return self._backend.isolation

    @property
    def sandboxes(self) -> tuple[str, ...]:
        """The ids of the sandboxes that are there."""
        return tuple(self._entries)

    async def create_sandbox(self, template: str = "base") -> str:
        """Make a sandbox and return its id.

        Args:
            template: What E2B makes it of; default ``"base"``, the SDK's own template with a Python kernel. monty has
                no other.

        Raises:
            CircuitOpenError: The breaker rejects the call.
            CallTimeoutError: It took longer than the breaker's timeout.
            SandboxLimitError: There are ``max_sandboxes`` of them already; the breaker was not asked.
            TypeError, ValueError: The template is no str, or none that there is.
            RuntimeError: The service was closed.
        """
        self._check_open()
        if not isinstance(template, str):
            raise TypeError(f"template must be a str, not {type(template).__name__}")
        if not template:
            raise ValueError("template must not be empty")
        self._backend.check_template(template)
        if len(self._entries) + self._in_the_making >= self._max_sandboxes:
            raise SandboxLimitError(f"{self.name!r} has all of its {self._max_sandboxes} sandboxes out; stop one first")
        self._in_the_making += 1
        try:
            sandbox = await self.breaker.call(self._backend.create, template)
        finally:
            self._in_the_making -= 1
        identity: str = sandbox.id
        self._entries[identity] = entry = _Entry(sandbox)
        if self._closed:
            await self._stop(identity, entry)
            self._check_open()
        return identity

    async def execute_code(self, sandbox_id: str, code: str) -> ExecutionResult:
        """Run code in a sandbox; what it defines is there for the next code, as in a notebook.

        Code that fails is a result, whose ``error`` says how. The deadline begins with the code's turn.

        Args:
            sandbox_id: What ``create_sandbox`` returned.
            code: Python source, at most 1,000,000 characters.

        Raises:
            CircuitOpenError: The breaker rejects the call.
            CallTimeoutError: It took longer than the breaker's timeout.
            UnknownSandboxError: There is no such sandbox; a ``ValueError``.
            SandboxStoppedError: The sandbox was stopped while the code ran in it (monty).
            TypeError, ValueError: The id or the code is no str; the code is too long or no text that can be encoded.
            RuntimeError: The service was closed.
            Exception: What the SDK raises, untouched; of monty, ``MontyCrashedError`` where the interpreter died.
        """
        entry = self._entry(sandbox_id)
        check_code(code)
        async with entry.turn():
            if entry.stopped:
                raise UnknownSandboxError(f"sandbox {sandbox_id!r} was stopped")
            return await self.breaker.call(self._backend.execute, entry.sandbox, code)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox at once, also while code runs in it.

        Not held back by an open breaker, and not counted: what was made has to go. Where it fails, the id is kept, so
        that it can be tried again.

        Args:
            sandbox_id: What ``create_sandbox`` returned.

        Raises:
            CallTimeoutError: It took longer than the breaker's timeout.
            UnknownSandboxError: There is no such sandbox; a ``ValueError``.
            TypeError: The id is no str.
            RuntimeError: The service was closed.
            Exception: What the SDK raises.
        """
        await self._stop(sandbox_id, self._entry(sandbox_id))

    async def aclose(self) -> None:
        """Stop every sandbox, also those that arrive late, as long as the breaker's timeout. Closing twice is no error.

        What cannot be stopped is logged; E2B kills it at the end of its lifetime.
        """
        self._closed = True
        entries = self._entries.copy()
        outcomes = await asyncio.gather(
            *(self._stop(identity, entry) for identity, entry in entries.items()), return_exceptions=True
        )
        for identity, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self._entries.pop(identity, None)
                logger.warning("sandbox %s of %r could not be stopped: %s", identity, self.name, outcome)
        await self._backend.aclose()

    async def _stop(self, identity: str, entry: _Entry) -> None:
        timeout = self.breaker.config.timeout
        deadline = asyncio.timeout(timeout)
        self._entries.pop(identity, None)
        entry.stopped = True
        try:
            async with deadline:
                await self._backend.stop(entry.sandbox)
        except BaseException as error:
            entry.stopped = False
            self._entries[identity] = entry
            if isinstance(error, TimeoutError) and deadline.expired() and timeout is not None:
                raise CallTimeoutError(self.name, timeout) from error
            raise

    def _entry(self, sandbox_id: str) -> _Entry:
        self._check_open()
        if not isinstance(sandbox_id, str):
            raise TypeError(f"sandbox_id must be a str, not {type(sandbox_id).__name__}")
        entry = self._entries.get(sandbox_id)
        if entry is None:
            raise UnknownSandboxError(f"no sandbox {sandbox_id[:100]!r} here: it was stopped, or never made")
        return entry

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self.name!r} was closed")
