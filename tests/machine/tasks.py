"""Rules: calls in tasks of a loop whose time is virtual. Here timeouts expire."""

import math
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, multiple, precondition, rule

from machine.base import Driven, Held
from machine.operations import ENDS, wait_for
from model import FAILURE, IGNORED, Permit


class TaskRules(Driven):
    tasks = Bundle("tasks")

    @rule(target=tasks)
    def run_a_task(self) -> Any:
        permit = self.admit()
        futures = {side: self.loop.create_future() for side in self.sides}
        things = {side: self.loop.create_task(side.breaker.call(wait_for, futures[side])) for side in self.sides}
        self.breathe()
        if not isinstance(permit, Permit):
            self.agree(permit, lambda side: things[side].result())
            return multiple()
        assert not any(task.done() for task in things.values())
        held = Held(permit, things, futures, self.loop.now + (self.config.timeout or math.inf))
        self.running.append(held)
        return held

    @rule(held=consumes(tasks), how=ENDS)
    def end_a_task(self, held: Held, how: str) -> None:
        if not held.over:
            for future in held.futures.values():
                future.set_result(how)
            self.see(held, self.settle(held.permit, how))

    @rule(held=consumes(tasks))
    def cancel_a_task(self, held: Held) -> None:
        if not held.over:
            for task in held.things.values():
                task.cancel()
            self.model.settle(held.permit, IGNORED)
            self.see(held, ("raised", "CancelledError", ""))

    @precondition(lambda self: self.config.timeout is not None)
    @rule(quarters=st.integers(1, 40))
    def pass_time_in_the_loop(self, quarters: int) -> None:
        self.loop.now += quarters / 4
        expired = [held for held in self.running if held.deadline <= self.loop.now]
        for held in expired:
            self.model.settle(held.permit, FAILURE, f"timed out after {self.config.timeout:g}s", timed_out=True)
        self.breathe()
        for held in expired:
            self.see(held, ("timed out", "machine", self.config.timeout))

    def see(self, held: Held, outcome: Any) -> None:
        self.breathe()
        held.over = True
        self.running.remove(held)
        self.agree(outcome, lambda side: held.things[side].result())
