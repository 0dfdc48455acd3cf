"""httpx and httpx2: a transport that puts a breaker before each host."""

import json
import sys
from collections.abc import Callable
from functools import lru_cache
from time import monotonic, time
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from switchgear._http import is_failure_status, retry_after, says_when
from switchgear._verdict import has_verdict, with_verdict
from switchgear.config import CircuitBreakerConfig
from switchgear.integrations._httpx.bodies import ASYNC_KINDS, SYNC_KINDS, AsyncBody, SyncBody
from switchgear.integrations._httpx.deadline import Pace
from switchgear.integrations._httpx.verdicts import BadStatusError, classify
from switchgear.integrations._rejection import PROBLEM_TYPE, REJECTIONS, problem, wait_seconds
from switchgear.registry import CircuitBreakerRegistry, default_registry

if TYPE_CHECKING:
    from switchgear._compat import Permit
    from switchgear.family import Family

    # For type checkers it is a transport of whichever library they see.
    _Transport: Any
else:
    _Transport = object

_SWITCHING_PROTOCOLS: Final = 101


def host(request: Any) -> str:
    """Return the host of a request, the key of its breaker: ``"api.example.com"``, whatever the port.

    What has none, such as a ``file:`` URL with a transport of its own, goes by its scheme.
    """
    url = request.url
    return url.host or url.scheme or "(no host)"


