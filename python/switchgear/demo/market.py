"""Prices that move: one geometric random walk a symbol, advanced when somebody asks."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from threading import Lock
from typing import Final

OPENING_PRICES: Final = {"AAPL": 187.20, "MSFT": 415.50, "NVDA": 121.40, "SAP": 176.30}
SYMBOLS: Final = tuple(OPENING_PRICES)

ANNUAL_VOLATILITY: Final = 0.6
TRADING_SECONDS_A_YEAR: Final = 252 * 6.5 * 3600


@dataclass(slots=True)
class Walk:
    """Where one symbol's walk stands."""

    price: float
    sequence: int
    stepped: float


class Market:
    """The quotes of all symbols; safe to ask from any thread."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._walks = {symbol: Walk(price, 0, now) for symbol, price in OPENING_PRICES.items()}
        self._lock = Lock()

    def quote(self, symbol: str) -> dict[str, object]:
        """Advance the walk by the time since the last quote, and return the new one.

        Raises:
            KeyError: No such symbol is traded here.
        """
        with self._lock:
            walk = self._walks[symbol]
            now = time.monotonic()
            deviation = ANNUAL_VOLATILITY * math.sqrt((now - walk.stepped) / TRADING_SECONDS_A_YEAR)
            walk.price *= math.exp(random.gauss(0.0, deviation))
            walk.sequence += 1
            walk.stepped = now
            return {
                "symbol": symbol,
                "price": round(walk.price, 4),
                "sequence": walk.sequence,
                "timestamp": time.time(),
            }
