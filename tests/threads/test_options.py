"""Limits, draws and new configurations under threads: never more than allowed, and nothing is lost."""

import random
from collections import Counter

import pytest

from helpers import trip
from model import drawn
from switchgear import BulkheadFullError, CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.recovery import Backoff, Ramp
from switchgear.rules import Calls, FailureRate, Seconds
from switchgear.testing import ManualClock
from switchgear.throttling import AdaptiveThrottle
from threads.together import together

THREADS = 6
PLACES = 3


class Boom(Exception):
    pass


def fail() -> None:
    raise Boom


@pytest.mark.parametrize("more", [{}, {"throttle": AdaptiveThrottle(1000.0, seed=1)}, {"trip": FailureRate()}], ids=str)
def test_a_bulkhead_is_never_over_its_limit(more) -> None:
    """Whoever is inside finds no more than the limit there, and at rest every place is free."""
    config = CircuitBreakerConfig(1_000_000, max_concurrent=PLACES, **more)
    breaker = CircuitBreaker("quotes", config, clock=ManualClock())
    inside: list[int] = []

    def work(seed: int) -> Counter[str]:
        chance = random.Random(seed)
        seen: Counter[str] = Counter()

        def watched() -> None:
            inside.append(seed)
            seen["most"] = max(seen["most"], len(inside))
            sum(range(chance.randrange(50)))
            inside.pop()
            seen["ran"] += 1

        for _ in range(1500):
            try:
                breaker.call_sync(watched)
            except BulkheadFullError:
                seen["full"] += 1
        return seen

    done = together(THREADS, work)
    assert max(seen["most"] for seen in done) <= PLACES
    seen = sum(done, Counter())
    metrics = breaker.get_metrics()
    assert (metrics.successful_calls, metrics.rejected_calls) == (seen["ran"], seen["full"])
    permits = [breaker.try_acquire() for _ in range(PLACES + 1)]
    assert [permit is None for permit in permits] == [False] * PLACES + [True]


def test_places_that_are_dropped_by_other_threads_come_back() -> None:
    """Permits that one thread takes and another settles, or lets go of, leave no place taken."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000, max_concurrent=PLACES), clock=ManualClock())
    passed: list[object] = []

    def work(number: int) -> None:
        for _ in range(1500):
            if number % 2:
                passed.append(breaker.try_acquire())
                continue
            try:
                permit = passed.pop()
            except IndexError:
                continue
            if permit is not None and number:
                permit.success()

    together(THREADS, work)
    passed.clear()
    permits = [breaker.try_acquire() for _ in range(PLACES + 1)]
    assert [permit is None for permit in permits] == [False] * PLACES + [True]


@pytest.mark.parametrize("places", [None, 1000])
def test_every_call_of_a_ramp_draws_once(places) -> None:
    """As many pass as the formula has among so many draws, whoever drew which."""
    clock = ManualClock()
    config = CircuitBreakerConfig(1_000_000, 1, None, 10.0, ramp=Ramp((0.3,), seed=11), max_concurrent=places)
    breaker = CircuitBreaker("quotes", config, clock=clock)
    breaker.force_open(for_=10.0)
    clock.advance(10)
    breaker.acquire().success()

    def work(_: int) -> int:
        passed = 0
        for _ in range(1000):
            permit = breaker.try_acquire()
            if permit is not None:
                passed += 1
                permit.success()
        return passed

    expected = sum(drawn(11 + call) < 0.3 for call in range(1000 * THREADS))
    assert sum(together(THREADS, work)) == expected
    assert breaker.get_metrics().rejected_calls == 1000 * THREADS - expected


@pytest.mark.parametrize("places", [None, 1000])
def test_every_call_is_one_request_and_every_failure_one_refusal(places) -> None:
    """What threads have left in a throttle's window is what one thread would have: the next draws tell."""
    config = CircuitBreakerConfig(1_000_000, throttle=AdaptiveThrottle(2.0, seed=11), max_concurrent=places)
    breaker = CircuitBreaker("quotes", config, clock=ManualClock())

    def work(number: int) -> None:
        # Half of them fails: nothing is rejected while it lasts, whatever comes in between.
        for _ in range(500):
            first, second = breaker.acquire(), breaker.acquire()
            first.success()
            second.failure()

    together(THREADS, work)
    requests = 1000 * THREADS
    refused = requests // 2
    assert breaker.get_metrics().rejected_calls == 0
    for _ in range(2000):
        probability = max(0.0, (requests - 2.0 * (requests - refused)) / (requests + 1))
        permit = breaker.try_acquire()
        assert (permit is not None) == (drawn(11 + requests) >= probability)
        if permit is not None:
            permit.failure()
        requests, refused = requests + 1, refused + 1