class BreakerTransport(_Transport):  # type: ignore[misc]
    """Put a breaker before each host that a client of httpx or httpx2 talks to.

    One class for both libraries, sync and async: ``httpx2.Client(transport=BreakerTransport(httpx2.HTTPTransport()))``.
    Each request takes a permit of its host's breaker, redirects and the steps of an authentication one each. A 5xx or a
    429 is a failure as soon as it is there, and its ``Retry-After`` the least time that the breaker stays open; every
    other answer settles at the end of its body: success when that has been read or is closed, failure where it breaks
    or takes too long, nothing where its reader is cancelled or drops it unclosed.

    The breakers are those of a family of the registry, bounded in number: ``http:api.example.com``. Two transports with
    the same registry and name share them. The configuration's ``timeout`` is what one async exchange may wait for the
    host in sum, from the request to the end of the body, to a sixteenth; the time that the reader of a streamed body
    takes between its parts is not counted. A sync request cannot be interrupted: it has httpx's own timeouts alone.
    Safe from any thread and task, as far as ``next`` is.

    Args:
        next: The transport that does the work; one that has ``handle_request``, ``handle_async_request`` or both.
        registry: Where the family is; default the process's registry.
        key: Called with each request, returns the key of its breaker, a non-empty str; default ``host``.
        on_open: What a rejection is: ``"raise"``, the default, for ``CircuitOpenError``; ``"respond"`` for an answer
            503 with ``Retry-After`` and ``x-should-retry: false``, after which the SDKs that take an ``http_client``
            do not try again.
        name: What the names of the breakers begin with; not empty, default ``"http"``.
        config: How they behave; default that of the family if there is one, else ``CircuitBreakerConfig()``. Its
            ``classify`` is asked before the transport's, its ``is_failure`` is asked about each response before the
            body is read, and a slow-call rule counts until the end of the body.
        max_hosts: How many breakers are kept, 1 to 1,000,000; default that of the family, else 1,000.

    Raises:
        TypeError: ``next`` is no transport, ``key`` not callable, the registry no registry, the config no config.
        ValueError: ``on_open`` is something else, the name empty, ``max_hosts`` out of range; or a family of this name
            is registered that no transport has made.
    """

    def __init__(
        self,
        next: Any,  # noqa: A002  # the word of everybody who wraps a transport
        registry: CircuitBreakerRegistry | None = None,
        key: Callable[[Any], str] = host,
        *,
        on_open: Literal["raise", "respond"] = "raise",
        name: str = "http",
        config: CircuitBreakerConfig | None = None,
        max_hosts: int | None = None,
    ) -> None:
        self._send = getattr(next, "handle_request", None)
        self._send_async = getattr(next, "handle_async_request", None)
        if isinstance(next, type) or not (callable(self._send) or callable(self._send_async)):
            raise TypeError(f"next must be a transport of httpx or httpx2, not {next!r}")
        if not callable(key):
            raise TypeError(f"key must be a callable that takes the request, not {key!r}")
        if on_open not in ("raise", "respond"):
            raise ValueError(f"on_open must be 'raise' or 'respond', not {on_open!r}")
        self._next = next
        self._key = key
        self._responds = on_open == "respond"
        self._family = _family(registry, name, config, max_hosts)
        self._config = self._family.config
        self._pace = Pace(self._config.timeout)

    @property
    def family(self) -> "Family":
        """The breakers by key: ``transport.family["api.example.com"]``."""
        return self._family

    def handle_request(self, request: Any) -> Any:
        """Send a request through the breaker of its host; called by a sync client."""
        send = self._send
        if send is None:
            raise TypeError(f"{self._next!r} has no handle_request: a sync client needs a sync transport")
        breaker = self._family[self._key(request)]
        try:
            permit = breaker.acquire()
        except REJECTIONS as error:
            if self._responds:
                return _rejected(request, error)
            raise
        try:
            response = send(request)
        except BaseException as error:
            permit._settle_exception(error)
            raise
        try:
            settled = _settled(breaker.config, permit, response)
        except BaseException:
            response.close()
            raise
        if not settled:
            stream = response.stream
            body: SyncBody = SYNC_KINDS[type(stream)]()
            body.stream, body.permit = stream, permit
            response.stream = body
        return response

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request through the breaker of its host; called by an async client."""
        send = self._send_async
        if send is None:
            raise TypeError(f"{self._next!r} has no handle_async_request: an async client needs an async transport")
        breaker = self._family[self._key(request)]
        try:
            permit = breaker.acquire()
        except REJECTIONS as error:
            if self._responds:
                return _rejected(request, error)
            raise
        config, begun = breaker.config, monotonic()
        # Another one where an operator has reconfigured this breaker alone.
        pace = self._pace if config is self._config else Pace(config.timeout)
        try:
            response = await pace.call(send, request)
        except BaseException as error:
            pace.settle(permit, breaker.name, error)
            raise
        until = monotonic()
        # The usual answer is known without a call.
        if not 200 <= response.status_code < 400 or config.is_failure is not None or response.is_closed:
            try:
                _settled(config, permit, response)
            except BaseException:
                await response.aclose()
                raise
        # The body of a failure, too, is waited for no longer than for the rest.
        if not response.is_closed:
            stream = response.stream
            body: AsyncBody = ASYNC_KINDS[type(stream)]()
            body.stream, body.permit, body.breaker = stream, permit, breaker
            body.pace, body.soon, body.until, body.parts = pace, begun + pace.soon, until, None
            response.stream = body
        return response

    def close(self) -> None:
        """Close the transport that does the work; the breakers stay."""
        self._next.close()

    async def aclose(self) -> None:
        """Close the transport that does the work; the breakers stay."""
        await self._next.aclose()

    def __enter__(self) -> Self:
        self._next.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._next.__exit__(kind, error, traceback)

    async def __aenter__(self) -> Self:
        await self._next.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._next.__aexit__(kind, error, traceback)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._family!r}, next {type(self._next).__name__}>"


def _settled(config: CircuitBreakerConfig, permit: "Permit", response: Any) -> bool:
    """Settle by the status and what it says, where nothing is to come that could change it; tell whether."""
    status: int = response.status_code
    if status >= 400 and is_failure_status(status):
        asked = retry_after(response.headers.get("retry-after"), time()) if says_when(status) else None
        permit.failure(BadStatusError(status), retry_after=asked)
    elif config.is_failure is not None and _judged(config.is_failure, permit, response):
        permit.failure(BadStatusError(status))
    elif response.is_closed or status == _SWITCHING_PROTOCOLS:
        # The body is there already, or there is none: the connection is a websocket's now.
        permit.success()
    else:
        return False
    return True


def _judged(judge: Callable[[Any], object], permit: "Permit", response: Any) -> bool:
    try:
        return bool(judge(response))
    except BaseException:
        # As with call(): what the user's judge raises reaches the caller and says nothing of the host.
        permit.release()
        raise


def _rejected(request: Any, error: Any) -> Any:
    kind: Any = type(request)
    library = _library(kind)
    if library is None:
        raise error
    text = str(error)
    # "message" is where OpenAI's SDK looks for the text of its own exception.
    body = json.dumps(problem(error, text) | {"message": text}).encode()
    headers = {
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Retry-After": str(wait_seconds(error)),
        "x-should-retry": "false",
    }
    # As a stream: only a client that has read and closed one knows `response.elapsed`.
    return library.Response(503, headers=headers, stream=library.ByteStream(body), request=request)


def _family(
    registry: CircuitBreakerRegistry | None, name: str, config: CircuitBreakerConfig | None, max_hosts: int | None
) -> "Family":
    if registry is None:
        registry = default_registry()
    elif not isinstance(registry, CircuitBreakerRegistry):
        raise TypeError(f"registry must be a CircuitBreakerRegistry or None, not {type(registry).__name__}")
    if config is not None and not isinstance(config, CircuitBreakerConfig):
        raise TypeError(f"config must be a CircuitBreakerConfig or None, not {type(config).__name__}")
    family = registry.families.get(name)
    if family is None:
        family = registry.family(name, with_verdict(config or CircuitBreakerConfig(), classify), max_hosts)
    elif has_verdict(family.config, classify):
        family = registry.family(name, None if config is None else with_verdict(config, classify), max_hosts)
    if not has_verdict(family.config, classify):
        raise ValueError(
            f"a family named {name!r} is registered already that was made without a transport and knows nothing of the"
            " exceptions of httpx: let the transport make it, config= says how it behaves; or give another name="
        )
    return family


@lru_cache(maxsize=64)
def _library(request: type) -> ModuleType | None:
    """Return the library whose request this is: the one that its client wants an answer of."""
    for each in request.__mro__:
        if each.__name__ == "Request":
            return sys.modules.get(each.__module__.partition(".")[0])
    return None
