"""What is printed when the run is over, and the same for programs."""

from __future__ import annotations

import json
import platform
import textwrap
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from switchgear import BACKEND, State
from switchgear.demo.text import duration
from switchgear.demo.verdict import REJECTION_LIMIT_SECONDS, Outcome, miscounted, outcome, unmet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from switchgear import CircuitBreakerMetrics
    from switchgear.demo.record import Phase, Record

CAUSE_WIDTH: Final = 40


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    seconds: float
    """Since the begin of the run."""
    fault: str | None
    """The fault that was on."""
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """The run, judged."""

    timeline: Sequence[Moment]
    outcomes: Sequence[Outcome]
    metrics: CircuitBreakerMetrics
    servers: Sequence[int]
    problems: Sequence[str]

    def as_json(self) -> str:
        """Return the report for programs."""
        content = {
            "ok": not self.problems,
            "problems": self.problems,
            "backend": BACKEND,
            "python": platform.python_version(),
            "rejection_limit": REJECTION_LIMIT_SECONDS,
            "servers": self.servers,
            "faults": [asdict(each) for each in self.outcomes],
            "timeline": [asdict(each) for each in self.timeline],
            "metrics": self.metrics._asdict(),
        }
        return json.dumps(content, indent=2) + "\n"

    def lines(self) -> Iterator[str]:
        """Write the report for people."""
        yield "What happened when"
        for each in self.timeline:
            yield f"  {each.seconds:6.2f} s  {each.fault or '':6}  {each.what}"
        yield ""
        yield "Fault by fault"
        yield from _table(self.outcomes)
        yield ""
        yield f"{self.metrics.total_calls:,} calls, {self.metrics.rejected_calls:,} of them rejected"
        yield f"the server was process {', then '.join(map(str, self.servers))}"
        if self.problems:
            yield "FAILED"
            yield from (f"  {problem}" for problem in self.problems)
        else:
            yield "PASSED: the breaker opened in each fault, rejected in microseconds"
            yield f"(p50 under {duration(REJECTION_LIMIT_SECONDS)}), and closed again after each recovery"


def make(record: Record, metrics: CircuitBreakerMetrics, servers: Sequence[int]) -> Report:
    """Judge a finished run."""
    outcomes = [outcome(phase) for phase in record.phases if phase.fault is not None]
    return Report(
        timeline=timeline(record.phases),
        outcomes=outcomes,
        metrics=metrics,
        servers=servers,
        problems=[*unmet(outcomes), *miscounted(record.total(), metrics)],
    )


def timeline(phases: Sequence[Phase]) -> list[Moment]:
    """Put faults and transitions into the order in which they happened."""
    begun = phases[0].begun
    moments = []
    for phase in phases:
        if phase.fault is not None:
            moments.append(Moment(phase.begun - begun, phase.fault.name, f"FAULT: {phase.fault.begins}"))
            if phase.cleared is not None:
                moments.append(Moment(phase.cleared - begun, None, f"REPAIR: {phase.fault.ends}"))
        for event in phase.transitions:
            on = phase.fault if phase.cleared is None or event.monotonic < phase.cleared else None
            what = f"{event.from_state} -> {event.to_state}"
            if event.to_state is State.OPEN and event.last_failure is not None:
                what = f"{what:18}  {textwrap.shorten(event.last_failure, CAUSE_WIDTH, placeholder=' ...')}"
            moments.append(Moment(event.monotonic - begun, None if on is None else on.name, what))
    return sorted(moments, key=lambda moment: moment.seconds)


def _table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"  {'':6}{'opened':>10}{'failed':>8}{'failure':>9}{'rejected':>11}{'rejection':>18}{'closed':>10}"
    yield f"  {'':6}{'after':>10}{'':8}{'p50':>9}{'':11}{'p50':>9}{'p99':>9}{'after':>10}"
    for each in outcomes:
        yield (
            f"  {each.fault:6}{duration(each.opened_after):>10}{each.failed:8,}{duration(each.failure_p50):>9}"
            f"{each.rejected:11,}{duration(each.rejection_p50):>9}{duration(each.rejection_p99):>9}"
            f"{duration(each.closed_after):>10}"
        )
