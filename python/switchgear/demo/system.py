"""The trading system under test: the five services, quick to give up and quick to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from switchgear import CircuitBreakerConfig
from switchgear.demo.predictor import PricePredictor
from switchgear.demo.rules import RULES
from switchgear.services.trading import SERVICES, TradingSystemCircuitBreakers

if TYPE_CHECKING:
    from pathlib import Path

    from switchgear.demo.predictor import Switch

RESET_SECONDS: Final = 0.5
TIMEOUT_SECONDS: Final = {
    "market_data_api": 0.25,
    "order_execution_api": 0.25,
    "e2b_sandbox": 1.0,  # which leaves the code itself half of that
    "neural_predictor": 0.25,
    "database": 0.25,
}
BREAKERS: Final = {
    "market_data_api": "api:market_data",
    "order_execution_api": "api:order_execution",
    "e2b_sandbox": "e2b:sandbox",
    "neural_predictor": "neural:price_predictor",
    "database": "db:trading_db",
}
"""The names of the services' breakers, which events go by."""


def build(url: str, database: Path, switch: Switch, rule: str) -> TradingSystemCircuitBreakers:
    """Build the system on one server, a SQLite file and a model that the switch breaks.

    Args:
        url: Where the server answers both as market and as venue.
        database: The SQLite file.
        switch: What breaks the model.
        rule: What trips the breakers: a name in ``rules.RULES``.
    """
    configs = {
        name: CircuitBreakerConfig(
            failure_threshold=3,
            success_threshold=2,
            timeout=TIMEOUT_SECONDS[name],
            reset_timeout=RESET_SECONDS,
            # What a slow answer is differs from service to service: the rule is the market data's.
            trip=RULES[rule] if name == "market_data_api" else None,
        )
        for name in SERVICES
    }
    return TradingSystemCircuitBreakers(
        url, url, str(database), PricePredictor(switch), sandbox_backend="monty", configs=configs
    )
