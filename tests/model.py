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
    begun: int | None = None  # where somebody asks how long calls take
    slot: int = -1
    place: int = -1
    lease: int = 0
    plan: int = 0  # the settings that leased
    observed: bool = False


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


class Backoff(NamedTuple):
    multiplier: float
    longest: int  # nanoseconds
    jitter: float
    seed: int


class Ramp(NamedTuple):
    steps: tuple[float, ...]
    step: int  # nanoseconds
    seed: int


class Throttle(NamedTuple):
    k: float
    bucket: int  # nanoseconds
    seed: int


class Settings(NamedTuple):
    trip: tuple[Score | Rate, ...]
    success_threshold: int
    max_probes: int
    reset: int  # nanoseconds
    lease: int  # nanoseconds
    wait: int | None = None  # nanoseconds
    backoff: Backoff | None = None
    ramp: Ramp | None = None
    places: int | None = None
    throttle: Throttle | None = None
    observes: bool = False

    @property
    def word(self) -> Score | None:
        """The score that the breaker's own word holds: the first one."""
        return next((rule for rule in self.trip if isinstance(rule, Score)), None)

    @property
    def measures(self) -> bool:
        return any(isinstance(rule, Rate) and rule.slower_than for rule in self.trip)

    @property
    def remembers(self) -> bool:
        """Whether anything needs more than the word: then attempts to recover are remembered."""
        more = (self.wait, self.backoff, self.ramp, self.places, self.throttle)
        return any(value is not None for value in more) or self.observes or self.trip != (self.word,)


class Ended(NamedTuple):
    """A call that ended in CLOSED, or in a ramp."""

    now: int
    took: int | None  # None: nobody knows
    failed: bool


class Rejection(NamedTuple):
    state: str
    retry_after: int | None  # nanoseconds; None: until told otherwise
    full: int = 0  # so many calls were in flight; 0: it was not that


class Change(NamedTuple):
    from_state: str
    to_state: str
    generation: int
    now: int
    last_failure: str | None
    retry_after: int | None  # where the breaker opened; 0 elsewhere
    cause: Cause  # a rule that was met; (), or words: the machine's own way; None: an operator
    jitter: float | None


