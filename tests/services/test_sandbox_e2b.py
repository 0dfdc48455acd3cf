"""E2B's sandboxes, by its real SDK, against a server that speaks its API."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from e2b_server import KEY, E2BServer
from helpers import counted, run
from switchgear import (
    CallTimeoutError,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    State,
    TransitionEvent,
)
from switchgear.services.sandbox import (
    E2BSandboxCircuitBreaker,
    ExecutionResult,
    SandboxStoppedError,
    UnknownSandboxError,
)

sdk = pytest.importorskip("e2b_code_interpreter", reason="SKIPPED: E2B's SDK is not installed")


@pytest.fixture
def server() -> Iterator[E2BServer]:
    with E2BServer() as running:
        yield running


@asynccontextmanager
async def service(server: E2BServer, **options: Any) -> AsyncIterator[E2BSandboxCircuitBreaker]:
    urls = {"api_url": server.url, "sandbox_url": server.url}
    options = {"backend": "e2b", "api_key": KEY, "registry": CircuitBreakerRegistry(), "e2b_options": urls} | options
    options.setdefault("config", CircuitBreakerConfig(3, 2, 20.0, 120.0))
    async with E2BSandboxCircuitBreaker(**options) as made:
        yield made


async def comes_true(condition: Callable[[], bool]) -> bool:
    """Tell whether something comes about within seconds."""
    for _ in range(200):
        if condition():
            return True
        await asyncio.sleep(0.025)
    return False


def test_code_runs_in_the_sandboxs_kernel(server: E2BServer) -> None:
    """What code defines is there for the next; value, streams and errors come back, and all of it is success."""

    async def main() -> list[ExecutionResult]:
        async with service(server, lifetime=77) as sandboxes:
            identity = await sandboxes.create_sandbox()
            assert ("sandbox1", ("sandbox1",)) == (identity, sandboxes.sandboxes)
            cells = ["price = 20", "price * 2 + 2", "import sys\nprint('out')\nprint('err', file=sys.stderr)", "1 / 0"]
            results = [await sandboxes.execute_code(identity, cell) for cell in cells]
            await sandboxes.stop_sandbox(identity)
            assert {"total_calls": 5, "successful_calls": 5} == counted(sandboxes.breaker)
            return results

    first, second, third, fourth = run(main())
    assert [ExecutionResult(None, "", ""), ExecutionResult("42", "", "")] == [first, second]
    assert ExecutionResult(None, "out\n", "err\n") == third
    assert fourth.error is not None
    assert "ZeroDivisionError: division by zero" == str(fourth.error)
    assert "Traceback" in fourth.error.traceback
    asked = server.asked[0][2]
    # E2B's "base" has no Python kernel: the SDK's own template has.
    assert ("code-interpreter-v1", 77) == (asked["templateID"], asked["timeout"])
    assert ["sandbox1"] == server.killed


def test_a_template_of_ones_own(server: E2BServer) -> None:
    """Any template but "base" is E2B's to know."""

    async def main() -> None:
        async with service(server) as sandboxes:
            await sandboxes.create_sandbox("my-team/python:v2")

    run(main())
    assert "my-team/python:v2" == server.asked[0][2]["templateID"]


