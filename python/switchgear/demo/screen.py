"""The live view: a few lines drawn over and over on a terminal, a line a second anywhere else."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Final

from switchgear import BACKEND, State
from switchgear.demo.text import duration, rate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchgear import CircuitBreaker
    from switchgear.demo.histogram import Histogram
    from switchgear.demo.loop import TradingLoop
    from switchgear.demo.record import Record
    from switchgear.demo.supervisor import Supervisor

FRAMES_A_SECOND: Final = 8
FRAME_LINES: Final = 9
COLOURS: Final = {State.CLOSED: "32", State.HALF_OPEN: "33", State.OPEN: "31"}


class Screen:
    """Shows the run while it goes on."""

    def __init__(self, breaker: CircuitBreaker, loop: TradingLoop, record: Record, supervisor: Supervisor) -> None:
        self._breaker = breaker
        self._loop = loop
        self._record = record
        self._supervisor = supervisor
        self._begun = time.monotonic()
        self._drawn = False

    async def run(self, *, plain: bool) -> None:
        """Draw until cancelled."""
        print(self._title(), flush=True)
        period = 1.0 if plain else 1.0 / FRAMES_A_SECOND
        due = self._begun
        while True:
            due += period
            await asyncio.sleep(due - time.monotonic())
            self._record.turn()
            if plain:
                print(self._line(), flush=True)
            else:
                self._draw()

    def _title(self) -> str:
        return f"switchgear demo, {BACKEND} backend, server {self._supervisor.pids[-1]} on {self._supervisor.url}"

    def _line(self) -> str:
        recent = self._record.recent()
        return (
            f"{self._elapsed():5.1f} s  {self._breaker.state:9}  {self._fault():18}"
            f"  calls {rate(recent.answered.count, recent.seconds)}, {_percentiles(recent.answered)}"
            f"  failed {rate(recent.failed.count, recent.seconds)}"
            f"  rejected {rate(recent.rejected.count, recent.seconds)}, {_percentiles(recent.rejected)}"
        )

    def _draw(self) -> None:
        # One write a frame: back to the first line, every line erased and written anew, none of them wrapped.
        width = shutil.get_terminal_size().columns - 1
        frame = [f"\x1b[{FRAME_LINES}A\r" if self._drawn else ""]
        state = self._breaker.state
        shown = state if "NO_COLOR" in os.environ else f"\x1b[{COLOURS.get(state, '0')};1m{state}\x1b[0m"
        frame += [f"\x1b[2K{line[:width].replace(state, shown, 1)}\n" for line in self._lines()]
        self._drawn = True
        sys.stdout.write("".join(frame))
        sys.stdout.flush()

    def _lines(self) -> Iterator[str]:
        recent, total = self._record.recent(), self._record.total()
        metrics = self._breaker.get_metrics()
        yield ""
        yield f"  {self._elapsed():4.1f} s     {self._situation()}"
        yield f"  breaker    {self._breaker.get_state()}, opened {metrics.times_opened}x"
        yield f"  {'':10} {'a second':>10} {'in all':>12} {'p50':>10} {'p99':>10}   (last second)"
        for name in ("answered", "failed", "rejected"):
            now: Histogram = getattr(recent, name)
            ever: Histogram = getattr(total, name)
            yield (
                f"  {name:10} {rate(now.count, recent.seconds):>10} {ever.count:12,}"
                f" {duration(now.percentile(50)):>10} {duration(now.percentile(99)):>10}"
            )
        yield f"  quotes     {self._quotes()}"
        yield ""

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _fault(self) -> str:
        phase = self._record.phase
        if phase.fault is None:
            return "no fault yet"
        return f"fault: {phase.fault.name}" if phase.cleared is None else f"{phase.fault.name} is over"

    def _situation(self) -> str:
        phase = self._record.phase
        if phase.fault is None:
            return "no fault yet"
        if phase.cleared is None:
            return f"fault: {phase.fault.begins}"
        return f"repaired: {phase.fault.ends}"

    def _quotes(self) -> str:
        book = self._loop.book
        if not book:
            return "none yet"
        age = time.monotonic() - max(quote.received for quote in book.values())
        prices = "  ".join(f"{symbol} {quote.price:.2f}" for symbol, quote in book.items())
        return f"{prices}  {age:.1f} s old"


def _percentiles(histogram: Histogram) -> str:
    return f"p50 {duration(histogram.percentile(50))} p99 {duration(histogram.percentile(99))}"