@dataclass
class Model:
    settings: Settings
    now: int = 0
    plan: int = 0
    state: str = "CLOSED"
    generation: int = 0
    count: int = 0
    deadline: int | None = None  # of OPEN, in ticks; None: an operator's
    since: int = 0
    level: int = 0  # with which the present settings began
    ended: list[Ended] = field(default_factory=list)  # in this spell of CLOSED, or ramp, under these settings
    leases: list[int] = field(default_factory=list)  # of the probes, in ticks; 0: free
    held: dict[int, int] = field(default_factory=dict)  # of the calls in the bulkhead, by the number of each
    placed: int = 0  # so many calls were ever in it
    attempts: int = 0  # to recover, that failed
    waiting_since: int | None = None  # in ticks
    ramping: bool = False
    ramp_since: int | None = None  # in ticks
    ramp_calls: int = 0
    throttle_calls: int = 0
    requests: list[int] = field(default_factory=list)  # when, in this spell of CLOSED
    refusals: list[int] = field(default_factory=list)
    last_failure: str | None = None
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset_metrics()

    def admit(self) -> Permit | Rejection:
        admitted = self._admit()
        if isinstance(admitted, Permit):
            return admitted
        if self.settings.observes:
            self.counters["would_have_rejected"] += 1
            return Permit(self.generation, observed=True)
        self.counters["rejected_calls"] += 1
        return admitted

    def _admit(self) -> Permit | Rejection:
        settings = self.settings
        if self.state == "DISABLED":
            return Permit(self.generation)
        if self._has_waited():
            self._enter("OPEN", self._after(self._open_time()), ("the probes brought no verdict in time",))
        if self.ramping and (settings.ramp is None or self._step() >= len(settings.ramp.steps)):
            self._enter("CLOSED", cause=("the ramp is over",))
        if self.state == "CLOSED" or self.ramping:
            return self._admit_ordinary()
        if self.state == "OPEN":
            if self.deadline is None or self.now // TICK < self.deadline:
                return Rejection("OPEN", self._until(self.deadline))
            self._enter("HALF_OPEN", cause=())
        return self._admit_probe()

    def _admit_probe(self) -> Permit | Rejection:
        slots = self.leases[: self.settings.max_probes]
        slot = self._free(slots)
        if slot is None:
            return Rejection("HALF_OPEN", self._until(min(slots)))
        if self._is_full():
            return Rejection("HALF_OPEN", 0, self.settings.places or 0)
        self.leases[slot] = self._after(self.settings.lease)
        return self._leased(Permit(self.generation, slot=slot), self.settings.lease)

    def _admit_ordinary(self) -> Permit | Rejection:
        settings = self.settings
        if self.ramping and settings.ramp is not None:
            if self.ramp_since is None:
                self.ramp_since = self._after(0)
            self.ramp_calls += 1
            if drawn(settings.ramp.seed + self.ramp_calls - 1) >= settings.ramp.steps[self._step()]:
                return Rejection("HALF_OPEN", 0)
        if self._is_full():
            return Rejection(self.state, 0, settings.places or 0)
        if settings.throttle is not None and self.state == "CLOSED" and self._is_throttled(settings.throttle):
            return Rejection("CLOSED", 0)
        if settings.places is None:
            return Permit(self.generation, self.now if settings.measures else None)
        return self._leased(Permit(self.generation), min(2 * settings.lease, 315_360_000 * 10**9))

    def _is_full(self) -> bool:
        taken = sum(self.now // TICK < lease for lease in self.held.values())
        return self.settings.places is not None and taken >= self.settings.places

    def _leased(self, permit: Permit, duration: int) -> Permit:
        lease, place = self._after(duration), -1
        if self.settings.places is not None:
            self.placed += 1
            self.held[self.placed], place = lease, self.placed
        # When it began is told from its lease, to a tick.
        return permit._replace(place=place, lease=lease, begun=lease * TICK - duration, plan=self.plan)

    def _is_throttled(self, throttle: Throttle) -> bool:
        epoch = self.now // throttle.bucket
        requests, refused = (
            sum(epoch - when // throttle.bucket < 10 for when in times) for times in (self.requests, self.refusals)
        )
        probability = max(0.0, (requests - throttle.k * max(0, requests - refused)) / (requests + 1))
        self.throttle_calls += 1
        self.requests.append(self.now)
        if drawn(throttle.seed + self.throttle_calls - 1) >= probability:
            return False
        self.refusals.append(self.now)
        return True

    def settle(self, permit: Permit, outcome: str, why: str | None = None, *, timed_out: bool = False) -> None:
        self.held.pop(permit.place, None)
        if self.state == "DISABLED":
            return
        self.counters[outcome] += 1
        self.counters["timed_out_calls"] += timed_out
        took = self._took(permit)
        slow_from = [rule.slower_than for rule in self.settings.trip if isinstance(rule, Rate) and rule.slower_than]
        is_slow = took is not None and any(took > slower_than for slower_than in slow_from)
        if outcome == SUCCESS:
            why = f"took {(took or 0) / 1e9:.3f}".rstrip("0").rstrip(".") + "s" if is_slow else None
        if permit.generation != self.generation:
            self.counters["late_calls"] += 1
        elif permit.observed:
            pass
        elif self.state == "CLOSED" or self.ramping:
            if outcome == FAILURE:
                self.refusals.append(self.now)
            if outcome != IGNORED:
                self._end(Ended(self.now, took, outcome == FAILURE), why)
        elif outcome == FAILURE or (outcome == SUCCESS and is_slow):
            self._open(why, () if outcome == FAILURE else ("a probe was slow",))
        elif outcome == SUCCESS and self.count + 1 >= self.settings.success_threshold:
            if self.settings.ramp is None:
                self._enter("CLOSED", cause=())
            else:
                self._enter("HALF_OPEN", cause=())
                self.ramping = True
        else:
            self.count += outcome == SUCCESS
            if self.leases[permit.slot] == permit.lease:
                self.leases[permit.slot] = 0

    def reconfigure(self, settings: Settings) -> None:
        """Go on by other settings: with the state, its deadline, the ramp, the attempts and what is in flight."""
        old, self.settings = self.settings, settings
        self.plan += settings.lease != old.lease or (settings.places is None) != (old.places is None)
        if self.state == "CLOSED" or self.ramping:
            self.level = self.count = self.count if settings.word == old.word else 0
        self.ended, self.requests, self.refusals = [], [], []
        self.ramp_calls = self.throttle_calls = 0
        self.leases += [0] * (settings.max_probes - len(self.leases))
        if settings.places is None:
            self.held = {}
        if not (old.remembers and settings.remembers):
            self.attempts = 0
        if not settings.remembers:
            self.waiting_since = None
        elif self.waiting_since is None and self.state == "HALF_OPEN" and not self.ramping:
            self.waiting_since = self._after(0)
        if not (old.ramp and settings.ramp):
            self.ramp_since = None

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
        self.attempts = 0

    def reset_metrics(self) -> None:
        names = ["rejected_calls", "timed_out_calls", "late_calls", "times_opened", "times_half_opened"]
        self.counters = dict.fromkeys([SUCCESS, FAILURE, IGNORED, *names, "would_have_rejected"], 0)
        self.open_time = 0
        self.measured_from = self.now

    def metrics(self) -> dict[str, int]:
        spell = self.now - max(self.since, self.measured_from) if self.state == "OPEN" else 0
        return {
            **self.counters,
            "total_calls": sum(self.counters[name] for name in (SUCCESS, FAILURE, IGNORED, "rejected_calls")),
            "total_open_time_ms": (self.open_time + spell) // 1_000_000,
        }

    def snapshot(self) -> tuple[str, int, int, float | None]:
        ramp, part = self.settings.ramp, None
        if self.ramping and ramp is not None:
            part = ramp.steps[min(self._step(), len(ramp.steps) - 1)]
        return self.state, self.count, self.now - self.since if self.state == "OPEN" else 0, part

    def _step(self) -> int:
        if self.settings.ramp is None or self.ramp_since is None:
            return 0
        return max(0, self.now - self.ramp_since * TICK) // self.settings.ramp.step

    def _has_waited(self) -> bool:
        wait, since = self.settings.wait, self.waiting_since
        is_probing = self.state == "HALF_OPEN" and not self.ramping
        return is_probing and wait is not None and since is not None and self.now >= since * TICK + wait

    def _took(self, permit: Permit) -> int | None:
        # A lease tells how long it took by its length, and that of other settings may have been another.
        if permit.begun is None or (permit.lease and permit.plan != self.plan):
            return None
        return max(0, self.now - permit.begun)

    def _end(self, call: Ended, why: str | None) -> None:
        """One more call in CLOSED: the first rule that all of them together meet trips."""
        self.ended.append(call)
        self.count = self._level(self.settings.word, self.level) if self.settings.word else 0
        met = [cause for number, rule in enumerate(self.settings.trip) if (cause := self._met(number, rule))]
        if met:
            self._open(why, met[0])

    def _met(self, number: int, rule: Score | Rate) -> Cause:
        if isinstance(rule, Score):
            is_first = not any(isinstance(earlier, Score) for earlier in self.settings.trip[:number])
            level = self._level(rule, self.level if is_first else 0)
            return (number, level if is_first else min(level, rule.limit), 0) if level >= rule.limit else None
        known = [call for call in self.ended if call.took is not None or not rule.slower_than]
        if rule.calls:
            window = known[-rule.calls :]
        else:
            window = [call for call in known if self.now // rule.bucket - call.now // rule.bucket < 10]
        hits = sum((call.took or 0) > rule.slower_than if rule.slower_than else call.failed for call in window)
        is_met = len(window) >= rule.minimum and hits and hits / len(window) >= rule.rate
        return (number, hits, len(window)) if is_met else None

    def _level(self, score: Score, level: int) -> int:
        for call in self.ended:
            level = level + score.up if call.failed else max(0, level - score.down)
        return level

    def _open(self, why: str | None, cause: Cause) -> None:
        self.last_failure = why
        self._enter("OPEN", self._after(self._open_time()), cause)

    def _open_time(self) -> int:
        settings = self.settings
        if self.state == "HALF_OPEN":
            self.attempts += 1
        elif self.now - self.since >= settings.reset:
            self.attempts = 0
        if settings.backoff is None:
            return settings.reset
        # Steps as the product grows: a power of floats would round otherwise.
        duration, longest = float(settings.reset), float(settings.backoff.longest)
        for _ in range(self.attempts):
            duration = min(duration * settings.backoff.multiplier, longest)
        duration = min(duration, longest / (1.0 + settings.backoff.jitter))
        duration *= 1.0 + self._jitter(settings.backoff)
        return max(1, int(min(duration, longest)))

    def _jitter(self, backoff: Backoff) -> float:
        """What chance adds to the open time of the next generation."""
        return backoff.jitter * (2.0 * drawn(backoff.seed + (self.generation + 1) % 2**20) - 1.0)

    def _enter(self, state: str, deadline: int | None = None, cause: Cause = None) -> None:
        backoff = self.settings.backoff
        jitter = self._jitter(backoff) if backoff and state == "OPEN" and cause is not None else None
        left, self.state, self.deadline, self.count, self.ended = self.state, state, deadline, 0, []
        self.level, self.requests, self.refusals = 0, [], []
        self.ramping, self.ramp_since = False, None
        self.waiting_since = self._after(0) if state == "HALF_OPEN" and self.settings.remembers else None
        self.generation = (self.generation + 1) % 2**20
        if left == state:
            return
        if left == "OPEN":
            self.open_time += self.now - max(self.since, self.measured_from)
        self.since = self.now
        self.leases = [0] * self.settings.max_probes
        self.counters["times_opened"] += state == "OPEN"
        self.counters["times_half_opened"] += state == "HALF_OPEN"
        wait = self._until(deadline) if state == "OPEN" else 0
        self.changes.append(Change(left, state, self.generation, self.now, self.last_failure, wait, cause, jitter))

    def _free(self, slots: list[int]) -> int | None:
        return next((slot for slot, lease in enumerate(slots) if self.now // TICK >= lease), None)

    def _after(self, duration: int) -> int:
        return -(-(self.now + duration) // TICK)

    def _until(self, deadline: int | None) -> int | None:
        return None if deadline is None else max(0, deadline * TICK - self.now)


def drawn(number: int) -> float:
    """What chance makes of a number: SplitMix64, of which the upper 53 bits are a part of 1."""
    mask = 2**64 - 1
    bits = (number + 0x9E3779B97F4A7C15) & mask
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & mask
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & mask
    return ((bits ^ (bits >> 31)) >> 11) / 2**53
