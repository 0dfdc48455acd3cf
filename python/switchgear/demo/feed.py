"""The client's side of the market-data server, and the one place that knows the HTTP library."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import httpx2

from switchgear.demo.errors import DemoError

if TYPE_CHECKING:
    from types import TracebackType

    from switchgear.demo.modes import Mode

COMMAND_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Quote:
    """One price of one symbol."""

    symbol: str
    price: float
    sequence: int
    timestamp: float
    received: float
    """When it arrived here, on the monotonic clock."""


class Feed:
    """Reads quotes over connections that are kept alive: `async with Feed(url) as feed`."""

    def __init__(self, url: str) -> None:
        # No time limit: that is the breaker's. No proxy from the environment: this is loopback.
        self._client = httpx2.AsyncClient(base_url=url, timeout=None, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def quote(self, symbol: str) -> Quote:
        """Ask for one quote.

        Raises:
            httpx2.HTTPError: The server is unreachable, breaks off, or answers with an error status.
            ValueError: The answer is no quote.
        """
        response = await self._client.get(f"/quotes/{symbol}")
        response.raise_for_status()
        try:
            return Quote(**response.json(), received=time.monotonic())
        except TypeError as error:
            raise ValueError(f"no quote: {response.text[:80]}") from error

    async def set_mode(self, mode: Mode) -> None:
        """Tell the server how to behave from now on.

        Raises:
            DemoError: It does not take the order.
        """
        try:
            response = await self._client.put("/mode", json={"mode": mode}, timeout=COMMAND_SECONDS)
            response.raise_for_status()
        except httpx2.HTTPError as error:
            raise DemoError(f"the market-data server does not take orders: {error!r}") from error
