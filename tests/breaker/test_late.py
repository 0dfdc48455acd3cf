"""A permit whose generation is past is late: counted, and it never moves the state."""

import pytest

from helpers import counted
from switchgear import State

OUTCOMES = {"success": "successful_calls", "failure": "failed_calls", "release": "ignored_calls"}


def settle_late(breaker, permit, outcome):
    """Settle, and check that only the counters have moved."""
    before = breaker.get_state()
    breaker.reset_metrics()
    getattr(permit, outcome)()
    assert breaker.get_state() == before
    assert counted(breaker) == {"total_calls": 1, OUTCOMES[outcome]: 1, "late_calls": 1}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_call_from_closed_is_late_in_open(breaker, outcome):
    permit = breaker.acquire()
    for _ in range(3):
        breaker.acquire().failure()
    settle_late(breaker, permit, outcome)
    assert breaker.state is State.OPEN


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_call_from_closed_is_late_in_half_open(breaker, clock, outcome):
    permit = breaker.acquire()
    for _ in range(3):
        breaker.acquire().failure()
    clock.advance(60)
    breaker.acquire().release()
    settle_late(breaker, permit, outcome)
    assert breaker.state is State.HALF_OPEN


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_call_from_an_earlier_closed_is_late_in_the_next(breaker, clock, outcome):
    permit = breaker.acquire()
    for _ in range(3):
        breaker.acquire().failure()
    clock.advance(60)
    for _ in range(2):
        breaker.acquire().success()
    breaker.acquire().failure()
    settle_late(breaker, permit, outcome)
    assert breaker.get_state() == "CLOSED (failures: 1)"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_probe_is_late_once_another_has_failed(half_opened, outcome):
    first, second = half_opened.acquire(), half_opened.acquire()
    first.failure()
    settle_late(half_opened, second, outcome)
    assert half_opened.state is State.OPEN


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_probe_is_late_in_the_next_half_open_and_frees_no_slot(half_opened, clock, outcome):
    old = half_opened.acquire()
    half_opened.acquire().failure()
    clock.advance(60)
    fresh = [half_opened.acquire(), half_opened.acquire()]
    settle_late(half_opened, old, outcome)
    assert half_opened.try_acquire() is None
    assert len(fresh) == 2


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_probe_is_late_once_the_breaker_has_closed(half_opened, clock, outcome):
    slow = half_opened.acquire()
    clock.advance(30)
    for _ in range(2):
        half_opened.acquire().success()
    settle_late(half_opened, slow, outcome)
    assert half_opened.get_state() == "CLOSED (failures: 0)"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_reset_makes_calls_in_flight_late(breaker, outcome):
    permit = breaker.acquire()
    breaker.acquire().failure()
    breaker.reset()
    settle_late(breaker, permit, outcome)


def test_a_dropped_permit_is_late_by_when_it_was_dropped(breaker):
    dropped = breaker.acquire()
    del dropped
    breaker.reset()
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}
    held = breaker.acquire()
    breaker.reset()
    del held
    assert counted(breaker) == {"total_calls": 2, "ignored_calls": 2, "late_calls": 1}
