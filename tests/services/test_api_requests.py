"""What is wrong with a request is said at once, costs the service nothing, and shows no secret."""

import logging
import math
import pickle
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest

from helpers import counted, run
from services.api_server import ApiServer
from services.api_sides import GIVEN, ONCE, SIDES, api_of, client_of, library
from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry, CircuitOpenError
from switchgear.services.api import (
    ApiCircuitBreaker,
    ApiClosedError,
    ApiError,
    ApiStatusError,
    BodyTooLargeError,
    DecodeError,
)

CYCLE: list[Any] = []
CYCLE.append(CYCLE)
SECRET = "s3cr3t"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


BAD = [
    ("GET", "ftp://127.0.0.1/x", {}, ValueError),
    ("GET", "file:///etc/passwd", {}, ValueError),
    ("GET", "http://", {}, ValueError),
    ("GET", "http:///path", {}, ValueError),
    ("GET", "://", {}, ValueError),
    ("GET", "http://127.0.0.1:99999/", {}, ValueError),
    ("GET", "http://127.0.0.1:port/", {}, ValueError),
    ("GET", "http://user:p/s3cr3t@127.0.0.1/", {}, ValueError),
    ("GET", "http://a b/", {}, ValueError),
    ("GET", "http://xn--\ud800/", {}, ValueError),
    ("GET", "/\ud800", {}, ValueError),
    ("GET", "/a\nb", {}, ValueError),
    ("GET", "/" + "a" * 70_000, {}, ValueError),
    ("GET", None, {}, TypeError),
    ("GET", b"http://127.0.0.1/", {}, TypeError),
    ("GET", 5, {}, TypeError),
    ("", "/ok", {}, ValueError),
    ("GE T", "/ok", {}, ValueError),
    ("GET\r\nX: s3cr3t", "/ok", {}, ValueError),
    ("CONNECT", "/ok", {}, ValueError),
    (None, "/ok", {}, TypeError),
    ("GET", "/ok", {"headers": {"X-Key": "s3cr3t\r\nX-Evil: 1"}}, ValueError),
    ("GET", "/ok", {"headers": {"X-Key": "s3cr3t "}}, ValueError),
    ("GET", "/ok", {"headers": {"X-Key": "s3cr3t\x00"}}, ValueError),
    ("GET", "/ok", {"headers": {"X-Key": "s3cr3t…"}}, ValueError),
    ("GET", "/ok", {"headers": {"X Key": "s3cr3t"}}, ValueError),
    ("GET", "/ok", {"headers": {"": "s3cr3t"}}, ValueError),
    ("GET", "/ok", {"headers": {"X-Key": 5}}, TypeError),
    ("GET", "/ok", {"headers": {"X-Key": None}}, TypeError),
    ("GET", "/ok", {"headers": 5}, TypeError),
    ("GET", "/ok", {"headers": "X-Key: s3cr3t"}, TypeError),
    ("GET", "/ok", {"params": 5}, TypeError),
    ("GET", "/ok", {"params": b"a=1"}, TypeError),
    ("GET", "/ok", {"params": {"a": "\ud800"}}, ValueError),
    ("POST", "/ok", {"body": object()}, TypeError),
    ("POST", "/ok", {"body": {"a": object()}}, TypeError),
    ("POST", "/ok", {"body": {(1, 2): 3}}, TypeError),
    ("POST", "/ok", {"body": CYCLE}, ValueError),
    ("POST", "/ok", {"body": "\ud800"}, ValueError),
    ("POST", "/ok", {"body": {"a": "\ud800"}}, ValueError),
]


