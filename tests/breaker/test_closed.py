"""CLOSED: calls pass, consecutive failures are counted, the threshold trips."""

import pytest

from helpers import Boom, counted, fail, fail_times, ok, succeed
from switchgear import CircuitBreaker, CircuitBreakerConfig, State


def test_a_new_breaker_is_closed_with_nothing_counted(breaker):
    assert breaker.state is State.CLOSED
    assert str(breaker.state) == "CLOSED"
    assert breaker.get_state() == "CLOSED (failures: 0)"
    assert breaker.last_failure is None
    assert counted(breaker) == {}


def test_failures_below_the_threshold_leave_it_closed(breaker):
    fail_times(breaker, 2)
    assert breaker.get_state() == "CLOSED (failures: 2)"


def test_the_failure_that_meets_the_threshold_trips(breaker):
    fail_times(breaker, 3)
    assert breaker.state is State.OPEN
    assert counted(breaker) == {"total_calls": 3, "failed_calls": 3, "times_opened": 1}


def test_a_success_sets_the_count_of_failures_to_0(breaker):
    fail_times(breaker, 2)
    succeed(breaker)
    assert breaker.get_state() == "CLOSED (failures: 0)"
    fail_times(breaker, 2)
    assert breaker.state is State.CLOSED


def test_a_threshold_of_1_trips_at_once():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(failure_threshold=1))
    fail_times(breaker, 1)
    assert breaker.state is State.OPEN


def test_a_threshold_of_a_billion_counts_like_any_other():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(failure_threshold=1_000_000_000))
    fail_times(breaker, 1000)
    assert breaker.get_state() == "CLOSED (failures: 1000)"


def test_the_call_that_trips_gets_its_own_exception(breaker):
    fail_times(breaker, 2)
    error = Boom("third")

    def raise_it():
        raise error

    with pytest.raises(Boom) as caught:
        breaker.call_sync(raise_it)
    assert caught.value is error
    assert breaker.state is State.OPEN
    assert breaker.last_failure == "Boom: third"


def test_failures_need_not_be_of_one_kind(breaker):
    def raise_it(error):
        raise error

    for error in (ValueError, KeyError, OSError):
        with pytest.raises(error):
            breaker.call_sync(raise_it, error)
    assert breaker.state is State.OPEN


def test_permits_of_closed_are_not_limited(breaker):
    permits = [breaker.acquire() for _ in range(1000)]
    for permit in permits:
        permit.success()
    assert counted(breaker) == {"total_calls": 1000, "successful_calls": 1000}


def test_a_recursive_call_counts_like_any_other(breaker):
    def deeper(depth):
        return breaker.call_sync(deeper, depth - 1) if depth else ok()

    assert breaker.call_sync(deeper, 5) == "ok"
    assert counted(breaker) == {"total_calls": 6, "successful_calls": 6}


def test_a_call_may_trip_the_breaker_that_it_runs_through(breaker):
    """The inner failures trip; the outer success comes late and moves nothing."""

    def outer():
        for _ in range(3):
            with pytest.raises(Boom):
                breaker.call_sync(fail)
        return "done"

    assert breaker.call_sync(outer) == "done"
    assert breaker.state is State.OPEN
    assert counted(breaker) == {
        "total_calls": 4,
        "successful_calls": 1,
        "failed_calls": 3,
        "times_opened": 1,
        "late_calls": 1,
    }


@pytest.mark.parametrize("name", ["", b"q", None, 3])
def test_a_breaker_needs_a_name(name):
    with pytest.raises(ValueError if name == "" else TypeError, match="name"):
        CircuitBreaker(name)


@pytest.mark.parametrize("config", [{}, "balanced", 5, CircuitBreakerConfig])
def test_a_config_that_is_none_of_ours_is_a_type_error(config):
    with pytest.raises(TypeError, match="config"):
        CircuitBreaker("q", config)


@pytest.mark.parametrize("clock", [0.0, "now", object()])
def test_a_clock_that_is_no_manual_clock_is_a_type_error(clock):
    with pytest.raises(TypeError, match="clock"):
        CircuitBreaker("q", clock=clock)


def test_name_and_config_are_read_only(breaker):
    assert (breaker.name, breaker.config.failure_threshold) == ("quotes", 3)
    for attribute in ("name", "config", "state", "last_failure"):
        with pytest.raises(AttributeError):
            setattr(breaker, attribute, None)
    with pytest.raises(AttributeError):
        breaker.brand_new = 1


def test_the_repr_shows_name_and_state(breaker):
    fail_times(breaker, 1)
    assert repr(breaker) == "<CircuitBreaker 'quotes' CLOSED (failures: 1)>"
