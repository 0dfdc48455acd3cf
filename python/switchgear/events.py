"""State changes as values, and the listeners that hear of them."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from switchgear.errors import format_seconds
from switchgear.state import State

logger: Final = logging.getLogger("switchgear")


class TransitionEvent(NamedTuple):
    """One state change of one breaker."""

    name: str
    """The breaker's name."""

    from_state: State
    """The state that was left."""

    to_state: State
    """The state that was entered."""

    generation: int
    """The generation that began with this change."""

    monotonic: float
    """When, on the breaker's own clock, in seconds."""

    timestamp: float
    """When, on the wall clock, in seconds since the epoch."""

    last_failure: str | None
    """Description of the failure that tripped the breaker last, or None; not why an operator opened it."""

    retry_after: float | None
    """Seconds until the first probe where the new state is OPEN (``math.inf``: until told otherwise), else None."""

    def __str__(self) -> str:
        text = f"{self.name!r}: {self.from_state} -> {self.to_state}"
        if self.to_state is not State.OPEN:
            return text
        if self.retry_after == float("inf"):
            # An operator's word: what failed last may have failed hours ago.
            return f"{text}, until told otherwise"
        if self.retry_after is not None:
            text += f", retry in {format_seconds(self.retry_after, digits=3)}"
        if self.last_failure is not None:
            text += f", last failure: {self.last_failure}"
        return text


Listener: TypeAlias = Callable[[TransitionEvent], object]


class Listeners:
    """The listeners of a breaker or a registry, in the order of registration.

    No lock: a listener may call the breaker, or add and remove listeners, while it is being notified.
    """

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: list[Listener] = []

    def add(self, listener: Listener) -> None:
        """Add a listener; one that is in already stays where it is.

        Raises:
            TypeError: It is not callable.
        """
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {type(listener).__name__}")
        if listener not in self._members:
            self._members.append(listener)

    def discard(self, listener: Listener) -> None:
        """Remove a listener if it is in."""
        with suppress(ValueError):
            self._members.remove(listener)

    def notify(self, event: TransitionEvent) -> None:
        """Call every listener; an ``Exception`` in one is logged and keeps it from nobody else."""
        for listener in tuple(self._members):
            try:
                listener(event)
            except Exception:
                logger.exception("listener %r failed on %s", listener, event)


def log_transition(event: TransitionEvent) -> None:
    """Write one record: WARNING when a breaker opens, INFO otherwise, the details as ``extra`` fields."""
    level = logging.WARNING if event.to_state is State.OPEN else logging.INFO
    if logger.isEnabledFor(level):
        details = {
            "breaker": event.name,
            "from_state": event.from_state,
            "to_state": event.to_state,
            "generation": event.generation,
            "last_failure": event.last_failure,
        }
        logger.log(level, "%s", event, extra=details)
