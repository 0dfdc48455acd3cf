"""The FastAPI integration: a real application, under uvicorn, asked over real sockets."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import fastapi
import pytest
import uvicorn

from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry, CircuitOpenError
from switchgear.integrations.fastapi import install, overview
from switchgear.testing import ManualClock


class Answer:
    """A real answer; errors of HTTP are answers, too."""

    def __init__(self, url: str) -> None:
        try:
            got = urllib.request.urlopen(url, timeout=10)
        except urllib.error.HTTPError as error:
            got = error
        with got:
            self.status, self.headers, self.body = got.status, got.headers, got.read()

    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def serving(app: fastapi.FastAPI) -> Iterator[str]:
    """Run an application under uvicorn in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


class Shop:
    """An application with a breaker in a route, one in a dependency, and a family."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = CircuitBreakerRegistry(clock=self.clock)
        self.payments = self.registry.register("db:payments", CircuitBreakerConfig(1, reset_timeout=90.5))
        self.tokens = self.registry.register("tokens")
        self.family = self.registry.family("venue")
        self.app = fastapi.FastAPI()
        self.routes()

    def routes(self) -> None:
        @self.tokens
        def token() -> str:
            return "token"

        @self.app.get("/pay")
        @self.payments
        async def pay() -> str:
            raise ConnectionError("postgresql://admin:secret@db.internal refused")

        @self.app.get("/sync")
        def sync(token: Annotated[str, fastapi.Depends(token)]) -> str:
            return token


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_a_rejection_becomes_a_503(shop: Shop) -> None:
    """Over uvicorn: 503, Retry-After in whole seconds, a problem document, and nothing of what failed."""
    install(shop.app, shop.registry)
    with serving(shop.app) as url:
        assert 500 == Answer(f"{url}/pay").status
        answer = Answer(f"{url}/pay")
    assert (503, "91", "application/problem+json") == (
        answer.status,
        answer.headers["retry-after"],
        answer.headers["content-type"],
    )
    assert answer.json() == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "'db:payments' is not available at the moment; worth another try in 91 s",
        "breaker": "db:payments",
        "state": "OPEN",
        "retry_after": 90.5,
    }
    assert b"secret" not in answer.body


def test_a_rejection_in_a_dependency_of_a_sync_route(shop: Shop) -> None:
    """Wherever the rejection comes from; an operator's has no end that one could name."""
    install(shop.app, shop.registry)
    shop.tokens.force_open()
    with serving(shop.app) as url:
        answer = Answer(f"{url}/sync")
        assert (503, "60", None) == (answer.status, answer.headers["retry-after"], answer.json()["retry_after"])
        shop.tokens.force_close()
        assert 200 == Answer(f"{url}/sync").status


def test_a_full_bulkhead(shop: Shop) -> None:
    """503 as well, and soon worth another try."""
    install(shop.app, shop.registry)
    shop.tokens.reconfigure(CircuitBreakerConfig(max_concurrent=1))
    with serving(shop.app) as url, shop.tokens.guard():
        answer = Answer(f"{url}/sync")
    assert (503, "1", "tokens") == (answer.status, answer.headers["retry-after"], answer.json()["breaker"])


def test_the_health_page(shop: Shop) -> None:
    """GET /health/breakers shows every breaker, and those of families, and always answers 200."""
    install(shop.app, shop.registry)
    with serving(shop.app) as url:
        Answer(f"{url}/pay")
        Answer(f"{url}/sync")
        shop.family["NYSE"].acquire().failure()
        shop.clock.advance(1.5)
        answer = Answer(f"{url}/health/breakers")
    assert (200, "application/json", "no-store") == (
        answer.status,
        answer.headers["content-type"],
        answer.headers["cache-control"],
    )
    shown = answer.json()
    assert ["db:payments", "tokens"] == list(shown["breakers"])
    payments = shown["breakers"]["db:payments"]
    assert ("OPEN", "OPEN (elapsed: 1.500s)", 0.0) == (payments["state"], payments["text"], payments["success_rate"])
    assert (1, 1, 1500) == tuple(
        payments["metrics"][each] for each in ("failed_calls", "times_opened", "total_open_time_ms")
    )
    assert ("CLOSED (failures: 0)", 1) == (
        shown["breakers"]["tokens"]["text"],
        shown["breakers"]["tokens"]["metrics"]["successful_calls"],
    )
    assert "CLOSED (failures: 1)" == shown["families"]["venue"]["NYSE"]["text"]
    assert b"secret" not in answer.body


def test_the_page_elsewhere_or_nowhere(shop: Shop) -> None:
    """path= moves the page or takes it away; dependencies= keep strangers out."""

    def closed() -> None:
        raise fastapi.HTTPException(403)

    install(shop.app, shop.registry, path="/internal", dependencies=[fastapi.Depends(closed)])
    with serving(shop.app) as url:
        assert (403, 404) == (Answer(f"{url}/internal").status, Answer(f"{url}/health/breakers").status)
    bare = fastapi.FastAPI()
    install(bare, shop.registry, path=None)
    assert "/health/breakers" not in {getattr(route, "path", None) for route in bare.routes}


def test_the_schema_has_the_page(shop: Shop) -> None:
    """OpenAPI can be generated, with the page in it."""
    install(shop.app, shop.registry)
    page = shop.app.openapi()["paths"]["/health/breakers"]["get"]
    assert page["description"].startswith("Tell the state")


def test_a_handler_of_the_application_stays(shop: Shop) -> None:
    """Who handles rejections already goes on to do so."""

    async def mine(request: Any, error: CircuitOpenError) -> fastapi.Response:
        return fastapi.Response(status_code=418)

    shop.app.add_exception_handler(CircuitOpenError, mine)  # type: ignore[arg-type]
    install(shop.app, shop.registry)
    shop.payments.force_open()
    with serving(shop.app) as url:
        assert 418 == Answer(f"{url}/pay").status


def test_bad_arguments(shop: Shop) -> None:
    """What is no application, registry or path, and a path that is taken, is refused at once."""
    for app, registry, path, error in [
        (None, shop.registry, "/x", TypeError),
        (fastapi.APIRouter(), shop.registry, "/x", TypeError),
        (shop.app, {}, "/x", TypeError),
        (shop.app, shop.registry, "x", ValueError),
        (shop.app, shop.registry, 5, ValueError),
        (shop.app, shop.registry, "/pay", ValueError),
    ]:
        with pytest.raises(error):
            install(app, registry, path=path)  # type: ignore[arg-type]
    assert CircuitOpenError not in shop.app.exception_handlers
    install(shop.app, shop.registry)
    with pytest.raises(ValueError, match="'/health/breakers' already"):
        install(shop.app, shop.registry)


def test_too_late(shop: Shop) -> None:
    """An application that serves already has its handlers; installing then would do half of it."""
    with serving(shop.app):
        pass
    with pytest.raises(RuntimeError, match="serves already"):
        install(shop.app, shop.registry)


def test_a_missing_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FastAPI the error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "fastapi", None)
    with pytest.raises(ImportError, match=r"pip install 'switchgear\[fastapi\]'"):
        install(object())


def test_the_overview_of_a_registry_that_changes(shop: Shop) -> None:
    """Breakers that come and go meanwhile break nothing."""
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            shop.registry.get_or_create("coming")
            shop.registry.remove("coming")
            shop.family["coming"]
            shop.family.remove("coming")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(200):
            assert {"db:payments", "tokens"} <= set(overview(shop.registry)["breakers"])
    finally:
        done.set()
        thread.join()
