"""acquire(), try_acquire() and the permit: settled once, by anybody, or released."""

import gc
import threading

import pytest

from helpers import counted
from switchgear import CircuitBreaker, CircuitOpenError, Permit, State

SETTLEMENTS = {"success": "successful_calls", "failure": "failed_calls", "release": "ignored_calls"}


@pytest.mark.parametrize("outcome", SETTLEMENTS)
def test_a_permit_settles_as_told(breaker, outcome):
    permit = breaker.acquire()
    assert isinstance(permit, Permit)
    assert permit.settled is False
    assert getattr(permit, outcome)() is None
    assert permit.settled is True
    assert counted(breaker) == {"total_calls": 1, SETTLEMENTS[outcome]: 1}


@pytest.mark.parametrize("first", SETTLEMENTS)
@pytest.mark.parametrize("second", SETTLEMENTS)
def test_a_second_settlement_is_a_runtime_error_and_counts_nothing(breaker, first, second):
    permit = breaker.acquire()
    getattr(permit, first)()
    with pytest.raises(RuntimeError, match="settled already"):
        getattr(permit, second)()
    assert counted(breaker) == {"total_calls": 1, SETTLEMENTS[first]: 1}


def test_a_permit_dropped_unsettled_is_released(breaker):
    breaker.acquire()
    gc.collect()
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_a_permit_in_a_cycle_is_released_by_the_collector(breaker):
    cycle = [breaker.acquire()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_a_settled_permit_is_not_released_again(breaker):
    permit = breaker.acquire()
    permit.success()
    del permit
    gc.collect()
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_a_failure_is_a_failure_whatever_its_exception(breaker):
    """The holder of a permit has judged already: ``ignore`` and ``record_only`` do not apply."""
    for error in (None, ValueError("boom"), KeyboardInterrupt()):
        breaker.acquire().failure(error)
    assert breaker.state is State.OPEN


@pytest.mark.parametrize(
    ("error", "text"), [(None, "reported failure"), (ValueError("boom"), "ValueError: boom"), (KeyError(), "KeyError")]
)
def test_the_exception_of_a_failure_describes_it(breaker, error, text):
    for _ in range(2):
        breaker.acquire().failure(OSError("another one"))
    breaker.acquire().failure(exc=error)
    assert breaker.last_failure == text


@pytest.mark.parametrize("exc", ["boom", 3, ValueError])
def test_a_failure_takes_an_exception_or_nothing(breaker, exc):
    permit = breaker.acquire()
    with pytest.raises(TypeError):
        permit.failure(exc)
    assert not permit.settled
    permit.success()


def test_acquire_raises_and_try_acquire_returns_none(opened):
    with pytest.raises(CircuitOpenError):
        opened.acquire()
    assert opened.try_acquire() is None
    assert counted(opened)["rejected_calls"] == 2


def test_a_permit_is_settled_from_any_thread(breaker):
    permit = breaker.acquire()
    thread = threading.Thread(target=permit.failure)
    thread.start()
    thread.join()
    assert permit.settled
    assert breaker.get_state() == "CLOSED (failures: 1)"


def test_of_threads_that_settle_one_permit_one_wins(breaker):
    for _ in range(20):
        permit, barrier, lost = breaker.acquire(), threading.Barrier(4), []

        def settle(permit=permit, barrier=barrier, lost=lost):
            barrier.wait()
            try:
                permit.success()
            except RuntimeError:
                lost.append(1)

        threads = [threading.Thread(target=settle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(lost) == 3
    assert counted(breaker) == {"total_calls": 20, "successful_calls": 20}


def test_a_permit_outlives_everybody_elses_interest_in_the_breaker(breaker, clock):
    """It carries what is needed to settle it."""
    permit = CircuitBreaker("short-lived", clock=clock).acquire()
    gc.collect()
    permit.success()


def test_a_permit_is_made_by_a_breaker_alone():
    with pytest.raises(TypeError):
        Permit()


def test_try_acquire_takes_a_probe(half_opened):
    first, second = half_opened.try_acquire(), half_opened.try_acquire()
    assert half_opened.try_acquire() is None
    first.success()
    second.success()
    assert half_opened.state is State.CLOSED
