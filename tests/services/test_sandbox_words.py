"""What a sandbox service says and decides without any sandbox: verdicts, texts, options, the choice of a backend."""

import importlib.util
import sys
from typing import Any

import pytest

from helpers import counted
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services._sandbox.execution import ExecutionError, Output, SandboxStoppedError, UnknownSandboxError
from switchgear.services._sandbox.shown import showing, shown
from switchgear.services._sandbox.times import Times
from switchgear.services._sandbox.verdicts import judge
from switchgear.services.sandbox import E2BSandboxCircuitBreaker
from switchgear.state import Outcome

e2b = pytest.importorskip("e2b", reason="SKIPPED: E2B's SDK is not installed")
httpx = pytest.importorskip("httpx", reason="SKIPPED: httpx is not installed")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2B_API_KEY", raising=False)


def service(**options: Any) -> E2BSandboxCircuitBreaker:
    return E2BSandboxCircuitBreaker(**{"registry": CircuitBreakerRegistry()} | options)


VERDICTS = [
    (e2b.ServiceBusyException("503: busy"), None),
    (e2b.RateLimitException("429: slow down"), None),
    (e2b.SandboxException("500: oops", status_code=500), None),
    (e2b.SandboxException("500 Internal Server Error: oops"), None),
    (e2b.SandboxException("429 Too Many Requests"), None),
    (e2b.SandboxException("408 Request Timeout"), None),
    (e2b.SandboxException("no status at all"), None),
    (e2b.SandboxException(), None),
    (e2b.TimeoutException("Request timed out"), None),
    (e2b.TimeoutException("404 things went wrong"), None),
    (e2b.exceptions.SandboxUnreachableException("port is not open"), None),
    (httpx.ConnectError("refused"), None),
    (httpx.ReadError("reset"), None),
    (httpx.RemoteProtocolError("truncated"), None),
    (httpx.ReadTimeout("late"), None),
    (ValueError("Expecting value: line 1"), None),
    (KeyError("type"), None),
    (OSError(24, "too many open files"), None),
    (RuntimeError("failed to spawn monty worker"), None),
    (e2b.AuthenticationException("401: Unauthorized"), Outcome.IGNORED),
    (e2b.SandboxException("403: forbidden", status_code=403), Outcome.IGNORED),
    (e2b.SandboxException("401 Unauthorized"), Outcome.IGNORED),
    (e2b.InvalidArgumentException("bad proxy"), Outcome.IGNORED),
    (e2b.TemplateException("old"), Outcome.IGNORED),
    (e2b.NotFoundException("gone"), Outcome.IGNORED),
    (e2b.SandboxNotFoundException("gone"), Outcome.IGNORED),
    (e2b.exceptions.SandboxNotRunningException("gone"), Outcome.IGNORED),
    (e2b.TimeoutException("The sandbox was killed while the request was in progress."), Outcome.IGNORED),
    (e2b.TimeoutException("sandbox abc was not found: This error is likely"), Outcome.IGNORED),
    (httpx.UnsupportedProtocol("ftp"), Outcome.IGNORED),
    (httpx.InvalidURL("no"), Outcome.IGNORED),
    (SandboxStoppedError("stopped"), Outcome.IGNORED),
    (UnknownSandboxError("closed"), Outcome.IGNORED),
    (e2b.SandboxException("404: template not found", status_code=404), Outcome.SUCCESS),
    (e2b.SandboxException("400 Bad Request"), Outcome.SUCCESS),
    (e2b.SandboxException("409: conflict", status_code=409), Outcome.SUCCESS),
]


@pytest.mark.parametrize(("error", "verdict"), VERDICTS, ids=lambda each: str(each)[:40])
def test_verdicts(error: Exception, verdict: Outcome | None) -> None:
    """Authentication, gone sandboxes and our own mistakes are neutral, other 4xx a success, all else a failure."""
    assert verdict == judge(error)