# What the server does, in making a sandbox and in running code: the SDK's exception, and the breaker's verdict on it.
VERDICTS = [
    ("create", 503, "ServiceBusyException", "failed"),
    ("create", 429, "RateLimitException", "failed"),
    ("create", 500, "SandboxException", "failed"),
    ("create", 502, "SandboxException", "failed"),
    ("create", 504, "SandboxException", "failed"),
    ("create", "drop", "RemoteProtocolError", "failed"),
    ("create", "truncate", "RemoteProtocolError", "failed"),
    ("create", 401, "AuthenticationException", "ignored"),
    ("create", 403, "SandboxException", "ignored"),
    ("create", (404, "template not found"), "SandboxException", "successful"),
    ("create", 400, "SandboxException", "successful"),
    ("create", 409, "SandboxException", "successful"),
    ("execute", 503, "SandboxException", "failed"),
    ("execute", 429, "SandboxException", "failed"),
    ("execute", 500, "SandboxException", "failed"),
    ("execute", (502, "the sandbox's port is not open"), "TimeoutException", "failed"),
    ("execute", "drop", "RemoteProtocolError", "failed"),
    ("execute", "truncate", "RemoteProtocolError", "failed"),
    ("execute", 401, "SandboxException", "ignored"),
    ("execute", 403, "SandboxException", "ignored"),
    ("execute", 404, "NotFoundException", "ignored"),
    ("execute", (502, "The sandbox was not found"), "TimeoutException", "ignored"),
    ("execute", 400, "SandboxException", "successful"),
]


@pytest.mark.parametrize(
    ("operation", "fault", "exception", "verdict"), VERDICTS, ids=lambda each: str(each).replace(" ", "-")
)
def test_verdicts(server: E2BServer, operation: str, fault: Any, exception: str, verdict: str) -> None:
    """Each answer of the server is judged as the table in the documentation says, and reaches the caller once."""

    async def main() -> dict[str, int]:
        async with service(server) as sandboxes:
            identity = await sandboxes.create_sandbox()
            sandboxes.breaker.reset_metrics()
            before = server.did(operation)
            server.faults[operation].append(fault)
            with pytest.raises(Exception) as caught:
                await (sandboxes.create_sandbox() if operation == "create" else sandboxes.execute_code(identity, "1"))
            assert exception == type(caught.value).__name__
            assert before + 1 == server.did(operation)
            return counted(sandboxes.breaker)

    assert {"total_calls": 1, f"{verdict}_calls": 1} == run(main())


def test_a_refused_connection_is_a_failure(server: E2BServer) -> None:
    """Where nobody listens, the call fails within the deadline."""

    async def main() -> dict[str, int]:
        with E2BServer() as gone:
            pass
        async with service(gone) as sandboxes:
            with pytest.raises(Exception, match="Connection refused"):
                await sandboxes.create_sandbox()
            return counted(sandboxes.breaker)

    assert {"total_calls": 1, "failed_calls": 1} == run(main())


def test_a_sandbox_that_was_killed_is_neutral(server: E2BServer) -> None:
    """A sandbox at the end of its lifetime says nothing of the service, before a call and in the midst of one."""

    async def main() -> None:
        async with service(server) as sandboxes:
            identity = await sandboxes.create_sandbox()
            running = asyncio.ensure_future(sandboxes.execute_code(identity, "while True: pass"))
            assert await comes_true(lambda: server.did("execute") == 1)
            server.end_sandboxes()
            with pytest.raises(sdk.TimeoutException, match="killed"):
                await running
            with pytest.raises(sdk.TimeoutException, match="not found"):
                await sandboxes.execute_code(identity, "1")
            assert {"total_calls": 3, "successful_calls": 1, "ignored_calls": 2} == counted(sandboxes.breaker)
            # It is not there any more, which is what was asked for.
            await sandboxes.stop_sandbox(identity)
            assert () == sandboxes.sandboxes

    run(main())


def test_a_busy_service_trips(server: E2BServer) -> None:
    """Three failures in a row open the breaker; then the server is not asked, but what was made is still killed."""
    server.faults["execute"].extend((503, ...))

    async def main() -> None:
        async with service(server) as sandboxes:
            identity = await sandboxes.create_sandbox()
            for _ in range(3):
                with pytest.raises(sdk.SandboxException):
                    await sandboxes.execute_code(identity, "1")
            with pytest.raises(CircuitOpenError, match="503"):
                await sandboxes.execute_code(identity, "1")
            with pytest.raises(CircuitOpenError):
                await sandboxes.create_sandbox()
            assert (State.OPEN, 3, 1) == (sandboxes.breaker.state, server.did("execute"), server.did("create"))
            await sandboxes.stop_sandbox(identity)
            assert ["sandbox1"] == server.killed

    run(main())


