"""The four states of a breaker."""

from enum import StrEnum, unique


@unique
class State(StrEnum):
    """What a breaker does with the next call.

    The members stand in the order of the core's numbering; ``str(State.OPEN)`` is ``"OPEN"``.
    """

    CLOSED = "CLOSED"
    """Calls pass; failures are counted."""

    OPEN = "OPEN"
    """Calls are rejected until the reset timeout is over."""

    HALF_OPEN = "HALF_OPEN"
    """A few probes pass and decide; every other call is rejected."""

    DISABLED = "DISABLED"
    """Calls pass and nothing is recorded."""
