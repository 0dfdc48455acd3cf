"""The breaker's timeout over an exchange that its caller drives: so long in sum may it wait for the other side.

A guard around the whole of it would not do: its time runs while the caller works on a part that has come, and it
cancels the task wherever that is. So each wait has a deadline of its own, and what the caller does between two of them
costs the service nothing. A deadline that is cheap until something suspends, and right under every event loop, is what
``CircuitBreaker.call`` has: a breaker that never trips is used for nothing else.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from switchgear.breaker import CircuitBreaker
from switchgear.config import THRESHOLD_LIMIT, CircuitBreakerConfig
from switchgear.errors import CallTimeoutError

if TYPE_CHECKING:
    from switchgear._compat import Permit

_PARTS: Final = 16
"""What is left of a timeout is rounded up to so many parts of it: deadlines of one timeout share a line and a timer of
the loop, and any float would have those for itself."""

_AT_ONCE: Final = 1e-6
"""What that part of a timeout is: more than nothing, and over when a loop comes to look."""

_NAME: Final = "deadline of an exchange"
"""In errors that nobody sees: each is turned into one of the breaker that the exchange went through."""


class Pace:
    """The deadlines of exchanges that have the same timeout.

    Args:
        timeout: Seconds, above 0; None: there is no deadline.
    """

    __slots__ = ("call", "soon", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self.call = _call(timeout)
        """Called with an operation and its arguments, returns what is to be awaited: it has the whole timeout."""
        self.soon = float("inf") if timeout is None else timeout / _PARTS
        """Seconds from the beginning of an exchange in which it is not worth while to count what it has waited."""

    def left(self, waited: float) -> float:
        """Return how many seconds an exchange may still wait that has waited so long."""
        return float("inf") if self.timeout is None else self.timeout - waited

    def call_within(self, left: float) -> Callable[..., Any]:
        """Return the same as ``call``, for what is left of the timeout.

        Where nothing is, what is there already may still be taken, and the first suspension is the end: in the middle
        of a wait the generators of a body close themselves one by one, between two waits nobody could close them all.
        """
        timeout = self.timeout
        if timeout is None:
            return self.call
        if left <= 0.0:
            return _call(timeout * _AT_ONCE)
        return _call(min(_PARTS, 1 + int(left / timeout * _PARTS)) * timeout / _PARTS)

    def settle(self, permit: "Permit | None", name: str, error: BaseException) -> None:
        """Settle by what a wait has raised, where there is something to settle.

        Raises:
            CallTimeoutError: It was the deadline; with the breaker's name and its whole timeout.
        """
        if self.timeout is not None and isinstance(error, CallTimeoutError) and error.name == _NAME:
            if permit is not None:
                permit._settle_timeout()
            raise CallTimeoutError(name, self.timeout) from error.__cause__
        if permit is not None:
            permit._settle_exception(error)


@lru_cache(maxsize=256)
def _call(timeout: float | None) -> Callable[..., Any]:
    config = CircuitBreakerConfig(THRESHOLD_LIMIT, timeout=timeout, record_only=())
    return CircuitBreaker(_NAME, config).call
