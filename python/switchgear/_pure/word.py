"""What decides, as one immutable value, and the pure functions that take it from one moment to the next.

The same transition as the core's: given the same (word, event, now) it gives the same word. Where the core packs bits
and keeps the leases of probes beside them, a word here is an object that holds all of it, and swapping one reference
is the whole state change.
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

    __slots__ = ("begun_ns", "generation", "lease", "slot")

    def __init__(self, generation: int, slot: int = -1, lease: int = 0, begun_ns: int = 0) -> None:
        self.generation = generation
        self.slot = slot
        """The probe slot it leases, -1 for a call admitted in CLOSED or DISABLED."""
        self.lease = lease
        """When the lease ends, in ticks; with the slot it tells this permit from the slot's next holder."""
        self.begun_ns = begun_ns
        """When the call was admitted, where somebody asks how long calls take."""


class Word:
    """The whole deciding state of a breaker. Never changed once it is published."""

    __slots__ = (
        *("rules", "state", "generation", "count", "since_ns", "deadline", "leases", "last_failure", "cause"),
        *("attempts", "calm", "grant"),
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
        last_failure: str | None = None,
        cause: Cause = None,
        attempts: int = 0,
    ) -> None:
        self.rules = rules
        self.state = state
        self.generation = generation
        self.count = count
        """The level in CLOSED, by default consecutive failures; consecutive successes in HALF_OPEN."""
        self.since_ns = since_ns
        """When the state began."""
        self.deadline = deadline
        """When OPEN ends, in ticks; None: when an operator says so."""
        self.leases = leases
        """Per probe slot of HALF_OPEN the tick when its lease ends; 0 where it is free."""
        self.last_failure = last_failure
        self.cause = cause
        """Why the state began."""
        self.attempts = attempts
        """Attempts to recover that failed since the breaker last stayed closed."""
        self.calm = state is CLOSED and count == 0 and not rules.metered
        """A success changes nothing, neither here nor in a meter."""
        is_shared = state is DISABLED or (state is CLOSED and rules.slower_than_ns == math.inf)
        self.grant = Grant(generation) if is_shared else None
        """The grant that everybody gets, where everybody gets the same."""


