"""switchgear: a circuit breaker whose hot path is Rust."""

from switchgear._compat import BACKEND, Permit
from switchgear.breaker import CircuitBreaker
from switchgear.config import CircuitBreakerConfig
from switchgear.errors import BulkheadFullError, CallTimeoutError, CircuitBreakerError, CircuitOpenError
from switchgear.events import TransitionEvent
from switchgear.fallback import FallbackView
from switchgear.family import Family
from switchgear.guard import Guard
from switchgear.metrics import CircuitBreakerMetrics
from switchgear.registry import CircuitBreakerRegistry, breaker, default_registry
from switchgear.state import State

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
    "Permit",
    "State",
    "TransitionEvent",
    "breaker",
    "default_registry",
]
