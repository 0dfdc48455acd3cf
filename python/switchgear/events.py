"""State changes as values, why they happened, and the listeners that hear of them."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from switchgear.errors import format_seconds
from switchgear.state import State

if TYPE_CHECKING:
    from switchgear.config import CircuitBreakerConfig

logger: Final = logging.getLogger("switchgear")

LOCK: Final = RLock()
"""For what a state change writes outside the backend: held for a few assignments, and by no call that changes nothing.

Reentrant, because a finaliser or a signal handler may run inside and change a state itself; one for all, so that
``fork()`` can take it and no child inherits it from a thread that it does not have.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)

Cause: TypeAlias = tuple[int, int, int] | tuple[str] | tuple[()] | None
"""What a backend says of a change: a rule's index, hits or level, calls or 0; a phrase; () recovery; None a command."""


class TransitionEvent(NamedTuple):
    """One state change of one breaker; ``str()`` is one line for the people who are woken by it."""

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

    why: str = ""
    """Why, in one phrase: the rule that was met, its threshold and the numbers that met it; or what else it was."""

    failures: tuple[str, ...] = ()
    """The last distinct failures that opened the breaker in this outage, oldest first; at most 5, of 200 characters."""

    jitter: float | None = None
    """The part of the open time that chance added (or took, below 0), where a ``Backoff`` set it; else None."""

    def __str__(self) -> str:
        text = f"{self.name!r}: {self.from_state} -> {self.to_state}"
        if self.to_state is State.OPEN and self.retry_after == float("inf"):
            # An operator's word, which this says already; and what failed last may have failed hours ago.
            return f"{text}, until told otherwise"
        if self.why:
            text += f", {self.why}"
        if self.to_state is not State.OPEN:
            return text
        if self.retry_after is not None:
            text += f", retry in {format_seconds(self.retry_after, digits=3)}"
        if self.last_failure is not None:
            text += f", last failure: {self.last_failure}"
        return text


def explain(config: "CircuitBreakerConfig", to_state: State, cause: Cause) -> str:
    """Say why a state changed, in one phrase.

    Args:
        config: The breaker's; one that has been replaced since the change costs the phrase its details, no more.
        to_state: The state that was entered.
        cause: What the backend says of it.

    Returns:
        ``"failure rate 60.0% (12 of 20 calls) reached 50%"``, ``"5 consecutive failures"``, ``"a probe failed"``.
    """
    if cause is None:
        return "an operator's command"
    if len(cause) == 3:
        return _explain_trip(config, *cause)
    if cause:
        return cause[0]
    if to_state is State.HALF_OPEN:
        return "reset timeout over"
    if to_state is State.CLOSED:
        probes = config.success_threshold
        return f"{probes} {'probe' if probes == 1 else 'probes'} succeeded"
    return "a probe failed"


def _explain_trip(config: "CircuitBreakerConfig", index: int, hits: int, calls: int) -> str:
    if config.trip is not None and index < len(config.trip):
        # Imported late: whoever holds a rule has the module already.
        from switchgear.rules import ChangeDetection, FailureRate, SlowCallRate

        rule = config.trip[index]
        if calls and isinstance(rule, FailureRate):
            return f"failure rate {hits / calls:.1%} ({hits} of {calls} calls) reached {_percent(rule.rate)}"
        if calls and isinstance(rule, SlowCallRate):
            slow = f"{hits} of {calls} calls took over {format_seconds(rule.slower_than)}"  # type: ignore[arg-type]
            return f"slow-call rate {hits / calls:.1%} ({slow}) reached {_percent(rule.rate)}"
        if not calls and isinstance(rule, ChangeDetection):
            rise = f"from {_percent(rule.healthy)} towards {_percent(rule.failing)}"
            return f"failures rose {rise} (level {hits} reached {rule.limit})"
    if calls:
        return f"{hits} of {calls} calls"
    return "1 failure" if hits == 1 else f"{hits} consecutive failures"


def _percent(part: float) -> str:
    return f"{100.0 * part:g}%"


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
            "why": event.why,
            "last_failure": event.last_failure,
        }
        logger.log(level, "%s", event, extra=details)