def ticks_after(now_ns: int, duration_ns: int) -> int:
    """Return the tick at which a duration that starts now is over."""
    return -(-(now_ns + duration_ns) // TICK_NS)


def admit(word: Word, now_ns: int) -> tuple[Word, Grant | None]:
    """Ask for one call: the word that follows, and the grant or None."""
    if word.grant is not None:
        return word, word.grant
    if word.state is CLOSED:
        return word, Grant(word.generation, begun_ns=now_ns)
    if word.state is OPEN:
        if word.deadline is None or now_ns // TICK_NS < word.deadline:
            return word, None
        word = _half_opened(word, now_ns)
    elif _has_waited(word, now_ns):
        return opened(word, now_ns, ("the probes brought no verdict in time",)), None
    now, lease_ns = now_ns // TICK_NS, word.rules.lease_ns
    for slot, lease in enumerate(word.leases):
        if lease <= now:
            lease = ticks_after(now_ns, lease_ns)
            # From the lease, as the core has to: it keeps nothing else of a probe.
            begun_ns = lease * TICK_NS - lease_ns
            return _leased(word, slot, lease), Grant(word.generation, slot, lease, begun_ns)
    return word, None


def settle(word: Word, grant: Grant, outcome: int, now_ns: int, met: Met | None = None, least_ns: int = 0) -> Word:
    """Report how a call ended: the word that follows, which is the same one where nothing changes.

    ``met`` is the first rule that this call has met in its meter; ``least_ns`` how long to stay OPEN at least.
    """
    if is_late(word, grant) or word.state is DISABLED:
        return word
    if word.state is CLOSED:
        return word if outcome == IGNORED else _counted_in_closed(word, outcome, now_ns, met, least_ns)
    # OPEN admits nobody, so of its generation there is no grant: this is HALF_OPEN.
    if outcome == FAILURE:
        return opened(word, now_ns, (), least_ns)
    if outcome == SUCCESS and is_slow(word, grant, now_ns):
        # Slow is no sign of health, whatever the probe has brought.
        return opened(word, now_ns, ("a probe was slow",))
    if outcome == SUCCESS:
        if word.count + 1 >= word.rules.success_threshold:
            return closed(word, now_ns, ())
        word = _counted(word, word.count + 1)
    # A lease that ran out may have a new holder, whose slot this is not.
    if word.leases[grant.slot] == grant.lease:
        word = _leased(word, grant.slot, 0)
    return word


def _counted_in_closed(word: Word, outcome: int, now_ns: int, met: Met | None, least_ns: int) -> Word:
    rules = word.rules
    level = word.count + rules.up if outcome == FAILURE else max(0, word.count - rules.down)
    if level >= rules.limit and (met is None or rules.score_rule < met[0]):
        met = (rules.score_rule, level, 0)
    if met is not None:
        return opened(word, now_ns, met, least_ns)
    return word if level == word.count else _counted(word, level)


def is_late(word: Word, grant: Grant) -> bool:
    """Tell whether the state has changed since the grant."""
    return grant.generation != word.generation


def is_slow(word: Word, grant: Grant, now_ns: int) -> bool:
    """Tell whether some rule calls it slow to end now."""
    return now_ns - grant.begun_ns > word.rules.slower_than_ns


def retry_after(word: Word, now_ns: int) -> float:
    """Return the seconds until a rejected caller may be admitted; infinite where only an operator can tell."""
    deadline = min(word.leases) if word.state is HALF_OPEN else word.deadline
    return math.inf if deadline is None else max(0, deadline * TICK_NS - now_ns) / 1e9


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
    return _changed(word, word.count, word.leases, deadline)


def closed(word: Word, now_ns: int, cause: Cause = None) -> Word:
    """Begin anew in CLOSED."""
    return _begun(word, CLOSED, now_ns, cause)


def renewed(word: Word, now_ns: int) -> Word:
    """Begin anew in CLOSED, with every earlier attempt to recover forgotten."""
    return _begun(word, CLOSED, now_ns, None, attempts=0)


def disabled(word: Word, now_ns: int) -> Word:
    """Let everything pass and record nothing."""
    return _begun(word, DISABLED, now_ns, None)


def next_generation(word: Word) -> int:
    return (word.generation + 1) % GENERATIONS


def _half_opened(word: Word, now_ns: int) -> Word:
    return _begun(word, HALF_OPEN, now_ns, (), leases=(0,) * word.rules.probes)


def _has_waited(word: Word, now_ns: int) -> bool:
    """Tell whether HALF_OPEN has waited for its verdicts long enough."""
    max_wait_ns = word.rules.max_wait_ns
    return max_wait_ns is not None and now_ns >= ticks_after(word.since_ns, 0) * TICK_NS + max_wait_ns


def _begun(
    word: Word,
    state: State,
    now_ns: int,
    cause: Cause,
    *,
    deadline: int | None = None,
    leases: tuple[int, ...] = (),
    attempts: int | None = None,
) -> Word:
    return Word(
        word.rules,
        state,
        next_generation(word),
        since_ns=word.since_ns if state is word.state else now_ns,
        deadline=deadline,
        leases=leases,
        last_failure=word.last_failure,
        cause=cause,
        attempts=word.attempts if attempts is None else attempts,
    )


def _counted(word: Word, count: int) -> Word:
    return _changed(word, count, word.leases, word.deadline)


def _leased(word: Word, slot: int, lease: int) -> Word:
    return _changed(word, word.count, (*word.leases[:slot], lease, *word.leases[slot + 1 :]), word.deadline)


def _changed(word: Word, count: int, leases: tuple[int, ...], deadline: int | None) -> Word:
    # With the cause: the word that is announced may be one that has begun the state and then given the first slot away.
    return Word(
        word.rules,
        word.state,
        word.generation,
        count=count,
        since_ns=word.since_ns,
        deadline=deadline,
        leases=leases,
        last_failure=word.last_failure,
        cause=word.cause,
        attempts=word.attempts,
    )