def test_code_that_loops_is_the_codes_fault(server: E2BServer) -> None:
    """At the time limit, a machine that still answers was kept busy by its code: a result, and nobody listens on."""

    async def main() -> None:
        async with service(server, time_limit=0.2) as sandboxes:
            identity = await sandboxes.create_sandbox()
            await sandboxes.execute_code(identity, "x = 1")
            result = await sandboxes.execute_code(identity, "while True: pass")
            assert result.error is not None
            assert "TimeoutError: the time limit of 0.2 s is over" == str(result.error)
            assert await comes_true(lambda: server.hung_up == 1)
            assert "1" == (await sandboxes.execute_code(identity, "x")).text
            assert {"total_calls": 4, "successful_calls": 4} == counted(sandboxes.breaker)

    run(main())


@pytest.mark.parametrize(
    ("health", "exception", "verdict"),
    [
        ("hang", CallTimeoutError, {"failed_calls": 1, "timed_out_calls": 1}),
        (500, sdk.SandboxException, {"failed_calls": 1}),
        (502, SandboxStoppedError, {"ignored_calls": 1}),
    ],
)
def test_a_service_that_hangs_is_a_failure(
    server: E2BServer, health: Any, exception: type[Exception], verdict: dict[str, int]
) -> None:
    """At the time limit, a machine that does not answer either is at fault, or its service, and not the code."""
    server.faults["execute"].append("hang")
    server.faults["health"].append(health)

    async def main() -> dict[str, int]:
        async with service(server, config=CircuitBreakerConfig(3, 2, 1.0, 120.0), time_limit=0.2) as sandboxes:
            identity = await sandboxes.create_sandbox()
            sandboxes.breaker.reset_metrics()
            with pytest.raises(exception):
                await sandboxes.execute_code(identity, "1")
            return counted(sandboxes.breaker)

    assert {"total_calls": 1} | verdict == run(main())


