"""The transport under the sync clients of httpx and httpx2, against a server that misbehaves."""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest

from helpers import counted
from integrations.faulty_server import TLS, FaultyServer, closed_port
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerRegistry, CircuitOpenError, State
from switchgear.integrations.httpx import BreakerTransport
from switchgear.testing import ManualClock

LIBRARIES = [pytest.param(httpx, id="httpx"), pytest.param(httpx2, id="httpx2")]
CONFIG = CircuitBreakerConfig(failure_threshold=3, success_threshold=1, reset_timeout=60.0)
HOST = "127.0.0.1"
SUCCESS = {"total_calls": 1, "successful_calls": 1}
FAILURE = {"total_calls": 1, "failed_calls": 1}
IGNORED = {"total_calls": 1, "ignored_calls": 1}


class Site:
    """A client of one of the libraries, whose transport has the breakers of a registry of its own."""

    def __init__(self, library: Any, server: FaultyServer, **options: Any) -> None:
        self.library = library
        self.clock = ManualClock()
        self.registry = CircuitBreakerRegistry(clock=self.clock)
        options.setdefault("config", CONFIG)
        inner = options.pop("inner", None) or library.HTTPTransport(verify=TLS)
        self.transport = BreakerTransport(inner, self.registry, **options)
        self.client = library.Client(transport=self.transport, base_url=server.url, timeout=20.0)

    @property
    def breaker(self) -> CircuitBreaker:
        return self.transport.family[HOST]


@pytest.fixture(params=LIBRARIES)
def make(request: pytest.FixtureRequest, server: FaultyServer) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def made(**options: Any) -> Site:
        sites.append(Site(request.param, server, **options))
        return sites[-1]

    yield made
    for each in sites:
        each.client.close()


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()


@pytest.mark.parametrize("code", [200, 204, 304, 400, 401, 403, 404, 422])
def test_an_answer_is_a_success(site: Site, code: int) -> None:
    """Every answer but 5xx and 429 says that the host works."""
    assert code == site.client.get(f"/status/{code}").status_code
    assert SUCCESS == counted(site.breaker)


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504, 599])
def test_an_error_of_the_server_is_a_failure(site: Site, code: int) -> None:
    """A 5xx and a 429 are failures, and still reach the caller as they are."""
    assert b"{}" == site.client.get(f"/status/{code}").content
    assert FAILURE == counted(site.breaker)


def test_the_third_failure_opens_and_nothing_is_sent_any_more(site: Site, server: FaultyServer) -> None:
    """A rejected request never reaches the server; another host is not concerned."""
    for _ in range(3):
        site.client.get("/status/500")
    with pytest.raises(CircuitOpenError) as raised:
        site.client.get("/")
    assert (f"http:{HOST}", "BadStatusError: 500 Internal Server Error") == (
        raised.value.name,
        raised.value.last_failure,
    )
    assert {"/status/500": 3} == server.hits
    assert 200 == site.client.get(f"http://localhost:{server.port}/").status_code
    assert ["127.0.0.1", "localhost"] == list(site.transport.family)


def test_it_recovers(site: Site) -> None:
    """After the reset timeout a good answer closes the breaker."""
    for _ in range(3):
        site.client.get("/status/500")
    site.clock.advance(60)
    assert b"hello" == site.client.get("/").content
    assert State.CLOSED is site.breaker.state


@pytest.mark.parametrize(("code", "wait", "seconds"), [(429, "120", 120.0), (503, "90", 90.0), (500, "120", 60.0)])
def test_retry_after_is_the_least_open_time(make: Callable[..., Site], code: int, wait: str, seconds: float) -> None:
    """A 429 or a 503 may say how long the breaker stays open."""
    site = make(config=CONFIG.replace(failure_threshold=1))
    site.client.get(f"/status/{code}/{wait}")
    assert seconds == site.breaker.history()[-1].retry_after


