"""How long OPEN lasts: the backoff, what services ask for, and how long HALF_OPEN may wait."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from model import drawn
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.recovery import Backoff
from switchgear.testing import ManualClock


def failing(clock: ManualClock, **settings: object) -> CircuitBreaker:
    """Return a breaker that one failure opens, for 10 seconds."""
    settings = {"failure_threshold": 1, "success_threshold": 1, "reset_timeout": 10.0} | settings
    return CircuitBreaker("service", CircuitBreakerConfig(**settings), clock=clock)


def fail(breaker: CircuitBreaker, error: Exception | None = None, **more: float) -> float:
    """Let one call fail, which opens the breaker; return for how long."""
    breaker.acquire().failure(error, **more)
    return open_for(breaker)


def open_for(breaker: CircuitBreaker) -> float:
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire()
    return caught.value.retry_after


def test_open_time_grows_with_each_failed_probe() -> None:
    """The open time is ``reset_timeout * multiplier ** attempts``, at most ``max``."""
    clock = ManualClock()
    breaker = failing(clock, backoff=Backoff(2.0, max=60.0, jitter=0.0))
    opened = []
    for _ in range(5):
        opened.append(fail(breaker))
        clock.advance(opened[-1])
    assert opened == [10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_breaker_that_stayed_closed_begins_anew() -> None:
    """After ``reset_timeout`` in CLOSED the open time is ``reset_timeout`` again."""
    clock = ManualClock()
    breaker = failing(clock, backoff=Backoff(2.0, jitter=0.0))
    clock.advance(fail(breaker))
    clock.advance(fail(breaker))
    breaker.acquire().success()
    assert breaker.state is State.CLOSED
    clock.advance(10.0)
    assert fail(breaker) == 10.0


def test_a_breaker_that_trips_again_at_once_goes_on_where_it_was() -> None:
    """A close that did not last sets nothing back."""
    clock = ManualClock()
    breaker = failing(clock, backoff=Backoff(2.0, jitter=0.0))
    clock.advance(fail(breaker))
    clock.advance(fail(breaker))
    breaker.acquire().success()
    clock.advance(9.9)
    assert fail(breaker) == 20.0


def test_jitter_is_drawn_once_a_trip_and_repeats_under_a_seed() -> None:
    """The same seed draws the same open times, all within their part of the plain one."""

    def draw(seed: int | None) -> list[float]:
        clock = ManualClock()
        breaker = failing(clock, backoff=Backoff(1.0, jitter=0.2, seed=seed))
        opened = []
        for _ in range(20):
            opened.append(fail(breaker))
            assert open_for(breaker) == opened[-1]
            clock.advance(opened[-1])
        return opened

    first = draw(7)
    assert first == draw(7)
    assert all(8.0 <= opened <= 12.0001 for opened in first)
    assert len(set(first)) > 10
    assert draw(8) != first
    assert draw(None) != draw(None)


def test_both_backends_draw_the_same() -> None:
    """Jitter is SplitMix64 of seed plus generation, in ticks of 100 microseconds."""
    clock = ManualClock()
    breaker = failing(clock, backoff=Backoff(1.0, jitter=0.5, seed=1))
    opened = []
    for _ in range(3):
        opened.append(fail(breaker))
        clock.advance(opened[-1])
    assert opened == [splitmix_open(1, generation) for generation in (1, 3, 5)]


def splitmix_open(seed: int, generation: int) -> float:
    """Ten seconds, give or take half of it, as written down by the authors of SplitMix64."""
    mask = (1 << 64) - 1
    z = (seed + generation + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    drawn = ((z ^ (z >> 31)) >> 11) / (1 << 53)
    return round_up(10e9 * (1.0 + 0.5 * (2.0 * drawn - 1.0)))


def test_chance_has_room_at_the_longest_open_time_too() -> None:
    """Cut off at ``max``, half of all breakers would probe at the same moment, in just the longest outage."""
    drawn_times = set()
    for seed in range(50):
        breaker = failing(ManualClock(), reset_timeout=60.0, backoff=Backoff(max=60.0, jitter=0.2, seed=seed))
        drawn_times.add(fail(breaker))
        assert breaker.history()[0].jitter is not None
    assert 50 == len(drawn_times)
    assert 40.0 <= min(drawn_times) < 45.0 < 55.0 < max(drawn_times) <= 60.0


def test_events_tell_the_jitter_that_was_drawn() -> None:
    """Where a ``Backoff`` set the open time the event has the part that chance added or took; elsewhere None."""
    clock = ManualClock()
    breaker = failing(clock, backoff=Backoff(2.0, max=1e6, jitter=0.5, seed=1))
    for _ in range(4):
        clock.advance(fail(breaker))
    breaker.acquire().success()
    breaker.force_open(for_=5.0)
    breaker.reset()
    parts = [0.5 * (2.0 * drawn(1 + event.generation) - 1.0) for event in breaker.history()[:8:2]]
    told = [event.jitter for event in breaker.history()]
    assert told[:8] == [each for part in parts for each in (part, None)]
    assert set(told[8:]) == {None}
    assert any(part < 0 for part in parts)
    assert any(part > 0 for part in parts)
    opened = [event.retry_after for event in breaker.history()[:8:2]]
    assert opened == [round_up(10e9 * 2.0**attempts * (1.0 + part)) for attempts, part in enumerate(parts)]


def test_the_jitter_is_told_as_it_was_drawn_where_the_open_time_is_another() -> None:
    """The longest open time, or what the service asked for, may hide it."""
    for backoff, more in (
        (Backoff(jitter=1.0, max=10.0, seed=3), {}),
        (Backoff(jitter=0.2, seed=3), {"retry_after": 99.0}),
    ):
        breaker = failing(ManualClock(), backoff=backoff)
        fail(breaker, **more)
        assert breaker.history()[0].jitter == backoff.jitter * (2.0 * drawn(3 + 1) - 1.0)


def test_without_a_backoff_no_event_has_a_jitter() -> None:
    """Chance had no say."""
    clock = ManualClock()
    breaker = failing(clock, half_open_max_wait=5.0)
    clock.advance(fail(breaker))
    fail(breaker)
    assert {event.jitter for event in breaker.history()} == {None}


def round_up(nanoseconds: float) -> float:
    return -(-int(nanoseconds) // 100_000) / 10_000


def test_a_failure_that_opens_may_ask_for_more_time() -> None:
    """``permit.failure(retry_after=...)`` sets the least open time."""
    breaker = failing(ManualClock())
    assert fail(breaker, retry_after=45.0) == 45.0


def test_a_short_wish_leaves_the_open_time_as_it_is() -> None:
    """It is a least open time, not the open time."""
    assert fail(failing(ManualClock()), retry_after=1.0) == 10.0


def test_wishes_are_capped() -> None:
    """Nobody can ask for more than ``max_reset_timeout``, 600 seconds by default."""
    assert fail(failing(ManualClock()), retry_after=1e9) == 600.0
    assert fail(failing(ManualClock(), max_reset_timeout=30.0), retry_after=float("inf")) == 30.0


def test_a_wish_of_any_real_number_counts() -> None:
    """Also of one that no float can hold, and of numpy's, which say that they are numbers."""
    for wish in (45, 45.0, Fraction(45), np.int64(45), np.float32(45)):
        assert fail(failing(ManualClock()), retry_after=wish) == 45.0
    assert fail(failing(ManualClock()), retry_after=10**400) == 600.0


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (-1.0, ValueError),
        (float("nan"), ValueError),
        (-(10**400), ValueError),
        ("45", TypeError),
        (b"45", TypeError),
        (memoryview(b"45"), TypeError),
        (True, TypeError),
    ],
)
def test_wishes_that_make_no_sense_are_refused_and_settle_nothing(wish: Any, error: type[Exception]) -> None:
    """A wrong ``retry_after`` is the caller's mistake; the permit can still be settled."""
    permit = failing(ManualClock()).acquire()
    with pytest.raises(error, match=r"^retry_after must be None or seconds, "):
        permit.failure(retry_after=wish)
    assert not permit.settled
    permit.release()


