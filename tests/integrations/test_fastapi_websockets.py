"""Rejections where there is no plain answer: on WebSockets, and in mounted applications."""

from collections.abc import Callable
from typing import Annotated, Any

import fastapi
import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.integrations.fastapi import install
from switchgear.testing import ManualClock

LATER = (1013, "worth another try in 91 s")


class Site:
    """An application with rejections at every moment of a WebSocket's life, and two of the same kind mounted on it."""

    def __init__(self) -> None:
        self.registry = CircuitBreakerRegistry(clock=ManualClock())
        self.feed = self.registry.register("feed", CircuitBreakerConfig(1, reset_timeout=90.5))
        self.feed.acquire().failure(ConnectionError("feed:secret@inside refused"))
        self.app, self.mounted, self.bare = (self.made() for _ in range(3))
        install(self.app, self.registry)
        install(self.mounted, self.registry, path=None)
        self.app.mount("/mounted", self.mounted)
        self.app.mount("/bare", self.bare)
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def made(self) -> fastapi.FastAPI:
        app = fastapi.FastAPI()

        @app.get("/plain")
        async def plain() -> None:
            self.feed.call_sync(int)

        @app.websocket("/accepted")
        async def accepted(websocket: fastapi.WebSocket) -> None:
            await websocket.accept()
            await websocket.send_text("welcome")
            self.feed.call_sync(int)

        @app.websocket("/closed")
        async def closed(websocket: fastapi.WebSocket) -> None:
            await websocket.accept()
            await websocket.close(4000, "mine")
            self.feed.call_sync(int)

        @app.websocket("/left")
        async def left(websocket: fastapi.WebSocket) -> None:
            await websocket.accept()
            with pytest.raises(WebSocketDisconnect):
                await websocket.receive_text()
            self.feed.call_sync(int)

        def needed() -> None:
            self.feed.call_sync(int)

        @app.websocket("/new")
        async def new(websocket: fastapi.WebSocket, needed: Annotated[None, fastapi.Depends(needed)]) -> None: ...

        return app

    def close_of(self, path: str) -> tuple[int, str]:
        """How the server ends a WebSocket that it has accepted."""
        with self.client.websocket_connect(path) as websocket:
            if not path.endswith("closed"):
                assert "welcome" == websocket.receive_text()
            with pytest.raises(WebSocketDisconnect) as caught:
                websocket.receive_text()
        return caught.value.code, caught.value.reason


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize("prefix", ["", "/mounted", "/bare"])
def test_an_accepted_websocket_is_told_to_try_again_later(site: Site, prefix: str) -> None:
    """1013, with the time to wait and nothing of what failed, also where a mounted application has no handlers."""
    assert LATER == site.close_of(f"{prefix}/accepted")


@pytest.mark.parametrize("prefix", ["", "/mounted"])
def test_a_websocket_that_was_not_accepted_is_refused_with_the_503(site: Site, prefix: str) -> None:
    """The handshake is HTTP, so that the whole answer has a place in it."""
    with pytest.raises(WebSocketDenialResponse) as caught, site.client.websocket_connect(f"{prefix}/new"):
        pass
    answer = caught.value
    assert (503, "91", "feed") == (answer.status_code, answer.headers["Retry-After"], answer.json()["breaker"])
    assert "secret" not in answer.text


def test_a_mounted_websocket_is_closed_since_nobody_knows_whether_it_was_accepted(site: Site) -> None:
    """A denial would be an error after the handshake, a close is right before it, too."""
    with pytest.raises(WebSocketDisconnect) as caught, site.client.websocket_connect("/bare/new"):
        pass
    assert LATER == (caught.value.code, caught.value.reason)


def without_denials(app: Any) -> Callable[..., Any]:
    """An application behind a server that knows no denial responses."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {}}, receive, send)

    return served


@pytest.mark.parametrize("prefix", ["", "/mounted", "/bare"])
def test_where_the_server_has_no_denial_responses_it_is_closed(site: Site, prefix: str) -> None:
    """A close before the handshake is over, which servers make a 403."""
    client = TestClient(without_denials(site.app))
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(f"{prefix}/new"):
        pass
    assert LATER == (caught.value.code, caught.value.reason)


def test_a_websocket_that_is_closed_already_stays_so(site: Site) -> None:
    """Whichever side has closed it, nothing more is sent, which would be an error of the server's."""
    assert (4000, "mine") == site.close_of("/closed")
    with site.client.websocket_connect("/left") as websocket:
        websocket.close()


def test_a_mounted_application_answers_for_itself(site: Site) -> None:
    """What is mounted has an error page of its own: without an ``install`` of its own a rejection is its 500."""
    answers = [site.client.get(f"{prefix}/plain") for prefix in ("", "/mounted", "/bare")]
    assert [503, 503, 500] == [each.status_code for each in answers]
    assert ["91", "91", None] == [each.headers.get("Retry-After") for each in answers]
