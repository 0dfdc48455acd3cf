"""The last state changes of a breaker, and the failures that they carry along."""

import logging
import threading

import pytest

from helpers import Boom, trip
from switchgear import CircuitBreaker, CircuitBreakerConfig, State, TransitionEvent
from switchgear.history import History
from switchgear.rules import Calls, FailureRate


def event(generation: int, *failures: str) -> TransitionEvent:
    return TransitionEvent("q", State.CLOSED, State.OPEN, generation, 0.0, 0.0, None, None, "", failures)


@pytest.fixture
def fragile(clock):
    """Trips at each failure."""
    return CircuitBreaker("fragile", CircuitBreakerConfig(1), clock=clock)


def test_a_breaker_that_never_changed_has_no_history(breaker):
    breaker.acquire().failure()
    assert () == breaker.history()


def test_the_history_is_what_the_listeners_heard_oldest_first(breaker, clock):
    heard = []
    breaker.on_transition(heard.append)
    trip(breaker)
    clock.advance(60)
    breaker.acquire().success()
    breaker.reset()
    assert (State.OPEN, State.HALF_OPEN, State.CLOSED) == tuple(each.to_state for each in breaker.history())
    assert tuple(heard) == breaker.history()


def test_a_listener_finds_its_event_in_the_history(breaker):
    found = []
    breaker.on_transition(lambda event: found.append(breaker.history()[-1] is event))
    trip(breaker)
    assert [True] == found


def test_the_last_64_stay(breaker):
    for _ in range(50):
        breaker.force_open()
        breaker.reset()
    assert list(range(37, 101)) == [each.generation for each in breaker.history()]


def test_the_history_does_not_change_under_its_reader(breaker):
    breaker.force_open()
    before = breaker.history()
    breaker.reset()
    assert 1 == len(before)


def test_a_breaker_whose_log_is_silent_has_a_history_all_the_same(breaker, monkeypatch):
    monkeypatch.setattr(logging.getLogger("switchgear"), "disabled", True)
    trip(breaker)
    assert 1 == len(breaker.history())


@pytest.mark.parametrize("told", [[1, 2, 3], [2, 1, 3], [1, 3, 2]])
def test_changes_that_are_told_in_another_order_stand_in_their_own(told):
    """Two threads that change the state one after the other may tell of it the other way round."""
    history = History()
    for generation in told:
        history.add(event(generation))
    assert [1, 2, 3] == [each.generation for each in history.events()]


def test_generations_that_began_again_come_last():
    history = History()
    for generation in [2**20 - 2, 2**20 - 1, 1, 0]:
        history.add(event(generation))
    assert [2**20 - 2, 2**20 - 1, 0, 1] == [each.generation for each in history.events()]


def test_an_event_has_the_distinct_failures_that_opened_the_breaker(fragile, clock):
    """Each once, where it came last, and the last five of an outage: the first one's, and the probes'."""
    for name in ["a", "b", "a", "c", "d", "e", "f"]:
        fragile.acquire().failure(Boom(name))
        clock.advance(60)
    failures = [tuple(each[-1] for each in event.failures) for event in fragile.history()[::2]]
    assert ["a", "ab", "ba", "bac", "bacd", "bacde", "acdef"] == ["".join(each) for each in failures]


def test_a_failed_probe_is_among_the_failures(fragile, clock):
    fragile.acquire().failure(Boom("a"))
    clock.advance(60)
    fragile.acquire().failure(OSError("b"))
    assert ("Boom: a", "OSError: b") == fragile.history()[-1].failures


def test_the_failures_of_an_outage_stay_up_to_its_end_and_are_no_part_of_the_next(fragile):
    """Neither an operator, nor a success that completes a window, opens a breaker because of what failed before."""
    fragile.acquire().failure(Boom("a"))
    fragile.force_close()
    fragile.force_open()
    assert [("Boom: a",), ("Boom: a",), ()] == [event.failures for event in fragile.history()]
    rule = FailureRate(0.5, window=Calls(10), minimum_calls=4)
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(trip=rule))
    for _ in range(4):
        breaker.acquire().failure(Boom("a"))
    breaker.force_close()
    for settle in ("failure", "failure", "success", "success"):
        getattr(breaker.acquire(), settle)()
    assert breaker.state is State.OPEN
    assert () == breaker.history()[-1].failures
    fresh = CircuitBreaker("fresh")
    fresh.force_open()
    assert () == fresh.history()[0].failures


def test_a_failure_is_cut(fragile):
    """However long its text is: an event holds five times 200 characters at most."""
    fragile.acquire().failure(Boom("x" * 10_000))
    assert [200] == [len(each) for each in fragile.history()[0].failures]


def test_any_number_of_threads_write_and_read_one_history():
    """Each change is there once; no reader meets a ring that changes under it."""
    breaker = CircuitBreaker("shared")
    barrier = threading.Barrier(4)
    errors = []

    def flap():
        try:
            barrier.wait()
            for _ in range(200):
                breaker.force_open()
                breaker.history()
                breaker.force_close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=flap) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == errors
    generations = [each.generation for each in breaker.history()]
    assert 64 == len(generations) == len(set(generations))
    assert sorted(generations) == generations