def test_a_cancelled_execution_is_neutral(server: E2BServer) -> None:
    """Who goes away hangs up, so that E2B stops the code."""

    async def main() -> None:
        async with service(server) as sandboxes:
            identity = await sandboxes.create_sandbox()
            task = asyncio.ensure_future(sandboxes.execute_code(identity, "while True: pass"))
            assert await comes_true(lambda: server.did("execute") == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await comes_true(lambda: server.hung_up == 1)
            assert {"total_calls": 2, "successful_calls": 1, "ignored_calls": 1} == counted(sandboxes.breaker)

    run(main())


def test_a_sandbox_that_arrives_too_late_is_killed(server: E2BServer) -> None:
    """A creation that the deadline has ended goes on, and what it makes is killed: the request arrives."""
    server.faults["create"].append(0.6)

    async def main() -> None:
        async with service(server, config=CircuitBreakerConfig(3, 2, 0.3, 120.0)) as sandboxes:
            with pytest.raises(CallTimeoutError):
                await sandboxes.create_sandbox()
            assert [] == server.killed
            assert await comes_true(lambda: server.killed == ["sandbox1"])
            assert () == sandboxes.sandboxes
            assert {"total_calls": 1, "failed_calls": 1, "timed_out_calls": 1} == counted(sandboxes.breaker)

    run(main())
    assert {} == server.kernels


def test_a_sandbox_whose_maker_was_cancelled_is_killed(server: E2BServer) -> None:
    """A creation that is cancelled, whenever, leaves no sandbox: closing waits for what is on its way."""
    server.faults["create"].extend((0.05, ...))

    async def main() -> None:
        async with service(server) as sandboxes:
            for delay in (0.0, 0.001, 0.02, 0.045, 0.05, 0.055, 0.06, 0.2):
                task = asyncio.ensure_future(sandboxes.create_sandbox())
                await asyncio.sleep(delay)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert {"total_calls", "successful_calls", "ignored_calls"} >= set(counted(sandboxes.breaker))

    run(main())
    assert server.did("create") >= 7
    assert {} == server.kernels


def test_a_late_sandbox_that_cannot_be_killed_is_logged(server: E2BServer, caplog: pytest.LogCaptureFixture) -> None:
    """Then E2B kills it at the end of its lifetime, and whoever reads the log knows which it was."""
    server.faults["create"].append(0.3)
    server.faults["kill"].append((500, f"no, {KEY}"))

    async def main() -> None:
        async with service(server) as sandboxes:
            task = asyncio.ensure_future(sandboxes.create_sandbox())
            assert await comes_true(lambda: server.did("create") == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main())
    assert ["e2b sandbox sandbox1 arrived late and is left to its lifetime: 500: no, ***"] == caplog.messages


def test_a_kill_that_fails_can_be_tried_again(server: E2BServer) -> None:
    """The id of a sandbox that could not be stopped is kept."""
    server.faults["kill"].append(500)

    async def main() -> None:
        async with service(server) as sandboxes:
            identity = await sandboxes.create_sandbox()
            with pytest.raises(sdk.SandboxException, match="500"):
                await sandboxes.stop_sandbox(identity)
            assert "1" == (await sandboxes.execute_code(identity, "1")).text
            await sandboxes.stop_sandbox(identity)
            with pytest.raises(UnknownSandboxError):
                await sandboxes.stop_sandbox(identity)

    run(main())
    assert ["sandbox1"] == server.killed


def test_a_kill_that_hangs_is_ended(server: E2BServer) -> None:
    """Stopping has the breaker's deadline."""
    server.faults["kill"].append("hang")

    async def main() -> None:
        async with service(server, config=CircuitBreakerConfig(3, 2, 0.3, 120.0)) as sandboxes:
            identity = await sandboxes.create_sandbox()
            with pytest.raises(CallTimeoutError):
                await sandboxes.stop_sandbox(identity)
            assert (identity,) == sandboxes.sandboxes

    run(main())
    assert ["sandbox1"] == server.killed


def test_closing_kills_every_sandbox(server: E2BServer) -> None:
    """Closing kills what is there, all at once; what cannot be killed is no exception."""
    server.faults["kill"].append(500)

    async def main() -> None:
        async with service(server) as sandboxes:
            await asyncio.gather(*(sandboxes.create_sandbox() for _ in range(5)))
        assert () == sandboxes.sandboxes
        await sandboxes.aclose()

    run(main())
    assert (4, 5) == (len(server.killed), server.did("kill"))


def test_a_hundred_executions_at_once(server: E2BServer) -> None:
    """The calls of one sandbox run one after another and those of several side by side; none is lost or mixed up."""

    async def main() -> None:
        async with service(server) as sandboxes:
            ids = [await sandboxes.create_sandbox() for _ in range(4)]
            for identity in ids:
                await sandboxes.execute_code(identity, f"me, n = {identity!r}, 0")
            calls = [(sandboxes.execute_code(ids[i % 4], "n += 1"), i) for i in range(96)]
            await asyncio.gather(*(call for call, _ in calls))
            last = [(await sandboxes.execute_code(identity, "(me, n)")).text for identity in ids]
            assert [f"({identity!r}, 24)" for identity in ids] == last
            assert {"total_calls": 108, "successful_calls": 108} == counted(sandboxes.breaker)

    run(main())


def test_two_event_loops_one_after_another(server: E2BServer) -> None:
    """A service and its sandboxes outlive an event loop."""
    urls = {"api_url": server.url, "sandbox_url": server.url}
    sandboxes = E2BSandboxCircuitBreaker(api_key=KEY, e2b_options=urls, registry=CircuitBreakerRegistry())

    async def first() -> str:
        identity = await sandboxes.create_sandbox()
        await asyncio.gather(*(sandboxes.execute_code(identity, f"x{i} = {i}") for i in range(3)))
        return identity

    async def second(identity: str) -> list[ExecutionResult]:
        async with sandboxes:
            return await asyncio.gather(*(sandboxes.execute_code(identity, f"x{i}") for i in range(3)))

    assert "e2b" == sandboxes.backend
    assert ["0", "1", "2"] == [result.text for result in run(second(run(first())))]


def test_output_is_bounded(server: E2BServer) -> None:
    """10 MB of output are cut at the limit and marked; past a hundred times the limit nobody reads on."""

    async def main() -> list[ExecutionResult]:
        async with service(server) as sandboxes, service(server, max_output=1_000) as small:
            identity, other = await sandboxes.create_sandbox(), await small.create_sandbox()
            results = [
                await sandboxes.execute_code(identity, "print('x' * 9_999_999)"),
                await small.execute_code(other, "print('x' * 10_000_000)"),
                await small.execute_code(other, "'y' * 10_000_000"),
            ]
            assert {"total_calls": 3, "successful_calls": 3} == counted(small.breaker)
            return results

    large, flood, text = run(main())
    assert (None, True, "x" * 100_000 + "… [truncated]") == (large.error, large.truncated, large.stdout)
    assert flood.error is not None
    assert ("OutputLimitError", 1_013) == (flood.error.name, len(flood.stdout))
    assert (True, "'yyy", 1_013) == (text.truncated, (text.text or "")[:4], len(text.text or ""))


def test_secrets_appear_nowhere(server: E2BServer, caplog: pytest.LogCaptureFixture) -> None:
    """A key that the server repeats, and a password in a URL, are in no error, event, log or repr."""
    caplog.set_level(logging.DEBUG, "switchgear")
    server.faults["create"].extend(((500, f"the key {KEY} is odd"), ...))
    url = server.url.replace("http://", "http://user:pass%2Fword@")
    registry = CircuitBreakerRegistry()
    events: list[TransitionEvent] = []
    registry.on_transition(events.append)
    texts: list[str] = []

    async def main() -> None:
        options = {"api_url": url, "sandbox_url": url}
        async with service(server, config=CircuitBreakerConfig(2), registry=registry, e2b_options=options) as sandboxes:
            for fault in (None, "drop"):
                if fault:
                    server.faults["create"].clear()
                    server.faults["create"].append(fault)
                with pytest.raises(Exception) as caught:
                    await sandboxes.create_sandbox()
                link: BaseException | None = caught.value
                while link is not None:
                    texts.extend((str(link), repr(link)))
                    link = link.__cause__ or link.__context__
            with pytest.raises(CircuitOpenError) as rejected:
                await sandboxes.create_sandbox()
            texts.extend((str(rejected.value), repr(rejected.value), repr(sandboxes), sandboxes.isolation))

    run(main())
    texts += [str(each) for each in (events, caplog.messages)]
    assert "the key *** is odd" in texts[0]
    assert 1 == len(events)
    secrets = (KEY, "pass%2Fword", "pass/word")
    assert [] == [text for text in texts if any(secret in text for secret in secrets)]


def test_a_key_that_no_header_can_hold_is_not_shown() -> None:
    """A bad key is refused at once, without being repeated."""
    for key in ("geheim\n", "gehéim", "ge heim", "geheim\0"):
        with pytest.raises(ValueError, match="characters that no key has") as caught:
            E2BSandboxCircuitBreaker(api_key=key, registry=CircuitBreakerRegistry())
        assert "heim" not in str(caught.value)
    with pytest.raises(TypeError, match="api_key must be a str"):
        E2BSandboxCircuitBreaker(api_key=b"geheim", registry=CircuitBreakerRegistry())  # type: ignore[arg-type]


def test_without_a_key_there_is_no_e2b(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for E2B without a key says where to put one."""
    monkeypatch.delenv("E2B_API_KEY", raising=False)
    with pytest.raises(ValueError, match="E2B_API_KEY"):
        E2BSandboxCircuitBreaker(backend="e2b", registry=CircuitBreakerRegistry())
