"""State changes: events, listeners, logging."""

import logging
import math
import time

import pytest

from helpers import Boom, counted, fail, ok, trip
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State, TransitionEvent
from switchgear.rules import Calls, ChangeDetection, ConsecutiveFailures, FailureRate, SlowCallRate


@pytest.fixture
def heard(breaker):
    events = []
    breaker.on_transition(events.append)
    return events


def test_every_state_change_is_one_event(breaker, clock, heard):
    trip(breaker)
    clock.advance(60)
    breaker.acquire().success()
    breaker.acquire().success()
    breaker.disable()
    breaker.force_open()
    breaker.reset()
    assert [(event.from_state, event.to_state) for event in heard] == [
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.CLOSED),
        (State.CLOSED, State.DISABLED),
        (State.DISABLED, State.OPEN),
        (State.OPEN, State.CLOSED),
    ]


def test_what_changes_no_state_is_no_event(breaker, heard):
    breaker.call_sync(ok)
    breaker.acquire().failure()
    breaker.acquire().success()
    breaker.reset()
    breaker.reset_metrics()
    assert heard == []


def test_an_event_carries_the_details(breaker, clock, heard):
    clock.advance(5)
    before = time.time()
    for _ in range(3):
        with pytest.raises(Boom):
            breaker.call_sync(fail)
    (event,) = heard
    assert isinstance(event, TransitionEvent)
    assert event.name == "quotes"
    assert (event.from_state, event.to_state) == (State.CLOSED, State.OPEN)
    assert event.generation == 1
    assert event.monotonic == 1005.0
    assert before <= event.timestamp <= time.time()
    assert event.last_failure == "Boom: boom"
    assert event.retry_after == 60.0
    with pytest.raises(AttributeError):
        event.name = "other"


def test_only_an_opening_has_a_time_to_retry(breaker, clock, heard):
    trip(breaker)
    clock.advance(60)
    breaker.acquire().success()
    breaker.acquire().success()
    breaker.force_open()
    assert [event.retry_after for event in heard] == [60.0, None, None, math.inf]


def test_an_event_is_one_line_of_text(breaker, clock, heard):
    breaker.acquire().failure()
    breaker.acquire().failure()
    breaker.acquire().failure(ValueError("two\nlines"))
    clock.advance(60)
    breaker.acquire().release()
    breaker.force_open()
    assert [str(event) for event in heard] == [
        "'quotes': CLOSED -> OPEN, 3 consecutive failures, retry in 60s, last failure: ValueError: two lines",
        "'quotes': OPEN -> HALF_OPEN, reset timeout over",
        "'quotes': HALF_OPEN -> OPEN, until told otherwise",
    ]


def test_an_event_says_why(breaker, clock, heard):
    """Trips name the rule, recovery its step, and a command the operator."""
    trip(breaker)
    clock.advance(60)
    breaker.acquire().failure()
    clock.advance(60)
    breaker.acquire().success()
    breaker.acquire().success()
    breaker.disable()
    breaker.force_open()
    breaker.reset()
    assert [
        "3 consecutive failures",
        "reset timeout over",
        "a probe failed",
        "reset timeout over",
        "2 probes succeeded",
        "an operator's command",
        "an operator's command",
        "an operator's command",
    ] == [event.why for event in heard]


def test_one_of_something_is_said_in_the_singular(clock):
    breaker = CircuitBreaker("q", CircuitBreakerConfig(1, 1), clock=clock)
    trip(breaker)
    clock.advance(60)
    breaker.acquire().success()
    assert ["1 failure", "reset timeout over", "1 probe succeeded"] == [event.why for event in breaker.history()]


RATE, SLOW = FailureRate(0.5), SlowCallRate(0.3, slower_than=1.5, window=Calls(50))
CHANGE = ChangeDetection(healthy=0.01, failing=0.3)


@pytest.mark.parametrize(
    ("trip", "cause", "why"),
    [
        (None, (0, 5, 0), "5 consecutive failures"),
        (ConsecutiveFailures(7), (0, 7, 0), "7 consecutive failures"),
        (RATE, (0, 12, 20), "failure rate 60.0% (12 of 20 calls) reached 50%"),
        (FailureRate(0.001, window=Calls(1000)), (0, 1, 1000), "failure rate 0.1% (1 of 1000 calls) reached 0.1%"),
        (SLOW, (0, 7, 20), "slow-call rate 35.0% (7 of 20 calls took over 1.5s) reached 30%"),
        (CHANGE, (0, 99, 0), f"failures rose from 1% towards 30% (level 99 reached {CHANGE.limit})"),
        ((CHANGE, ConsecutiveFailures(5), RATE), (1, 5, 0), "5 consecutive failures"),
        ((CHANGE, ConsecutiveFailures(5), RATE), (2, 1, 2), "failure rate 50.0% (1 of 2 calls) reached 50%"),
    ],
)
def test_a_trip_names_its_rule_its_threshold_and_the_numbers_that_met_it(trip, cause, why):
    breaker = CircuitBreaker("q", CircuitBreakerConfig(trip=trip))
    breaker._on_transition(State.CLOSED, State.OPEN, 1, 0, 60.0, cause)
    assert why == breaker.history()[0].why


@pytest.mark.parametrize("cause", [(0, 12, 20), (0, 5, 0), (1, 12, 20), (3, 5, 0)])
def test_a_cause_that_another_configuration_gave_hurts_no_call(cause):
    """A breaker may have got a new configuration before the old one's trip is told: then the numbers have to do."""
    breaker = CircuitBreaker("q", CircuitBreakerConfig(trip=(CHANGE, ConsecutiveFailures(3))))
    breaker._on_transition(State.CLOSED, State.OPEN, 1, 0, 60.0, cause)
    assert str(cause[1]) in breaker.history()[0].why