@pytest.mark.parametrize("wait", ["soon", "-5", "nan", "1e400", "Fri, 31 Feb 2042"])
def test_junk_in_retry_after_is_not_read(make: Callable[..., Site], wait: str) -> None:
    """What is no time is no time, and no exception either."""
    site = make(config=CONFIG.replace(failure_threshold=1))
    assert 503 == site.client.get(f"/status/503/{wait}").status_code
    assert 60.0 == site.breaker.history()[-1].retry_after


@pytest.mark.parametrize(
    ("path", "error"),
    [("/cut", "RemoteProtocolError"), ("/garbage", "RemoteProtocolError"), ("/nothing", "RemoteProtocolError")],
)
def test_a_broken_answer_is_a_failure(site: Site, path: str, error: str) -> None:
    """Where the server breaks the protocol or its promise of a length, the caller gets httpx's own exception."""
    with pytest.raises(getattr(site.library, error)):
        site.client.get(path)
    assert FAILURE == counted(site.breaker)


def test_an_answer_that_cannot_be_read_is_not_quoted(make: Callable[..., Site]) -> None:
    """It may hold a secret: the caller has httpx's own exception, and the breaker keeps the name of its class alone."""
    site = make(config=CONFIG.replace(failure_threshold=1))
    with pytest.raises(site.library.RemoteProtocolError, match="how do you do"):
        site.client.get("/garbage")
    assert "RemoteProtocolError" == site.breaker.last_failure


@pytest.mark.parametrize(("path", "kind"), [("/hang", "ReadTimeout"), ("/hang-in-body/200", "ReadTimeout")])
def test_a_timeout_of_the_client_is_a_failure(site: Site, path: str, kind: str) -> None:
    """The time-outs of httpx count, before the headers and in the body."""
    with pytest.raises(getattr(site.library, kind)):
        site.client.get(path, timeout=0.1)
    assert FAILURE == counted(site.breaker)


def test_a_refused_connection_is_a_failure(site: Site) -> None:
    """Nobody listens: a failure."""
    with pytest.raises(site.library.ConnectError):
        site.client.get(f"http://{HOST}:{closed_port()}/")
    assert FAILURE == counted(site.breaker)


def test_a_name_that_does_not_resolve_is_a_failure(site: Site) -> None:
    """A DNS failure is one of connecting."""
    with pytest.raises(site.library.ConnectError):
        site.client.get("http://nowhere.invalid/")
    assert FAILURE == counted(site.transport.family["nowhere.invalid"])


def test_our_own_pool_being_full_is_neutral(make: Callable[..., Site], request: pytest.FixtureRequest) -> None:
    """PoolTimeout is our own limit, and says nothing of the host."""
    library = request.node.callspec.params["make"]
    site = make(inner=library.HTTPTransport(verify=TLS, limits=library.Limits(max_connections=1)))
    with site.client.stream("GET", "/parts/3"), pytest.raises(library.PoolTimeout):
        site.client.get("/", timeout=0.05)
    assert {"total_calls": 2, "successful_calls": 1, "ignored_calls": 1} == counted(site.breaker)


def test_a_malformed_request_is_neutral(site: Site) -> None:
    """A request that cannot be sent is our own mistake; its header's value gets into no event."""
    with pytest.raises(site.library.LocalProtocolError):
        site.client.get("/", headers={"Authorization": "secret\n"})
    assert IGNORED == counted(site.breaker)
    assert site.breaker.last_failure is None


def test_a_url_that_nobody_serves_is_neutral(site: Site) -> None:
    """An unknown scheme, or none, is refused by httpx as without us."""
    with pytest.raises(site.library.UnsupportedProtocol):
        site.client.get(f"ftp://{HOST}/")
    assert IGNORED == counted(site.breaker)
    with pytest.raises(site.library.UnsupportedProtocol), site.library.Client(transport=site.transport) as client:
        client.get("/relative")


def test_a_body_of_ours_that_raises_is_neutral(site: Site) -> None:
    """What the generator of a request's body raises is not the host's fault."""

    def upload() -> Iterator[bytes]:
        yield b"x"
        raise LookupError("no such row")

    with pytest.raises(LookupError):
        site.client.post("/", content=upload())
    assert IGNORED == counted(site.breaker)


