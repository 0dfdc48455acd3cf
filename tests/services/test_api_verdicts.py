"""What the end of an exchange says of the service: one test for each row of the table in docs/services/api.md."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import msgspec
import pytest

from helpers import counted, run
from services.api_server import ApiServer
from services.api_sides import GIVEN, ONCE, SIDES, api_of, client_of, library
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry, State
from switchgear.services._api.verdict import verdict
from switchgear.services.api import (
    ApiCircuitBreaker,
    ApiStatusError,
    BodyTooLargeError,
    DecodeError,
)
from switchgear.state import Outcome


class Quote(msgspec.Struct):
    symbol: str
    price: float


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def counters(outcome: Outcome) -> dict[str, int]:
    word = {"SUCCESS": "successful_calls", "FAILURE": "failed_calls", "IGNORED": "ignored_calls"}[outcome]
    return {"total_calls": 1, word: 1} | ({"times_opened": 1} if outcome is Outcome.FAILURE else {})


async def get(server: ApiServer, side: str, path: str, config: CircuitBreakerConfig = ONCE, **options: Any) -> Any:
    """Return what one GET raises, or brings, and the counters after it."""
    async with api_of(server, side, config, max_body=options.pop("max_body", 1 << 20)) as api:
        try:
            end = await api.get(path, **options)
        except Exception as error:
            end = error
        return end, counted(api.breaker), api.breaker


def moved(target: str) -> str:
    return f"/moved/{target.encode().hex()}"


FAILURES = [
    ("/closed", "RemoteProtocolError"),
    ("/garbage", "RemoteProtocolError"),
    ("/truncated", "RemoteProtocolError"),
    ("/truncated/404", "RemoteProtocolError"),
    ("/chopped", "RemoteProtocolError"),
    ("/reset", "ReadError"),
    ("/reset/body", "ReadError"),
    ("/notgzip", "DecodingError"),
    ("http://name.invalid/", "ConnectError"),
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("path", "name"), FAILURES)
def test_a_service_that_breaks_off_fails(server: ApiServer, side: str, path: str, name: str) -> None:
    """No name, no answer, no HTTP, half a body, a reset: the client's own exception, and a failure."""
    error, counts, breaker = run(get(server, side, path))
    assert getattr(library(side), name) is type(error)
    assert counters(Outcome.FAILURE) == counts
    assert State.OPEN is breaker.state


@pytest.mark.parametrize("side", SIDES)
def test_a_port_that_nobody_listens_on_fails(server: ApiServer, side: str) -> None:
    """A refused connection is a failure."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    error, counts, _ = run(get(server, side, f"http://127.0.0.1:{port}/"))
    assert library(side).ConnectError is type(error)
    assert counters(Outcome.FAILURE) == counts


@pytest.mark.parametrize("side", SIDES)
def test_a_server_without_tls_fails(server: ApiServer, side: str) -> None:
    """A connection that does not come about because of TLS is a failure."""
    error, counts, _ = run(get(server, side, server.url.replace("http:", "https:")))
    assert library(side).ConnectError is type(error)
    assert counters(Outcome.FAILURE) == counts


@pytest.mark.parametrize("side", GIVEN)
def test_a_proxy_that_refuses_fails(server: ApiServer, side: str) -> None:
    """What lies between us and the service is a part of it."""

    async def main() -> None:
        async with client_of(side, proxy=server.url) as client:
            api = ApiCircuitBreaker("test", client=client, config=ONCE, registry=CircuitBreakerRegistry())
            with pytest.raises(library(side).ProxyError):
                await api.get("https://name.invalid/")
            assert counters(Outcome.FAILURE) == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("path", ["/hang", "/stuck", "/stuck/404", "/stuck/500", "/slow", "/endless/302"])
def test_the_deadline_is_that_of_the_whole_exchange(server: ApiServer, side: str, path: str) -> None:
    """No answer, half a body, a byte at a time: it ends at the breaker's deadline, and is a failure.

    A redirect whose own body has no end is followed, and not read to its end.
    """
    error, counts, _ = run(get(server, side, path, ONCE.replace(timeout=0.3)))
    if path == "/endless/302":
        assert ({"symbol": "AAPL", "price": 101.5}, counters(Outcome.SUCCESS)) == (error, counts)
        return
    assert CallTimeoutError is type(error)
    assert counters(Outcome.FAILURE) | {"timed_out_calls": 1} == counts


@pytest.mark.parametrize("side", GIVEN)
def test_a_timeout_of_the_clients_own_fails(server: ApiServer, side: str) -> None:
    """A client's own timeouts hold, too, and are failures as the deadline is."""

    async def main() -> None:
        async with client_of(side, timeout=0.1) as client:
            api = ApiCircuitBreaker("test", client=client, config=ONCE, registry=CircuitBreakerRegistry())
            with pytest.raises(library(side).ReadTimeout):
                await api.get(f"{server.url}/hang")
            assert counters(Outcome.FAILURE) == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("status", [429, 500, 503, 600])