SHOWN = [
    None,
    True,
    1,
    -1.5,
    1j,
    'it\'s "quoted"\n\ud800',
    b"\0x",
    [],
    [1, [2, []]],
    (),
    (1,),
    (1, 2),
    {},
    {"a": 1, (1,): [2]},
    set(),
    {1},
    frozenset(),
    frozenset({1}),
    ValueError(),
    ValueError("x"),
    KeyError("x", [1]),
    int,
    range(3),
    ...,
    float("nan"),
]


@pytest.mark.parametrize("value", SHOWN, ids=repr)
def test_small_values_are_shown_by_their_repr(value: object) -> None:
    """Text is what repr says, where repr is short."""
    assert repr(value) == shown(value, 1_000)


def test_large_values_are_cut() -> None:
    """The work and the text end near the limit, however large, deep or cyclic the value is."""
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    table: dict[Any, Any] = {}
    table[1] = table
    shared: list[Any] = [0]
    for _ in range(60):
        shared = [shared, shared]
    for value in (deep, cyclic, table, shared, ValueError(shared), ["x" * 10**6] * 10**6, 10**10_000, b"x" * 10**6):
        assert len(shown(value, 100)) < 300
    while deep:
        deep = deep.pop()


def test_showing_goes_step_by_step() -> None:
    """Long work is cut into pieces, between which an event loop can do something else."""
    assert 100 <= sum(1 for _ in showing([[]] * 100_000, 1_000_000))


def test_a_foreign_objects_repr_is_not_run() -> None:
    """Whose repr is not known to be harmless is shown by the name of its class."""

    class Bomb:
        def __repr__(self) -> str:
            raise AssertionError

    assert "[<Bomb object>]" == shown([Bomb()], 100)
    assert "<slice object>" == shown(slice([1], None), 100)


def test_output_is_cut_in_the_midst_of_a_piece() -> None:
    """Of each stream the first characters are kept, once marked, and all are counted."""
    out = Output(5)
    for stream, text in (("stdout", "abc"), ("stderr", "12345"), ("stdout", "defg"), ("stdout", "hij"), ("stdout", "")):
        out.write(stream, text)
    result = out.result("12345", ExecutionError("E", "x" * 6, ""))
    assert ("abcde… [truncated]", "12345", "12345") == (result.stdout, result.stderr, result.text)
    assert (ExecutionError("E", "xxxxx… [truncated]", ""), True, 15) == (result.error, result.truncated, out.seen)
    assert not Output(5).result("12345", None).truncated


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"backend": "docker"}, ValueError, "backend must be 'e2b', 'monty' or None, not 'docker'"),
        ({"time_limit": 0}, ValueError, "time_limit must be None or a number of seconds above 0"),
        ({"time_limit": 31}, ValueError, "at most half of the breaker's timeout of 60 s, not 31"),
        ({"time_limit": float("nan")}, ValueError, "time_limit"),
        ({"time_limit": "1"}, ValueError, "time_limit"),
        ({"time_limit": True}, ValueError, "time_limit"),
        ({"time_limit": float("inf"), "config": CircuitBreakerConfig(timeout=None)}, ValueError, "time_limit"),
        ({"memory_limit": 1024}, ValueError, "memory_limit must be an int from 1,048,576 to"),
        ({"memory_limit": 1e9}, ValueError, "memory_limit"),
        ({"max_output": 0}, ValueError, "max_output must be an int from 1 to"),
        ({"max_sandboxes": 0}, ValueError, "max_sandboxes"),
        ({"lifetime": 0}, ValueError, "lifetime must be an int from 1 to 86,400"),
        ({"name": ""}, ValueError, "must not be empty"),
        ({"name": 5}, TypeError, "must be a str"),
        ({"config": 5}, TypeError, "config"),
        ({"backend": "monty", "api_key": "geheim"}, ValueError, "are for the backend 'e2b', and this one is 'monty'"),
        ({"backend": "monty", "e2b_options": {}}, ValueError, "are for the backend 'e2b'"),
        ({"api_key": "k", "e2b_options": 5}, TypeError, "e2b_options must be a mapping"),
        ({"api_key": "k", "e2b_options": {"retries": "geheim"}}, ValueError, "not retries"),
        ({"backend": "e2b"}, ValueError, "needs an API key"),
        ({"api_key": "geheim\n"}, ValueError, "characters that no key has"),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any], error: type[Exception], words: str) -> None:
    """A wrong option is refused at once, named, never shown where it may be a secret, and leaves no breaker behind."""
    registry = CircuitBreakerRegistry()
    with pytest.raises(error, match=words) as caught:
        service(registry=registry, **options)
    assert "geheim" not in str(caught.value)
    assert [] == registry.list_names()