def configurations() -> list[CircuitBreakerConfig]:
    """All options, in many mixtures, with rules that open every now and then."""
    options: list[dict[str, object]] = [
        {},
        {"ramp": Ramp((0.3, 0.6), step=0.5)},
        {"max_concurrent": 2, "timeout": 1.0},
        {"max_concurrent": 50},
        {"throttle": AdaptiveThrottle(1.5, window=Seconds(1))},
        {"backoff": Backoff(2.0, max=5.0), "half_open_max_wait": 0.5},
        {"trip": FailureRate(0.3, window=Calls(10), minimum_calls=5), "ramp": Ramp((0.5,), step=0.1)},
        {"ignore": Boom},
        {"is_failure": lambda result: False, "classify": lambda error: None},
        {"half_open_max_calls": 16, "success_threshold": 5},
    ]
    return [CircuitBreakerConfig(3, **{"success_threshold": 2, "reset_timeout": 1.0} | each) for each in options]


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_totals_are_exact_while_everything_is_reconfigured(mode) -> None:
    """Each call is counted once, as what its caller saw, by whichever configuration."""
    clock = ManualClock()
    configs = [config.replace(mode=mode) for config in configurations()]
    breaker = CircuitBreaker("quotes", configs[0], clock=clock)

    def work(seed: int) -> Counter[str]:
        chance = random.Random(seed)
        seen: Counter[str] = Counter()
        for _ in range(1500):
            dice = chance.random()
            if dice < 0.1:
                breaker.reconfigure(chance.choice(configs))
            if dice < 0.2:
                clock.advance(0.3)
            try:
                if dice < 0.3:
                    breaker.acquire()
                    seen["dropped"] += 1
                elif dice < 0.6:
                    breaker.call_sync(fail)
                else:
                    breaker.call_sync(int)
                    seen["succeeded"] += 1
            except Boom:
                seen["raised"] += 1
            except (CircuitOpenError, BulkheadFullError):
                seen["rejected"] += 1
        return seen

    seen = sum(together(THREADS, work), Counter())
    metrics = breaker.get_metrics()
    assert (metrics.successful_calls, metrics.rejected_calls) == (seen["succeeded"], seen["rejected"])
    # What raised is a failure, or ignored where that was configured.
    assert metrics.failed_calls + metrics.ignored_calls == seen["raised"] + seen["dropped"]
    assert metrics.total_calls == 1500 * THREADS
    assert (metrics.rejected_calls == 0) == (mode == "observe")
    breaker.reset()
    breaker.reconfigure(CircuitBreakerConfig(1))
    trip(breaker)
    assert breaker.state is State.OPEN


def test_configurations_that_come_at_once_are_put_into_force_one_after_the_other() -> None:
    """The last of them holds, whole; places and attempts are handed on by each."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(max_concurrent=PLACES), clock=ManualClock())
    held = [breaker.acquire() for _ in range(PLACES)]
    configs = [CircuitBreakerConfig(10 + number, max_concurrent=PLACES) for number in range(THREADS)]

    def work(number: int) -> None:
        for _ in range(1000):
            breaker.reconfigure(configs[number])
            assert breaker.config in configs
            assert breaker.try_acquire() is None

    together(THREADS, work)
    for permit in held:
        permit.success()
    assert breaker.try_acquire() is not None
    assert breaker.get_metrics().rejected_calls == 1000 * THREADS
