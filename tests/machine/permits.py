"""Rules: permits, taken and settled by hand."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, multiple, precondition, rule

from machine.base import Driven, Held
from machine.operations import RAISED, Harmless
from model import FAILURE, IGNORED, SUCCESS, Rejection


class PermitRules(Driven):
    permits = Bundle("permits")
    settled = Bundle("settled")

    @rule(target=permits)
    def acquire(self) -> Any:
        held = self.hold(lambda side: side.breaker.acquire())
        return multiple() if held is None else held

    @precondition(lambda self: self.model.state in ("OPEN", "HALF_OPEN"))
    @rule(target=permits)
    def take_every_probe(self) -> Any:
        return multiple(*self.probes())

    @precondition(lambda self: self.model.state in ("OPEN", "HALF_OPEN"))
    @rule(target=permits, verb=st.sampled_from(["success", "failure", "release"]))
    def take_over_from_hung_probes(self, verb: str) -> Any:
        hung, taken = self.probes(), self.probes()
        for held in hung[:1]:
            self.settle_permit(held, verb)
        return multiple(*hung[1:], *taken, *self.probes(wait=False))

    def probes(self, *, wait: bool = True) -> list[Held]:
        """Take every slot that is free, or that is when the next deadline has passed."""
        if wait:
            self.pass_to_a_deadline(0, min)
        taken = []
        # As many as there are at most: in a ramp, or where the breaker only observes, there may be no end.
        while self.model.state in ("OPEN", "HALF_OPEN") and len(taken) <= 16:
            held = self.hold(lambda side: side.breaker.acquire())
            if held is None:
                break
            taken.append(held)
        return taken

    @rule(target=permits)
    def try_acquire(self) -> Any:
        permit = self.model.admit()
        permits = {side: side.breaker.try_acquire() for side in self.sides}
        if isinstance(permit, Rejection):
            assert set(permits.values()) == {None}
            return multiple()
        assert None not in permits.values()
        return Held(permit, permits)

    @rule(target=settled, held=consumes(permits), verb=st.sampled_from(["success", "failure", "failure", "release"]))
    def settle_permit(self, held: Held, verb: str) -> Held:
        outcome = {"success": SUCCESS, "failure": FAILURE, "release": IGNORED}[verb]
        self.model.settle(held.permit, outcome, "reported failure")
        for permit in held.things.values():
            getattr(permit, verb)()
        return held

    @rule(
        target=settled,
        nanoseconds=st.sampled_from([1, 50_000_000, 50_000_001, 999_999_999, 1_000_000_000]),
        verb=st.sampled_from(["success", "failure"]),
    )
    def take_a_while(self, nanoseconds: int, verb: str) -> Any:
        held = self.hold(lambda side: side.breaker.acquire())
        self.advance(nanoseconds)
        return multiple() if held is None else self.settle_permit(held, verb)

    @rule(target=settled, held=consumes(permits))
    def fail_permit_with_an_exception(self, held: Held) -> Held:
        self.model.settle(held.permit, FAILURE, "Harmless: boom")
        for permit in held.things.values():
            permit.failure(Harmless("boom"))
        return held

    @rule(target=settled, held=consumes(permits), how=st.sampled_from(sorted(RAISED)))
    def settle_permit_by_what_was_raised(self, held: Held, how: str) -> Held:
        self.settle(held.permit, how)
        for permit in held.things.values():
            permit._settle_exception(RAISED[how]("boom"))
        return held

    @precondition(lambda self: self.config.timeout is not None)
    @rule(target=settled, held=consumes(permits))
    def time_permit_out(self, held: Held) -> Held:
        self.model.settle(held.permit, FAILURE, f"timed out after {self.config.timeout:g}s", timed_out=True)
        for permit in held.things.values():
            permit._settle_timeout()
        return held

    @rule(held=consumes(permits))
    def drop_permit(self, held: Held) -> None:
        self.model.settle(held.permit, IGNORED)
        held.things.clear()

    @rule(held=settled, verb=st.sampled_from(["success", "failure", "release"]))
    def settle_again(self, held: Held, verb: str) -> None:
        for permit in held.things.values():
            assert permit.settled
            with pytest.raises(RuntimeError):
                getattr(permit, verb)()