@pytest.mark.parametrize(("method", "url", "options", "kind"), BAD, ids=[str(number) for number in range(len(BAD))])
@pytest.mark.parametrize(("side", "streamed"), [("own", False), ("httpx", True)])
def test_bad_input(
    server: ApiServer, side: str, method: Any, url: Any, options: dict[str, Any], kind: type[Exception], streamed: bool
) -> None:
    """It is a ValueError or TypeError, before the breaker is asked, and its text holds nothing of a secret."""

    async def main() -> None:
        before = len(server.seen)
        async with api_of(server, side) as api:
            with pytest.raises(kind) as caught:
                if streamed:
                    async with api.stream(method, url, **options):
                        pass
                else:
                    await api.request(method, url, **options)
            assert ({}, before) == (counted(api.breaker), len(server.seen))
            assert SECRET not in str(caught.value)
            assert str(caught.value)

    run(main())


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"base_url": "ftp://127.0.0.1"}, ValueError),
        ({"base_url": "127.0.0.1:80"}, ValueError),
        ({"base_url": "/relative"}, ValueError),
        ({"base_url": ""}, ValueError),
        ({"base_url": "http://user:p/s3cr3t@127.0.0.1"}, ValueError),
        ({"base_url": 5}, TypeError),
        ({"client": "httpx2"}, TypeError),
        ({"client": len}, TypeError),
        ({"max_body": 0}, ValueError),
        ({"max_body": 1.5}, ValueError),
        ({"max_body": True}, ValueError),
        ({"max_body": math.inf}, ValueError),
        ({"config": {}}, TypeError),
        ({"registry": {}}, TypeError),
    ],
    ids=repr,
)
def test_bad_construction(options: dict[str, Any], kind: type[Exception]) -> None:
    """Whatever is wrong with the service is said when it is made, and nothing is registered."""
    registry = CircuitBreakerRegistry()
    with pytest.raises(kind) as caught:
        ApiCircuitBreaker("test", **{"registry": registry} | options)
    assert SECRET not in str(caught.value)
    assert [] == registry.list_names()


@pytest.mark.parametrize("name", ["", None, 5])
def test_bad_names(name: Any) -> None:
    """A service has a name."""
    with pytest.raises((TypeError, ValueError), match="name of the api service"):
        ApiCircuitBreaker(name, registry=CircuitBreakerRegistry())


@pytest.mark.parametrize("side", GIVEN)
def test_bad_clients(side: str) -> None:
    """A synchronous client is refused, and a base URL beside a client."""
    from services.api_sides import library

    with library(side).Client(verify=False) as client, pytest.raises(TypeError, match="AsyncClient"):
        ApiCircuitBreaker("test", client=client)
    with pytest.raises(ValueError, match="base_url"):
        ApiCircuitBreaker("test", client=client_of(side), base_url="http://127.0.0.1")


def test_defaults() -> None:
    """The breaker is registered as api:<name>, with 5 failures, 2 successes, 10 s a call and 30 s open."""
    registry = CircuitBreakerRegistry()
    api = ApiCircuitBreaker("prices", registry=registry)
    config = api.breaker.config
    assert registry["api:prices"] is api.breaker
    assert (5, 2, 10.0, 30.0) == (
        config.failure_threshold, config.success_threshold, config.timeout, config.reset_timeout,
    )  # fmt: skip
    assert "<ApiCircuitBreaker 'api:prices' CLOSED (failures: 0)>" == repr(api)
    # The same name again shares the breaker, and no warning says that its configuration is another.
    assert ApiCircuitBreaker("prices", registry=registry).breaker is api.breaker


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("/later/503/120", 120.0),
        ("/later/429/40", 40.0),
        ("/later/503/1", 30.0),
        ("/later/503/soon", 30.0),
        ("/later/503/-5", 30.0),
        ("/later/503/999999999999", 30.0),
        ("/later/503/100000", 600.0),
        ("/later/500/120", 30.0),
        ("/later/503/Sun,%2006%20Nov%201994%2008:49:37%20GMT", 30.0),
        ("/later/503/Fri,%2001%20Jan%202038%2000:00:00%20GMT", 30.0),
    ],
)
def test_retry_after_is_the_least_open_time(server: ApiServer, path: str, seconds: float) -> None:
    """What the service asks for beside 429 and 503 counts, up to max_reset_timeout; not junk, nor other statuses."""

    async def main() -> None:
        async with api_of(server, "own", ONCE) as api:
            with pytest.raises(ApiStatusError):
                await api.get(path)
            with pytest.raises(CircuitOpenError) as caught:
                await api.get("/ok")
            assert seconds - 10.0 < caught.value.retry_after <= seconds

    run(main())