class Busy(Exception):
    """What an HTTP client makes of a 503."""

    def __init__(self, retry_after: object) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


def refuse(retry_after: object) -> None:
    raise Busy(retry_after)


@pytest.mark.parametrize(
    ("said", "opened"),
    [(45, 45.0), (45.5, 45.5), (np.int64(45), 45.0), ("45", 10.0), (True, 10.0), (None, 10.0), (-5, 10.0)],
)
def test_an_exception_may_say_how_long(said: object, opened: float) -> None:
    """A numeric ``retry_after`` of the exception that opens counts; anything else of that name does not."""
    breaker = failing(ManualClock())
    with pytest.raises(Busy):
        breaker.call_sync(refuse, said)
    assert open_for(breaker) == opened
    with pytest.raises(Busy), failing(ManualClock()).guard():
        refuse(said)


def test_half_open_that_brings_no_verdict_ends() -> None:
    """After ``half_open_max_wait`` the next call finds the breaker OPEN anew."""
    clock = ManualClock()
    breaker = failing(clock, half_open_max_wait=5.0, half_open_max_calls=1, timeout=None)
    clock.advance(fail(breaker))
    probe = breaker.acquire()
    clock.advance(4.9)
    assert open_for(breaker) == pytest.approx(5.1)
    assert breaker.state is State.HALF_OPEN
    clock.advance(0.1)
    assert open_for(breaker) == 10.0
    probe.success()
    assert (breaker.state, breaker.get_metrics().late_calls) == (State.OPEN, 1)


