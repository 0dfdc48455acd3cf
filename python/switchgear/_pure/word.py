"""What decides, as one immutable value, and the pure functions that take it from one moment to the next.

The same transition as the core's: given the same (word, event, now) it gives the same word. Where the core packs bits
and keeps the leases of probes beside them, a word here is an object that holds all of it, and swapping one reference
is the whole state change.
"""

import math
from typing import Final

from switchgear.config import PROBE_LIMIT, CircuitBreakerConfig
from switchgear.state import State

TICK_NS: Final = 100_000
"""Deadlines are kept in ticks of 100 microseconds, rounded up: the grain of the core's word."""

GENERATIONS: Final = 1 << 20

SUCCESS: Final = 0
FAILURE: Final = 1
IGNORED: Final = 2


class Grant:
    """What a permit carries: enough to settle it, nothing that refers to the breaker."""

    __slots__ = ("generation", "lease", "slot")

    def __init__(self, generation: int, slot: int = -1, lease: int = 0) -> None:
        self.generation = generation
        self.slot = slot
        """The probe slot it leases, -1 for a call admitted in CLOSED or DISABLED."""
        self.lease = lease
        """When the lease ends, in ticks; with the slot it tells this permit from the slot's next holder."""


class Word:
    """The whole deciding state of a breaker. Never changed once it is published."""

    __slots__ = ("calm", "count", "deadline", "generation", "grant", "last_failure", "leases", "since_ns", "state")

    def __init__(
        self,
        state: State,
        generation: int,
        *,
        count: int = 0,
        since_ns: int = 0,
        deadline: int | None = None,
        leases: tuple[int, ...] = (),
        last_failure: str | None = None,
    ) -> None:
        self.state = state
        self.generation = generation
        self.count = count
        """Consecutive failures in CLOSED, consecutive successes in HALF_OPEN."""
        self.since_ns = since_ns
        """When OPEN began."""
        self.deadline = deadline
        """When OPEN ends, in ticks; None: when an operator says so."""
        self.leases = leases
        """Per probe slot of HALF_OPEN the tick when its lease ends; 0 where it is free."""
        self.last_failure = last_failure
        self.calm = state is State.CLOSED and count == 0
        """A success changes nothing."""
        self.grant = Grant(generation) if state in (State.CLOSED, State.DISABLED) else None
        """The grant that everybody gets, where everybody does."""


def ticks_after(now_ns: int, seconds: float) -> int:
    """Return the tick at which a duration that starts now is over."""
    return -(-(now_ns + max(1, round(seconds * 1e9))) // TICK_NS)


def admit(word: Word, now_ns: int, config: CircuitBreakerConfig) -> tuple[Word, Grant | None]:
    """Ask for one call: the word that follows, and the grant or None."""
    if word.grant is not None:
        return word, word.grant
    if word.state is State.OPEN:
        if word.deadline is None or now_ns // TICK_NS < word.deadline:
            return word, None
        word = _half_opened(word, config)
    now = now_ns // TICK_NS
    for slot, lease in enumerate(word.leases):
        if lease <= now:
            lease = ticks_after(now_ns, config.reset_timeout if config.timeout is None else config.timeout)
            return _leased(word, slot, lease), Grant(word.generation, slot, lease)
    return word, None


def settle(word: Word, grant: Grant, outcome: int, now_ns: int, config: CircuitBreakerConfig) -> Word:
    """Report how a call ended: the word that follows, which is the same one where nothing changes."""
    if is_late(word, grant):
        return word
    if word.state is State.CLOSED:
        if outcome == FAILURE:
            if word.count + 1 >= config.failure_threshold:
                return opened(word, now_ns, config.reset_timeout)
            return _counted(word, word.count + 1)
        return _counted(word, 0) if outcome == SUCCESS and word.count else word
    if word.state is State.HALF_OPEN:
        if outcome == FAILURE:
            return opened(word, now_ns, config.reset_timeout)
        if outcome == SUCCESS:
            if word.count + 1 >= config.success_threshold:
                return closed(word)
            word = _counted(word, word.count + 1)
        # A lease that ran out may have a new holder, whose slot this is not.
        if word.leases[grant.slot] == grant.lease:
            word = _leased(word, grant.slot, 0)
    return word


def is_late(word: Word, grant: Grant) -> bool:
    """Tell whether the state has changed since the grant."""
    return grant.generation != word.generation


def retry_after(word: Word, now_ns: int) -> float:
    """Return the seconds until a rejected caller may be admitted; infinite where only an operator can tell."""
    deadline = min(word.leases) if word.state is State.HALF_OPEN else word.deadline
    return math.inf if deadline is None else max(0, deadline * TICK_NS - now_ns) / 1e9


def opened(word: Word, now_ns: int, reset_timeout: float | None) -> Word:
    """Begin a spell of OPEN; with a reset timeout of None it lasts until an operator ends it."""
    return Word(
        State.OPEN,
        next_generation(word),
        since_ns=now_ns,
        deadline=None if reset_timeout is None else ticks_after(now_ns, reset_timeout),
        last_failure=word.last_failure,
    )


def held_open(word: Word) -> Word:
    """Take the deadline from an OPEN word; the spell and its generation go on."""
    return Word(State.OPEN, word.generation, since_ns=word.since_ns, last_failure=word.last_failure)


def closed(word: Word) -> Word:
    """Begin anew in CLOSED."""
    return Word(State.CLOSED, next_generation(word), last_failure=word.last_failure)


def disabled(word: Word) -> Word:
    """Let everything pass and record nothing."""
    return Word(State.DISABLED, next_generation(word), last_failure=word.last_failure)


def next_generation(word: Word) -> int:
    return (word.generation + 1) % GENERATIONS


def _half_opened(word: Word, config: CircuitBreakerConfig) -> Word:
    probes = min(config.half_open_max_calls or config.success_threshold, PROBE_LIMIT)
    return Word(State.HALF_OPEN, next_generation(word), leases=(0,) * probes, last_failure=word.last_failure)


def _counted(word: Word, count: int) -> Word:
    return Word(word.state, word.generation, count=count, leases=word.leases, last_failure=word.last_failure)


def _leased(word: Word, slot: int, lease: int) -> Word:
    leases = (*word.leases[:slot], lease, *word.leases[slot + 1 :])
    return Word(word.state, word.generation, count=word.count, leases=leases, last_failure=word.last_failure)
