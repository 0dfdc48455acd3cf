"""FastAPI: rejections become 503 answers, and the breakers a page of their own."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from switchgear._extras import need
from switchgear.integrations._rejection import PROBLEM_TYPE, REJECTIONS, problem, wait_seconds
from switchgear.registry import CircuitBreakerRegistry, default_registry

if TYPE_CHECKING:
    from switchgear.breaker import CircuitBreaker

_TRY_AGAIN_LATER: Final = 1013
"""The close code of a WebSocket that says so (RFC 6455's registry at IANA)."""


def install(
    app: Any,
    registry: CircuitBreakerRegistry | None = None,
    *,
    path: str | None = "/health/breakers",
    dependencies: Iterable[Any] = (),
) -> None:
    """Teach a FastAPI application what a rejection is, and give it a page with the state of every breaker.

    A ``CircuitOpenError`` or a ``BulkheadFullError`` that leaves a route or a dependency becomes an answer 503 with
    ``Retry-After`` and a problem document (RFC 9457): the breaker's name, its state and ``retry_after`` in seconds,
    null where only an operator can tell. It does not quote what failed, which strangers may read. An application with a
    handler of its own for one of them keeps that.

    A WebSocket that was accepted is closed with 1013, "try again later", and how long to wait as the reason. One that
    was not is refused with the same answer 503 where the server can (ASGI's denial responses), else closed, which
    servers make a 403.

    An application that is mounted on this one answers for itself: it has its own error page, and so needs an
    ``install(sub_app, path=None)`` of its own.

    ``GET`` of the path answers with the breakers and the families of the registry; see ``overview``. It always answers
    200: that a dependency is down is no reason to restart whoever noticed.

    Args:
        app: A ``fastapi.FastAPI`` that has not begun to serve.
        registry: Whose breakers are shown; default the process's registry. Rejections of all others are handled, too.
        path: Where the page is; default ``"/health/breakers"``; None: no page.
        dependencies: ``fastapi.Depends(...)`` of the page, to keep strangers out; default none.

    Raises:
        TypeError: ``app`` is no FastAPI application, the registry no registry.
        ValueError: The path does not begin with a slash, or the application has a route there already.
        RuntimeError: The application serves already.
        ImportError: FastAPI is not installed; the text says what to install.
    """
    fastapi = need("fastapi", "fastapi", "switchgear.integrations.fastapi")
    if not isinstance(app, fastapi.FastAPI):
        raise TypeError(f"app must be a fastapi.FastAPI, not {type(app).__name__}")
    if registry is None:
        registry = default_registry()
    elif not isinstance(registry, CircuitBreakerRegistry):
        raise TypeError(f"registry must be a CircuitBreakerRegistry or None, not {type(registry).__name__}")
    if app.middleware_stack is not None:
        raise RuntimeError("the application serves already: install() comes before its first request")
    if path is not None:
        _check_path(app, path)
        _add_page(app, registry, path, list(dependencies))
    for rejection in REJECTIONS:
        if rejection not in app.exception_handlers:
            app.add_exception_handler(rejection, partial(_rejected, app))


def overview(registry: CircuitBreakerRegistry) -> dict[str, Any]:
    """Return the state and the counters of every breaker of a registry, as JSON takes them.

    Returns:
        ``{"breakers": {name: breaker}, "families": {name: {key: breaker}}}``, where a breaker is ``state``
        (``"OPEN"``), ``text`` (``"OPEN (elapsed: 1.204s)"``), ``success_rate`` in percent, and ``metrics``.
    """
    return {
        # Each looked up anew: what somebody removes meanwhile is not there.
        "breakers": {name: _describe(breaker) for name in registry if (breaker := registry.get(name)) is not None},
        "families": {
            name: {key: _describe(breaker) for key in family if (breaker := family.get(key)) is not None}
            for name, family in registry.families.items()
        },
    }


def _describe(breaker: "CircuitBreaker") -> dict[str, Any]:
    metrics = breaker.get_metrics()
    return {
        "state": str(breaker.state),
        "text": breaker.get_state(),
        "success_rate": metrics.success_rate,
        "metrics": metrics._asdict(),
    }


def _check_path(app: Any, path: str) -> None:
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f"path must be None or a str that begins with a slash, not {path!r}")
    if any(getattr(route, "path", None) == path for route in app.routes):
        raise ValueError(f"the application has a route at {path!r} already")


def _add_page(app: Any, registry: CircuitBreakerRegistry, path: str, dependencies: list[Any]) -> None:
    responses = need("fastapi.responses", "fastapi", "switchgear.integrations.fastapi")

    # No annotation of what it returns, from which FastAPI would make a model: every number would be checked.
    async def breakers():  # type: ignore[no-untyped-def]
        """Tell the state and the counters of every circuit breaker of this process."""
        return responses.JSONResponse(overview(registry), headers={"Cache-Control": "no-store"})

    app.add_api_route(path, breakers, methods=["GET"], dependencies=dependencies, tags=["health"], response_model=None)


async def _rejected(app: Any, connection: Any, error: Any) -> Any:
    responses = need("fastapi.responses", "fastapi", "switchgear.integrations.fastapi")
    wait = wait_seconds(error)
    detail = f"{error.name!r} is not available at the moment; worth another try in {wait} s"
    headers = {"Retry-After": str(wait)}
    answer = responses.JSONResponse(problem(error, detail), status_code=503, headers=headers, media_type=PROBLEM_TYPE)
    if connection.scope["type"] != "websocket":
        return answer
    return await _turn_away(app, connection, answer, f"worth another try in {wait} s")


async def _turn_away(app: Any, websocket: Any, answer: Any, reason: str) -> None:
    states = need("fastapi.websockets", "fastapi", "switchgear.integrations.fastapi").WebSocketState
    # Of a mounted application's WebSocket this one does not know whether it was accepted.
    is_new = websocket.application_state is states.CONNECTING and websocket.scope["app"] is app
    if is_new and "websocket.http.response" in websocket.scope.get("extensions", ()):
        await websocket.send_denial_response(answer)
    elif states.DISCONNECTED not in (websocket.application_state, websocket.client_state):
        await websocket.close(_TRY_AGAIN_LATER, reason)
