"""The timeline as a picture: a lane for each breaker's state, the rounds a second below, the faults behind them."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from switchgear import State
from switchgear.demo.system import BREAKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from switchgear.demo.record import Phase, Sample

COLOURS: Final = {State.CLOSED: "#3a9d5d", State.OPEN: "#d1495b", State.HALF_OPEN: "#edae49", State.DISABLED: "#888888"}
FAULT: Final = "#f3e3e3"
WIDTH, LEFT, LANE, PLOT, TOP = 1200, 190, 26, 140, 70


def svg(samples: Sequence[Sample], phases: Sequence[Phase]) -> str:
    """Draw a run. There are two samples or more."""
    end = samples[-1].at
    height = TOP + LANE * len(BREAKERS) + PLOT + 50

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 20) * max(0.0, at) / end, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="22" font-size="16">Five breakers through the faults of a trading system</text>',
    ]
    parts += _legend()
    for number, phase in enumerate(phases):
        left, right = x(phase.begun), x(end if phase.cleared is None else phase.cleared)
        parts.append(
            f'<rect x="{left}" y="{TOP - 12}" width="{max(1.0, right - left):.1f}" height="{height - TOP - 26}"'
            f' fill="{FAULT}"><title>{escape(phase.fault.begins)}</title></rect>'
            f'<text x="{left}" y="{40 + 13 * (number % 2)}" font-size="11">{escape(phase.fault.name)}</text>'
        )
    for number, service in enumerate(BREAKERS):
        y = TOP + LANE * number
        parts.append(f'<text x="10" y="{y + 14}">{service}</text>')
        for left, right, state in _spells(samples, service):
            parts.append(
                f'<rect x="{x(left)}" y="{y}" width="{max(1.0, x(right) - x(left)):.1f}" height="{LANE - 8}"'
                f' fill="{COLOURS[state]}"><title>{state}</title></rect>'
            )
    parts += _throughput(samples, x)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _legend() -> Iterator[str]:
    # Of what there is in the picture: the demo disables nothing.
    meanings = [(str(state), COLOURS[state]) for state in (State.CLOSED, State.OPEN, State.HALF_OPEN)]
    for number, (meaning, colour) in enumerate([*meanings, ("a fault", FAULT)]):
        left = WIDTH - 440 + 110 * number
        yield f'<rect x="{left}" y="12" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{left + 18}" y="22">{meaning}</text>'


def _spells(samples: Sequence[Sample], service: str) -> Iterator[tuple[float, float, State]]:
    begun, state = samples[0].at, samples[0].states[service]
    for sample in samples[1:]:
        if sample.states[service] is not state:
            yield begun, sample.at, state
            begun, state = sample.at, sample.states[service]
    yield begun, samples[-1].at, state


def _throughput(samples: Sequence[Sample], x: object) -> Iterator[str]:
    assert callable(x)
    base = TOP + LANE * len(BREAKERS) + PLOT
    rates = [
        (after.at, (after.rounds - before.rounds) / max(1e-9, after.at - before.at))
        for before, after in pairwise(samples)
    ]
    most = max((rate for _, rate in rates), default=0.0) or 1.0
    points = " ".join(f"{x(at)},{base - (PLOT - 25) * rate / most:.1f}" for at, rate in rates)
    yield f'<text x="10" y="{base - PLOT + 30}">rounds a second</text>'
    yield f'<text x="10" y="{base - PLOT + 46}">(at most {most:,.0f})</text>'
    yield f'<polyline points="{points}" fill="none" stroke="#2f5d8a" stroke-width="1.5"/>'
    yield f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - 20}" y2="{base}" stroke="#999999"/>'
    for second in range(0, int(samples[-1].at) + 1, max(1, int(samples[-1].at) // 10)):
        yield f'<text x="{x(second)}" y="{base + 16}" text-anchor="middle">{second} s</text>'
