"""How long a call and an execution may take: read whenever it matters, for a breaker can be reconfigured."""

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from switchgear.breaker import CircuitBreaker
    from switchgear.config import CircuitBreakerConfig

_LIMIT_WITHOUT_DEADLINE: Final = 30.0


class Times:
    """The times of a sandbox service, in seconds.

    Args:
        time_limit: What was asked for, or None.
    """

    __slots__ = ("_asked", "_breaker")

    _breaker: "CircuitBreaker"

    def __init__(self, time_limit: Any) -> None:
        self._asked: float | None = time_limit

    def check(self, config: "CircuitBreakerConfig") -> None:
        """Refuse a limit that does not go with a configuration.

        Raises:
            ValueError: The limit is no number of seconds, or more than half of the deadline.
        """
        _check(self._asked, config.timeout)

    def follow(self, breaker: "CircuitBreaker") -> None:
        """Take the deadline of each call from a breaker from now on.

        Raises:
            ValueError: As ``check``: it may be another's, with another configuration.
        """
        self.check(breaker.config)
        self._breaker = breaker

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


def _check(value: object, deadline: float | None) -> None:
    if value is None:
        return
    most = math.inf if deadline is None else deadline / 2
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= most and value < math.inf:
        return
    half = "" if deadline is None else f" and at most half of the breaker's timeout of {deadline:g} s"
    raise ValueError(f"time_limit must be None or a number of seconds above 0{half}, not {value!r}")
