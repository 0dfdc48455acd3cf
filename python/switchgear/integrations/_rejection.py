"""What a rejection becomes where HTTP is spoken: how long to wait, and a problem document (RFC 9457)."""

import math
from http import HTTPStatus
from typing import Any, Final

from switchgear.errors import BulkheadFullError, CircuitBreakerError, CircuitOpenError

REJECTIONS: Final[tuple[type[CircuitBreakerError], ...]] = (CircuitOpenError, BulkheadFullError)
"""The exceptions that say: this call was not made. Each has a ``name``; ``state`` and ``retry_after`` are optional."""

PROBLEM_TYPE: Final = "application/problem+json"

_ASK_AGAIN: Final = 60
"""Seconds, where only an operator can tell: it costs the client nothing to look again then."""

_SHORTLY: Final = 1.0
"""Seconds, where the rejection knows no time: a place among the calls in flight is free any moment."""


def wait_seconds(error: Any) -> int:
    """Return the value of ``Retry-After``: whole seconds, 1 or more, never before the breaker admits a call."""
    wait: float = getattr(error, "retry_after", _SHORTLY)
    return _ASK_AGAIN if math.isinf(wait) else max(1, math.ceil(wait))


def problem(error: Any, detail: str) -> dict[str, Any]:
    """Return the problem document of a rejection.

    Args:
        error: The rejection.
        detail: What to tell people. A text for strangers must not hold the rejection's own: that quotes the last
            failure, and with it hosts and paths of the inside.
    """
    wait: float = getattr(error, "retry_after", _SHORTLY)
    state = getattr(error, "state", None)
    return {
        "type": "about:blank",
        "title": HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        "status": int(HTTPStatus.SERVICE_UNAVAILABLE),
        "detail": detail,
        "breaker": error.name,
        "state": None if state is None else str(state),
        # JSON has no infinity: null is "until an operator says so".
        "retry_after": None if math.isinf(wait) else round(wait, 3),
    }
