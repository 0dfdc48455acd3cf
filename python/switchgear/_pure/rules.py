"""What a configuration comes to: numbers, for the word, and the meters and gates that some of them need."""

import math
import sys
from typing import TYPE_CHECKING, Final

from switchgear.config import DURATION_LIMIT, PROBE_LIMIT, CircuitBreakerConfig

if TYPE_CHECKING:
    from switchgear._pure.gates import Gates, Ramp
    from switchgear._pure.meters import Meter

ATOMIC_INCREMENT: Final = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
"""Whether ``self.count += 1`` loses nothing: with CPython's GIL threads switch only at calls and backward jumps."""

_ALL: Final = (1 << 42) - 1
"""What takes any level to 0; as `switchgear.rules` has it, so that the default is the rule that says the same."""


class Rules:
    """A configuration as a breaker plays by it. Its numbers never change; a word refers to one of these."""

    __slots__ = (
        *("config", "number", "up", "down", "limit", "score_rule", "meters", "slower_than_ns"),
        *("success_threshold", "probes", "reset_ns", "lease_ns", "place_ns", "placed_since", "quick"),
        *("backoff", "max_wait_ns", "ramp", "places", "gates", "stop_any", "more"),
    )

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self.config = config
        self.number = 0
        """Raised by those that replace others and cannot read what these gave to a grant."""
        self.placed_since = 0
        """The number of the first of those in a row, up to these, that had a bulkhead: one of them gave every place."""
        self.up, self.down, self.limit = 1, _ALL, config.failure_threshold
        """The level in CLOSED: what a failure adds, what a success takes, and where it trips."""
        self.score_rule = 0
        """Which of the rules the level is."""
        self.meters: tuple[Meter, ...] = ()
        """The rules that need more memory than the word has."""
        self.slower_than_ns: float = math.inf
        """The least that some rule calls slow; infinite: nobody asks how long calls take."""
        if config.trip is not None:
            self._read_trip(config)
        self.success_threshold = config.success_threshold
        self.probes = min(config.half_open_max_calls or config.success_threshold, PROBE_LIMIT)
        self.reset_ns = nanoseconds(config.reset_timeout)
        self.lease_ns = self.reset_ns if config.timeout is None else nanoseconds(config.timeout)
        # Once for the call, and as long again for what it does after its timeout.
        self.place_ns = min(2 * self.lease_ns, nanoseconds(DURATION_LIMIT))
        self.quick = ATOMIC_INCREMENT and config.is_failure is None
        """Whether a returned value is a success unasked, and counted by one increment."""
        wait = config.half_open_max_wait
        self.max_wait_ns = None if wait is None else nanoseconds(wait)
        """How long HALF_OPEN may wait for its verdicts."""
        self.backoff: tuple[float, int, float, int] | None = None
        """Multiplier, longest open time in ns, jitter, seed."""
        if config.backoff is not None:
            # Imported late, like the rules.
            from switchgear.recovery import backoff_numbers

            self.backoff = backoff_numbers(config)
        self.ramp: Ramp | None = None
        self.places = config.max_concurrent
        """How many calls may be in flight; None: there is no limit."""
        self.gates: Gates | None = None
        if config.ramp or config.throttle or self.places or config.mode == "observe":
            self._read_gates(config)
        self.stop_any = bool(self.places or config.throttle)
        """Whether a call that the state lets pass may be stopped."""
        self.more = bool(self.meters or self.gates or self.backoff or self.max_wait_ns)
        """Whether the rules need more than the word: then the attempts to recover are remembered."""

    def _read_trip(self, config: CircuitBreakerConfig) -> None:
        # Imported late: whoever gave rules has the module already, and everybody else spares it.
        from switchgear._pure.meters import new_meter
        from switchgear.rules import Rate, Score, meters

        metered = []
        self.up, self.down, self.limit = 0, _ALL, _ALL
        for place, rule in enumerate(meters(config.trip or ())):
            if isinstance(rule, Score) and self.up == 0:
                self.score_rule, self.up, self.down, self.limit = place, *rule
            else:
                metered.append((place, rule))
        self.meters = tuple(new_meter(place, rule) for place, rule in metered)
        slow = [rule.slower_than_ns for _, rule in metered if isinstance(rule, Rate) and rule.slower_than_ns]
        self.slower_than_ns = min(slow, default=math.inf)

    def _read_gates(self, config: CircuitBreakerConfig) -> None:
        # Imported late, like the rules.
        from switchgear._pure.gates import Gates, Ramp, Throttle
        from switchgear.recovery import ramp_numbers

        if config.ramp is not None:
            self.ramp = Ramp(*ramp_numbers(config))
        throttle = None
        if config.throttle is not None:
            from switchgear.throttling import throttle_numbers

            throttle = Throttle(*throttle_numbers(config))
        self.gates = Gates(throttle, observes=config.mode == "observe")


def nanoseconds(seconds: float) -> int:
    """Return validated seconds in nanoseconds; never 0, which would mean nothing."""
    return max(1, round(seconds * 1e9))
