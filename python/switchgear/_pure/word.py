"""What decides, as one immutable value, and the values that can follow it.

Where the core packs bits and keeps leases beside them, a word here is an object that holds all of it, and swapping one
reference is the whole state change. What leads from one word to the next is in ``transition``.
"""

import math
from typing import Final, TypeAlias

from switchgear._pure import recovery
from switchgear._pure.rules import Rules
from switchgear.events import Cause
from switchgear.state import State

TICK_NS: Final = 100_000
"""Deadlines are kept in ticks of 100 microseconds, rounded up: the grain of the core's word."""

GENERATIONS: Final = 1 << 20

SUCCESS: Final = 0
FAILURE: Final = 1
IGNORED: Final = 2

# By these names: a member of an enum is found through its class, which takes longer than a call.
CLOSED: Final = State.CLOSED
OPEN: Final = State.OPEN
HALF_OPEN: Final = State.HALF_OPEN
DISABLED: Final = State.DISABLED

Met: TypeAlias = tuple[int, int, int]
"""A trip rule that was met: its place among all, and so many hits of so many calls; or the level it reached, and 0."""


class Grant:
    """What a permit carries: enough to settle it, nothing that refers to the breaker."""

    __slots__ = ("begun_ns", "generation", "lease", "observed", "place", "plan", "slot")

    def __init__(
        self,
        generation: int,
        *,
        slot: int = -1,
        place: int = -1,
        lease: int = 0,
        begun_ns: int | None = None,
        plan: int = 0,
        observed: bool = False,
    ) -> None:
        self.generation = generation
        self.slot = slot
        """The probe slot it leases, -1 for a call that is no probe."""
        self.place = place
        """The place in the bulkhead that it leases, -1 where there is none."""
        self.lease = lease
        """When the lease ends, in ticks; with the slot it tells this permit from the slot's next holder."""
        self.begun_ns = begun_ns
        """When the call was admitted, where somebody asks how long calls take."""
        self.plan = plan
        """The number of the rules that leased to it."""
        self.observed = observed
        """It moves nothing: it would have been rejected, had the breaker not been told only to observe."""


class Word:
    """The whole deciding state of a breaker. Never changed once it is published."""

    __slots__ = (
        *("rules", "state", "generation", "count", "since_ns", "deadline", "leases", "held", "last_failure", "cause"),
        *("attempts", "waiting_since", "ramping", "ramp_since", "calm", "quick", "grant"),
    )

    def __init__(
        self,
        rules: Rules,
        state: State,
        generation: int,
        *,
        count: int = 0,
        since_ns: int = 0,
        deadline: int | None = None,
        leases: tuple[int, ...] = (),
        held: tuple[int, ...] = (),
        last_failure: str | None = None,
        cause: Cause = None,
        attempts: int = 0,
        waiting_since: int | None = None,
        ramping: bool = False,
        ramp_since: int | None = None,
    ) -> None:
        self.rules = rules
        self.state = state
        self.generation = generation
        self.count = count
        """The level in CLOSED and in a ramp, by default consecutive failures; consecutive successes of probes."""
        self.since_ns = since_ns
        """When the state began."""
        self.deadline = deadline
        """When OPEN ends, in ticks; None: when an operator says so."""
        self.leases = leases
        """Per probe slot of HALF_OPEN the tick when its lease ends; 0 where it is free."""
        self.held = held
        """Per place of the bulkhead, also above its limit if it was larger, the tick when its lease ends; 0: free."""
        self.last_failure = last_failure
        self.cause = cause
        """Why the state began."""
        self.attempts = attempts
        """Attempts to recover that failed since the breaker last stayed closed."""
        self.waiting_since = waiting_since
        """The tick when HALF_OPEN began to wait for its verdicts, where somebody asks."""
        self.ramping = ramping
        """HALF_OPEN whose probes have succeeded: a growing part of the calls passes."""
        self.ramp_since = ramp_since
        """The tick of the ramp's first call; None before it."""
        self.calm = state is CLOSED and count == 0 and not rules.meters and not rules.stop_any
        """A success changes nothing, neither here nor in a meter."""
        self.quick = self.calm and rules.quick
        """A returned value is such a success, and counted by one increment."""
        is_shared = state is DISABLED or (state is CLOSED and rules.slower_than_ns == math.inf and not rules.stop_any)
        self.grant = Grant(generation) if is_shared else None
        """The grant that everybody gets, where everybody gets the same."""

    @property
    def records(self) -> bool:
        """Whether the outcomes of ordinary calls count."""
        return self.state is CLOSED or self.ramping


