"""The state machine without its rules: what it drives, and what has to be the same after each of them."""

import asyncio
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from machine.operations import RAISED, Fault, Harmless, judge, outcome_of
from machine.options import OPTIONS, UNSAID, settings_of
from machine.rules import RULES, consecutive
from machine.sides import BACKENDS, Side, expected, seconds, told
from model import FAILURE, IGNORED, SUCCESS, TICK, Model, Permit, Rejection
from switchgear import CircuitBreakerConfig
from virtual_time import VirtualLoop


@dataclass
class Held:
    """One permit of the model, and what stands for it on each side: a permit, a call, a task."""

    permit: Permit
    things: dict[Side, Any]
    futures: dict[Side, "asyncio.Future[Any]"] = field(default_factory=dict)
    deadline: float = math.inf
    over: bool = False


class Driven(RuleBasedStateMachine):
    """Each rule does one thing to the model and to every side, and sees that the caller sees the same."""

    steps = itertools.count()

    @initialize(
        failure_threshold=st.integers(1, 3),
        success_threshold=st.integers(1, 4),
        timeout=st.sampled_from([None, None, 0.5, 7.0]),
        reset_timeout=st.sampled_from([0.00005, 0.0001, 1.0, 2.00003, 315_360_000.0]),
        half_open_max_calls=st.sampled_from([None, 1, 2, 16]),
        record_only=st.sampled_from([None, (Fault, asyncio.TimeoutError)]),
        is_failure=st.sampled_from([None, judge]),
        trip=st.none() | RULES | RULES,
        options=st.just({}) | OPTIONS,
        start=st.sampled_from([0.0, 12345.678901]),
    )
    def begin(self, start: float, trip: Any, options: dict[str, Any], **fields: Any) -> None:
        self.configure(CircuitBreakerConfig(ignore=Harmless, **fields), trip, options)
        self.sides = [Side(backend, self.config, start) for backend in BACKENDS]
        self.model = Model(self.settings, now=round(start * 1e9))
        self.loop = VirtualLoop()
        self.running: list[Held] = []
        self.never_awaited: list[Held] = []

    def configure(self, config: CircuitBreakerConfig, trip: Any, options: dict[str, Any]) -> None:
        rules, numbers = ([], []) if trip is None else zip(*trip, strict=True)
        self.config = config.replace(trip=rules or None, **{**UNSAID, **options})
        self.settings = settings_of(self.config, list(numbers) or [consecutive(config.failure_threshold)])

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for held in self.never_awaited:
                for call in held.things.values():
                    call.close()
            for held in self.running:
                for task in held.things.values():
                    task.cancel()
            self.breathe()
            self.loop.close()

    # What everybody has to agree on after each step.

    @invariant()
    def the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        next(Driven.steps)
        state, count, elapsed, part = self.model.snapshot()
        metrics = self.model.metrics()
        for side in self.sides:
            breaker = side.breaker
            assert breaker.state == state
            assert breaker._snapshot() == (state, count, seconds(elapsed), part)
            assert breaker.get_metrics()._asdict() == metrics
            assert breaker.last_failure == self.model.last_failure
            assert [told(event) for event in side.heard] == [expected(change) for change in self.model.changes]
            assert breaker.causes == [change.cause for change in self.model.changes]

    def admit(self) -> Permit | Any:
        """The model's permit, or what a rejected caller sees."""
        admitted = self.model.admit()
        if isinstance(admitted, Permit):
            return admitted
        return rejected(admitted, self.model.last_failure)

    def settle(self, permit: Permit, how: str) -> Any:
        """Tell the model how an operation has ended, and say what its caller sees."""
        judged = self.config.is_failure is not None
        if how in RAISED:
            outcome = {"fault": FAILURE, "answered": FAILURE}.get(how, IGNORED)
            if how == "answered" and self.config.record_only:
                outcome = SUCCESS
            self.model.settle(permit, outcome, f"{RAISED[how].__name__}: boom")
            return "raised", RAISED[how].__name__, "boom"
        if how == "unjudgeable" and judged:
            self.model.settle(permit, IGNORED)
            return "raised", "LookupError", "no idea"
        self.model.settle(permit, FAILURE if how == "bad" and judged else SUCCESS, f"result: {how!r}")
        return "returned", how

    def agree(self, expectation: Any, act: Callable[[Side], Any]) -> None:
        """Do it on every side; each caller has to see what is expected."""
        for side in self.sides:
            assert outcome_of(lambda: act(side)) == expectation  # noqa: B023  # called at once

    def complete(self, how: str, act: Callable[[Side], Any]) -> None:
        """One whole call."""
        permit = self.admit()
        self.agree(self.settle(permit, how) if isinstance(permit, Permit) else permit, act)

    def hold(self, take: Callable[[Side], Any]) -> Held | None:
        """Have every side take something that lasts; None if that is rejected."""
        permit = self.admit()
        things: dict[Side, Any] = {}
        for side in self.sides:
            seen = outcome_of(lambda: things.setdefault(side, take(side)))  # noqa: B023
            assert seen[0] == "returned" if isinstance(permit, Permit) else seen == permit
        return Held(permit, things) if isinstance(permit, Permit) else None

    def breathe(self) -> None:
        async def some_turns() -> None:
            for _ in range(6):
                await asyncio.sleep(0)

        self.loop.run_until_complete(some_turns())

    def advance(self, nanoseconds: int) -> None:
        self.model.now += nanoseconds
        for side in self.sides:
            side.clock.advance(nanoseconds / 1e9)
            assert side.clock.now_ns() == self.model.now

    def pass_to_a_deadline(self, off: int, which: Callable[..., int]) -> None:
        model = self.model
        deadlines = [*model.held.values(), *(model.leases if model.state == "HALF_OPEN" else [model.deadline or 0])]
        if model.ramp_since is not None and self.settings.ramp:
            ends = range(1, len(self.settings.ramp.steps) + 1)
            deadlines = [model.ramp_since + self.settings.ramp.step * end // TICK for end in ends]
        ahead = [deadline * TICK + off - self.model.now for deadline in deadlines]
        # Only what a clock that is told seconds can be told exactly.
        exact = (wait for wait in ahead if 0 < wait < 10**17 and round(wait / 1e9 * 1e9) == wait)
        self.advance(which(exact, default=0))


def rejected(rejection: Rejection, last_failure: str | None) -> Any:
    if rejection.full:
        return "full", "machine", rejection.full
    return "rejected", "machine", rejection.state, seconds(rejection.retry_after), last_failure
