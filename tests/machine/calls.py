"""Rules: whole calls, in one step."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from machine.base import Driven
from machine.operations import ENDS, end, end_async, outcome_of
from machine.sides import Side
from model import Permit
from switchgear.guard import Guard


class CallRules(Driven):
    @rule(how=ENDS)
    def call_sync(self, how: str) -> None:
        self.complete(how, lambda side: side.breaker.call_sync(end, how))

    @rule(how=ENDS, operation=st.sampled_from([end, end_async]))
    def call(self, how: str, operation: Callable[[str], Any]) -> None:
        self.complete(how, lambda side: side.breaker.call(operation, how).send(None))

    @rule(how=ENDS)
    def call_an_awaitable(self, how: str) -> None:
        self.complete(how, lambda side: side.breaker.call(end_async(how)).send(None))

    @rule(how=ENDS)
    def call_a_decorated_function(self, how: str) -> None:
        self.complete(how, lambda side: side.guarded(end)(how))

    @rule(how=ENDS.filter(lambda how: how not in ("bad", "unjudgeable")))
    def enter_a_guard(self, how: str) -> None:
        def act(side: Side) -> str:
            with Guard(side.breaker):
                return end(how)

        self.complete(how, act)

    @rule(how=ENDS, inner=ENDS)
    def call_inside_a_call(self, how: str, inner: str) -> None:
        permit = self.admit()
        if not isinstance(permit, Permit):
            return self.agree(permit, lambda side: side.breaker.call_sync(end, how))
        within = self.admit()
        inside = self.settle(within, inner) if isinstance(within, Permit) else within
        seen: list[Any] = []

        def act(side: Side) -> Any:
            def operation() -> str:
                seen.append(outcome_of(lambda: side.breaker.call_sync(end, inner)))
                return end(how)

            return side.breaker.call_sync(operation)

        self.agree(self.settle(permit, how), act)
        assert seen == [inside] * len(self.sides)
        return None

    @rule()
    def never_await(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for side in self.sides:
                side.breaker.call(end_async, "fine")
                side.breaker.call(end_async, "fine").close()

    @rule(nothing=st.sampled_from([7, None, "text", b"", 1.5]))
    def call_nothing_callable(self, nothing: Any) -> None:
        for side in self.sides:
            with pytest.raises(TypeError):
                side.breaker.call(nothing).send(None)
            with pytest.raises(TypeError):
                side.breaker.call_sync(nothing)
