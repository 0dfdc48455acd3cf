"""What happened, as it happens: the loop's calls, the breaker's transitions and the faults, each with its time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from switchgear import State
from switchgear.demo.histogram import Histogram

if TYPE_CHECKING:
    from switchgear import TransitionEvent
    from switchgear.demo.faults import Fault

RECENT_SECONDS: Final = 1.0


class Tally:
    """The calls of a stretch of time, by what became of them."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.seconds = 0.0
        self.answered = Histogram()
        self.failed = Histogram()
        self.rejected = Histogram()

    def merge(self, other: Tally) -> None:
        """Count the other one's calls and time too."""
        self.seconds += other.seconds
        self.answered.merge(other.answered)
        self.failed.merge(other.failed)
        self.rejected.merge(other.rejected)


@dataclass(slots=True)
class Phase:
    """One fault with the recovery from it; or, without a fault, the quiet before the first."""

    fault: Fault | None
    begun: float = field(default_factory=time.monotonic)
    cleared: float | None = None
    tally: Tally = field(default_factory=Tally)
    transitions: list[TransitionEvent] = field(default_factory=list)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def clear(self) -> None:
        """Note that the fault is being taken away."""
        self.cleared = time.monotonic()

    def note(self, event: TransitionEvent) -> None:
        """Note what the breaker did."""
        self.transitions.append(event)
        if self.trip() is not None:
            self.opened.set()
        if self.closing() is not None:
            self.closed.set()

    def trip(self) -> TransitionEvent | None:
        """Return the transition with which the breaker answered the fault: a failed probe's is not it."""
        end = math.inf if self.cleared is None else self.cleared
        return next(
            (each for each in self.transitions if each.from_state is State.CLOSED and each.monotonic < end), None
        )

    def closing(self) -> TransitionEvent | None:
        """Return the transition with which the breaker answered the end of the fault, if it stayed CLOSED."""
        if self.cleared is None or not self.transitions:
            return None
        last = self.transitions[-1]
        return last if last.to_state is State.CLOSED and last.monotonic >= self.cleared else None


class Record:
    """All phases of the run, and the last second of it.

    The loop counts into `tally`, which is replaced many times a second: a call is counted once, in one place, and the
    live view and the phases are both sums of tallies.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.phases = [Phase(None)]
        self._recent: deque[Tally] = deque()

    @property
    def phase(self) -> Phase:
        """The phase that is on."""
        return self.phases[-1]

    def begin(self, fault: Fault) -> Phase:
        """Note that a fault begins: whatever comes now is its."""
        self.turn()
        self.phases.append(Phase(fault))
        return self.phase

    def note(self, event: TransitionEvent) -> None:
        """Note what the breaker did; a listener."""
        self.phase.note(event)

    def turn(self) -> None:
        """Close the present tally and begin the next."""
        tally, self.tally = self.tally, Tally()
        tally.seconds = self.tally.begun - tally.begun
        self.phase.tally.merge(tally)
        self._recent.append(tally)
        while sum(each.seconds for each in self._recent) - self._recent[0].seconds >= RECENT_SECONDS:
            self._recent.popleft()

    def recent(self) -> Tally:
        """Return the calls of the last second or so."""
        total = Tally()
        for tally in self._recent:
            total.merge(tally)
        return total

    def total(self) -> Tally:
        """Return the calls of the whole run."""
        total = Tally()
        for phase in self.phases:
            total.merge(phase.tally)
        return total
