"""A row of the table: what was measured, what was allowed, and how both are written."""

from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any, Final

HEADER: Final = ("scenario", "floor ns", "wrapper", "native ns", "ratio", "budget", "", "twin")


@dataclass(frozen=True, slots=True)
class Row:
    """One budget. ``unit`` is that of value, limit and twin: a ratio where it is empty."""

    key: str
    title: str
    value: float
    quartiles: tuple[float, float]
    limit: float
    unit: str
    twin: float | None
    floor: float | None = None
    wrapper: float | None = None
    native: float | None = None

    @property
    def met(self) -> bool:
        """Whether the median is within the budget."""
        return self.value <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """Return every field, for JSON."""
        return asdict(self) | {"met": self.met}

    def cells(self) -> tuple[str, ...]:
        """Return what the table shows."""
        return (
            self.title,
            *("" if each is None else f"{each:,.0f}" for each in (self.floor, self.wrapper, self.native)),
            written(self.value, self.unit),
            f"≤ {written(self.limit, self.unit, exact=True)}",
            "ok" if self.met else "MISS",
            "" if self.twin is None else written(self.twin, self.unit),
        )


def quartiles(values: list[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    first, _, third = quantiles(values)
    return first, third


def written(value: float, unit: str, *, exact: bool = False) -> str:
    """Write a value; ``exact`` for budgets, which have no noise to round away."""
    match unit:
        case "":
            return f"{value:g}" if exact else f"{value:.2f}"
        case "+ns":
            return f"{value:+,.0f} ns"
        case "ms":
            return f"{value:g} ms" if exact else f"{value:.1f} ms"
        case _:
            return f"{value:,.0f} {unit}" if exact or unit == "B" else f"{value:,.1f} {unit}"


def render(rows: list[Row]) -> str:
    """Return the table."""
    return render_cells([HEADER, *(row.cells() for row in rows)])


def render_cells(lines: list[tuple[str, ...]]) -> str:
    """Return a table, the first line its header, readable as it is and as Markdown."""
    columns = range(len(lines[0]))
    widths = [max(len(line[column]) for line in lines) for column in columns]
    written = [
        "| "
        + " | ".join(line[column].rjust(widths[column]) if column else line[0].ljust(widths[0]) for column in columns)
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (widths[column] + 1) + (":" if column else "-") for column in columns) + "|"
    return "\n".join([written[0], rule, *written[1:]])


def render_misses(rows: list[Row]) -> str:
    """Say which rows miss, and how certain that is."""
    missed = [row for row in rows if not row.met]
    if not missed:
        return f"all {len(rows)} budgets met"
    lines = [f"{len(missed)} of {len(rows)} budgets missed:"]
    for row in missed:
        low, high = (written(each, row.unit) for each in row.quartiles)
        lines.append(
            f"  {row.key}: {row.title.strip()}: {written(row.value, row.unit)}, quartiles {low} to {high},"
            f" budget {written(row.limit, row.unit, exact=True)}"
        )
    return "\n".join(lines)
