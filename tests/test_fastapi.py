"""FastAPI finds parameters, dependencies and documentation of decorated functions as of plain ones."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

from helpers import counted
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State

fastapi = pytest.importorskip("fastapi", reason="SKIPPED: fastapi is not installed")
testclient = pytest.importorskip("fastapi.testclient", reason="SKIPPED: fastapi has no HTTP client to test with")


class Down(Exception):
    pass


class Site:
    """An application, each route of which goes through a breaker of its own."""

    def __init__(self) -> None:
        self.down = False
        self.breakers = {name: CircuitBreaker(name, CircuitBreakerConfig(2)) for name in self.names}
        self.app = fastapi.FastAPI()
        self.routes()
        self.app.exception_handler(CircuitOpenError)(self.rejected)
        self.client = testclient.TestClient(self.app, raise_server_exceptions=False)

    names = ("sync", "async", "dependency", "async dependency", "resource", "middle")

    def check(self) -> None:
        if self.down:
            raise Down

    async def rejected(self, request: Any, error: CircuitOpenError) -> Any:
        headers = {"Retry-After": str(round(error.retry_after))}
        return fastapi.responses.JSONResponse({"name": error.name}, status_code=503, headers=headers)

    def routes(self) -> None:
        @self.app.get("/sync/{symbol}")
        @self.breakers["sync"]
        def sync_route(symbol: str, depth: Annotated[int, fastapi.Query(gt=0)] = 5) -> dict[str, object]:
            """Answer synchronously."""
            self.check()
            return {"symbol": symbol, "depth": depth, "thread": threading.current_thread() is threading.main_thread()}

        @self.app.get("/async/{symbol}")
        @self.breakers["async"]
        async def async_route(symbol: str, request: fastapi.Request, depth: int = 5) -> dict[str, object]:
            await asyncio.sleep(0)
            self.check()
            return {"symbol": symbol, "depth": depth, "path": request.url.path}

        @self.breakers["dependency"]
        def dependency(x_token: Annotated[str, fastapi.Header()]) -> str:
            self.check()
            return x_token.upper()

        @self.breakers["async dependency"]
        async def async_dependency(token: Annotated[str, fastapi.Depends(dependency)]) -> str:
            await asyncio.sleep(0)
            return f"{token}!"

        @self.breakers["resource"]
        async def resource() -> AsyncIterator[str]:
            yield "resource"

        @self.app.get("/depends")
        async def depends(
            token: Annotated[str, fastapi.Depends(async_dependency)],
            opened: Annotated[str, fastapi.Depends(resource)],
        ) -> dict[str, str]:
            return {"token": token, "opened": opened}


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_fastapi_routes(site: Site, kind: str) -> None:
    """Path and query parameters of a decorated route are found, validated and passed; the call is counted."""
    response = site.client.get(f"/{kind}/AAPL?depth=3")
    assert response.status_code == 200
    assert (response.json()["symbol"], response.json()["depth"]) == ("AAPL", 3)
    assert site.client.get(f"/{kind}/AAPL").json()["depth"] == 5
    assert site.client.get(f"/{kind}/AAPL?depth=x").status_code == 422
    assert counted(site.breakers[kind]) == {"total_calls": 2, "successful_calls": 2}


def test_fastapi_runs_sync_routes_in_threads(site: Site) -> None:
    """A decorated sync route is run in a worker thread, as an undecorated one; it does not block the loop."""
    assert site.client.get("/sync/AAPL").json()["thread"] is False


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_fastapi_routes_that_fail(site: Site, kind: str) -> None:
    """Failing routes open their breaker; the rejection reaches FastAPI's exception handler."""
    site.down = True
    assert [site.client.get(f"/{kind}/AAPL").status_code for _ in range(2)] == [500, 500]
    response = site.client.get(f"/{kind}/AAPL")
    assert (response.status_code, response.json(), response.headers["Retry-After"]) == (503, {"name": kind}, "60")
    assert site.breakers[kind].state is State.OPEN


def test_fastapi_dependencies(site: Site) -> None:
    """Decorated dependencies, sync, async and with yield, are resolved with their own parameters."""
    response = site.client.get("/depends", headers={"X-Token": "secret"})
    assert (response.status_code, response.json()) == (200, {"token": "SECRET!", "opened": "resource"})
    assert site.client.get("/depends").status_code == 422
    assert counted(site.breakers["dependency"]) == {"total_calls": 1, "successful_calls": 1}
    assert counted(site.breakers["async dependency"]) == {"total_calls": 1, "successful_calls": 1}
    assert site.breakers["resource"].get_metrics().successful_calls >= 1


def test_fastapi_schema(site: Site) -> None:
    """The OpenAPI schema has the decorated function's parameters and docstring."""
    schema = site.app.openapi()
    operation = schema["paths"]["/sync/{symbol}"]["get"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["symbol", "depth"]
    assert operation["description"] == "Answer synchronously."
    assert operation["summary"] == "Sync Route"