def ticks_after(now_ns: int, duration_ns: int) -> int:
    """Return the tick at which a duration that starts now is over."""
    return -(-(now_ns + duration_ns) // TICK_NS)


def retry_after(word: Word, now_ns: int) -> float:
    """Return the seconds until a rejected caller may be admitted; infinite where only an operator can tell."""
    if word.ramping or word.state is CLOSED:
        # By chance: the next call may be luckier.
        return 0.0
    deadline = min(word.leases[: word.rules.probes]) if word.state is HALF_OPEN else word.deadline
    return math.inf if deadline is None else max(0, deadline * TICK_NS - now_ns) / 1e9


def ramp_step(word: Word, now_ns: int) -> int:
    """Return which step of its ramp a word is in, from 0 on; past the last one where it is over."""
    ramp = word.rules.ramp
    if ramp is None or word.ramp_since is None:
        return 0
    return max(0, now_ns - word.ramp_since * TICK_NS) // ramp.step_ns


def ramp_part(word: Word, now_ns: int) -> float | None:
    """Return the part of the calls that a ramp lets pass, where there is one."""
    ramp = word.rules.ramp
    if ramp is None or not word.ramping:
        return None
    # Past the last step the next call closes; until then nothing has changed.
    return ramp.steps[min(ramp_step(word, now_ns), len(ramp.steps) - 1)]


def opened(word: Word, now_ns: int, cause: Cause, least_ns: int = 0) -> Word:
    """Begin a spell of OPEN, as long as the attempts before it make it, and at least as long as was asked for."""
    attempts, generation = recovery.attempts(word, now_ns), next_generation(word)
    open_ns = max(recovery.open_ns(word.rules, attempts, generation), least_ns)
    return _begun(word, OPEN, now_ns, cause, deadline=ticks_after(now_ns, open_ns), attempts=attempts)


def forced_open(word: Word, now_ns: int, open_ns: int | None) -> Word:
    """Begin a spell of OPEN by hand, or change when the present one ends; None: not before an operator says so."""
    deadline = None if open_ns is None else ticks_after(now_ns, open_ns)
    if word.state is not OPEN:
        return _begun(word, OPEN, now_ns, None, deadline=deadline)
    return changed(word, deadline=deadline)


def half_opened(word: Word, now_ns: int) -> Word:
    """Begin to probe."""
    waiting_since = ticks_after(now_ns, 0) if word.rules.more else None
    leases = (0,) * word.rules.probes
    return _begun(word, HALF_OPEN, now_ns, (), leases=leases, waiting_since=waiting_since)


def ramped(word: Word, now_ns: int) -> Word:
    """Begin a ramp: the state stays, and the probes' generation is past."""
    return _begun(word, HALF_OPEN, now_ns, word.cause, ramping=True)


def closed(word: Word, now_ns: int, cause: Cause = None) -> Word:
    """Begin anew in CLOSED."""
    return _begun(word, CLOSED, now_ns, cause)


def renewed(word: Word, now_ns: int) -> Word:
    """Begin anew in CLOSED, with every earlier attempt to recover forgotten."""
    return _begun(word, CLOSED, now_ns, None, attempts=0)


def disabled(word: Word, now_ns: int) -> Word:
    """Let everything pass and record nothing."""
    return _begun(word, DISABLED, now_ns, None)


def reconfigured(word: Word, rules: Rules, now_ns: int) -> Word:
    """Go on by other rules: with the attempts to recover, the ramp and what is taken of the bulkhead."""
    waiting_since = word.waiting_since
    if waiting_since is None and word.state is HALF_OPEN and not word.ramping:
        waiting_since = ticks_after(now_ns, 0)
    old = word.rules
    # Another number where what a grant has from the old rules means nothing to these: its lease's length, or its place.
    keeps_places = (rules.places is None) == (old.places is None)
    rules.number = old.number + (rules.lease_ns != old.lease_ns or not keeps_places)
    rules.placed_since = old.placed_since if old.places and rules.places else rules.number
    same_score = (rules.up, rules.down, rules.limit) == (old.up, old.down, old.limit)
    both_have_more = old.more and rules.more
    # Places above the limit stay while calls are in them.
    used = max((place + 1 for place, lease in enumerate(word.held) if lease), default=0) if rules.places else 0
    held = word.held[:used] + (0,) * ((rules.places or 0) - used)
    word = changed(
        word,
        count=word.count if same_score or not word.records else 0,
        leases=word.leases + (0,) * (rules.probes - len(word.leases)) if word.leases else (),
        held=held,
    )
    return Word(
        rules,
        word.state,
        word.generation,
        count=word.count,
        since_ns=word.since_ns,
        deadline=word.deadline,
        leases=word.leases,
        held=word.held,
        last_failure=word.last_failure,
        cause=word.cause,
        attempts=word.attempts if both_have_more else 0,
        waiting_since=waiting_since if rules.more else None,
        ramping=word.ramping,
        ramp_since=word.ramp_since if old.ramp and rules.ramp else None,
    )


def next_generation(word: Word) -> int:
    return (word.generation + 1) % GENERATIONS


def _begun(
    word: Word,
    state: State,
    now_ns: int,
    cause: Cause,
    *,
    deadline: int | None = None,
    leases: tuple[int, ...] = (),
    attempts: int | None = None,
    waiting_since: int | None = None,
    ramping: bool = False,
) -> Word:
    return Word(
        word.rules,
        state,
        next_generation(word),
        since_ns=word.since_ns if state is word.state else now_ns,
        deadline=deadline,
        leases=leases,
        held=word.held,
        last_failure=word.last_failure,
        cause=cause,
        attempts=word.attempts if attempts is None else attempts,
        waiting_since=waiting_since,
        ramping=ramping,
    )


_SAME: Final = object()


def changed(
    word: Word,
    *,
    count: int | None = None,
    leases: tuple[int, ...] | None = None,
    held: tuple[int, ...] | None = None,
    deadline: "int | object | None" = _SAME,
    ramp_since: int | None = None,
) -> Word:
    """Return the same state with something in it changed."""
    # With the cause: the word that is announced may be one that has begun the state and then given the first slot away.
    return Word(
        word.rules,
        word.state,
        word.generation,
        count=word.count if count is None else count,
        since_ns=word.since_ns,
        deadline=word.deadline if deadline is _SAME else deadline,  # type: ignore[arg-type]  # the sentinel is no deadline
        leases=word.leases if leases is None else leases,
        held=word.held if held is None else held,
        last_failure=word.last_failure,
        cause=word.cause,
        attempts=word.attempts,
        waiting_since=word.waiting_since,
        ramping=word.ramping,
        ramp_since=word.ramp_since if ramp_since is None else ramp_since,
    )


def with_slot(slots: tuple[int, ...], slot: int, lease: int) -> tuple[int, ...]:
    """Return slots of which one holds another lease."""
    return (*slots[:slot], lease, *slots[slot + 1 :])
