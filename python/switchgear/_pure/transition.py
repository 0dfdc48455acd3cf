"""The pure functions that lead from one word to the next.

The same transition as the core's: given the same (word, event, now) it gives the same word.
"""

import math
from typing import Final

from switchgear._pure.word import (
    DISABLED,
    FAILURE,
    IGNORED,
    OPEN,
    SUCCESS,
    TICK_NS,
    Grant,
    Met,
    Word,
    changed,
    closed,
    half_opened,
    opened,
    ramp_step,
    ramped,
    ticks_after,
    with_slot,
)

FULL: Final = Grant(-1)
"""Instead of a grant: the bulkhead has no place."""


def admit(word: Word, now_ns: int) -> tuple[Word, Grant | None]:
    """Ask the state for one call: the word that follows, and the grant or None. What else it must pass is not asked."""
    if word.grant is not None:
        return word, word.grant
    if word.ramping and _is_over(word, now_ns):
        word = closed(word, now_ns, ("the ramp is over",))
    if word.ramping and word.ramp_since is None:
        word = changed(word, ramp_since=ticks_after(now_ns, 0))
    if word.records:
        asked = word.rules.slower_than_ns != math.inf
        return word, Grant(word.generation, begun_ns=now_ns if asked else None)
    if word.state is OPEN:
        if word.deadline is None or now_ns // TICK_NS < word.deadline:
            return word, None
        word = half_opened(word, now_ns)
    elif _has_waited(word, now_ns):
        return opened(word, now_ns, ("the probes brought no verdict in time",)), None
    rules = word.rules
    slot = _free(word.leases[: rules.probes], now_ns)
    if slot < 0:
        return word, None
    lease = ticks_after(now_ns, rules.lease_ns)
    # From the lease, as the core has to: it keeps nothing else of a probe.
    begun_ns = lease * TICK_NS - rules.lease_ns
    grant = Grant(word.generation, slot=slot, lease=lease, begun_ns=begun_ns, plan=rules.number)
    return changed(word, leases=with_slot(word.leases, slot, lease)), grant


def place(before: Word, word: Word, grant: Grant, now_ns: int) -> tuple[Word, Grant]:
    """Give an admitted call its place in the bulkhead, if there is one: what follows ``word``, and the grant or FULL.

    ``before`` is the word that was asked: a probe that finds no place leaves its slot as it was.
    """
    rules = word.rules
    if rules.places is None or word.state is DISABLED:
        return word, grant
    found = _free(word.held, now_ns)
    if found < 0 or (len(word.held) > rules.places and _taken(word.held, now_ns) >= rules.places):
        same = before.generation == word.generation
        leases = before.leases if same else (0,) * len(word.leases)
        return (word if grant.slot < 0 else changed(word, leases=leases)), FULL
    if grant.slot < 0:
        lease = ticks_after(now_ns, rules.place_ns)
        grant = Grant(grant.generation, lease=lease, begun_ns=lease * TICK_NS - rules.place_ns, plan=rules.number)
    grant.place = found
    return changed(word, held=with_slot(word.held, found, grant.lease)), grant


def settle(word: Word, grant: Grant, outcome: int, now_ns: int, met: Met | None = None, least_ns: int = 0) -> Word:
    """Report how a call ended: the word that follows, which is the same one where nothing changes.

    ``met`` is the first rule that this call has met in its meter; ``least_ns`` how long to stay OPEN at least.
    """
    word = left(word, grant)
    if grant.observed or is_late(word, grant) or word.state is DISABLED:
        return word
    if word.records:
        return word if outcome == IGNORED else _counted(word, outcome, now_ns, met, least_ns)
    # OPEN admits nobody, so of its generation there is no grant: this is HALF_OPEN.
    if outcome == FAILURE:
        return opened(word, now_ns, (), least_ns)
    if outcome == SUCCESS and is_slow(word, grant, now_ns):
        # Slow is no sign of health, whatever the probe has brought.
        return opened(word, now_ns, ("a probe was slow",))
    if outcome == SUCCESS:
        if word.count + 1 >= word.rules.success_threshold:
            return ramped(word, now_ns) if word.rules.ramp else closed(word, now_ns, ())
        word = changed(word, count=word.count + 1)
    # As in ``left``.
    if word.leases[grant.slot] == grant.lease:
        word = changed(word, leases=with_slot(word.leases, grant.slot, 0))
    return word


def left(word: Word, grant: Grant) -> Word:
    """Give back the place in the bulkhead, if there is one: the word that follows."""
    if grant.place < 0 or grant.place >= len(word.held) or grant.plan < word.rules.placed_since:
        return word
    # A lease that ran out may have a new holder, whose place this is not.
    if word.held[grant.place] == grant.lease:
        return changed(word, held=with_slot(word.held, grant.place, 0))
    return word


def is_late(word: Word, grant: Grant) -> bool:
    """Tell whether the state has changed since the grant."""
    return grant.generation != word.generation


def duration(word: Word, grant: Grant, now_ns: int) -> int | None:
    """Return how long the call has taken, in nanoseconds; None where nobody knows.

    A lease tells it by its length, and that of other rules may have been another.
    """
    if grant.begun_ns is None or (grant.lease and grant.plan != word.rules.number):
        return None
    return max(0, now_ns - grant.begun_ns)


def is_slow(word: Word, grant: Grant, now_ns: int) -> bool:
    """Tell whether some rule calls it slow to end now."""
    taken = duration(word, grant, now_ns)
    return taken is not None and taken > word.rules.slower_than_ns


def _counted(word: Word, outcome: int, now_ns: int, met: Met | None, least_ns: int) -> Word:
    rules = word.rules
    level = word.count + rules.up if outcome == FAILURE else max(0, word.count - rules.down)
    if outcome == FAILURE and level >= rules.limit and (met is None or rules.score_rule < met[0]):
        met = (rules.score_rule, level, 0)
    if met is not None:
        return opened(word, now_ns, met, least_ns)
    return word if level == word.count else changed(word, count=level)


def _is_over(word: Word, now_ns: int) -> bool:
    # A ramp that was taken out of the configuration is over.
    ramp = word.rules.ramp
    return ramp is None or ramp_step(word, now_ns) >= len(ramp.steps)


def _has_waited(word: Word, now_ns: int) -> bool:
    """Tell whether HALF_OPEN has waited for its verdicts long enough."""
    max_wait_ns, since = word.rules.max_wait_ns, word.waiting_since
    return max_wait_ns is not None and since is not None and now_ns >= since * TICK_NS + max_wait_ns


def _taken(slots: tuple[int, ...], now_ns: int) -> int:
    """Return how many slots somebody holds."""
    now = now_ns // TICK_NS
    return sum(lease > now for lease in slots)


def _free(slots: tuple[int, ...], now_ns: int) -> int:
    """Return the first slot that nobody holds, or whose lease is over; -1 where there is none."""
    now = now_ns // TICK_NS
    for slot, lease in enumerate(slots):
        if lease <= now:
            return slot
    return -1
