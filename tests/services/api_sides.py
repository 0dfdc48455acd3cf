"""The clients that ApiCircuitBreaker is used with in the tests: its own, and those of both libraries."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2

from services.api_server import ApiServer
from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services.api import ApiCircuitBreaker

SIDES = ("own", "httpx")
"""A client of our own, which is httpx2's, and one of the frozen httpx."""

GIVEN = ("httpx2", "httpx")
"""Clients that are handed in."""

ONCE = CircuitBreakerConfig(failure_threshold=1, timeout=10.0, reset_timeout=30.0)
"""Opens with the first failure, so that its event is there to look at."""

CERTIFICATES = ssl.create_default_context()


def library(side: str) -> Any:
    """Return the library whose exceptions are raised."""
    return httpx if side == "httpx" else httpx2


def client_of(side: str, **options: Any) -> Any:
    """Return a client of the library, without reading the certificates again."""
    return library(side).AsyncClient(verify=CERTIFICATES, **options)


@asynccontextmanager
async def api_of(
    server: ApiServer, side: str = "own", config: CircuitBreakerConfig | None = None, **options: Any
) -> AsyncIterator[ApiCircuitBreaker]:
    """Give a service of one of the sides whose base URL is the server's."""
    registry = CircuitBreakerRegistry()
    if side == "own":
        async with ApiCircuitBreaker("test", base_url=server.url, config=config, registry=registry, **options) as api:
            yield api
    else:
        async with client_of(side, base_url=server.url, follow_redirects=True) as client:
            yield ApiCircuitBreaker("test", client=client, config=config, registry=registry, **options)
