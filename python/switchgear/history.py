"""The last state changes of one breaker."""

from collections import deque
from typing import TYPE_CHECKING, Final

from switchgear.state import State

if TYPE_CHECKING:
    from switchgear.events import TransitionEvent

LENGTH: Final = 64
FAILURES: Final = 5
_GENERATIONS: Final = 2**20
"""The core numbers its generations in twenty bits."""


class History:
    """Keep the last 64 events, and from event to event the last distinct failures of one outage.

    Made by a breaker's first transition, so that one that never changes pays for no ring. No lock: an append is atomic.
    """

    __slots__ = ("_ring",)

    def __init__(self) -> None:
        self._ring: deque[TransitionEvent] = deque(maxlen=LENGTH)

    def add(self, event: "TransitionEvent") -> None:
        """Append an event, for which the oldest of a full ring goes."""
        self._ring.append(event)

    def failures(self, from_state: State, last: str | None = None) -> tuple[str, ...]:
        """Return the last distinct failures, at most 5, oldest first, as they are once ``last`` has come to them.

        What leaves CLOSED begins another outage, of which those of the one before say nothing.
        """
        try:
            known = () if from_state is State.CLOSED else self._ring[-1].failures
        except IndexError:
            known = ()
        if last is None:
            return known
        return (*(each for each in known if each != last), last)[-FAILURES:]

    def events(self) -> tuple["TransitionEvent", ...]:
        """Return the events, oldest first.

        Threads that changed the state one after the other may tell of it in the other order; the generations know.
        """
        while True:
            try:
                events = tuple(self._ring)
                break
            except RuntimeError:
                # Appended to meanwhile, by a thread, or by a finaliser inside tuple(): look again.
                continue
        if not events:
            return events
        # Counted from half a turn before the newest, so that numbers which began again at 0 come after the others.
        start = events[-1].generation - _GENERATIONS // 2
        return tuple(sorted(events, key=lambda event: (event.generation - start) % _GENERATIONS))
