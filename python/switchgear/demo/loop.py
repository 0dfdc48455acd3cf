"""The trading loop: a quote a round, as fast as they come, and the last one known where none comes."""

from __future__ import annotations

import asyncio
import itertools
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from switchgear import CircuitOpenError
from switchgear.demo.market import SYMBOLS

if TYPE_CHECKING:
    from switchgear import CircuitBreaker
    from switchgear.demo.feed import Feed, Quote
    from switchgear.demo.record import Record

# A rejected call never waits for anything, so that a loop of them would keep every other task from running.
REJECTIONS_IN_A_ROW: Final = 64


class TradingLoop:
    """Reads the symbols in turn through the breaker and measures every call, from asking to having an answer."""

    def __init__(self, breaker: CircuitBreaker, feed: Feed, record: Record) -> None:
        self.book: dict[str, Quote] = {}
        self._feed = feed
        self._record = record
        self._protected = breaker.with_fallback(self._last_quote)
        self._symbol = SYMBOLS[0]
        self._error: type[Exception] | None = None

    async def run(self) -> None:
        """Trade until cancelled."""
        for count, self._symbol in enumerate(itertools.cycle(SYMBOLS)):
            await self._read()
            if self._error is CircuitOpenError and count % REJECTIONS_IN_A_ROW == 0:
                await asyncio.sleep(0)

    async def _read(self) -> None:
        self._error = None
        begun = perf_counter_ns()
        quote: Quote | None = await self._protected.call(self._feed.quote, self._symbol)
        elapsed_ns = perf_counter_ns() - begun
        tally = self._record.tally
        if self._error is None and quote is not None:
            self.book[self._symbol] = quote
            tally.answered.add(elapsed_ns)
        elif self._error is CircuitOpenError:
            tally.rejected.add(elapsed_ns)
        else:
            tally.failed.add(elapsed_ns)

    def _last_quote(self, error: Exception) -> Quote | None:
        # Its type alone: the error itself would keep its traceback, and with it this call's frames, alive.
        self._error = type(error)
        return self.book.get(self._symbol)