def test_on_transition_is_a_decorator(breaker):
    heard = []

    @breaker.on_transition
    def listener(event):
        heard.append(event.to_state)

    assert callable(listener)
    breaker.force_open()
    assert heard == [State.OPEN]


def test_off_transition_forgets_a_listener(breaker, heard):
    breaker.off_transition(heard.append)
    breaker.off_transition(heard.append)
    breaker.force_open()
    assert heard == []


def test_off_transition_of_a_breaker_without_listeners_is_no_error(breaker):
    assert breaker.off_transition(print) is None


def test_a_listener_is_registered_once(breaker, heard):
    breaker.on_transition(heard.append)
    breaker.force_open()
    assert len(heard) == 1


@pytest.mark.parametrize("listener", [None, 3, "log"])
def test_a_listener_must_be_callable(breaker, listener):
    with pytest.raises(TypeError, match="callable"):
        breaker.on_transition(listener)


def test_listeners_are_called_in_the_order_of_registration(breaker):
    order = []
    breaker.on_transition(lambda event: order.append(1))
    breaker.on_transition(lambda event: order.append(2))
    breaker.force_open()
    assert order == [1, 2]


def test_a_listener_that_raises_is_logged_and_hurts_nobody(breaker, caplog):
    heard = []

    def broken(event):
        raise Boom("listener")

    breaker.on_transition(broken)
    breaker.on_transition(heard.append)
    with caplog.at_level(logging.ERROR, "switchgear"):
        trip(breaker)
    assert len(heard) == 1
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("switchgear", "ERROR")
    assert record.exc_info[0] is Boom
    assert counted(breaker) == {"total_calls": 3, "failed_calls": 3, "times_opened": 1}


def test_the_callers_exception_survives_a_broken_listener(breaker, caplog):
    breaker.on_transition(lambda event: 1 / 0)
    for _ in range(3):
        with pytest.raises(Boom):
            breaker.call_sync(fail)
    assert breaker.state is State.OPEN


def test_a_listener_may_call_the_breaker(breaker):
    """Nothing is locked while it runs, and it sees the state that it is told of."""
    seen = []

    @breaker.on_transition
    def listener(event):
        seen.append((breaker.state, breaker.get_metrics().times_opened))
        if event.to_state is State.OPEN:
            with pytest.raises(CircuitOpenError):
                breaker.call_sync(ok)
            breaker.force_close()

    trip(breaker)
    assert seen == [(State.OPEN, 1), (State.CLOSED, 1)]
    assert breaker.state is State.CLOSED


def test_a_listener_may_add_and_remove_listeners(breaker):
    heard = []

    @breaker.on_transition
    def once(event):
        breaker.off_transition(once)
        breaker.on_transition(heard.append)

    breaker.force_open()
    assert heard == []
    breaker.force_close()
    assert [event.to_state for event in heard] == [State.CLOSED]


def test_a_listener_sees_the_call_that_tripped_counted(breaker):
    seen = []
    breaker.on_transition(lambda event: seen.append(breaker.get_metrics().failed_calls))
    trip(breaker)
    assert seen == [3]


def test_an_interrupt_in_the_listener_of_a_probes_admission_gives_the_slot_back(opened, clock):
    @opened.on_transition
    def interrupt(event):
        if event.to_state is State.HALF_OPEN:
            raise KeyboardInterrupt

    clock.advance(60)
    with pytest.raises(KeyboardInterrupt):
        opened.acquire()
    opened.off_transition(interrupt)
    probes = [opened.try_acquire() for _ in range(3)]
    assert [probe is None for probe in probes] == [False, False, True]


def test_openings_are_logged_as_warnings_and_the_rest_as_info(breaker, clock, caplog):
    with caplog.at_level(logging.INFO, "switchgear"):
        trip(breaker)
        clock.advance(60)
        breaker.acquire().success()
        breaker.acquire().success()
        breaker.disable()
    assert [(record.name, record.levelname, record.to_state) for record in caplog.records] == [
        ("switchgear", "WARNING", State.OPEN),
        ("switchgear", "INFO", State.HALF_OPEN),
        ("switchgear", "INFO", State.CLOSED),
        ("switchgear", "INFO", State.DISABLED),
    ]


def test_a_log_record_has_the_details_as_extra_fields(breaker, caplog):
    with caplog.at_level(logging.INFO, "switchgear"):
        trip(breaker)
    (record,) = caplog.records
    assert (record.breaker, record.from_state, record.to_state) == ("quotes", State.CLOSED, State.OPEN)
    assert (record.generation, record.last_failure) == (1, "Boom: boom")
    assert "3 consecutive failures" == record.why
    text = "'quotes': CLOSED -> OPEN, 3 consecutive failures, retry in 60s, last failure: Boom: boom"
    assert text == record.getMessage()


def test_the_failure_that_tripped_last_stays_readable(breaker, clock):
    trip(breaker)
    assert breaker.last_failure == "Boom: boom"
    clock.advance(60)
    breaker.acquire().failure(OSError("down"))
    assert breaker.last_failure == "OSError: down"
    breaker.reset()
    assert breaker.last_failure == "OSError: down"


def test_an_exception_whose_text_raises_trips_all_the_same():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    breaker = CircuitBreaker("q", CircuitBreakerConfig(1))
    breaker.acquire().failure(Mute())
    assert breaker.state is State.OPEN
    assert breaker.last_failure.startswith("Mute: ")


def test_an_exception_whose_text_uses_the_breaker_does_not_deadlock():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(1))

    class Curious(Exception):
        def __str__(self):
            return f"success rate {breaker.get_success_rate()}"

    breaker.acquire().failure(Curious())
    assert breaker.state is State.OPEN
    assert breaker.last_failure.startswith("Curious: success rate")