def test_a_wait_that_is_set_while_half_open_counts_from_then() -> None:
    """Nobody had noted since when."""
    clock = ManualClock()
    breaker = failing(clock, success_threshold=2)
    fail(breaker)
    clock.advance(10)
    breaker.acquire().success()
    clock.advance(100)
    breaker.reconfigure(breaker.config.replace(half_open_max_wait=5.0))
    clock.advance(4.9)
    breaker.acquire().release()
    clock.advance(0.1)
    assert breaker.try_acquire() is None
    assert breaker.state is State.OPEN


def test_force_open_may_have_an_end() -> None:
    """``force_open(for_=...)`` rejects for so long; then the first probe may go."""
    clock = ManualClock()
    breaker = failing(clock)
    breaker.force_open(for_=30.0)
    assert open_for(breaker) == 30.0
    breaker.force_open(for_=5.0)
    assert open_for(breaker) == 5.0
    clock.advance(5.0)
    breaker.acquire().success()
    assert breaker.state is State.CLOSED
    breaker.force_open()
    assert open_for(breaker) == float("inf")


@pytest.mark.parametrize("wrong", [0, -1.0, "soon", float("nan")])
def test_force_open_refuses_what_is_no_duration(wrong: object) -> None:
    """A wrong duration is refused by name, and changes nothing."""
    breaker = failing(ManualClock())
    with pytest.raises(ValueError, match="for_ must be"):
        breaker.force_open(for_=wrong)  # type: ignore[arg-type]
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"backoff": Backoff(max=5.0)}, "at least the reset_timeout of 10.0"),
        ({"backoff": 2.0}, "backoff must be None or a switchgear.recovery.Backoff"),
        ({"max_reset_timeout": 5.0}, "max_reset_timeout must be at least the reset_timeout"),
        ({"half_open_max_wait": 0}, "half_open_max_wait must be None or"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(wrong: dict[str, object], text: str) -> None:
    """The error names the field, the value and what it should be."""
    with pytest.raises(ValueError, match=text):
        failing(ManualClock(), **wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("multiplier", 0.5),
        ("max", 0),
        ("jitter", 1.5),
        ("jitter", "a bit"),
        ("seed", -1),
        ("seed", 1 << 64),
        ("seed", True),
    ],
)
def test_backoffs_that_make_no_sense_are_refused(field: str, value: object) -> None:
    """The error begins with the field's name."""
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Backoff(**{field: value})  # type: ignore[arg-type]