def test_a_status_that_is_a_failure(server: ApiServer, side: str, status: int) -> None:
    """5xx and 429 reach the caller as ApiStatusError, and are failures."""
    error, counts, _ = run(get(server, side, f"/status/{status}"))
    assert (ApiStatusError, status, b'{"error": "no"}') == (type(error), error.status_code, error.body)
    assert counters(Outcome.FAILURE) == counts


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("status", [304, 400, 404, 422])
def test_a_status_that_is_an_answer(server: ApiServer, side: str, status: int) -> None:
    """Every other status but 2xx reaches the caller as ApiStatusError, too: and the service has answered."""
    error, counts, _ = run(get(server, side, f"/status/{status}"))
    assert (ApiStatusError, status) == (type(error), error.status_code)
    assert counters(Outcome.SUCCESS) == counts


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/html", None),
        ("/html", Quote),
        ("/ok", int),
        ("/ok", list[Quote]),
        ("/empty", Quote),
        ("/empty/200", dict),
        ("/raw/" + b'{"symbol": "\xff"}'.hex(), None),
        ("/raw/fffe00", None),
        ("/raw/ff", str),
        ("/raw/" + (b"[" * 10_000).hex(), None),
        ("/raw/" + b'{"a": 1} and more'.hex(), None),
    ],
)
def test_a_body_that_is_not_what_was_asked_for(server: ApiServer, side: str, path: str, kind: Any) -> None:
    """A 2xx that does not decode, JSON of the wrong shape, invalid UTF-8: DecodeError, and a failure."""
    error, counts, _ = run(get(server, side, path, type=kind))
    assert DecodeError is type(error)
    assert kind is error.type
    assert counters(Outcome.FAILURE) == counts


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("path", ["/gigabyte", "/endless", "/bomb"])
def test_a_body_that_is_too_large(server: ApiServer, side: str, path: str) -> None:
    """A gigabyte, a body without an end, 24 MiB in a few bytes of gzip: no more than max_body is read of it."""
    server.sent = 0
    error, counts, _ = run(get(server, side, path))
    assert (BodyTooLargeError, 1 << 20) == (type(error), error.max_body)
    assert counters(Outcome.FAILURE) == counts
    # What the kernel buffers for both ends is beside it.
    assert server.sent < 32 << 20


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("path", "status"), [("/gigabyte/500", 500), ("/endless/404", 404)])
def test_a_large_body_of_an_error(server: ApiServer, side: str, path: str, status: int) -> None:
    """Of the body of an error 64 KiB are read, and the status is what is raised."""
    server.sent = 0
    error, counts, _ = run(get(server, side, path))
    assert (ApiStatusError, status, 65_536) == (type(error), error.status_code, len(error.body))
    assert counters(Outcome.FAILURE if status == 500 else Outcome.SUCCESS) == counts
    assert server.sent < 32 << 20


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("path", "name"),
    [("/loop", "TooManyRedirects"), (moved("ftp://127.0.0.1/"), "UnsupportedProtocol")],
)
def test_redirects_that_lead_nowhere(server: ApiServer, side: str, path: str, name: str) -> None:
    """A redirect loop, and a redirect to what is no HTTP, are the client's own exception, and neutral."""
    before = len(server.seen)
    error, counts, _ = run(get(server, side, path))
    assert getattr(library(side), name) is type(error)
    assert counters(Outcome.IGNORED) == counts
    assert (21 if path == "/loop" else 1) == len(server.seen) - before


@pytest.mark.parametrize("side", GIVEN)
def test_a_pool_of_our_own_that_is_full(server: ApiServer, side: str) -> None:
    """Whoever waits for a connection of our own is told so before the deadline, and it is neutral."""

    async def main() -> None:
        limits = library(side).Limits(max_connections=1)
        async with client_of(side, limits=limits, timeout=None) as client:
            config = CircuitBreakerConfig(failure_threshold=2, timeout=0.6)
            api = ApiCircuitBreaker("test", client=client, config=config, registry=CircuitBreakerRegistry())
            ends = await asyncio.gather(*[api.get(f"{server.url}/hang") for _ in range(3)], return_exceptions=True)
            assert [CallTimeoutError, library(side).PoolTimeout, library(side).PoolTimeout] == list(map(type, ends))
            expected = {"total_calls": 3, "failed_calls": 1, "timed_out_calls": 1, "ignored_calls": 2}
            assert expected == counted(api.breaker)
            assert {"symbol": "AAPL", "price": 101.5} == await api.get(f"{server.url}/ok")

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("path", ["/hang", "/stuck", "/slow", "/ok"])
def test_cancellation_is_neutral(server: ApiServer, side: str, path: str) -> None:
    """A caller that is cancelled says nothing of the service, wherever the exchange is."""

    async def main() -> None:
        async with api_of(server, side) as api:
            task = asyncio.create_task(api.get(path))
            await asyncio.sleep(0.1 if path != "/ok" else 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert api.get_metrics().failed_calls == 0
            assert api.get_metrics().successful_calls == 0

    run(main())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx2.LocalProtocolError("x"), Outcome.IGNORED),
        (httpx.LocalProtocolError("x"), Outcome.IGNORED),
        (httpx2.InvalidURL("x"), Outcome.IGNORED),
        (httpx2.StreamConsumed(), Outcome.IGNORED),
        (httpx2.ProxyError("x"), Outcome.FAILURE),
        (httpx.ProxyError("x"), Outcome.FAILURE),
        (httpx2.CloseError("x"), Outcome.FAILURE),
        (type("Mine", (httpx2.ReadError,), {})("x"), Outcome.FAILURE),
        (type("PoolTimeout", (Exception,), {})(), Outcome.IGNORED),
        (type("ConnectError", (Exception,), {})(), Outcome.IGNORED),
        (ConnectionResetError(), Outcome.FAILURE),
        (TimeoutError(), Outcome.FAILURE),
        (OSError(28, "no space left"), Outcome.IGNORED),
        (RuntimeError("a bug in a hook"), Outcome.IGNORED),
        (DecodeError("x", "GET", 200, "no"), Outcome.FAILURE),
    ],
    ids=repr,
)
def test_exceptions_that_no_server_makes(error: Exception, expected: Outcome) -> None:
    """The rest of the table: what only a proxy, a hook or a mistake of ours brings."""
    assert expected is verdict(error)
