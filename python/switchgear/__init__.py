"""switchgear: a circuit breaker whose hot path is Rust."""

from typing import TYPE_CHECKING

from switchgear import _forks as _forks
from switchgear._compat import BACKEND, Permit
from switchgear.breaker import CircuitBreaker
from switchgear.config import CircuitBreakerConfig
from switchgear.errors import BulkheadFullError, CallTimeoutError, CircuitBreakerError, CircuitOpenError
from switchgear.events import TransitionEvent
from switchgear.fallback import FallbackView
from switchgear.guard import Guard
from switchgear.metrics import CircuitBreakerMetrics
from switchgear.registry import CircuitBreakerRegistry, breaker, default_registry
from switchgear.state import Outcome, State

if TYPE_CHECKING:
    from switchgear.family import Family

__all__ = [
    "BACKEND",
    "BulkheadFullError",
    "CallTimeoutError",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerError",
    "CircuitBreakerMetrics",
    "CircuitBreakerRegistry",
    "CircuitOpenError",
    "FallbackView",
    "Family",
    "Guard",
    "Outcome",
    "Permit",
    "State",
    "TransitionEvent",
    "breaker",
    "default_registry",
]


def __getattr__(name: str) -> object:
    # Of these names the one that most programs do without: it is imported by whoever asks for it.
    if name == "Family":
        from switchgear.family import Family

        return Family
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
