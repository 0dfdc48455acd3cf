"""Counters, time spent OPEN, and the success rate."""

import threading

import pytest

from helpers import counted, fail_times, ok, succeed, trip
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerMetrics, State


def test_the_fields_of_the_metrics(breaker):
    assert breaker.get_metrics()._asdict() == {
        "total_calls": 0,
        "successful_calls": 0,
        "failed_calls": 0,
        "rejected_calls": 0,
        "total_open_time_ms": 0,
        "times_opened": 0,
        "times_half_opened": 0,
        "ignored_calls": 0,
        "timed_out_calls": 0,
        "late_calls": 0,
        "would_have_rejected": 0,
    }


def test_metrics_are_an_immutable_snapshot(breaker):
    before = breaker.get_metrics()
    assert isinstance(before, CircuitBreakerMetrics)
    breaker.call_sync(ok)
    assert (before.total_calls, breaker.get_metrics().total_calls) == (0, 1)
    with pytest.raises(AttributeError):
        before.total_calls = 5


def test_a_call_in_flight_is_counted_nowhere(breaker):
    permit = breaker.acquire()
    assert counted(breaker) == {}
    permit.success()
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_total_is_the_sum_of_the_four_outcomes(breaker):
    succeed(breaker, 4)
    breaker.acquire().release()
    trip(breaker)
    for _ in range(5):
        breaker.try_acquire()
    assert counted(breaker) == {
        "total_calls": 13,
        "successful_calls": 4,
        "failed_calls": 3,
        "rejected_calls": 5,
        "ignored_calls": 1,
        "times_opened": 1,
    }


def test_open_time_includes_the_present_spell(opened, clock):
    assert opened.get_metrics().total_open_time_ms == 0
    clock.advance(1.5)
    assert opened.get_metrics().total_open_time_ms == 1500
    clock.advance(58.5)
    opened.acquire().release()
    clock.advance(100)
    assert opened.get_metrics().total_open_time_ms == 60_000


def test_open_time_adds_up_over_spells(opened, clock):
    clock.advance(60)
    opened.acquire().failure()
    clock.advance(2)
    assert opened.get_metrics().total_open_time_ms == 62_000
    opened.force_close()
    clock.advance(5)
    opened.force_open()
    clock.advance(1)
    opened.disable()
    clock.advance(5)
    assert opened.get_metrics().total_open_time_ms == 63_000


def test_half_open_is_not_open(half_opened, clock):
    clock.advance(10)
    assert half_opened.get_metrics().total_open_time_ms == 60_000


def test_reset_metrics_sets_every_counter_to_0_and_no_state(breaker):
    fail_times(breaker, 2)
    breaker.reset_metrics()
    assert breaker.get_metrics() == CircuitBreakerMetrics(*[0] * 10)
    assert breaker.get_state() == "CLOSED (failures: 2)"


def test_after_reset_metrics_a_spell_counts_from_then(opened, clock):
    clock.advance(10)
    opened.reset_metrics()
    clock.advance(5)
    assert opened.get_metrics().total_open_time_ms == 5000
    assert opened.get_state() == "OPEN (elapsed: 15.000s)"
    clock.advance(45)
    opened.acquire().release()
    assert opened.get_metrics().total_open_time_ms == 50_000


def test_the_success_rate_is_a_percentage_of_all_calls(breaker):
    assert breaker.get_success_rate() == 100.0
    succeed(breaker, 3)
    fail_times(breaker, 1)
    assert breaker.get_success_rate() == 75.0
    breaker.force_open()
    breaker.try_acquire()
    assert breaker.get_success_rate() == 60.0
    breaker.reset_metrics()
    assert breaker.get_success_rate() == 100.0


def test_sums_are_exact_after_threads():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(1_000_000))
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        for index in range(2000):
            if index % 4:
                breaker.call_sync(ok)
            else:
                breaker.acquire().failure()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(breaker) == {"total_calls": 8000, "successful_calls": 6000, "failed_calls": 2000}
    assert breaker.state is State.CLOSED
