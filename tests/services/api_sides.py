"""The clients that ApiCircuitBreaker is used with in the tests: its own, and those of both libraries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2

from services.api_server import ApiServer
from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services.api import ApiCircuitBreaker

SIDES = ("own", "httpx2", "httpx")
ONCE = CircuitBreakerConfig(failure_threshold=1, timeout=10.0, reset_timeout=30.0)
"""Opens with the first failure, so that its event is there to look at."""


def library(side: str) -> Any:
    """Return the library whose exceptions are raised."""
    return httpx if side == "httpx" else httpx2


@asynccontextmanager
async def api_of(
    server: ApiServer, side: str = "own", config: CircuitBreakerConfig | None = None, **options: Any
) -> AsyncIterator[ApiCircuitBreaker]:
    """Give a service of one of the sides whose base URL is the server's."""
    registry = CircuitBreakerRegistry()
    if side == "own":
        async with ApiCircuitBreaker(
            "test", base_url=server.url, config=config, registry=registry, **options
        ) as api:
            yield api
    else:
        async with library(side).AsyncClient(base_url=server.url, follow_redirects=True) as client:
            yield ApiCircuitBreaker("test", client=client, config=config, registry=registry, **options)
