"""What the transport refuses at once, and its pure words: no server is asked."""

import ssl
import subprocess
import sys
from typing import Any

import httpx
import httpx2
import pytest

from helpers import counted
from switchgear import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    State,
)
from switchgear.integrations._httpx.verdicts import BadStatusError, classify
from switchgear.integrations._rejection import problem, wait_seconds
from switchgear.integrations.httpx import BreakerTransport, host
from switchgear.registry import default_registry
from switchgear.state import Outcome

LIBRARIES = [pytest.param(httpx, id="httpx"), pytest.param(httpx2, id="httpx2")]


def registry() -> CircuitBreakerRegistry:
    return CircuitBreakerRegistry()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((None,), {}, TypeError, "next must be a transport"),
        ((httpx2.HTTPTransport,), {}, TypeError, "next must be a transport"),
        ((httpx2.Client,), {}, TypeError, "next must be a transport"),
        ((..., {}), {}, TypeError, "registry must be"),
        ((..., None, "host"), {}, TypeError, "key must be a callable"),
        ((...,), {"on_open": "wait"}, ValueError, "on_open must be 'raise' or 'respond'"),
        ((...,), {"config": {}}, TypeError, "config must be"),
        ((...,), {"name": ""}, ValueError, "name must not be empty"),
        ((...,), {"max_hosts": 0}, ValueError, "max_keys must be"),
    ],
)
def test_bad_arguments(arguments: Any, options: Any, error: type[Exception], text: str) -> None:
    """What is no transport, registry, key, word, config or bound is refused by the constructor."""
    inner = httpx2.MockTransport(lambda request: httpx2.Response(200))
    filled = [inner if each is ... else each for each in arguments]
    options.setdefault("name", "words")
    with pytest.raises(error, match=text):
        BreakerTransport(*filled, **options)


def test_one_family_for_all_transports_of_a_registry(caplog: pytest.LogCaptureFixture) -> None:
    """A host has one breaker, however many clients talk to it; whoever says nothing warns of nothing."""
    shared = registry()
    inner = httpx2.MockTransport(lambda request: httpx2.Response(200))
    first = BreakerTransport(inner, shared, config=CircuitBreakerConfig(3))
    assert first.family is BreakerTransport(inner, shared).family
    assert first.family is BreakerTransport(inner, shared, config=CircuitBreakerConfig(3)).family
    assert [] == caplog.messages
    BreakerTransport(inner, shared, config=CircuitBreakerConfig(4))
    assert 1 == len(caplog.messages)


@pytest.mark.parametrize("config", [None, CircuitBreakerConfig(3)])
def test_a_family_that_no_transport_has_made_is_refused(
    config: CircuitBreakerConfig | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport never runs without its verdict: the error says what to do, and nothing is warned of beside it."""
    shared = registry()
    family = shared.family("http", CircuitBreakerConfig(3))
    inner = httpx2.MockTransport(lambda request: httpx2.Response(200))
    with pytest.raises(ValueError, match=r"'http' is registered already .* let the transport make it, config= says"):
        BreakerTransport(inner, shared, config=config)
    assert {"http": family} == shared.families
    assert [] == caplog.messages


@pytest.mark.parametrize("config", [CircuitBreakerConfig(1), CircuitBreakerConfig(1, classify=lambda error: None)])
def test_the_verdict_outlives_a_hosts_configuration(config: CircuitBreakerConfig) -> None:
    """Whoever reconfigures the breaker of a host, the transport's words on exceptions stay behind his own."""
    shared = registry()

    def full(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.PoolTimeout("no connection is free")

    transport = BreakerTransport(httpx2.MockTransport(full), shared, config=CircuitBreakerConfig(9, ignore=KeyError))
    shared.families["http"]["a.test"].reconfigure(config)
    with httpx2.Client(transport=transport) as client, pytest.raises(httpx2.PoolTimeout):
        client.get("http://a.test/")
    assert {"total_calls": 1, "ignored_calls": 1} == counted(transport.family["a.test"])


def test_the_default_registry() -> None:
    """Where no registry is given it is the process's."""
    inner = httpx2.MockTransport(lambda request: httpx2.Response(200))
    transport = BreakerTransport(inner, name="words-default")
    assert transport.family is default_registry().families["words-default"]


def test_a_repr_without_secrets() -> None:
    """The repr names the family and the class of the transport, no more."""
    transport = BreakerTransport(httpx2.MockTransport(lambda request: httpx2.Response(200)), registry())
    assert "<BreakerTransport <Family 'http': 0 of 1000 keys>, next MockTransport>" == repr(transport)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://API.Example.com:8080/x", "api.example.com"),
        ("https://user:pass@host.example/", "host.example"),
        ("http://[::1]/", "::1"),
        ("file:///etc/motd", "file"),
        ("/relative", "(no host)"),
    ],
)
def test_the_key_is_the_host(library: Any, url: str, key: str) -> None:
    """Neither port nor user nor password is in the name of a breaker."""
    assert key == host(library.Request("GET", url))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "name",
    ["ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "WriteError", "WriteTimeout", "CloseError",
     "RemoteProtocolError", "ProxyError"],
)  # fmt: skip
def test_failures(library: Any, name: str) -> None:
    """None leaves the word to the configuration, and without one to that: a failure."""
    assert None is classify(getattr(library, name)("x"))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", ["PoolTimeout", "LocalProtocolError", "UnsupportedProtocol", "InvalidURL"])
