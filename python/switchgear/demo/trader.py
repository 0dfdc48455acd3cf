"""The trading loop: a quote, a forecast, a decision, an order, a row; and what it does instead where one is missing."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final

from switchgear import BulkheadFullError, CircuitOpenError
from switchgear.demo.ledger import Fate, Order
from switchgear.demo.market import SYMBOLS
from switchgear.demo.predictor import WINDOW, lessons, moves

if TYPE_CHECKING:
    from switchgear.demo.ledger import Ledger
    from switchgear.services.trading import TradingSystemCircuitBreakers

STRATEGY: Final = """
def decide(move):
    if move > 0.0:
        return 'buy'
    if move < 0.0:
        return 'sell'
    return 'hold'
"""
LOOPING: Final = "while True:\n    pass"
GREEDY: Final = "hoard = []\nwhile True:\n    hoard.append('x' * 1_000_000)"
CREATE: Final = "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, symbol TEXT, side TEXT, price REAL)"
INSERT: Final = "INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?)"
REJECTIONS = (CircuitOpenError, BulkheadFullError)
LESSONS: Final = 60
TRAINING_SECONDS: Final = 10.0
CATCHING_UP: Final = 20
"""Orders that are written or asked after in one round, beside the new one."""


class Trader:
    """Trades one symbol after the other, and counts what it falls back on."""

    def __init__(self, system: TradingSystemCircuitBreakers, ledger: Ledger) -> None:
        self.rounds = 0
        self.fallbacks: Counter[str] = Counter()
        self.strategy = STRATEGY
        """The code that the sandbox runs for each decision; the saboteur changes it."""
        self._system = system
        self._ledger = ledger
        self._prices = {symbol: deque[float](maxlen=WINDOW + 1) for symbol in SYMBOLS}
        self._numbers = itertools.count(1)
        self._sandbox: str | None = None
        self._last: str | None = None

    async def prepare(self) -> float:
        """Set up the table, train the model on the market's own prices, and return the loss that is left."""
        await self._system.database.execute(CREATE)
        rows: list[list[float]] = []
        labels: list[float] = []
        for symbol in SYMBOLS:
            prices = [await self._quote(symbol) or 0.0 for _ in range(LESSONS)]
            learnt, next_moves = lessons(prices)
            rows += learnt
            labels += next_moves
        predictor = self._system.neural_predictor
        usual = predictor.breaker.config
        # A training may take longer than a prediction.
        predictor.reconfigure(usual.replace(timeout=TRAINING_SECONDS))
        try:
            return await predictor.train(rows, labels)
        finally:
            predictor.reconfigure(usual)

    async def run(self) -> None:
        """Trade until cancelled."""
        for symbol in itertools.cycle(SYMBOLS):
            await self.trade(symbol)
            self.rounds += 1
            # Where everything is rejected a round waits for nothing, and nobody else would run.
            await asyncio.sleep(0)

    async def trade(self, symbol: str) -> None:
        """Make one round."""
        price = await self._quote(symbol)
        prices = self._prices[symbol]
        if price is None:
            self.fallbacks["last known price"] += 1
            await self._look_after_the_last_order()
        else:
            prices.append(price)
        if len(prices) <= WINDOW:
            return
        side = await self._decision(await self._forecast(list(prices)))
        # On a price that is not the market's nothing is traded.
        if side in ("buy", "sell") and price is not None:
            await self._place(Order(f"order{next(self._numbers)}", symbol, side, price))
        await self.catch_up(CATCHING_UP)

    async def _quote(self, symbol: str) -> float | None:
        try:
            quote: dict[str, Any] = await self._system.market_data_api.get(f"/quotes/{symbol}")
        except Exception:
            return None
        return float(quote["price"])

    async def _forecast(self, prices: list[float]) -> float:
        try:
            (move,) = await self._system.neural_predictor.predict(moves(prices))
        except Exception:
            self.fallbacks["last move goes on"] += 1
            return moves(prices)[-1]
        return move

    async def _decision(self, move: float) -> str:
        try:
            if self._sandbox is None:
                self._sandbox = await self._system.e2b_sandbox.create_sandbox()
            code = f"{self.strategy}\ndecide({move!r})"
            result = await self._system.e2b_sandbox.execute_code(self._sandbox, code)
        except Exception:
            self.fallbacks["hold"] += 1
            return "hold"
        if result.error is not None:
            self.fallbacks[f"hold: {result.error.name}"] += 1
            return "hold"
        return (result.text or "").strip("'")

    async def _place(self, order: Order) -> None:
        body = {"id": order.id, "symbol": order.symbol, "side": order.side, "price": order.price}
        try:
            await self._system.order_execution_api.post("/orders", body)
        except REJECTIONS:
            self.fallbacks["order not sent"] += 1
            self._ledger.settle(order, Fate.REJECTED)
        except BaseException as error:
            # Sent, or perhaps not; and a 500 may come from behind the point of no return. The venue will know. So it
            # will of an order in whose midst the day has ended.
            self._ledger.settle(order, Fate.UNKNOWN)
            if not isinstance(error, Exception):
                raise
            self.fallbacks["order asked after later"] += 1
        else:
            self._ledger.settle(order, Fate.ACCEPTED)
            self._last = order.id

    async def _look_after_the_last_order(self) -> None:
        """Without a price nothing is traded; then it matters whether what is out there still stands."""
        if self._last is None:
            return
        try:
            await self._system.order_execution_api.get(f"/orders/{self._last}")
        except Exception:
            self.fallbacks["order not looked after"] += 1

    async def catch_up(self, most: int) -> None:
        """Ask after orders whose fate is unknown, and write down those that were accepted; stop where that fails."""
        for order in list(self._ledger.unknown.values())[:most]:
            try:
                # Not asked but cancelled: what is not there yet could otherwise still arrive after the answer.
                answer: dict[str, Any] = await self._system.order_execution_api.delete(f"/orders/{order.id}")
            except Exception:
                break
            self._ledger.settle(order, Fate.ACCEPTED if answer["accepted"] else Fate.REFUSED)
        for order in list(self._ledger.unwritten.values())[:most]:
            try:
                # Again, perhaps: a write whose answer was lost may have been made. The key makes it once.
                await self._system.database.execute(INSERT, order)
            except Exception:
                self.fallbacks["row written later"] += 1
                break
            del self._ledger.unwritten[order.id]
