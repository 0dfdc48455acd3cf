"""Durations counted in buckets: millions of them in a few kilobytes.

The buckets are log-linear as in Gil Tene's HdrHistogram: a duration keeps its seven leading bits, so that a percentile
is less than 2 % below what was measured.
"""

from __future__ import annotations

from typing import Final

KEPT_BITS: Final = 7


class Histogram:
    """How often each duration occurred; memory grows with the range of the values and not with their number."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self.count = 0
        self._buckets: dict[int, int] = {}

    def add(self, duration_ns: int) -> None:
        """Count one duration."""
        dropped = duration_ns.bit_length() - KEPT_BITS
        bucket = duration_ns >> dropped << dropped if dropped > 0 else duration_ns
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Count everything that the other one has counted."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count

    def percentile(self, percent: float) -> float | None:
        """Return the duration in seconds that `percent` of all do not exceed; None where nothing was counted."""
        rank = max(1, -(-self.count * percent // 100))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return bucket / 1e9
        return None
