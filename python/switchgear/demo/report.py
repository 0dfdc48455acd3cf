"""What is printed when the run is over, and the same for programs."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from switchgear import BACKEND, State
from switchgear.demo.ledger import Fate
from switchgear.demo.text import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from switchgear import CircuitBreakerMetrics
    from switchgear.demo.ledger import Ledger
    from switchgear.demo.record import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The run, judged."""

    phases: Sequence[Phase]
    ledger: Ledger
    metrics: Mapping[str, CircuitBreakerMetrics]
    servers: Sequence[int]
    rounds: int
    loss: float
    chart: Path
    skipped: Sequence[str]
    problems: Sequence[str]

    def as_json(self) -> str:
        """Return the report for programs."""
        content = {
            "ok": not self.problems,
            "problems": self.problems,
            "skipped": self.skipped,
            "backend": BACKEND,
            "python": platform.python_version(),
            "servers": self.servers,
            "rounds": self.rounds,
            "chart": str(self.chart),
            "orders": {fate: self.ledger.count(fate) for fate in Fate},
            "recovered": self.ledger.recovered,
            "faults": [
                {
                    "fault": phase.fault.name,
                    "begun": phase.begun,
                    "cleared": phase.cleared,
                    "opened": sorted(phase.opened()),
                    "healed": phase.healed,
                    "fallbacks": phase.fallbacks,
                    "changes": [(change.at, change.service, change.to, change.text) for change in phase.changes],
                }
                for phase in self.phases
            ],
            "metrics": {name: metrics._asdict() for name, metrics in self.metrics.items()},
        }
        return json.dumps(content, indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """Write the report for people."""
        yield "What happened"
        for phase in self.phases:
            yield from _of_phase(phase)
        yield ""
        yield f"  {'':20}{'calls':>9}{'failed':>9}{'rejected':>10}{'opened':>8}{'open for':>11}"
        for name, each in self.metrics.items():
            yield (
                f"  {name:20}{each.total_calls:9,}{each.failed_calls:9,}{each.rejected_calls:10,}"
                f"{each.times_opened:8}{duration(each.total_open_time_ms / 1e3):>11}"
            )
        yield ""
        fates = ", ".join(f"{self.ledger.count(fate):,} {fate}" for fate in Fate)
        yield f"orders: {fates}; {self.ledger.recovered:,} of the accepted were found so when the venue was asked later"
        yield f"{self.rounds:,} rounds; the model learnt to a loss of {self.loss:.3g}"
        yield f"the server was process {', then '.join(map(str, self.servers))}"
        yield f"the timeline is drawn in {self.chart}"
        yield from (f"SKIPPED: {each}" for each in self.skipped)
        if self.problems:
            yield "FAILED"
            yield from (f"  {problem}" for problem in self.problems)
        else:
            yield "PASSED: every fault was contained and healed; each order that the venue accepted is in the database"
            yield "exactly once, and none that a breaker rejected was sent"


def _of_phase(phase: Phase) -> Iterator[str]:
    yield f"  {phase.begun:6.2f} s  FAULT {phase.fault.name}: {phase.fault.begins}"
    for service in sorted(phase.opened()):
        opened = next(change for change in phase.changes if change.service == service and change.to is State.OPEN)
        closed = [change for change in phase.changes if change.service == service and change.to is State.CLOSED]
        until = f", closed at {closed[-1].at:.2f} s" if closed else ""
        yield f"  {opened.at:6.2f} s    {service} opened{until}"
    if not phase.opened():
        yield f"  {'':8}    no breaker opened: it was contained"
    used = ", ".join(f"{name} ({count:,}x)" for name, count in sorted(phase.fallbacks.items()))
    yield f"  {'':8}    instead: {used or 'nothing'}"
