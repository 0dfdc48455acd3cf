"""The four states of a breaker, and the three ways in which a call can end."""

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


@unique
class Outcome(StrEnum):
    """What the end of a call says of the dependency."""

    SUCCESS = "SUCCESS"
    """It answered."""

    FAILURE = "FAILURE"
    """It did not, or not well."""

    IGNORED = "IGNORED"
    """Nothing: the call was abandoned, or the fault was the caller's."""
