"""What has to hold: every fault contained and healed, and the books in agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switchgear.demo.faults import Fault
    from switchgear.demo.record import Change, Phase


def unmet(phases: Sequence[Phase], faults: Sequence[Fault], stray: Sequence[Change] = ()) -> list[str]:
    """Name every demand that the run does not meet; nothing is missing where the list is empty."""
    problems = [f"{change.service} became {change.to} before any fault" for change in stray]
    for phase in phases:
        fault, opened = phase.fault, phase.opened()
        problems += [f"{fault.name}: {service} did not open" for service in fault.trips if service not in opened]
        problems += [f"{fault.name}: {service} opened, too" for service in sorted(opened - set(fault.trips))]
        if not phase.fallbacks[fault.fallback]:
            problems.append(f"{fault.name}: nobody fell back on {fault.fallback!r}")
        problems += [f"{fault.name}: {service} did not heal" for service, well in phase.healed.items() if not well]
    seen = {phase.fault.name for phase in phases}
    problems += [f"{fault.name}: the time was over before it came" for fault in faults if fault.name not in seen]
    return problems
