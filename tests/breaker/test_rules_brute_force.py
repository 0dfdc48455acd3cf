"""Every rule, and any rules together, against a list of all outcomes that is looked through anew after each of them."""

import os
import random
from dataclasses import dataclass

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from helpers import Boom, fail, ok
from switchgear import CircuitBreaker, CircuitBreakerConfig, State
from switchgear.rules import Calls, ChangeDetection, ConsecutiveFailures, FailureRate, Seconds, SlowCallRate
from switchgear.testing import ManualClock

START = 1000.05


@dataclass
class Ended:
    """One call that ended as a success or a failure, in nanoseconds of the clock."""

    at: int
    took: int
    failed: bool


def in_window(window, calls, now):
    """Return the calls that a window holds."""
    if isinstance(window, Calls):
        return calls[-window.count :]
    bucket = -(-round(window.seconds * 1e9) // 10)
    return [call for call in calls if now // bucket - call.at // bucket < 10]


def met_by(rule, calls, now):
    """Return what the event has to say if all calls of this spell of CLOSED, looked at one by one, meet the rule."""
    match rule:
        case ConsecutiveFailures():
            last = calls[-rule.threshold :]
            is_met = len(last) == rule.threshold and all(call.failed for call in last)
            return "failure" if is_met else None
        case ChangeDetection():
            level = 0
            for call in calls:
                level = level + rule.step if call.failed else max(0, level - 1)
            return "failures rose" if level >= rule.limit else None
        case FailureRate():
            held = in_window(rule.window, calls, now)
            hits = sum(call.failed for call in held)
        case SlowCallRate():
            held = in_window(rule.window, calls, now)
            hits = sum(call.took > round(rule.slower_than * 1e9) for call in held)
    is_met = len(held) >= rule.minimum_calls and hits > 0 and hits / len(held) >= rule.rate
    return f"({hits} of {len(held)} calls" if is_met else None


RATES = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.7, 1.0]) | st.floats(0.01, 1.0)


@st.composite
def windows(draw):
    """A window, and calls that it has to hold."""
    if draw(st.booleans()):
        count = draw(st.integers(2, 12) | st.just(64))
        return {"window": Calls(count), "minimum_calls": draw(st.integers(1, min(count, 8)))}
    seconds = draw(st.sampled_from([0.01, 0.3, 1.0, 1.234567891, 5.0]))
    return {"window": Seconds(seconds), "minimum_calls": draw(st.integers(1, 8))}


FAILURE_RATES = st.builds(lambda rate, window: FailureRate(rate, **window), RATES, windows())
SLOW_CALL_RATES = st.builds(
    lambda rate, limit, window: SlowCallRate(rate, slower_than=limit, **window),
    RATES,
    st.sampled_from([0.05, 0.1, 0.25]),
    windows(),
)
CHANGES = st.builds(
    ChangeDetection,
    healthy=st.sampled_from([0.05, 0.2]),
    failing=st.sampled_from([0.4, 0.6, 0.9]),
    false_trip_every=st.sampled_from([5, 50, 500]),
)
RULES = st.builds(ConsecutiveFailures, st.integers(1, 6)) | FAILURE_RATES | SLOW_CALL_RATES | CHANGES

# Exactly at a limit or the end of a bucket, beside it, or somewhere.
STEPS_NS = st.sampled_from(
    [0, 0, 1, 999_999, 1_000_000, 50_000_000, 50_000_001, 100_000_000, 100_000_001, 250_000_000, 300_000_000]
) | st.integers(0, 2_000_000_000)
WAYS = st.sampled_from(
    [*["success", "failure"] * 6, "hold", "hold", "ok", "ok", "fail", "fail", "release", "drop", "reset", "disable"]
)