def test_a_streamed_body_settles_at_its_end(site: Site) -> None:
    """Headers alone settle nothing; the end of the body does, once."""
    with site.client.stream("GET", "/parts/3") as response:
        assert {} == counted(site.breaker)
        assert b"hello" * 3 == b"".join(response.iter_bytes())
        assert SUCCESS == counted(site.breaker)
    assert SUCCESS == counted(site.breaker)


def test_a_streamed_body_that_is_closed_early_is_a_success(site: Site) -> None:
    """The host answered, and nothing was wrong as far as it was read."""
    with site.client.stream("GET", "/parts/50") as response:
        next(response.iter_bytes())
    assert SUCCESS == counted(site.breaker)


def test_a_streamed_body_that_breaks_is_a_failure(site: Site) -> None:
    """A connection that ends in the middle of a body is a failure, though the status was 200."""
    with site.client.stream("GET", "/cut") as response, pytest.raises(site.library.RemoteProtocolError):
        response.read()
    assert FAILURE == counted(site.breaker)


def test_a_response_that_is_dropped_gives_its_permit_back(make: Callable[..., Site]) -> None:
    """A response that nobody reads or closes says nothing, and its probe's place is free again."""
    site = make(config=CONFIG.replace(failure_threshold=1))
    site.client.get("/status/500")
    site.clock.advance(60)
    transport, library = site.transport, site.library
    response = transport.handle_request(library.Request("GET", site.client.base_url))
    assert site.breaker.try_acquire() is None
    del response
    gc.collect()
    assert 1 == site.breaker.get_metrics().ignored_calls
    assert b"hello" == site.client.get("/").content


def test_a_body_that_is_there_already_settles_at_once(
    make: Callable[..., Site], request: pytest.FixtureRequest
) -> None:
    """A mock's response has its body from the beginning, and no end that one could see."""
    library = request.node.callspec.params["make"]
    site = make(inner=library.MockTransport(lambda request: library.Response(200, json={})))
    assert {} == site.client.get("/").json()
    assert SUCCESS == counted(site.breaker)


def test_each_redirect_is_a_request_of_its_own(site: Site) -> None:
    """The host that redirects has answered; what the other one does is its own affair."""
    site.client.get("/redirect/500", follow_redirects=True)
    assert SUCCESS == counted(site.breaker)
    assert FAILURE == counted(site.transport.family["localhost"])


def test_a_redirect_loop_is_no_failure(site: Site) -> None:
    """Too many redirects are httpx's word; each of them was an answer."""
    inner = site.library.MockTransport(lambda request: site.library.Response(302, headers={"Location": "/"}))
    transport = BreakerTransport(inner, site.registry, name="loop")
    client = site.library.Client(transport=transport, max_redirects=3, follow_redirects=True)
    with client, pytest.raises(site.library.TooManyRedirects):
        client.get(f"http://{HOST}/")
    assert {"total_calls": 4, "successful_calls": 4} == counted(transport.family[HOST])


def test_is_failure_judges_the_response(make: Callable[..., Site]) -> None:
    """The configuration's is_failure may call an answer a failure that the transport would not."""
    site = make(config=CONFIG.replace(is_failure=lambda response: response.status_code == 404))
    site.client.get("/status/404")
    site.client.get("/status/403")
    assert {"total_calls": 2, "successful_calls": 1, "failed_calls": 1} == counted(site.breaker)


def test_an_is_failure_that_raises_reaches_the_caller(make: Callable[..., Site]) -> None:
    """As with call(): its exception leaves, and the call is ignored."""
    site = make(config=CONFIG.replace(is_failure=lambda response: response.no_such_attribute))
    with pytest.raises(AttributeError):
        site.client.get("/")
    assert IGNORED == counted(site.breaker)


def test_the_users_classify_has_the_first_word(make: Callable[..., Site]) -> None:
    """The transport's classification is only asked where the user's has no answer."""
    from switchgear.state import Outcome

    site = make(config=CONFIG.replace(classify=lambda error: Outcome.SUCCESS if "Protocol" in repr(error) else None))
    with pytest.raises(site.library.RemoteProtocolError):
        site.client.get("/garbage")
    with pytest.raises(site.library.ConnectError):
        site.client.get(f"http://{HOST}:{closed_port()}/")
    assert {"total_calls": 2, "successful_calls": 1, "failed_calls": 1} == counted(site.breaker)


