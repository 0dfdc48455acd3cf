"""How long a call may take, and how long it may wait: read whenever it matters, for a breaker can be reconfigured."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from switchgear.breaker import CircuitBreaker

_WAIT_WITHOUT_TIMEOUT: Final = 15.0


class Times:
    """The times of a database, in seconds. They hold nothing of the service, whose thread must not keep it alive.

    Args:
        breaker: Whose timeout counts.
        max_wait: How long a call waits for a connection or a lock; None: half of the timeout.
    """

    __slots__ = ("_breaker", "_max_wait")

    def __init__(self, breaker: "CircuitBreaker", max_wait: float | None) -> None:
        self._breaker = breaker
        self._max_wait = max_wait

    @property
    def timeout(self) -> float | None:
        """What a call or a transaction may take; None: as long as it likes."""
        return self._breaker.config.timeout

    @property
    def max_wait(self) -> float:
        """What a call waits for a connection of the pool, or for a lock that another process holds."""
        if self._max_wait is not None:
            return self._max_wait
        timeout = self.timeout
        return _WAIT_WITHOUT_TIMEOUT if timeout is None else timeout / 2