class Driven:
    """A breaker, and the list that it has to agree with."""

    def __init__(self, rules):
        self.rules = rules
        self.clock = ManualClock(START)
        self.breaker = CircuitBreaker("q", CircuitBreakerConfig(trip=rules), clock=self.clock)
        self.events = []
        self.breaker.on_transition(self.events.append)
        self.now = round(START * 1e9)
        self.spell = 0
        self.calls = []
        self.held = []

    def pass_time(self, nanoseconds):
        self.clock.advance(nanoseconds / 1e9)
        self.now += nanoseconds
        assert round(self.clock.now() * 1e9) == self.now

    def take(self):
        permit = self.breaker.try_acquire()
        assert permit is not None
        return permit, self.now, self.spell

    def settle(self, held, failed):
        permit, begun, spell = held
        permit.failure(Boom("boom")) if failed else permit.success()
        self.ended(begun, spell, failed)

    def ended(self, begun, spell, failed):
        if spell == self.spell:
            self.calls.append(Ended(self.now, self.now - begun, failed))
            self.look()
        assert self.breaker.state is State.CLOSED

    def look(self):
        """Compare, and begin a new spell where the breaker has tripped."""
        met = [why for rule in self.rules if (why := met_by(rule, self.calls, self.now))]
        assert self.breaker.state is (State.OPEN if met else State.CLOSED)
        if met:
            # Of several the first.
            event("tripped by a success" if not self.calls[-1].failed else "tripped by a failure")
            assert met[0] in self.events[-1].why
            self.begin_anew()

    def begin_anew(self):
        self.breaker.reset()
        self.calls = []
        self.spell += 1

    def step(self, way, nanoseconds):
        if way in ("ok", "fail"):
            self.call(way == "fail", nanoseconds)
        elif way == "reset":
            self.begin_anew()
        elif way == "disable":
            self.breaker.disable()
            self.settle_aside(self.take())
            self.breaker.force_close()
            self.begin_anew()
        else:
            self.permit(way, nanoseconds)

    def call(self, failed, nanoseconds):
        begun, spell = self.now, self.spell

        def operation():
            self.pass_time(nanoseconds)
            return fail() if failed else ok()

        try:
            self.breaker.call_sync(operation)
        except Boom:
            assert failed
        self.ended(begun, spell, failed)

    def permit(self, way, nanoseconds):
        held = self.take()
        self.pass_time(nanoseconds)
        if way == "hold":
            self.held.append(held)
            if len(self.held) > 3:
                # Alternately, so that some end as failures long after they began.
                self.settle(self.held.pop(0), len(self.calls) % 2 == 0)
        elif way in ("success", "failure"):
            self.settle(held, way == "failure")
        elif way == "release":
            held[0].release()

    def settle_aside(self, held):
        held[0].failure()
        assert self.breaker.state is State.DISABLED


def agrees(rules, steps):
    driven = Driven(tuple(rules))
    for way, nanoseconds in steps:
        driven.step(way, nanoseconds)


STEPS = st.lists(st.tuples(WAYS, STEPS_NS), min_size=40, max_size=100)
THOROUGH = settings(
    max_examples=100, deadline=None, derandomize="CI" in os.environ, suppress_health_check=list(HealthCheck)
)


@THOROUGH
@given(FAILURE_RATES, STEPS)
def test_a_failure_rate_trips_when_the_list_says_so(rule, steps):
    agrees([rule], steps)


@THOROUGH
@given(SLOW_CALL_RATES, STEPS)
def test_a_slow_call_rate_trips_when_the_list_says_so(rule, steps):
    agrees([rule], steps)


@THOROUGH
@given(CHANGES, STEPS)
def test_change_detection_trips_when_the_list_says_so(rule, steps):
    agrees([rule], steps)


@THOROUGH
@given(st.lists(RULES, min_size=2, max_size=4), STEPS)
def test_rules_together_trip_when_the_list_says_so_of_any(rules, steps):
    agrees(rules, steps)


@THOROUGH
@given(st.integers(2, 300), st.floats(0.3, 1.0), st.floats(0.2, 0.9), st.integers(0, 2**32))
def test_a_longer_window_goes_round_exactly(count, rate, failing, seed):
    """Long enough for any ring to be full several times over."""
    draw = random.Random(seed).random
    driven = Driven((FailureRate(rate, window=Calls(count), minimum_calls=count),))
    for _ in range(4 * count):
        driven.settle(driven.take(), draw() < failing)
