"""An HTTP service behind a breaker: ``ApiCircuitBreaker``, over httpx2, or an httpx client of yours.

The parts: requests are made and checked by ``_api.request``, sent and read by ``_api.exchange``, judged by
``_api.verdict``; bodies are ``_api.body``'s.
"""

# ruff: noqa: A002  # `type` is the word of the interface

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from switchgear.config import CircuitBreakerConfig
from switchgear.services._api.body import decoder, msgspec
from switchgear.services._api.client import OwnClients, library_of
from switchgear.services._api.errors import ApiClosedError, ApiError, ApiStatusError, BodyTooLargeError, DecodeError
from switchgear.services._api.exchange import Exchange
from switchgear.services._api.quiet import hush
from switchgear.services._api.request import Headers, Params, make_request
from switchgear.services._api.stream import is_of_exchange, watch
from switchgear.services._api.verbs import Verbs
from switchgear.services._api.verdict import verdict
from switchgear.services._service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from switchgear.registry import CircuitBreakerRegistry

__all__ = ["ApiCircuitBreaker", "ApiClosedError", "ApiError", "ApiStatusError", "BodyTooLargeError", "DecodeError"]

T = TypeVar("T")

DEFAULTS: Final = CircuitBreakerConfig(failure_threshold=5, success_threshold=2, timeout=10.0, reset_timeout=30.0)
MAX_BODY: Final = 16 * 1024 * 1024
_MOST: Final = 1 << 40


