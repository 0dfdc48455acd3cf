"""The chart of the trip rules as SVG, by hand: a drawing library would be a dependency for four panels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Final

NEVER: Final = math.inf
"""The delay of an outage that was missed."""

COLOURS: Final = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7")
"""Okabe and Ito's, which the colour-blind tell apart."""
MARKS: Final = (
    "M-4,-4h8v8h-8z",
    "M0,-5L5,4H-5z",
    "M0,5L5,-4H-5z",
    "M0,-5L5,0L0,5L-5,0z",
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0-8,0z",
)
WIDTH, HEIGHT = 860, 720
PANEL_WIDTH, PANEL_HEIGHT = 320, 215
LEFT, TOP, ACROSS, DOWN = 80, 130, 410, 300
"""Pixels: the first panel's corner, and from one panel to the next."""
LEAST, MOST = 0.5, 20_000.0
"""False trips in a million calls, from left to right; fewer than the least stand at a place of their own."""
NONE_AT: Final = 22.0
QUICKEST, SLOWEST = 1.0, 3000.0
"""Calls until a trip, from the bottom up."""


@dataclass(frozen=True)
class Point:
    """A rule at one setting: false trips in a million healthy calls, and the delay of each outage in calls."""

    false_trips: float
    delays: dict[str, float]


@dataclass(frozen=True)
class Curve:
    """A rule at all its settings; the one of the table is ringed."""

    name: str
    points: list[Point]
    chosen: int


@dataclass(frozen=True)
class Panel:
    """An outage, and how the rules do in it."""

    name: str
    curves: list[Curve]


def chart(panels: list[Panel]) -> str:
    """Return the drawing of at most four panels."""
    style = (
        "text { font: 12px sans-serif; fill: #222 } .title { font-weight: bold; font-size: 14px } .small { fill: #555 }"
    )
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
            ' role="img" aria-label="Delay of each rule against its false trips, in four outages">'
        ),
        f"<style>{style}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(20, 28, "Calls until a rule trips, against its false trips: lower left is better", "title"),
        *_legend(panels[0].curves),
    ]
    for place, panel in enumerate(panels):
        left, top = LEFT + place % 2 * ACROSS, TOP + place // 2 * DOWN
        lines += [f'<g transform="translate({left},{top})">', *_axes(panel.name), *_curves(panel), "</g>"]
    return "\n".join([*lines, "</svg>\n"])


def _legend(curves: list[Curve]) -> Iterator[str]:
    for place, curve in enumerate(curves):
        left, top = 28 + place % 3 * 280, 52 + place // 3 * 22
        yield _mark(left, top, place)
        yield _text(left + 12, top + 4, curve.name)
    yield _text(600, 78, "ringed: as named here")


def _axes(name: str) -> Iterator[str]:
    yield _text(0, -10, name, "title")
    yield f'<rect width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#999"/>'
    for calls in (1, 10, 100, 1000):
        y = _y(calls)
        yield f'<path d="M0,{y:.1f}h{PANEL_WIDTH}" stroke="#e3e3e3"/>'
        yield _text(-6, y + 4, f"{calls:,}", "small", "end")
    for trips, label in ((0, "none"), (1, "1"), (10, "10"), (100, "100"), (1000, "1,000"), (10_000, "10,000")):
        x = _x(trips)
        yield f'<path d="M{x:.1f},0v{PANEL_HEIGHT}" stroke="#e3e3e3"/>'
        yield _text(x, PANEL_HEIGHT + 16, label, "small", "middle")
    yield _text(PANEL_WIDTH / 2, PANEL_HEIGHT + 34, "false trips in a million healthy calls", "small", "middle")
    yield f'<g transform="translate(-48,{PANEL_HEIGHT / 2}) rotate(-90)">{_text(0, 0, "calls", "small", "middle")}</g>'


def _curves(panel: Panel) -> Iterator[str]:
    missed = []
    for place, curve in enumerate(panel.curves):
        spots = [_spot(point, panel.name) for point in curve.points]
        seen = [spot for spot in spots if spot is not None]
        if len(seen) > 1:
            path = "L".join(f"{x:.1f},{y:.1f}" for x, y in seen)
            yield f'<path d="M{path}" fill="none" stroke="{COLOURS[place]}" stroke-width="1.5"/>'
        yield from (_mark(x, y, place) for x, y in seen)
        if (chosen := spots[curve.chosen]) is not None:
            yield f'<circle cx="{chosen[0]:.1f}" cy="{chosen[1]:.1f}" r="9" fill="none" stroke="{COLOURS[place]}"/>'
        else:
            missed.append(place)
    # Whoever never trips has no place among the others, and is named all the same.
    if missed:
        yield _text(PANEL_WIDTH - 24 - 16 * len(missed), -10, "never:", "small", "end")
        yield from (_mark(PANEL_WIDTH - 16 * (len(missed) - at), -14, place) for at, place in enumerate(missed))


def _spot(point: Point, outage: str) -> tuple[float, float] | None:
    calls = point.delays[outage]
    return None if calls == NEVER else (_x(point.false_trips), _y(calls))


def _x(false_trips: float) -> float:
    if false_trips < LEAST:
        return NONE_AT
    share = math.log(false_trips / LEAST) / math.log(MOST / LEAST)
    return NONE_AT + 24 + share * (PANEL_WIDTH - NONE_AT - 24)


def _y(calls: float) -> float:
    return PANEL_HEIGHT - 8 - math.log(calls / QUICKEST) / math.log(SLOWEST / QUICKEST) * (PANEL_HEIGHT - 16)


def _mark(x: float, y: float, place: int) -> str:
    return f'<path d="{MARKS[place]}" transform="translate({x:.1f},{y:.1f})" fill="{COLOURS[place]}"/>'


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
