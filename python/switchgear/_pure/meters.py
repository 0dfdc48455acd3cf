"""Meters: trip rules that need more memory than the word that decides has room for.

A meter belongs to the generation that wrote it last and reads as empty in another: so a state change empties every
meter at once and writes nothing. It records under the breaker's lock, where nothing may be called and nothing may loop
(see ``locks``): each update is one straight line over integers. Nor does it divide large ones, which looks for signals.
"""

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from switchgear._pure.counters import Counters
    from switchgear._pure.word import Met
    from switchgear.rules import Rate, Score


class Meter(Protocol):
    """One rule's memory of the calls that ended in CLOSED."""

    def record(
        self, counters: "Counters", generation: int, failed: bool, duration_ns: int | None, now_ns: int
    ) -> "Met | None":
        """Record a call that was admitted in ``generation``, unless that is over; what met the rule, if this did."""


class Level:
    """A level, where the word that decides already holds another."""

    __slots__ = ("_generation", "_level", "_rule", "_score")

    def __init__(self, rule: int, score: "Score") -> None:
        self._rule = rule
        self._score = tuple(score)
        self._generation = -1
        self._level = 0

    def record(
        self, counters: "Counters", generation: int, failed: bool, duration_ns: int | None, now_ns: int
    ) -> "Met | None":
        up, down, limit = self._score
        with counters._lock:
            if counters._word.generation != generation:
                return None
            level = self._level if self._generation == generation else 0
            self._generation = generation
            if failed:
                level += up
            elif level > down:
                level -= down
            else:
                level = 0
            # No higher, however long a trip may be on its way.
            if level > limit:
                level = limit
            self._level = level
        return None if level < limit else (self._rule, level, 0)


class _Window:
    """What is hit, and how large a part of the calls has to be."""

    __slots__ = ("_generation", "_minimum_calls", "_rate", "_rule", "_slower_than_ns")

    def __init__(self, rule: int, rate: "Rate") -> None:
        self._rule = rule
        self._rate = rate.rate
        self._minimum_calls = rate.minimum_calls
        self._slower_than_ns = rate.slower_than_ns
        self._generation = -1

    def _judge(self, hits: int, calls: int) -> "Met | None":
        met = calls >= self._minimum_calls and hits / calls >= self._rate
        return (self._rule, hits, calls) if met else None


class LastCalls(_Window):
    """Hits among the last N calls: a ring with a byte a call, and the count of those that are set."""

    __slots__ = ("_calls", "_hits", "_next", "_ring", "_size")

    def __init__(self, rule: int, rate: "Rate") -> None:
        super().__init__(rule, rate)
        self._size = rate.calls
        self._ring = bytearray(rate.calls)
        self._calls = self._hits = self._next = 0

    def record(
        self, counters: "Counters", generation: int, failed: bool, duration_ns: int | None, now_ns: int
    ) -> "Met | None":
        if self._slower_than_ns:
            if duration_ns is None:
                return None
            failed = duration_ns > self._slower_than_ns
        hit = int(failed)
        size, ring = self._size, self._ring
        if not (hit or self._hits) and self._calls == size and self._generation == generation:
            # Full, and nothing in it: it stays so, and whichever thread is writing may come after this call.
            return None
        with counters._lock:
            if counters._word.generation != generation:
                return None
            if self._generation != generation:
                self._generation = generation
                self._calls = self._hits = 0
            hits, calls, place = self._hits + hit, self._calls, self._next
            if calls == size:
                hits -= ring[place]
            else:
                # Only a full ring is read: what an earlier generation has left in it, wherever it stopped, never is.
                self._calls = calls = calls + 1
            ring[place] = hit
            place += 1
            self._next = 0 if place == size else place
            self._hits = hits
        return self._judge(hits, calls) if hits else None


_BUCKETS: Final = 10
HIT: Final = 1 << 48
"""What a hit adds to a lane; a call adds 1."""
_CALLS: Final = HIT - 1
_LANE: Final = 96
_LAST_LANES: Final = (1 << 5 * _LANE) - 1
_LAST_LANE: Final = (1 << _LANE) - 1
_ALL_LANES: Final = (1 << _BUCKETS * _LANE) - 1


def hits_of(seen: int) -> int:
    return seen >> 48


def calls_of(seen: int) -> int:
    return seen & _CALLS


class Lanes:
    """Calls and hits of the last while: ten buckets, lanes of one number, which time shifts out on the left.

    A lane holds hits above calls. Their sum is kept, and made anew when time has moved on.
    """

    __slots__ = ("_epoch", "_generation", "_lanes", "_length_ns", "_sum")

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._generation = -1
        self._epoch = self._lanes = self._sum = 0

    def add(self, counters: "Counters", generation: int, one: int, now_ns: int) -> int | None:
        """Add to the present lane, unless the generation is over; the sum of all lanes then, else None."""
        epoch = now_ns // self._length_ns
        with counters._lock:
            if counters._word.generation != generation:
                return None
            if self._generation != generation:
                self._generation = generation
                self._epoch = epoch
                self._lanes = self._sum = 0
            # Below 0 where another thread has read its clock later and come here first.
            age = self._epoch - epoch
            if age < 0:
                lanes = self._lanes << _LANE * -age & _ALL_LANES if age > -_BUCKETS else 0
                five = lanes + (lanes >> 5 * _LANE) & _LAST_LANES
                two = five + (five >> 2 * _LANE)
                self._sum = two + (two >> _LANE) + (five >> 4 * _LANE) & _LAST_LANE
                self._lanes, self._epoch, age = lanes, epoch, 0
            if age < _BUCKETS:
                self._lanes += one << _LANE * age
                self._sum += one
            return self._sum


class Buckets(_Window):
    """Hits among the calls of the last while."""

    __slots__ = ("_lanes",)

    def __init__(self, rule: int, rate: "Rate") -> None:
        super().__init__(rule, rate)
        self._lanes = Lanes(rate.bucket_ns)

    def record(
        self, counters: "Counters", generation: int, failed: bool, duration_ns: int | None, now_ns: int
    ) -> "Met | None":
        if self._slower_than_ns:
            if duration_ns is None:
                return None
            failed = duration_ns > self._slower_than_ns
        seen = self._lanes.add(counters, generation, HIT + 1 if failed else 1, now_ns)
        hits = 0 if seen is None else hits_of(seen)
        return self._judge(hits, calls_of(seen or 0)) if hits else None


def new_meter(place: int, rule: "Score | Rate") -> Meter:
    """Return an empty meter for a rule, which has this place among all."""
    from switchgear.rules import Score

    if isinstance(rule, Score):
        return Level(place, rule)
    return LastCalls(place, rule) if rule.calls else Buckets(place, rule)
