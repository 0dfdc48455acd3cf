"""Numbers for people."""

from __future__ import annotations

from typing import Final

UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def duration(seconds: float | None) -> str:
    """Write a duration with three digits and its unit; a dash for none."""
    if seconds is None:
        return "-"
    unit, name = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    value = seconds / unit
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {name}"


def rate(count: int, seconds: float) -> str:
    """Write how often something happened a second."""
    return f"{count / seconds:,.0f}/s" if seconds > 0 else "-"
