"""Rules: calls that begin in one step and end in another, driven by hand."""

import warnings
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, multiple, precondition, rule

from machine.base import Driven, Held
from machine.operations import ENDS, RAISED, Result, end_later
from machine.sides import Side
from model import IGNORED


class WaitingRules(Driven):
    """Only calls without a timeout may suspend outside a task."""

    waiting = Bundle("waiting")
    unawaited = Bundle("unawaited")

    @precondition(lambda self: self.config.timeout is None)
    @rule(target=waiting)
    def suspend(self) -> Any:
        def take(side: Side) -> Any:
            call = side.breaker.call(end_later)
            assert call.send(None) == "paused"
            return call

        held = self.hold(take)
        return multiple() if held is None else held

    @rule(held=consumes(waiting), how=ENDS)
    def resume(self, held: Held, how: str) -> None:
        self.agree(self.settle(held.permit, how), lambda side: held.things.pop(side).send(how))

    @rule(held=consumes(waiting), how=st.sampled_from(sorted(RAISED)))
    def throw(self, held: Held, how: str) -> None:
        self.agree(self.settle(held.permit, how), lambda side: held.things.pop(side).throw(RAISED[how]("boom")))

    @rule(held=consumes(waiting), close=st.booleans())
    def abandon(self, held: Held, close: bool) -> None:
        self.model.settle(held.permit, IGNORED)
        for side in self.sides:
            call = held.things.pop(side)
            if close:
                call.close()

    @rule(target=unawaited)
    def return_an_awaitable(self) -> Any:
        held = self.hold(lambda side: side.guarded(lambda: Result())())
        if held is None:
            return multiple()
        self.never_awaited.append(held)
        return held

    @rule(held=consumes(unawaited), how=ENDS)
    def await_it(self, held: Held, how: str) -> None:
        Result.how = how
        self.agree(self.settle(held.permit, how), lambda side: held.things.pop(side).send(None))

    @rule(held=consumes(unawaited), close=st.booleans())
    def never_await_it(self, held: Held, close: bool) -> None:
        self.model.settle(held.permit, IGNORED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for side in self.sides:
                call = held.things.pop(side)
                if close:
                    call.close()
                del call
