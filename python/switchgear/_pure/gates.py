"""What a call passes beside the state, drawn by chance: the part of a ramp, and the throttle."""

from typing import TYPE_CHECKING

from switchgear._pure.meters import HIT, Lanes, calls_of, hits_of
from switchgear._pure.recovery import drawn
from switchgear._pure.word import Word, ramp_part

if TYPE_CHECKING:
    from switchgear._pure.counters import Counters


class Ramp:
    """The steps of a ramp; of what it draws only the number of the call is remembered."""

    __slots__ = ("_calls", "_seed", "step_ns", "steps")

    def __init__(self, steps: tuple[float, ...], step_ns: int, seed: int) -> None:
        self.steps = steps
        self.step_ns = step_ns
        self._seed = seed
        self._calls = 0

    def passes(self, counters: "Counters", part: float) -> bool:
        """Draw whether one more call is of the part that passes."""
        with counters._lock:
            call = self._calls
            self._calls = call + 1
        return drawn(self._seed + call) < part


class Throttle:
    """Requests and refusals of the last while: those that were rejected, and those that have failed."""

    __slots__ = ("_calls", "_k", "_seed", "_window")

    def __init__(self, k: float, bucket_ns: int, seed: int) -> None:
        self._k = k
        self._window = Lanes(bucket_ns)
        self._seed = seed
        self._calls = 0

    def passes(self, counters: "Counters", generation: int, now_ns: int) -> bool:
        """Count one more request, and draw whether it passes."""
        seen = self._window.add(counters, generation, 1, now_ns)
        with counters._lock:
            call = self._calls
            self._calls = call + 1
        if seen is None:
            return True
        requests, refused = calls_of(seen) - 1, hits_of(seen)
        rejection = max(0.0, (requests - self._k * max(0, requests - refused)) / (requests + 1.0))
        if drawn(self._seed + call) >= rejection:
            return True
        self.refuse(counters, generation, now_ns)
        return False

    def refuse(self, counters: "Counters", generation: int, now_ns: int) -> None:
        """Take note that a call that had passed has failed."""
        self._window.add(counters, generation, HIT, now_ns)


class Gates:
    """What a configuration has of them; one without any has none of these."""

    __slots__ = ("observes", "throttle")

    def __init__(self, throttle: Throttle | None, *, observes: bool) -> None:
        self.throttle = throttle
        self.observes = observes
        """Nothing is rejected: what would have been is counted, and moves nothing."""


def draws_to_pass(counters: "Counters", word: Word, now_ns: int) -> bool | None:
    """Ask the ramp, before a call looks for a place in the bulkhead; None where there is none."""
    part = ramp_part(word, now_ns)
    ramp = word.rules.ramp
    return None if part is None or ramp is None else ramp.passes(counters, part)
