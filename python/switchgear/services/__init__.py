"""Services behind a breaker each: one file a service, over libraries that their users trust already."""

from switchgear.services.api import ApiCircuitBreaker
from switchgear.services.database import DatabaseCircuitBreaker
from switchgear.services.neural import NeuralCircuitBreaker
from switchgear.services.sandbox import E2BSandboxCircuitBreaker
from switchgear.services.trading import TradingSystemCircuitBreakers

__all__ = [
    "ApiCircuitBreaker",
    "DatabaseCircuitBreaker",
    "E2BSandboxCircuitBreaker",
    "NeuralCircuitBreaker",
    "TradingSystemCircuitBreakers",
]
