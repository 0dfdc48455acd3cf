"""How long a breaker stays OPEN, and how it closes again: the backoff, what services ask for, the ramp."""

import itertools
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Final

from switchgear.config import RESET_TIMEOUT_CAP, CircuitBreakerConfig, _duration

if TYPE_CHECKING:
    from datetime import timedelta

MULTIPLIER_LIMIT: Final = 1_000.0
STEP_LIMIT: Final = 100
_SEED_LIMIT: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Let the open time grow with every attempt to recover that fails.

    The open time is ``reset_timeout * multiplier ** attempts``, give or take a random part, and at most ``max``: before
    chance has its say no more than ``max / (1 + jitter)``, so that it always has room. An attempt has failed when a
    probe fails, or brings no verdict within ``half_open_max_wait``. A breaker that has been CLOSED for
    ``reset_timeout`` begins anew; one that trips earlier goes on where it was.

    Polly's ``BreakDurationGenerator`` and resilience4j's ``IntervalFunction.ofExponentialRandomBackoff`` do the same.
    Chance keeps the breakers of many processes from probing a recovering service all at once.

    Args:
        multiplier: What each failed attempt multiplies the open time by; 1 to 1,000, default 2.0.
        max: The longest open time, in seconds (or a ``timedelta``); at least the ``reset_timeout``, at most ten years,
            default 600.0.
        jitter: The part of the open time that chance adds or takes, drawn once per trip; 0 to 1, default 0.2.
        seed: What chance is drawn from, 0 to 2^64 - 1: with the same seed the n-th state change draws the same.
            Default None: another one in each breaker.

    Raises:
        ValueError: A value is out of range or has the wrong type; the text names field, value and range.
    """

    multiplier: float = 2.0
    max: float = 600.0
    jitter: float = 0.2
    seed: int | None = None

    def __post_init__(self) -> None:
        _check("multiplier", self.multiplier, 1.0, MULTIPLIER_LIMIT)
        object.__setattr__(self, "max", _duration("max", self.max))
        _check("jitter", self.jitter, 0.0, 1.0)
        check_seed(self.seed)


@dataclass(frozen=True, slots=True)
class Ramp:
    """Let a growing part of the calls pass after the probes, before the breaker closes.

    When enough probes have succeeded, HALF_OPEN begins a ramp with the next call: each step admits its part of the
    calls, drawn by chance, for ``step`` seconds, and the first call after the last step finds the breaker CLOSED. The
    trip rules count as in CLOSED, and one that is met opens the breaker again, as an attempt that failed.

    Envoy's slow start and the warm-up of Google's load balancers do the same on the other side of the wire;
    resilience4j and Polly close at once.

    Args:
        steps: The parts of the calls that pass, one step after the other; 1 to 100 numbers, each above 0 and below 1
            and larger than the one before; default 5 %, 25 %, 50 %.
        step: How long each lasts, in seconds (or a ``timedelta``); above 0, at most ten years, default 5.0.
        seed: What chance is drawn from, 0 to 2^64 - 1: with the same seed the n-th call in a ramp draws the same.
            Default None: another one in each breaker.

    Raises:
        ValueError: A value is out of range or has the wrong type; the text names field, value and range.
    """

    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    step: "float | timedelta" = 5.0
    seed: int | None = None

    def __post_init__(self) -> None:
        # No more than it takes to see that there are too many: some iterators never end.
        steps = tuple(itertools.islice(self.steps, STEP_LIMIT + 1)) if isinstance(self.steps, Iterable) else ()
        if not 1 <= len(steps) <= STEP_LIMIT or not all(_is_part(part) for part in steps):
            raise ValueError(f"steps must be 1 to {STEP_LIMIT} numbers above 0 and below 1, not {self.steps!r}")
        for before, after in itertools.pairwise(steps):
            if after <= before:
                raise ValueError(f"steps must rise, and {after!r} comes after {before!r} in {self.steps!r}")
        object.__setattr__(self, "steps", tuple(map(float, steps)))
        object.__setattr__(self, "step", _duration("step", self.step))
        check_seed(self.seed)


def _is_part(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 < value < 1.0


def check_seed(seed: object) -> None:
    """Raise ``ValueError`` unless it is None or a 64-bit number."""
    if seed is not None and not (type(seed) is int and 0 <= seed < _SEED_LIMIT):
        raise ValueError(f"seed must be None or an int from 0 to 2**64 - 1, not {seed!r}")


def drawn_seed(seed: int | None) -> int:
    """Return a seed, drawn now where none was given."""
    return int.from_bytes(os.urandom(8), "little") if seed is None else seed


def ramp_numbers(config: CircuitBreakerConfig) -> tuple[tuple[float, ...], int, int]:
    """Return what a backend keeps of a config's ramp for one breaker: the steps, their length in ns, the seed."""
    ramp = config.ramp
    if ramp is None:
        raise ValueError("the config has no ramp")
    return ramp.steps, max(1, round(1e9 * ramp.step)), drawn_seed(ramp.seed)  # type: ignore[arg-type]  # a float by now


def backoff_numbers(config: CircuitBreakerConfig) -> tuple[float, int, float, int] | None:
    """Return what a backend keeps for one breaker: multiplier, longest open time in ns, jitter and seed; or None."""
    backoff = config.backoff
    if backoff is None:
        return None
    return float(backoff.multiplier), round(backoff.max * 1e9), float(backoff.jitter), drawn_seed(backoff.seed)


def checked_retry_after(retry_after: object) -> float:
    """Return for how many seconds a caller says that a service wants to be left alone.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative or NaN.
    """
    if isinstance(retry_after, bool) or not isinstance(retry_after, Real):
        raise TypeError(f"retry_after must be None or seconds, not {type(retry_after).__name__}")
    try:
        seconds = float(retry_after)
    except OverflowError:
        seconds = math.inf if retry_after > 0 else -math.inf  # type: ignore[operator]  # every Real has an order
    # NaN is no more than anything.
    if not seconds >= 0.0:
        raise ValueError(f"retry_after must be None or seconds, 0 or more, not {seconds!r}")
    return seconds


def least_open(failure: BaseException | None, retry_after: float | None, config: CircuitBreakerConfig) -> float:
    """Return how many seconds a service wants to be left alone, as far as that is to be believed.

    Args:
        failure: What a call failed with, or None; its ``retry_after`` counts, if that is a finite number.
        retry_after: What the caller was told, in seconds; goes before the exception's. None: nothing.
        config: The breaker's, for the longest time to believe.

    Returns:
        0.0 to ``config.max_reset_timeout``; 0.0 where nobody asked for anything.
    """
    if retry_after is None:
        try:
            said = getattr(failure, "retry_after", None)
            if isinstance(said, bool) or not isinstance(said, Real):
                return 0.0
            # An int past the largest float is an OverflowError; that, and a property that fails, say nothing.
            retry_after = float(said)
        except Exception:
            return 0.0
        if not math.isfinite(retry_after):
            # Not before somebody says so: that is no time to wait.
            return 0.0
    limit = config.max_reset_timeout
    if limit is None:
        limit = max(RESET_TIMEOUT_CAP, config.reset_timeout)
    return min(max(retry_after, 0.0), limit)


def _check(field: str, value: object, least: float, most: float) -> None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return
    raise ValueError(f"{field} must be a number from {least:,g} to {most:,g}, not {value!r}")
