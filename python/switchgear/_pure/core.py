"""What a breaker decides: admission, settlement, the operator's commands; everything but the calls."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from switchgear._pure import recovery, transition
from switchgear._pure import word as words
from switchgear._pure.classification import classify
from switchgear._pure.clock import ManualClock
from switchgear._pure.counters import Counters
from switchgear._pure.rules import ATOMIC_INCREMENT, Rules, nanoseconds
from switchgear._pure.transition import FULL, is_late
from switchgear._pure.word import CLOSED, DISABLED, FAILURE, IGNORED, OPEN, SUCCESS, Grant, Met, Word
from switchgear.config import CircuitBreakerConfig, _duration
from switchgear.errors import (
    BulkheadFullError,
    CircuitOpenError,
    describe_failure,
    describe_result,
    describe_slow,
    describe_timeout,
)
from switchgear.events import Cause
from switchgear.state import State

if TYPE_CHECKING:
    from datetime import timedelta

Describe = Callable[[Any], str]


class Core(Counters):
    """Decide what happens to the word.

    A change is made in three steps: compute the word that follows with nothing locked, swap it in if the one it was
    computed from is still there (else start again), then announce it, again with nothing locked.
    """

    __slots__ = ("_abandoned", "_name", "_now_ns")

    _name: str
    _now_ns: Callable[[], int]
    _abandoned: list[tuple[Grant, bool | None]]
    """The grants of permits that were dropped unsettled, and whether they were late then; None: nothing was counted."""

    def __new__(cls, name: str, config: CircuitBreakerConfig, clock: ManualClock | None = None) -> Self:
        self = super().__new__(cls)
        self._name = name
        self._now_ns = time.monotonic_ns if clock is None else clock.now_ns
        self._abandoned = []
        rules = Rules(config)
        self._begin(Word(rules, CLOSED, 0, held=(0,) * (rules.places or 0)))
        return self

    @property
    def name(self) -> str:
        """What the breaker protects."""
        return self._name

    @property
    def config(self) -> CircuitBreakerConfig:
        """How the breaker behaves."""
        return self._word.rules.config

    @property
    def state(self) -> State:
        """The state; reading never changes it: OPEN past its reset timeout is OPEN until the next call."""
        return self._word.state

    @property
    def last_failure(self) -> str | None:
        """Description of the failure that tripped the breaker last, or None: ``"ValueError: boom"``."""
        return self._word.last_failure

    def force_open(self, for_: "float | timedelta | None" = None) -> None:
        """Reject every call: until told otherwise, or for ``for_`` seconds, after which the first probe may go.

        Of an OPEN breaker it moves the deadline and no more: the state stays, so no listener hears of it.

        Args:
            for_: Seconds (or a ``timedelta``), above 0, at most ten years; default None: until told otherwise.

        Raises:
            ValueError: It is out of range.
        """
        open_ns = None if for_ is None else nanoseconds(_duration("for_", for_, "None or "))
        self._command(lambda word, now_ns: words.forced_open(word, now_ns, open_ns))

    def force_close(self) -> None:
        """Let calls pass and count anew; no effect in CLOSED."""
        self._command(lambda word, now_ns: word if word.state is CLOSED else words.closed(word, now_ns))

    def disable(self) -> None:
        """Let every call pass and record nothing, until ``force_close``, ``force_open`` or ``reset``."""
        self._command(lambda word, now_ns: word if word.state is DISABLED else words.disabled(word, now_ns))

    def reset(self) -> None:
        """Begin anew in CLOSED: calls in flight become late. The metrics stay, see ``reset_metrics``."""
        self._command(words.renewed)

    def reset_metrics(self) -> None:
        """Set every counter to 0; the state is untouched, and a present spell of OPEN counts from now."""
        self._settle_abandoned()
        self._zero(self._now_ns())

    def _reconfigure(self, config: CircuitBreakerConfig) -> None:
        """Behave by another configuration from now on; the state, the counters and what is in flight stay."""
        rules = Rules(config)
        while True:
            word = self._word
            if self._swap(word, words.reconfigured(word, rules, self._now_ns()), 0):
                return

    def _snapshot(self) -> tuple[State, int, float, float | None]:
        """Return the state, the count that decides in it, the seconds since OPEN began (else 0.0), a ramp's part."""
        word, now_ns = self._word, self._now_ns()
        elapsed = max(0, now_ns - word.since_ns) / 1e9 if word.state is OPEN else 0.0
        return word.state, word.count, elapsed, words.ramp_part(word, now_ns)

    def _counters(self) -> tuple[int, int, int, int, int, int, int, int, int, int, int]:
        """Return the counters in the order of the fields of ``CircuitBreakerMetrics``."""
        self._settle_abandoned()
        return self._read(self._now_ns())

    def _admit(self) -> Grant:
        """Admit one call, or raise a fresh ``CircuitOpenError``, or ``BulkheadFullError``."""
        word, grant, now_ns = self._try_admit()
        if grant is None:
            raise CircuitOpenError(self._name, word.state, words.retry_after(word, now_ns), word.last_failure)
        if grant is FULL:
            raise BulkheadFullError(self._name, word.rules.places or 0)
        return grant

    def _try_admit(self) -> tuple[Word, Grant | None, int]:
        """Ask for one call: the word then, the grant, FULL or None, and the time."""
        if self._abandoned:
            self._settle_abandoned()
        drawn: bool | None = None
        while True:
            word, now_ns = self._word, self._now_ns()
            new, grant = transition.admit(word, now_ns)
            if grant is not None and word.rules.gates is not None:
                # A call draws once, however often others come between: its turn, as the core counts turns.
                drawn = self._draws_to_pass(new, now_ns) if drawn is None else drawn
                new, grant = transition.place(word, new, grant, now_ns) if drawn or not new.ramping else (new, None)
            if new is word or self._swap(word, new, now_ns):
                break
        if grant is not None and grant is not FULL and self._is_throttled(new, grant, now_ns):
            self._leave(grant)
            grant = None
        gates = new.rules.gates
        observed = None
        if grant is None or grant is FULL:
            if gates is not None and gates.observes:
                self._count_observed()
                observed = Grant(new.generation, observed=True)
            else:
                self._count_rejection()
        if new.state is not word.state:
            try:
                self._announce(word, new, now_ns)
            except BaseException:
                if grant is not None and grant is not FULL:
                    self._settle(grant, IGNORED)
                elif observed is not None:
                    self._settle(observed, IGNORED)
                raise
        return new, observed or grant, now_ns

    def _draws_to_pass(self, word: Word, now_ns: int) -> bool | None:
        # Imported late: whoever has gates has the module already.
        from switchgear._pure.gates import draws_to_pass

        return draws_to_pass(self, word, now_ns)

    def _is_throttled(self, word: Word, grant: Grant, now_ns: int) -> bool:
        # Once the word is there: of a generation that nobody has seen yet, the throttle would count no call.
        gates = word.rules.gates
        if gates is None or gates.throttle is None or word.state is not CLOSED:
            return False
        return not gates.throttle.passes(self, grant.generation, now_ns)

    def _leave(self, grant: Grant) -> None:
        """Give back what a grant holds of the bulkhead."""
        while True:
            word = self._word
            new = transition.left(word, grant)
            if new is word or self._swap(word, new, 0):
                return

    def _settle(
        self,
        grant: Grant,
        outcome: int,
        cause: object = None,
        describe: Describe = describe_failure,
        *,
        timed_out: bool = False,
        least_ns: int = 0,
    ) -> None:
        """Settle one grant; ``describe(cause)`` is asked for only if this trips the breaker."""
        word = self._word
        if outcome == SUCCESS and word.calm and word.grant is grant:
            self._count_success()
            return
        now_ns = self._now_ns()
        met = None
        if word.rules.more and outcome != IGNORED and word.records and not is_late(word, grant) and not grant.observed:
            met = self._record(word, grant, outcome == FAILURE, now_ns)
            if met is None and outcome == SUCCESS and word.count == 0 and grant.place < 0 and self._word is word:
                self._count_success()
                return
        description = None
        while True:
            word = self._word
            new = transition.settle(word, grant, outcome, now_ns, met, least_ns)
            if new.state is OPEN and word.state is not OPEN:
                if outcome == SUCCESS:
                    description = self._describe_success(word, grant, now_ns)
                elif description is None:
                    # Runs the exception's own __str__, so it may find another word when it comes back.
                    description = describe(cause)
                new.last_failure = description
            if new is word or self._swap(word, new, now_ns):
                break
        if word.state is DISABLED:
            return
        self._count(outcome, is_late(word, grant), timed_out)
        if new.state is not word.state:
            self._announce(word, new, now_ns)

    def _record(self, word: Word, grant: Grant, failed: bool, now_ns: int) -> Met | None:
        """Record the end of a call in the throttle and in every meter; the first rule that it has met."""
        rules = word.rules
        if failed and rules.gates is not None and rules.gates.throttle is not None:
            rules.gates.throttle.refuse(self, grant.generation, now_ns)
        duration_ns = transition.duration(word, grant, now_ns)
        first = None
        for meter in rules.meters:
            met = meter.record(self, grant.generation, failed, duration_ns, now_ns)
            first = first or met
        return first

    @staticmethod
    def _describe_success(word: Word, grant: Grant, now_ns: int) -> str | None:
        # A success that only completes the calls that a rule waits for is no failure to tell of.
        taken = transition.duration(word, grant, now_ns)
        if taken is None or taken <= word.rules.slower_than_ns:
            return None
        return describe_slow(taken / 1e9)

    def _count_success(self) -> None:
        if ATOMIC_INCREMENT:
            self._successful += 1
        else:
            self._count(SUCCESS, late=False, timed_out=False)

    def _settle_result(self, grant: Grant, result: object) -> None:
        """Settle by what a call returned; ``is_failure`` has the last word, and what it raises leaves."""
        word = self._word
        if word.quick and word.grant is grant:
            self._successful += 1
            return
        judge = word.rules.config.is_failure
        try:
            failed = judge is not None and bool(judge(result))
        except BaseException:
            self._settle(grant, IGNORED)
            raise
        if failed:
            self._settle(grant, FAILURE, result, describe_result)
        else:
            self._settle(grant, SUCCESS)

    def _settle_exception(self, grant: Grant, error: BaseException) -> None:
        """Settle by what a call raised."""
        try:
            outcome = classify(self.config, error)
        except BaseException:
            self._settle(grant, IGNORED)
            raise
        if outcome != FAILURE:
            self._settle(grant, outcome)
            return
        try:
            least_ns = self._asked_for(error, None)
        except BaseException:
            self._settle(grant, FAILURE, error)
            raise
        self._settle(grant, FAILURE, error, least_ns=least_ns)

    def _asked_for(self, error: BaseException | None, retry_after: float | None) -> int:
        """Return for how many nanoseconds the service wants to be left alone."""
        if error is None and retry_after is None:
            return 0
        # Imported late, with the first failure: it brings dataclasses.
        from switchgear.recovery import least_open

        seconds = least_open(error, retry_after, self.config)
        return nanoseconds(seconds) if seconds > 0.0 else 0

    def _settle_timeout(self, grant: Grant) -> None:
        """Settle a call that exceeded the timeout, whatever it ended with."""
        timeout = self.config.timeout
        self._settle(grant, FAILURE, math.inf if timeout is None else timeout, describe_timeout, timed_out=True)

    def _abandon(self, grant: Grant) -> None:
        """Note that a permit was dropped unsettled.

        Called by a finaliser, which may run inside any other call of ours: so it only appends, and the next call that
        could see a difference settles. What is late is decided now, as it would be by a release.
        """
        word = self._word
        self._abandoned.append((grant, None if word.state is DISABLED else is_late(word, grant)))

    def _settle_abandoned(self) -> None:
        while self._abandoned:
            try:
                grant, late = self._abandoned.pop()
            except IndexError:
                return
            if late is not None:
                self._count(IGNORED, late, timed_out=False)
            while True:
                word = self._word
                new = transition.settle(word, grant, IGNORED, 0)
                if new is word or self._swap(word, new, 0):
                    break

    def _command(self, follow: Callable[[Word, int], Word]) -> None:
        while True:
            word, now_ns = self._word, self._now_ns()
            new = follow(word, now_ns)
            if new is word:
                return
            if self._swap(word, new, now_ns):
                break
        if new.state is not word.state:
            self._announce(word, new, now_ns)

    def _announce(self, old: Word, new: Word, now_ns: int) -> None:
        retry_after = words.retry_after(new, now_ns) if new.state is OPEN else None
        by_chance = new.state is OPEN and new.cause is not None
        jitter = recovery.jitter(new.rules, new.generation) if by_chance else None
        self._on_transition(old.state, new.state, new.generation, now_ns, retry_after, new.cause, jitter)

    def _on_transition(
        self,
        from_state: State,
        to_state: State,
        generation: int,
        now_ns: int,
        retry_after: float | None,
        cause: Cause,
        jitter: float | None,
    ) -> None:
        """Called after a state change, in the thread that caused it, with nothing locked."""
