"""What is demanded of the breaker, and whether the run shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from switchgear.demo.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchgear import CircuitBreakerMetrics
    from switchgear.demo.record import Phase, Tally

# "In microseconds": half of a fault's rejections take less than this, from asking to having the last quote in hand. A
# rejection usually takes 1 to 10 µs and a call over loopback 1,000, so that no slow machine reaches it and every
# breaker that waits for something does. Half, because the slowest hundredth measures the machine's scheduler.
REJECTION_LIMIT_SECONDS: Final = 100e-6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fault did to the breaker; times in seconds, None for what did not happen."""

    fault: str
    opened_after: float | None
    """From the begin of the fault."""
    because: str | None
    """The failure that tripped it."""
    failed: int
    failure_p50: float | None
    rejected: int
    rejection_p50: float | None
    rejection_p99: float | None
    closed_after: float | None
    """From the begin of the repair."""


def outcome(phase: Phase) -> Outcome:
    """Judge nothing, only read off."""
    assert phase.fault is not None
    trip, closing, tally = phase.trip(), phase.closing(), phase.tally
    return Outcome(
        fault=phase.fault.name,
        opened_after=None if trip is None else trip.monotonic - phase.begun,
        because=None if trip is None else trip.last_failure,
        failed=tally.failed.count,
        failure_p50=tally.failed.percentile(50),
        rejected=tally.rejected.count,
        rejection_p50=tally.rejected.percentile(50),
        rejection_p99=tally.rejected.percentile(99),
        closed_after=None if closing is None or phase.cleared is None else closing.monotonic - phase.cleared,
    )


def unmet(outcomes: Sequence[Outcome]) -> list[str]:
    """Name every demand that a fault's outcome does not meet; nothing is missing where the list is empty."""
    problems = []
    for each in outcomes:
        if each.opened_after is None:
            problems.append(f"{each.fault}: the breaker did not open")
        if each.rejection_p50 is None:
            problems.append(f"{each.fault}: no call was rejected")
        elif each.rejection_p50 >= REJECTION_LIMIT_SECONDS:
            problems.append(
                f"{each.fault}: half of the rejections took {each.rejection_p50 * 1e6:.0f} µs or more, "
                f"not under {REJECTION_LIMIT_SECONDS * 1e6:.0f} µs"
            )
        if each.closed_after is None:
            problems.append(f"{each.fault}: the breaker did not close again")
    seen = {each.fault for each in outcomes}
    problems += [f"{fault.name}: the time was over before it came" for fault in FAULTS if fault.name not in seen]
    return problems


def miscounted(tally: Tally, metrics: CircuitBreakerMetrics) -> list[str]:
    """Name every count of the breaker's that is not what the loop has seen."""
    pairs = {
        "successful": (metrics.successful_calls, tally.answered.count),
        "failed": (metrics.failed_calls, tally.failed.count),
        "rejected": (metrics.rejected_calls, tally.rejected.count),
    }
    return [
        f"the breaker counts {ours:,} {kind} calls where the loop has seen {theirs:,}"
        for kind, (ours, theirs) in pairs.items()
        if ours != theirs
    ]