def test_respond_answers_a_rejection(make: Callable[..., Site], server: FaultyServer) -> None:
    """on_open="respond": a 503 that says when to come back and not to try again until then."""
    site = make(on_open="respond", config=CONFIG.replace(failure_threshold=1))
    site.client.get("/status/500")
    response = site.client.get("/")
    assert (503, "60", "false") == (
        response.status_code,
        response.headers["retry-after"],
        response.headers["x-should-retry"],
    )
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (f"http:{HOST}", "OPEN", 503, 60.0) == tuple(
        problem[each] for each in ("breaker", "state", "status", "retry_after")
    )
    assert 0 <= response.elapsed.total_seconds()
    assert 0 == server.hits["/"]
    site.breaker.force_open()
    assert "60" == site.client.get("/").headers["retry-after"]


def test_a_full_bulkhead_is_answered_like_an_open_breaker(make: Callable[..., Site]) -> None:
    """A streamed body keeps its place until its end; who comes beyond is told to come back in a second."""
    site = make(on_open="respond", config=CONFIG.replace(max_concurrent=1))
    with site.client.stream("GET", "/parts/50"):
        response = site.client.get("/")
        assert (503, "1") == (response.status_code, response.headers["retry-after"])
        assert "is full" in response.json()["detail"]
    assert 200 == site.client.get("/").status_code


def test_unbounded_hosts_are_bounded(make: Callable[..., Site], request: pytest.FixtureRequest) -> None:
    """A crawler that sees a million hosts keeps max_hosts breakers."""
    library = request.node.callspec.params["make"]
    site = make(inner=library.MockTransport(lambda request: library.Response(200)), max_hosts=10)
    for number in range(100):
        site.client.get(f"http://host{number}.example/")
    assert 10 == len(site.transport.family)


def test_the_key_is_the_users_if_they_want(make: Callable[..., Site], server: FaultyServer) -> None:
    """key= says what shares a breaker; what it raises, or returns instead of a str, reaches the caller."""
    site = make(key=lambda request: f"{request.method} {request.url.host}")
    site.client.get("/")
    site.client.post("/")
    assert [f"GET {HOST}", f"POST {HOST}"] == list(site.transport.family)
    with pytest.raises(TypeError, match="must be a str"):
        make(key=lambda request: None).client.get("/")
    assert 2 == server.hits["/"]


def test_threads_share_the_breakers(site: Site, server: FaultyServer) -> None:
    """Eight threads through one client: each request is counted once, whatever its end."""
    paths = ["/", "/status/500", "/cut", "/parts/2"] * 2
    config = CONFIG.replace(failure_threshold=1_000)
    transport = BreakerTransport(site.library.HTTPTransport(verify=TLS), site.registry, name="busy", config=config)
    with site.library.Client(transport=transport, base_url=server.url) as client:

        def work(path: str) -> None:
            for _ in range(5):
                try:
                    client.get(path)
                except site.library.RemoteProtocolError:
                    assert path == "/cut"

        threads = [threading.Thread(target=work, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expected = {"total_calls": 40, "successful_calls": 20, "failed_calls": 20}
    assert expected == counted(transport.family[HOST])


def test_closing_the_client_closes_the_transport(site: Site) -> None:
    """The transport that does the work is entered and closed with the wrapper."""
    calls: list[str] = []

    class Inner(site.library.BaseTransport):  # type: ignore[misc,name-defined]
        def __enter__(self) -> Any:
            calls.append("enter")
            return self

        def __exit__(self, *_: object) -> None:
            calls.append("exit")

        def handle_request(self, request: Any) -> Any:
            return site.library.Response(200)

        def close(self) -> None:
            calls.append("close")

    with site.library.Client(transport=BreakerTransport(Inner(), site.registry)) as client:
        client.get("http://x/")
    site.library.Client(transport=BreakerTransport(Inner(), site.registry)).close()
    assert ["enter", "exit", "close"] == calls