def test_neutral_words_of_httpx(library: Any, name: str) -> None:
    """Our own pool and our own malformed requests say nothing of the host."""
    assert Outcome.IGNORED is classify(getattr(library, name)("x"))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionResetError(), None),
        (TimeoutError(), None),
        (OSError(24, "too many open files"), None),
        (ssl.SSLCertVerificationError("expired"), None),
        (CallTimeoutError("inner", 1.0), None),
        (Exception("never heard of"), None),
        (CircuitOpenError("inner", State.OPEN, 1.0), Outcome.IGNORED),
        (BulkheadFullError("inner", 1), Outcome.IGNORED),
        (FileNotFoundError("upload.bin"), Outcome.IGNORED),
        (httpx2.StreamConsumed(), Outcome.IGNORED),
        (httpx2.TooManyRedirects("x"), Outcome.IGNORED),
        (RuntimeError("Cannot send a request, as the client has been closed."), Outcome.IGNORED),
        (UnicodeEncodeError("ascii", "x", 0, 1, "y"), Outcome.IGNORED),
        (KeyError("x"), Outcome.IGNORED),
    ],
)
def test_other_exceptions(error: Exception, verdict: Outcome | None) -> None:
    """What the network raises is a failure, what the program did wrong is neutral."""
    assert verdict is classify(error)


def test_what_a_status_says() -> None:
    """The text is ours, not the server's."""
    assert ("503 Service Unavailable", "599") == (str(BadStatusError(503)), str(BadStatusError(599)))


@pytest.mark.parametrize(
    ("wait", "seconds"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.001, 2), (59.5, 60), (float("inf"), 60)]
)
def test_whole_seconds_to_wait(wait: float, seconds: int) -> None:
    """Rounded up, so that who comes back then is not rejected again; never 0."""
    assert seconds == wait_seconds(CircuitOpenError("x", State.OPEN, wait))


def test_a_problem_has_no_infinity() -> None:
    """JSON knows no infinity: null."""
    assert None is problem(CircuitOpenError("x", State.OPEN, float("inf")), "")["retry_after"]
    assert 1.235 == problem(CircuitOpenError("x", State.OPEN, 1.23456), "")["retry_after"]


def test_a_full_bulkhead_is_a_problem_too() -> None:
    """It has neither state nor time: a place may be free any moment."""
    error = BulkheadFullError("x", 1)
    assert (None, 1.0) == (problem(error, "")["state"], problem(error, "")["retry_after"])
    assert 1 == wait_seconds(error)


def test_neither_library_is_imported() -> None:
    """Importing the integration, and making a transport, imports neither httpx nor httpx2, nor FastAPI."""
    program = """
import sys
from switchgear.integrations.httpx import BreakerTransport
import switchgear.integrations.fastapi
class Transport:
    def handle_request(self, request): ...
BreakerTransport(Transport())
assert not {"httpx", "httpx2", "fastapi", "starlette", "anyio"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
