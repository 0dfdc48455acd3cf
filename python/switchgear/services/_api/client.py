"""The HTTP clients: the caller's own, or one of ours for each event loop, made when it is needed first."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any, Final

from switchgear import _trio
from switchgear._extras import need
from switchgear.services._api.verdict import LIBRARIES

SCHEMES: Final = ("http", "https")


def library_of(client: object) -> Any:
    """Return the module, httpx2 or httpx, that an async client is of.

    Raises:
        TypeError: It is no ``AsyncClient`` of either.
    """
    for cls in type(client).__mro__:
        root = cls.__module__.partition(".")[0]
        if cls.__name__ == "AsyncClient" and root in LIBRARIES:
            return sys.modules[root]
    raise TypeError(f"client must be an AsyncClient of httpx2 or httpx, not {type(client).__name__}")


class OwnClients:
    """One client for each event loop: connections belong to the loop that they were made in.

    A loop that ends closes its client: ``asyncio.run`` closes what async generators are open, and each client is held
    by one. So a service may be used in one ``asyncio.run`` after another and leaves no connection behind.

    Args:
        base_url: What relative URLs are relative to, or None.

    Raises:
        TypeError: ``base_url`` is no str.
        ValueError: ``base_url`` is no absolute URL of HTTP.
        ImportError: There is no httpx2.
    """

    def __init__(self, base_url: str | None) -> None:
        self.library = need("httpx2", "http", "ApiCircuitBreaker without a client")
        if base_url is not None:
            self._check(base_url)
        self._options = {} if base_url is None else {"base_url": base_url}
        self._held: dict[asyncio.AbstractEventLoop, tuple[Any, AsyncGenerator[None, None]]] = {}

    def _check(self, base_url: object) -> None:
        if not isinstance(base_url, str):
            raise TypeError(f"base_url must be a str or None, not {type(base_url).__name__}")
        try:
            url = self.library.URL(base_url)
        except self.library.InvalidURL:
            url = None
        if url is None or url.scheme not in SCHEMES or not url.host:
            # Not shown: it may hold a password.
            raise ValueError("base_url must be a URL that begins with http:// or https:// and a host")

    def get(self) -> Any:
        """Return the client of the running loop."""
        if _trio.in_trio():
            raise RuntimeError("on trio ApiCircuitBreaker needs a client of yours: ApiCircuitBreaker(..., client=...)")
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        return self._make(loop) if held is None else held[0]

    def _make(self, loop: asyncio.AbstractEventLoop) -> Any:
        for other in list(self._held):
            if other.is_closed():
                # It ended without asyncio.run, and nobody can close what it left.
                self._held.pop(other, None)
        # The deadline is the breaker's, so the client has none.
        verify = _certificates(self.library)
        client = self.library.AsyncClient(timeout=None, follow_redirects=True, verify=verify, **self._options)
        keeper = _keep(client, self._held, loop)
        # Its first step suspends nowhere: the loop knows of it at once, and no other task comes between.
        try:
            keeper.asend(None).send(None)
        except StopIteration:
            self._held[loop] = client, keeper
        return client

    async def aclose(self) -> None:
        """Close the clients: this loop's now; those of other loops, which only these may close, are left to them."""
        held = self._held.copy()
        self._held.clear()
        _, mine = held.pop(asyncio.get_running_loop(), (None, None)) if held else (None, None)
        # An async generator that nobody holds is closed by its loop.
        held.clear()
        if mine is not None:
            await mine.aclose()


@lru_cache(maxsize=1)
def _certificates(library: Any) -> Any:
    """Read the certificates once: it takes tens of milliseconds, in which the event loop stands still."""
    return library.create_ssl_context()


async def _keep(
    client: Any, held: "dict[asyncio.AbstractEventLoop, Any]", loop: asyncio.AbstractEventLoop
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        held.pop(loop, None)
        await client.aclose()