@pytest.mark.parametrize(
    "path",
    [
        "/secretive/503",
        "/secretive/404",
        "/secretive/200",
        "/truncated",
        "/closed",
        "/loop",
        "/gigabyte",
        "/hang",
        "/unreadable/header",
        "/unreadable/chunk",
    ],
)
@pytest.mark.parametrize(("side", "streamed"), [("own", False), ("own", True), ("httpx", False), ("httpx2", True)])
def test_no_secret_is_told(
    server: ApiServer, side: str, path: str, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither logs at their lowest level, nor events, nor texts and reprs hold a URL, header, cookie or body."""
    caplog.set_level(logging.DEBUG)
    told: list[object] = []

    async def main() -> None:
        async with api_of(server, side, ONCE.replace(timeout=0.3), max_body=1000) as api:
            api.breaker.on_transition(told.append)
            url = server.url.replace("//", "//user:url-secret@") + path
            options: Any = {"params": {"key": "query-secret"}, "headers": {"X-Key": "header-secret"}}
            for _ in range(2):
                try:
                    if streamed:
                        async with api.stream("POST", url, ["body-secret"], **options) as response:
                            await response.aread()
                    else:
                        await api.post(url, ["body-secret"], **options)
                except Exception as error:
                    # The library's own exception for what is no HTTP is the caller's, untouched.
                    told.extend([] if "unreadable" in path and type(error) in QUOTING else [str(error), repr(error)])
            told.extend([api, api.breaker, api.breaker.history(), api.breaker.last_failure])

    run(main())
    texts = [str(each) for each in told] + [repr(each) for each in told] + [caplog.text, *map(str, vars_of(caplog))]
    assert [] == [text for text in texts if "-secret" in text]
    sent = [seen for seen in server.seen if seen.path.startswith(path)][-1]
    assert ("header-secret", b'["body-secret"]') == (sent.headers["x-key"], sent.body) or path == "/loop"
    assert "/[path not shown]" in caplog.text or path in ("/closed", "/hang", "/unreadable/header")


QUOTING = (httpx.RemoteProtocolError, httpx2.RemoteProtocolError)


@pytest.mark.parametrize("where", ["header", "chunk"])
@pytest.mark.parametrize("side", SIDES)
def test_an_answer_that_cannot_be_read_is_the_callers_alone(server: ApiServer, side: str, where: str) -> None:
    """He gets the library's exception, which quotes the line; the breaker and its rejections keep the class alone."""

    async def main() -> None:
        async with api_of(server, side, ONCE) as api:
            with pytest.raises(library(side).RemoteProtocolError, match=f"{where}-(line-)?secret"):
                await api.get(f"/unreadable/{where}")
            assert "RemoteProtocolError" == api.breaker.last_failure
            with pytest.raises(CircuitOpenError, match=r"last failure: RemoteProtocolError$"):
                await api.get("/ok")

    run(main())


def vars_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if not record.name.startswith("asyncio")]


def test_the_programs_other_requests_are_logged_as_ever(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    """Only requests that go through a service are logged without their URL."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with api_of(server) as api, client_of("httpx2") as client:
            await api.get("/ok?mine=1")
            await client.get(f"{server.url}/ok?others=1")

    run(main())
    assert ("others=1" in caplog.text, "mine=1" in caplog.text) == (True, False)


def test_a_hook_that_raises_for_status(server: ApiServer) -> None:
    """The client's HTTPStatusError, whose text has the URL, becomes an ApiStatusError, and counts as one."""

    async def hook(response: Any) -> None:
        response.raise_for_status()

    async def main(side: str) -> None:
        async with client_of(side, event_hooks={"response": [hook]}) as client:
            api = ApiCircuitBreaker("test", client=client, config=ONCE, registry=CircuitBreakerRegistry())
            with pytest.raises(ApiStatusError) as caught:
                await api.get(f"{server.url}/later/503/77?key={SECRET}")
            assert (503, 77.0) == (caught.value.status_code, caught.value.retry_after)
            assert SECRET not in str(api.breaker.history())
            assert {"total_calls": 1, "failed_calls": 1, "times_opened": 1} == counted(api.breaker)

    for side in GIVEN:
        run(main(side))


@pytest.mark.parametrize(
    "error",
    [
        ApiStatusError("api:x", "GET", 404, body=b"b", headers={"a": "b"}, retry_after=1.5),
        DecodeError("api:x", "GET", 200, "no", body=b"b", type=int),
        BodyTooLargeError("api:x", 5),
        ApiClosedError("api:x"),
    ],
    ids=repr,
)
def test_exceptions_travel(error: ApiError) -> None:
    """What is raised can be pickled, with all it has."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(error), str(error), vars(error)) == (type(copy), str(copy), vars(copy))
    assert copy.name == "api:x"


def test_what_the_user_says_goes_first(server: ApiServer) -> None:
    """The configuration's own classify is asked before the service's verdict."""
    from switchgear.state import Outcome

    def classify(error: Exception) -> Outcome | None:
        return Outcome.FAILURE if isinstance(error, ApiStatusError) and error.status_code == 404 else None

    async def main() -> None:
        config = CircuitBreakerConfig(failure_threshold=5, classify=classify)
        async with api_of(server, "own", config) as api:
            for status in (404, 403):
                with pytest.raises(ApiStatusError):
                    await api.get(f"/status/{status}")
            assert {"total_calls": 2, "failed_calls": 1, "successful_calls": 1} == counted(api.breaker)

    run(main())
