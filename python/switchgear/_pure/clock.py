"""A clock that moves when it is told to."""

from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta

# 3.8 years, after which a deadline ten years off is still one that the native core can hold.
_LIMIT: Final = 120_000_000


class ManualClock:
    """The time of a breaker under test: ``CircuitBreaker(name, config, clock=ManualClock())``.

    One clock may serve any number of breakers, from any thread. It drives the breaker's own time (the reset timeout,
    the leases of probes, time spent OPEN), not the event loop's: the ``timeout`` of a call follows the loop.

    Args:
        start: What the clock shows at first, in seconds; 0 to 120,000,000, default 0.0.

    Raises:
        TypeError: The start is no number.
        ValueError: The start is out of range.
    """

    __slots__ = ("_lock", "_now_ns")

    def __init__(self, start: float = 0.0) -> None:
        self._now_ns = _nanoseconds("start", start)
        self._lock = Lock()

    def advance(self, seconds: "float | timedelta") -> None:
        """Move the clock forward.

        Args:
            seconds: By how much, as a number or a ``timedelta``; 0 or more, up to a reading of 120,000,000.

        Raises:
            TypeError: It is neither a number nor a ``timedelta``.
            ValueError: It is out of range.
        """
        step = _nanoseconds("seconds", seconds)
        with self._lock:
            if self._now_ns + step > _LIMIT * 1_000_000_000:
                raise ValueError(f"seconds must leave the clock at {_LIMIT:,} or less, not {seconds!r}")
            self._now_ns += step

    def now(self) -> float:
        """Return what the clock shows, in seconds."""
        return self._now_ns / 1e9

    def now_ns(self) -> int:
        """Return what the clock shows, in nanoseconds."""
        return self._now_ns

    def __repr__(self) -> str:
        return f"ManualClock({self.now()!r})"


def _nanoseconds(what: str, value: object) -> int:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    else:
        from datetime import timedelta

        if not isinstance(value, timedelta):
            raise TypeError(f"{what} must be a number of seconds or a timedelta, not {type(value).__name__}")
        seconds = value.total_seconds()
    if not 0 <= seconds <= _LIMIT:
        raise ValueError(f"{what} must be from 0 to {_LIMIT:,} seconds, not {value!r}")
    return round(seconds * 1e9)
