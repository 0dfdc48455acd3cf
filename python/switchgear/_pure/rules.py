"""What a breaker was told, as the word and its meters need it: numbers."""

import math
from typing import TYPE_CHECKING

from switchgear.config import PROBE_LIMIT, CircuitBreakerConfig

if TYPE_CHECKING:
    from switchgear.rules import Rate, Score


class Rules:
    """A configuration, without what only calls ask for (filters, the timeout); never changed."""

    __slots__ = (
        *("up", "down", "limit", "score_rule", "metered", "slower_than_ns"),
        *("success_threshold", "probes", "reset_ns", "lease_ns"),
        *("backoff", "max_wait_ns"),
    )

    def __init__(self, config: CircuitBreakerConfig) -> None:
        # Any `down` from the limit up takes a level to 0.
        self.up, self.down, self.limit = 1, config.failure_threshold, config.failure_threshold
        """The level in CLOSED: what a failure adds, what a success takes, and where it trips."""
        self.score_rule = 0
        """Which of the rules the level is."""
        self.metered: tuple[tuple[int, Score | Rate], ...] = ()
        """The rules that need more memory than the word has, each with its place among all."""
        self.slower_than_ns: float = math.inf
        """The least that some rule calls slow; infinite: nobody asks how long calls take."""
        if config.trip is not None:
            self._read(config)
        self.success_threshold = config.success_threshold
        self.probes = min(config.half_open_max_calls or config.success_threshold, PROBE_LIMIT)
        self.reset_ns = nanoseconds(config.reset_timeout)
        self.lease_ns = self.reset_ns if config.timeout is None else nanoseconds(config.timeout)
        wait = config.half_open_max_wait
        self.max_wait_ns = None if wait is None else nanoseconds(wait)
        """How long HALF_OPEN may wait for its verdicts."""
        self.backoff: tuple[float, int, float, int] | None = None
        """Multiplier, longest open time in ns, jitter, seed."""
        if config.backoff is not None:
            # Imported late, like the rules.
            from switchgear.recovery import backoff_numbers

            self.backoff = backoff_numbers(config)

    def _read(self, config: CircuitBreakerConfig) -> None:
        # Imported late: whoever gave rules has the module already, and everybody else spares it.
        from switchgear.rules import Rate, Score, meters

        metered = []
        self.up, self.down, self.limit = 0, 0, 1
        for place, rule in enumerate(meters(config.trip or ())):
            if isinstance(rule, Score) and self.up == 0:
                self.score_rule, self.up, self.down, self.limit = place, *rule
            else:
                metered.append((place, rule))
        self.metered = tuple(metered)
        slow = [rule.slower_than_ns for _, rule in metered if isinstance(rule, Rate) and rule.slower_than_ns]
        self.slower_than_ns = min(slow, default=math.inf)


def nanoseconds(seconds: float) -> int:
    """Return validated seconds in nanoseconds; never 0, which would mean nothing."""
    return max(1, round(seconds * 1e9))
