"""Operator control: force_open, force_close, disable, reset."""

import math

import pytest

from helpers import Boom, counted, fail, ok, trip
from switchgear import CircuitOpenError, State


def events_of(breaker):
    heard = []
    breaker.on_transition(heard.append)
    return heard


def test_force_open_rejects_until_told_otherwise(breaker, clock):
    breaker.force_open()
    clock.advance(1_000_000)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == math.inf
    assert str(caught.value) == "'quotes' is OPEN until told otherwise"
    assert breaker.get_state() == "OPEN (elapsed: 1000000.000s)"


def test_force_open_does_not_blame_a_failure_of_before(opened, clock, caplog):
    """Whoever reads the log at night learns that somebody opened it, not of a failure that is hours old."""
    opened.reset()
    heard = events_of(opened)
    opened.force_open()
    with pytest.raises(CircuitOpenError) as caught:
        opened.acquire()
    assert opened.last_failure == "reported failure"
    assert str(caught.value) == "'quotes' is OPEN until told otherwise"
    assert caplog.messages[-1] == str(heard[0]) == "'quotes': CLOSED -> OPEN, until told otherwise"


def test_force_open_counts_as_an_opening(breaker):
    breaker.force_open()
    assert counted(breaker) == {"times_opened": 1}


def test_force_open_of_an_open_breaker_takes_only_its_deadline(opened, clock):
    heard = events_of(opened)
    clock.advance(10)
    opened.force_open()
    clock.advance(1000)
    assert opened.try_acquire() is None
    assert opened.get_state() == "OPEN (elapsed: 1010.000s)"
    assert opened.get_metrics().times_opened == 1
    assert heard == []


def test_force_open_keeps_calls_in_flight_from_closing_it(half_opened):
    probes = [half_opened.acquire(), half_opened.acquire()]
    half_opened.force_open()
    for probe in probes:
        probe.success()
    assert half_opened.state is State.OPEN


@pytest.mark.parametrize("prepare", ["force_open", "disable"])
def test_force_close_lets_calls_pass_again(breaker, prepare):
    getattr(breaker, prepare)()
    breaker.force_close()
    assert breaker.get_state() == "CLOSED (failures: 0)"
    assert breaker.call_sync(ok) == "ok"


def test_force_close_ends_open_and_half_open(opened, clock):
    opened.force_close()
    assert opened.state is State.CLOSED
    trip(opened)
    clock.advance(60)
    probe = opened.acquire()
    opened.force_close()
    assert opened.state is State.CLOSED
    probe.failure()
    assert opened.get_state() == "CLOSED (failures: 0)"


def test_force_close_in_closed_changes_nothing(breaker):
    heard = events_of(breaker)
    breaker.acquire().failure()
    permit = breaker.acquire()
    breaker.force_close()
    permit.failure()
    assert breaker.get_state() == "CLOSED (failures: 2)"
    assert heard == []


@pytest.mark.parametrize("prepare", [None, "force_open"])
def test_disabled_lets_everything_pass_and_records_nothing(breaker, prepare):
    if prepare:
        getattr(breaker, prepare)()
    breaker.disable()
    breaker.reset_metrics()
    assert breaker.get_state() == "DISABLED"
    for _ in range(10):
        with pytest.raises(Boom):
            breaker.call_sync(fail)
    assert breaker.call_sync(ok) == "ok"
    breaker.acquire().release()
    assert breaker.state is State.DISABLED
    assert counted(breaker) == {}


def test_a_call_from_before_is_not_recorded_while_disabled(breaker):
    permit = breaker.acquire()
    breaker.disable()
    permit.failure()
    assert counted(breaker) == {}


def test_a_call_from_disabled_is_late_afterwards(breaker):
    breaker.disable()
    permit = breaker.acquire()
    breaker.force_close()
    permit.failure()
    assert breaker.get_state() == "CLOSED (failures: 0)"
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1, "late_calls": 1}


def test_disable_twice_is_disable_once(breaker):
    heard = events_of(breaker)
    breaker.disable()
    permit = breaker.acquire()
    breaker.disable()
    assert [event.to_state for event in heard] == [State.DISABLED]
    assert permit.settled is False
    permit.success()


@pytest.mark.parametrize("prepare", ["force_open", "disable"])
def test_reset_begins_anew_in_closed(breaker, prepare):
    breaker.acquire().failure()
    getattr(breaker, prepare)()
    breaker.reset()
    assert breaker.get_state() == "CLOSED (failures: 0)"


def test_reset_in_closed_forgets_failures_without_an_event(breaker):
    heard = events_of(breaker)
    breaker.acquire().failure()
    breaker.reset()
    assert breaker.get_state() == "CLOSED (failures: 0)"
    assert heard == []


def test_reset_leaves_the_metrics(opened):
    opened.reset()
    assert counted(opened) == {"total_calls": 3, "failed_calls": 3, "times_opened": 1}


def test_every_change_raises_the_generation(breaker, clock):
    heard = events_of(breaker)
    trip(breaker)
    clock.advance(60)
    breaker.acquire().release()
    breaker.reset()
    breaker.reset()
    breaker.disable()
    breaker.force_open()
    breaker.force_open()
    breaker.force_close()
    assert [event.generation for event in heard] == [1, 2, 3, 5, 6, 7]


def test_operators_may_work_from_inside_a_call(breaker):
    assert breaker.call_sync(breaker.force_open) is None
    assert breaker.state is State.OPEN
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1, "late_calls": 1, "times_opened": 1}
