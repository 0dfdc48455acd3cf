"""Rules: time passes, and an operator takes a hand."""

import gc
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from machine.base import Driven
from machine.options import OPTIONS
from machine.rules import RULES
from model import TICK


class ControlRules(Driven):
    @rule(nanoseconds=st.sampled_from([0, 1, TICK - 1, TICK, 50_000_000, 999_999_999, 1_000_000_000, 7_000_000_000]))
    def pass_time(self, nanoseconds: int) -> None:
        self.advance(nanoseconds)

    @rule(off=st.sampled_from([-TICK, -1, 0, 0, 1]), which=st.sampled_from([min, max]))
    def pass_time_to_a_deadline(self, off: int, which: Callable[..., int]) -> None:
        self.pass_to_a_deadline(off, which)

    @rule(command=st.sampled_from(["force_open", "force_close", "disable", "reset"]))
    def command(self, command: str) -> None:
        getattr(self.model, "start_anew" if command == "reset" else command)()
        for side in self.sides:
            getattr(side.breaker, command)()

    @rule(nanoseconds=st.sampled_from([0, 1_500_000]))
    def reset_metrics(self, nanoseconds: int) -> None:
        self.advance(nanoseconds)
        self.model.reset_metrics()
        for side in self.sides:
            side.breaker.reset_metrics()

    @rule(
        failure_threshold=st.integers(1, 3),
        success_threshold=st.integers(1, 4),
        reset_timeout=st.sampled_from([1.0, 2.00003]),
        half_open_max_calls=st.sampled_from([None, 1, 16]),
        trip=st.none() | RULES,
        options=OPTIONS,
    )
    def reconfigure(self, trip: Any, options: dict[str, Any], **fields: Any) -> None:
        self.configure(self.config.replace(**fields), trip, options)
        self.model.reconfigure(self.settings)
        for side in self.sides:
            side.breaker.reconfigure(self.config)

    @rule()
    def collect_garbage(self) -> None:
        gc.collect(0)
