"""The live view: a few lines drawn over and over on a terminal, a line a second anywhere else."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from switchgear import BACKEND, State
from switchgear.demo.system import BREAKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchgear.demo.record import Record
    from switchgear.demo.supervisor import Supervisor
    from switchgear.demo.trader import Trader
    from switchgear.services.trading import TradingSystemCircuitBreakers

SAMPLES_A_SECOND: Final = 10
FRAME_LINES: Final = len(BREAKERS) + 5
COLOURS: Final = {State.CLOSED: "32", State.HALF_OPEN: "33", State.OPEN: "31"}
SHORT: Final = {State.CLOSED: "closed", State.HALF_OPEN: "half", State.OPEN: "OPEN", State.DISABLED: "off"}


class Screen:
    """Takes the samples, and shows the run while it goes on."""

    def __init__(
        self, system: TradingSystemCircuitBreakers, trader: Trader, record: Record, supervisor: Supervisor
    ) -> None:
        self._system = system
        self._trader = trader
        self._record = record
        self._supervisor = supervisor
        self._drawn = False

    async def run(self, *, plain: bool) -> None:
        """Draw until cancelled."""
        print(self._title(), flush=True)
        turn = 0
        while True:
            turn += 1
            await asyncio.sleep(max(0.0, turn / SAMPLES_A_SECOND - self._record.now()))
            self._record.sample()
            if not plain:
                self._draw()
            elif turn % SAMPLES_A_SECOND == 0:
                print(self._line(), flush=True)

    def _title(self) -> str:
        return f"switchgear demo, {BACKEND} backend, server {self._supervisor.pids[-1]} on {self._supervisor.url}"

    def _line(self) -> str:
        states = self._record.states()
        shown = "  ".join(f"{name.split('_')[0]} {SHORT[state]}" for name, state in states.items())
        return f"{self._record.now():5.1f} s  {self._fault():22}  {shown}  {self._rate():,.0f} rounds/s"

    def _draw(self) -> None:
        # One write a frame: back to the first line, every line erased and written anew, none of them wrapped.
        width = shutil.get_terminal_size().columns - 1
        frame = [f"\x1b[{FRAME_LINES}A\r" if self._drawn else ""]
        frame += [f"\x1b[2K{line[:width]}\n" for line in self._lines()]
        self._drawn = True
        sys.stdout.write("".join(frame))
        sys.stdout.flush()

    def _lines(self) -> Iterator[str]:
        yield ""
        yield f"  {self._record.now():4.1f} s  {self._situation()}"
        yield ""
        for (name, text), state in zip(
            self._system.health_status().items(), self._record.states().values(), strict=True
        ):
            mark = "●" if "NO_COLOR" in os.environ else f"\x1b[{COLOURS.get(state, '0')};1m●\x1b[0m"
            yield f"  {mark} {name:20} {text}"
        yield f"  {self._trader.rounds:,} rounds, {self._rate():,.0f} a second"
        yield ""

    def _rate(self) -> float:
        samples = self._record.samples[-SAMPLES_A_SECOND - 1 :]
        if len(samples) < 2:
            return 0.0
        return (samples[-1].rounds - samples[0].rounds) / max(1e-9, samples[-1].at - samples[0].at)

    def _fault(self) -> str:
        if not self._record.phases:
            return "no fault yet"
        phase = self._record.phases[-1]
        return phase.fault.name if phase.cleared is None else f"{phase.fault.name}: over"

    def _situation(self) -> str:
        if not self._record.phases:
            return "no fault yet"
        phase = self._record.phases[-1]
        return f"FAULT: {phase.fault.begins}" if phase.cleared is None else f"repaired: {phase.fault.ends}"
