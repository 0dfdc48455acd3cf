"""What a breaker has counted."""

from typing import NamedTuple


class CircuitBreakerMetrics(NamedTuple):
    """An immutable snapshot of a breaker's counters.

    A call is counted when it settles or is rejected, so calls in flight are in no field. At rest
    ``total_calls == successful_calls + failed_calls + rejected_calls + ignored_calls``, exactly.
    """

    total_calls: int
    """Calls settled or rejected."""

    successful_calls: int
    """Calls that settled as a success."""

    failed_calls: int
    """Calls that settled as a failure, the timed-out ones included."""

    rejected_calls: int
    """Calls that were not admitted."""

    total_open_time_ms: int
    """Milliseconds spent OPEN, the present spell included."""

    times_opened: int
    """How often the breaker became OPEN."""

    times_half_opened: int
    """How often the breaker became HALF_OPEN."""

    ignored_calls: int
    """Calls that were cancelled, abandoned, or ended with an ignored exception."""

    timed_out_calls: int
    """The part of ``failed_calls`` that exceeded the breaker's own timeout."""

    late_calls: int
    """The part of the settled calls whose outcome came after a state change and moved nothing."""

    would_have_rejected: int = 0
    """Calls that passed only because of ``mode="observe"``; counted when they came, and above when they settle."""

    @property
    def success_rate(self) -> float:
        """Percent of ``total_calls`` that succeeded; 100.0 before the first call."""
        return 100.0 * self.successful_calls / self.total_calls if self.total_calls else 100.0
