"""A breaker by the book: the rules once more, as short as they can be said, in integers, without the package.

It knows neither exceptions nor callables: it admits, and is told how what it admitted has ended.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

TICK = 100_000  # nanoseconds
SUCCESS, FAILURE, IGNORED = "successful_calls", "failed_calls", "ignored_calls"
Cause: TypeAlias = tuple[int | str, ...] | None


class Permit(NamedTuple):
    generation: int
    begun: int
    slot: int = -1
    lease: int = 0


class Score(NamedTuple):
    """A level: a failure adds, a success takes."""

    up: int
    down: int
    limit: int


class Rate(NamedTuple):
    """So large a part of the last calls, or of those in ten buckets of nanoseconds, failed, or (if given) was slow."""

    calls: int
    bucket: int
    rate: float
    minimum: int
    slower_than: int  # nanoseconds; 0: failures are counted


class Ended(NamedTuple):
    """A call that ended in CLOSED."""

    now: int
    took: int
    failed: bool


class Rejection(NamedTuple):
    state: str
    retry_after: int | None  # nanoseconds; None: until told otherwise


class Change(NamedTuple):
    from_state: str
    to_state: str
    generation: int
    now: int
    last_failure: str | None
    retry_after: int | None  # where the breaker opened; 0 elsewhere
    cause: Cause  # a rule that was met; (), or words: the machine's own way; None: an operator


@dataclass
class Model:
    trip: list[Score | Rate]
    success_threshold: int
    max_probes: int
    reset: int  # nanoseconds
    lease: int  # nanoseconds
    now: int = 0
    state: str = "CLOSED"
    generation: int = 0
    count: int = 0
    deadline: int | None = None  # of OPEN, in ticks; None: an operator's
    since: int = 0
    ended: list[Ended] = field(default_factory=list)  # in this spell of CLOSED
    leases: list[int] = field(default_factory=list)  # of the probes, in ticks; 0: free
    last_failure: str | None = None
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset_metrics()

    def admit(self) -> Permit | Rejection:
        if self.state in ("CLOSED", "DISABLED"):
            return Permit(self.generation, self.now)
        if self.state == "OPEN":
            if self.deadline is None or self.now // TICK < self.deadline:
                return self._reject(self.deadline)
            self._enter("HALF_OPEN", cause=())
        for slot, lease in enumerate(self.leases):
            if self.now // TICK >= lease:
                self.leases[slot] = self._after(self.lease)
                lease = self.leases[slot]
                # When it began is told from its lease, to a tick.
                return Permit(self.generation, lease * TICK - self.lease, slot, lease)
        return self._reject(min(self.leases))

    def settle(self, permit: Permit, outcome: str, why: str | None = None, *, timed_out: bool = False) -> None:
        if self.state == "DISABLED":
            return
        self.counters[outcome] += 1
        self.counters["timed_out_calls"] += timed_out
        took = self.now - permit.begun
        is_slow = any(isinstance(rule, Rate) and 0 < rule.slower_than < took for rule in self.trip)
        if outcome == SUCCESS:
            why = f"took {took / 1e9:.3f}".rstrip("0").rstrip(".") + "s" if is_slow else None
        if permit.generation != self.generation:
            self.counters["late_calls"] += 1
        elif self.state == "CLOSED":
            if outcome != IGNORED:
                self._end(Ended(self.now, took, outcome == FAILURE), why)
        elif outcome == FAILURE or (outcome == SUCCESS and is_slow):
            self._open(why, () if outcome == FAILURE else ("a probe was slow",))
        elif outcome == SUCCESS and self.count + 1 == self.success_threshold:
            self._enter("CLOSED", cause=())
        else:
            self.count += outcome == SUCCESS
            if self.leases[permit.slot] == permit.lease:
                self.leases[permit.slot] = 0

    def force_open(self) -> None:
        if self.state == "OPEN":
            self.deadline = None
        else:
            self._enter("OPEN")

    def force_close(self) -> None:
        if self.state != "CLOSED":
            self._enter("CLOSED")

    def disable(self) -> None:
        if self.state != "DISABLED":
            self._enter("DISABLED")

    def start_anew(self) -> None:
        self._enter("CLOSED")

    def reset_metrics(self) -> None:
        names = ["rejected_calls", "timed_out_calls", "late_calls", "times_opened", "times_half_opened"]
        self.counters = dict.fromkeys([SUCCESS, FAILURE, IGNORED, *names], 0)
        self.open_time = 0
        self.measured_from = self.now

    def metrics(self) -> dict[str, int]:
        spell = self.now - max(self.since, self.measured_from) if self.state == "OPEN" else 0
        return {
            **self.counters,
            "total_calls": sum(self.counters[name] for name in (SUCCESS, FAILURE, IGNORED, "rejected_calls")),
            "total_open_time_ms": (self.open_time + spell) // 1_000_000,
        }

    def snapshot(self) -> tuple[str, int, int]:
        return self.state, self.count, self.now - self.since if self.state == "OPEN" else 0

    def _end(self, call: Ended, why: str | None) -> None:
        """One more call in CLOSED: the first rule that all of them together meet trips."""
        self.ended.append(call)
        levels = [self._level(rule) for rule in self.trip if isinstance(rule, Score)]
        self.count = levels[0] if levels else 0
        met = [cause for number, rule in enumerate(self.trip) if (cause := self._met(number, rule))]
        if met:
            self._open(why, met[0])

    def _met(self, number: int, rule: Score | Rate) -> Cause:
        if isinstance(rule, Score):
            level = self._level(rule)
            is_first = not any(isinstance(earlier, Score) for earlier in self.trip[:number])
            return (number, level if is_first else min(level, rule.limit), 0) if level >= rule.limit else None
        if rule.calls:
            window = self.ended[-rule.calls :]
        else:
            window = [call for call in self.ended if self.now // rule.bucket - call.now // rule.bucket < 10]
        hits = sum(call.took > rule.slower_than if rule.slower_than else call.failed for call in window)
        is_met = len(window) >= rule.minimum and hits and hits / len(window) >= rule.rate
        return (number, hits, len(window)) if is_met else None

    def _level(self, score: Score) -> int:
        level = 0
        for call in self.ended:
            level = level + score.up if call.failed else max(0, level - score.down)
        return level

    def _open(self, why: str | None, cause: Cause) -> None:
        self.last_failure = why
        self._enter("OPEN", self._after(self.reset), cause)

    def _enter(self, state: str, deadline: int | None = None, cause: Cause = None) -> None:
        left, self.state, self.deadline, self.count, self.ended = self.state, state, deadline, 0, []
        self.generation = (self.generation + 1) % 2**20
        if left == state:
            return
        if left == "OPEN":
            self.open_time += self.now - max(self.since, self.measured_from)
        self.since = self.now
        self.leases = [0] * self.max_probes
        self.counters["times_opened"] += state == "OPEN"
        self.counters["times_half_opened"] += state == "HALF_OPEN"
        wait = self._until(deadline) if state == "OPEN" else 0
        self.changes.append(Change(left, state, self.generation, self.now, self.last_failure, wait, cause))

    def _reject(self, deadline: int | None) -> Rejection:
        self.counters["rejected_calls"] += 1
        return Rejection(self.state, self._until(deadline))

    def _after(self, duration: int) -> int:
        return -(-(self.now + duration) // TICK)

    def _until(self, deadline: int | None) -> int | None:
        return None if deadline is None else max(0, deadline * TICK - self.now)
