"""How long a call and an execution may take: read whenever it matters, for a breaker can be reconfigured."""

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from switchgear.breaker import CircuitBreaker

_LIMIT_WITHOUT_DEADLINE: Final = 30.0


class Times:
    """The times of a sandbox service, in seconds.

    Args:
        breaker: Whose timeout is the deadline of each call.
        time_limit: What was asked for, or None.

    Raises:
        ValueError: The limit is no number of seconds, or more than half of the deadline.
    """

    __slots__ = ("_asked", "_breaker")

    def __init__(self, breaker: "CircuitBreaker", time_limit: object) -> None:
        self._breaker = breaker
        self._asked = _checked(time_limit, self.deadline)

    @property
    def deadline(self) -> float | None:
        """What the breaker gives a call; None: as long as it likes."""
        return self._breaker.config.timeout

    @property
    def time_limit(self) -> float:
        """What one execution may take; it leaves the deadline as much again, whatever that has become."""
        deadline = self.deadline
        if deadline is None:
            return self._asked or _LIMIT_WITHOUT_DEADLINE
        return deadline / 2 if self._asked is None else min(self._asked, deadline / 2)


def _checked(value: object, deadline: float | None) -> float | None:
    if value is None:
        return None
    most = math.inf if deadline is None else deadline / 2
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= most and value < math.inf:
        return float(value)
    half = "" if deadline is None else f" and at most half of the breaker's timeout of {deadline:g} s"
    raise ValueError(f"time_limit must be None or a number of seconds above 0{half}, not {value!r}")
