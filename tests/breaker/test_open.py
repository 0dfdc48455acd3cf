"""OPEN: every call is rejected until the reset timeout is over."""

import pickle

import pytest

from helpers import counted, ok, ok_async, run, trip
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.testing import ManualClock


def test_an_open_breaker_rejects_without_calling(opened):
    called = []
    with pytest.raises(CircuitOpenError):
        opened.call_sync(called.append, 1)
    assert called == []
    assert counted(opened) == {"total_calls": 4, "failed_calls": 3, "rejected_calls": 1, "times_opened": 1}


def test_a_rejection_says_who_why_and_how_long(opened, clock):
    clock.advance(58.5)
    with pytest.raises(CircuitOpenError) as caught:
        opened.acquire()
    error = caught.value
    assert error.args == ("quotes", State.OPEN, 1.5, "reported failure")
    assert (error.name, error.state, error.retry_after, error.last_failure) == error.args
    assert str(error) == "'quotes' is OPEN; retry in 1.5s; last failure: reported failure"
    assert error.__cause__ is None


def test_every_rejection_is_a_fresh_exception_that_pickles(opened):
    errors = []
    for _ in range(2):
        with pytest.raises(CircuitOpenError) as caught:
            opened.acquire()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert pickle.loads(pickle.dumps(errors[0])).args == errors[0].args


def test_try_acquire_is_none_when_rejected_and_counts_it(opened):
    assert opened.try_acquire() is None
    assert counted(opened)["rejected_calls"] == 1


def test_awaited_calls_are_rejected_at_the_await(opened):
    call = opened.call(ok_async)
    assert "rejected_calls" not in counted(opened)
    with pytest.raises(CircuitOpenError):
        run(call)
    assert counted(opened)["rejected_calls"] == 1


def test_it_stays_open_to_the_last_tick(opened, clock):
    clock.advance(59.9999)
    with pytest.raises(CircuitOpenError) as caught:
        opened.acquire()
    assert caught.value.retry_after == pytest.approx(0.0001)
    assert opened.state is State.OPEN


def test_reading_the_state_changes_nothing(opened, clock):
    """Past its reset timeout a breaker is OPEN until the next call."""
    clock.advance(61.204)
    assert opened.state is State.OPEN
    assert opened.get_state() == "OPEN (elapsed: 61.204s)"
    assert opened.get_metrics().times_half_opened == 0


def test_the_first_call_after_the_reset_timeout_is_a_probe(opened, clock):
    clock.advance(60)
    assert opened.call_sync(ok) == "ok"
    assert opened.get_state() == "HALF_OPEN (successes: 1)"
    assert opened.get_metrics().times_half_opened == 1


def test_deadlines_are_kept_in_ticks_rounded_up():
    """A tick is 100 microseconds; a spell in OPEN is never shorter than the reset timeout."""
    clock = ManualClock(0.00005)
    breaker = CircuitBreaker("q", CircuitBreakerConfig(1, reset_timeout=0.0001), clock=clock)
    trip(breaker)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    assert caught.value.retry_after == pytest.approx(0.00015)
    clock.advance(0.00014)
    assert breaker.try_acquire() is None
    clock.advance(0.00001)
    assert breaker.try_acquire() is not None


def test_the_elapsed_time_starts_with_each_spell(opened, clock):
    clock.advance(60)
    opened.acquire().failure()
    assert opened.get_state() == "OPEN (elapsed: 0.000s)"
    clock.advance(1)
    assert opened.get_state() == "OPEN (elapsed: 1.000s)"


def test_the_wall_clock_means_nothing(opened, clock, monkeypatch):
    for jump in (3600.0, -3600.0):
        monkeypatch.setattr("time.time", lambda jump=jump: 1e9 + jump)
        assert opened.try_acquire() is None
    clock.advance(60)
    assert opened.try_acquire() is not None


def test_a_clock_serves_many_breakers():
    clock = ManualClock()
    breakers = [CircuitBreaker(name, CircuitBreakerConfig(1), clock=clock) for name in "ab"]
    for breaker in breakers:
        trip(breaker)
    clock.advance(60)
    assert all(breaker.try_acquire() is not None for breaker in breakers)
