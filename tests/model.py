"""A breaker by the book: the rules once more, as short as they can be said, in integers, without the package.

It knows neither exceptions nor callables: it admits, and is told how what it admitted has ended.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

TICK = 100_000  # nanoseconds
SUCCESS, FAILURE, IGNORED = "successful_calls", "failed_calls", "ignored_calls"


class Permit(NamedTuple):
    generation: int
    slot: int = -1
    lease: int = 0


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


@dataclass
class Model:
    failure_threshold: int
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
    leases: list[int] = field(default_factory=list)  # of the probes, in ticks; 0: free
    last_failure: str | None = None
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset_metrics()

    def admit(self) -> Permit | Rejection:
        if self.state in ("CLOSED", "DISABLED"):
            return Permit(self.generation)
        if self.state == "OPEN":
            if self.deadline is None or self.now // TICK < self.deadline:
                return self._reject(self.deadline)
            self._enter("HALF_OPEN")
        for slot, lease in enumerate(self.leases):
            if self.now // TICK >= lease:
                self.leases[slot] = self._after(self.lease)
                return Permit(self.generation, slot, self.leases[slot])
        return self._reject(min(self.leases))

    def settle(self, permit: Permit, outcome: str, why: str = "", *, timed_out: bool = False) -> None:
        if self.state == "DISABLED":
            return
        self.counters[outcome] += 1
        self.counters["timed_out_calls"] += timed_out
        if permit.generation != self.generation:
            self.counters["late_calls"] += 1
        elif outcome == FAILURE and (self.state == "HALF_OPEN" or self.count + 1 == self.failure_threshold):
            self.last_failure = why
            self._enter("OPEN", self._after(self.reset))
        elif self.state == "CLOSED":
            self.count = {SUCCESS: 0, FAILURE: self.count + 1, IGNORED: self.count}[outcome]
        elif outcome == SUCCESS and self.count + 1 == self.success_threshold:
            self._enter("CLOSED")
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

    def _enter(self, state: str, deadline: int | None = None) -> None:
        left, self.state, self.deadline, self.count = self.state, state, deadline, 0
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
        self.changes.append(Change(left, state, self.generation, self.now, self.last_failure, wait))

    def _reject(self, deadline: int | None) -> Rejection:
        self.counters["rejected_calls"] += 1
        return Rejection(self.state, self._until(deadline))

    def _after(self, duration: int) -> int:
        return -(-(self.now + duration) // TICK)

    def _until(self, deadline: int | None) -> int | None:
        return None if deadline is None else max(0, deadline * TICK - self.now)