class ApiCircuitBreaker(Verbs, Service):
    """Call an HTTP service through a breaker, and get its answers decoded.

    The breaker's ``timeout`` is the deadline of the whole exchange: the wait for a connection, redirects and the body
    are in it. Safe to use from any number of tasks, and from one event loop after another. A call that is cancelled
    gives its connection back and says nothing of the service.

    What is wrong with a request is a ``ValueError`` or ``TypeError`` before the breaker is asked. No URL, header or
    body is in an event, a log or the text of an exception of ours.

    Args:
        service_name: What the service is called; the breaker's name is ``api:<service_name>``.
        base_url: What relative URLs are relative to; for a client of our own. Default None: URLs are absolute.
        client: An ``AsyncClient`` of httpx2 or httpx, used as it is set up (its timeouts and its policy on redirects
            hold, too) and never closed here. Default None: a client of our own, made when it is needed first, without
            timeouts of its own, that follows redirects, up to 20.
        max_body: Bytes of a body, decompressed, that are read at most; 1 to 2^40, default 16 MiB. Not for ``stream``.
        config: How the breaker behaves; default 5 failures, 2 successes, 10 s a call, 30 s open. Its ``classify`` is
            asked before the service's own verdict.
        registry: Where the breaker is registered; default the process's.

    Raises:
        TypeError: Something is of the wrong type.
        ValueError: A name that is empty, or that of a breaker which no service has made; a ``base_url`` that is none,
            or beside a client; ``max_body`` out of range.
        ImportError: A library is missing; the text says what to install.
    """

    def __init__(
        self,
        service_name: str,
        *,
        base_url: str | None = None,
        client: "httpx2.AsyncClient | Any | None" = None,
        max_body: int = MAX_BODY,
        config: CircuitBreakerConfig | None = None,
        registry: "CircuitBreakerRegistry | None" = None,
    ) -> None:
        if type(max_body) is not int or not 1 <= max_body <= _MOST:
            raise ValueError(f"max_body must be an int from 1 to {_MOST:,}, not {max_body!r}")
        if client is not None and base_url is not None:
            raise ValueError("base_url is for a client of our own; a client of yours has its own base_url")
        msgspec()
        self._client = client
        self._own = OwnClients(base_url) if client is None else None
        self._library = library_of(client) if self._own is None else self._own.library
        self._max_body = max_body
        self._closed = False
        super().__init__("api", service_name, defaults=DEFAULTS, classify=verdict, config=config, registry=registry)
        hush()

    @overload
    async def request(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        type: type[T],
        params: Params = None,
        headers: Headers = None,
    ) -> T: ...
    @overload
    async def request(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        type: Any = None,
        params: Params = None,
        headers: Headers = None,
    ) -> Any: ...
    async def request(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        type: Any = None,
        params: Params = None,
        headers: Headers = None,
    ) -> Any:
        """Send a request and return the body of the answer, decoded.

        Args:
            method: GET, POST, ...
            url: Absolute, or relative to the base URL.
            body: What to send: bytes and str as they are, a pydantic model or anything that msgspec can encode as JSON.
                Default None: no body.
            type: What to decode the body into: a pydantic model, or a type with one in its arguments, by pydantic; a
                Struct, dataclass, TypedDict or whatever else by msgspec; ``bytes`` and ``str`` give it as it is.
                Default None: JSON as dicts, lists, strings and numbers, and None where there is no body.
            params: The query: a mapping, or pairs. It replaces one that stands in the URL.
            headers: A mapping, or pairs.

        Raises:
            CircuitOpenError: Rejected; nothing was sent.
            CallTimeoutError: The exchange was not over at the deadline.
            ApiStatusError: The status is not 2xx, and no redirect that was followed.
            DecodeError: The body is not of that type.
            BodyTooLargeError: It is longer than ``max_body``.
            ApiClosedError: ``aclose()`` was called.
            ValueError: The method, the URL or a header is none; the body holds itself.
            TypeError: The body cannot be encoded, ``type`` not be decoded into; something else is of a wrong type.
            Exception: What the client raises: ``httpx2.TransportError`` and others.
        """
        exchange = self._exchange(method, url, body, params, headers)
        return await self.breaker.call(exchange.fetch, decoder(type), type)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        body: object = None,
        *,
        params: Params = None,
        headers: Headers = None,
    ) -> "AsyncIterator[httpx2.Response]":
        """Send a request and read the body piece by piece: ``async with api.stream("GET", url) as response``.

        The permit settles at the end of the body: whole is a success, broken a failure, also where the block swallows
        the exception. A block that is left earlier is a success, one that raises something of its own is neutral. The
        deadline is that of the whole block; ``CircuitBreakerConfig(timeout=None)`` is for bodies without an end.

        Args:
            method: As in ``request``; so are the others.
            url: As there.
            body: As there.
            params: As there.
            headers: As there.

        Yields:
            The client's response, 2xx, to be read with ``aiter_bytes()``, ``aiter_lines()`` and the like.

        Raises:
            ApiStatusError: The status is not 2xx.
            Exception: As from ``request``.
        """
        exchange = self._exchange(method, url, body, params, headers)
        async with self.breaker.guard() as permit:
            response = await exchange.open()
            watch(response, permit, exchange)
            try:
                yield response
            except Exception as error:
                if not permit.settled and not is_of_exchange(error, response, exchange):
                    permit.release()
                raise
            finally:
                await response.aclose()

    async def aclose(self) -> None:
        """Close our own client, if there is one; a client of yours stays open. Closing twice is no error.

        Calls in flight on our own client end with ``ApiClosedError``, which says nothing of the service. Its
        connections in other event loops that still run are closed by these.
        """
        self._closed = True
        if self._own is not None:
            await self._own.aclose()

    def _exchange(self, method: str, url: str, body: object, params: Params, headers: Headers) -> Exchange:
        if self._closed:
            raise ApiClosedError(self.breaker.name)
        client, breaker = self._client if self._own is None else self._own.get(), self.breaker
        timeout = breaker.config.timeout
        request = make_request(
            client, self._library, method, url, body=body, params=params, headers=headers, timeout=timeout
        )
        return Exchange(
            breaker.name,
            client,
            library=self._library,
            request=request,
            max_body=self._max_body,
            closed=self._lost_client,
        )

    def _lost_client(self) -> bool:
        return self._closed and self._own is not None