def test_the_limit_goes_with_the_breaker_that_is_there() -> None:
    """Where a service shares its breaker, the timeout of that one counts."""
    registry = CircuitBreakerRegistry()
    first = service(registry=registry, config=CircuitBreakerConfig(timeout=4.0), time_limit=2.0)
    with pytest.raises(ValueError, match="at most half of the breaker's timeout of 4 s, not 3"):
        service(registry=registry, time_limit=3.0)
    assert first.breaker is service(registry=registry, time_limit=1.0).breaker


def test_the_breaker() -> None:
    """The breaker has the service's name, the defaults of its kind, and a place in the registry."""
    registry = CircuitBreakerRegistry()
    sandboxes = E2BSandboxCircuitBreaker(backend="monty", registry=registry)
    config = sandboxes.breaker.config
    defaults = (config.failure_threshold, config.success_threshold, config.timeout, config.reset_timeout)
    assert (3, 2, 60.0, 120.0) == defaults
    assert registry["e2b:sandbox"] is sandboxes.breaker
    assert "e2b:strategies" == E2BSandboxCircuitBreaker("strategies", backend="monty", registry=registry).name
    assert ("CLOSED (failures: 0)", {}) == (sandboxes.get_state(), counted(sandboxes.breaker))


@pytest.mark.parametrize(
    ("asked", "timeouts", "limits"),
    [
        (None, [60.0, 4.0, None, 8.0], [30.0, 2.0, 30.0, 4.0]),
        (3.0, [60.0, 4.0, None, 8.0], [3.0, 2.0, 3.0, 3.0]),
    ],
)
def test_the_time_limit_follows_the_breakers_timeout(
    asked: float | None, timeouts: list[float | None], limits: list[float]
) -> None:
    """It is half of the timeout in force, or what was asked for where that is less, so that loops stay the code's."""
    breaker = CircuitBreaker("x", CircuitBreakerConfig(timeout=60.0))
    times = Times(asked)
    times.follow(breaker)
    for timeout, limit in zip(timeouts, limits, strict=True):
        breaker.reconfigure(CircuitBreakerConfig(timeout=timeout))
        assert (timeout, limit) == (times.deadline, times.time_limit)


def test_e2b_where_there_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice it is E2B where its SDK is installed and there is a key, and monty elsewhere."""
    assert "monty" == service().backend
    assert "e2b" == service(api_key="e2b_0").backend
    monkeypatch.setenv("E2B_API_KEY", "")
    assert "monty" == service().backend
    monkeypatch.setenv("E2B_API_KEY", "e2b_0")
    assert "e2b" == service().backend
    assert "monty" == service(backend="monty").backend
    monkeypatch.setitem(sys.modules, "e2b_code_interpreter", None)
    assert importlib.util.find_spec("e2b_code_interpreter") is None
    assert "monty" == service().backend


def test_without_any_backend_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is named."""
    monkeypatch.setitem(sys.modules, "e2b_code_interpreter", None)
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(ImportError, match=r"switchgear\[sandbox\].*switchgear\[e2b\]"):
        service()
    with pytest.raises(ImportError, match=r"switchgear\[sandbox\]"):
        service(backend="monty")
    with pytest.raises(ImportError, match=r"switchgear\[e2b\]"):
        service(api_key="e2b_0")


def test_isolation_says_what_is_not_confined() -> None:
    """Each backend says in words what its code can reach, with the limits that it is held to."""
    monty = service(backend="monty", time_limit=2, memory_limit=2**26).isolation
    assert all(words in monty for words in ("no files", "no network", "2 s", "67,108,864 bytes", "Not confined"))
    cloud = service(api_key="e2b_0").isolation
    assert all(words in cloud for words in ("virtual machine", "internet", "Not confined"))
