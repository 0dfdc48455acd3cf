"""Counters and permits under threads: nothing is lost and nothing is counted twice."""

import asyncio
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerMetrics, CircuitOpenError, Permit
from switchgear.testing import ManualClock
from threads.together import together


class Boom(Exception):
    pass


class Harmless(Exception):
    pass


def fail(kind: type[BaseException]) -> None:
    raise kind


def at_rest(metrics: CircuitBreakerMetrics) -> bool:
    settled = metrics.successful_calls + metrics.failed_calls + metrics.ignored_calls
    return metrics.total_calls == settled + metrics.rejected_calls


def test_sums_after_mixed_outcomes() -> None:
    """After any mixture of outcomes from many threads every counter is exact."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000, ignore=Harmless))

    def work(seed: int) -> Counter[str]:
        chance = random.Random(seed)
        done: Counter[str] = Counter()
        for _ in range(3000):
            outcome = chance.choice(["success", "failure", "ignored", "permit", "dropped"])
            done[outcome] += 1
            if outcome == "success":
                breaker.call_sync(int)
            elif outcome == "permit":
                breaker.acquire().success()
            elif outcome == "dropped":
                breaker.acquire()
            else:
                kind = Boom if outcome == "failure" else Harmless
                with pytest.raises(kind):
                    breaker.call_sync(fail, kind)
        return done

    done = sum(together(6, work), Counter())
    metrics = breaker.get_metrics()
    assert metrics.successful_calls == done["success"] + done["permit"]
    assert metrics.failed_calls == done["failure"]
    assert metrics.ignored_calls == done["ignored"] + done["dropped"]
    assert (metrics.total_calls, metrics.rejected_calls, metrics.late_calls) == (18_000, 0, 0)


def test_sums_while_the_state_changes_all_the_time() -> None:
    """A breaker that trips, probes and closes under load counts each call once, as what its caller saw."""
    clock = ManualClock()
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(3, 2, 30.0, 1.0), clock=clock)

    def work(seed: int) -> Counter[str]:
        chance = random.Random(seed)
        seen: Counter[str] = Counter()
        for _ in range(2000):
            if chance.random() < 0.05:
                clock.advance(0.3)
            try:
                if chance.random() < 0.5:
                    breaker.call_sync(fail, Boom)
                else:
                    breaker.call_sync(int)
                    seen["succeeded"] += 1
            except Boom:
                seen["failed"] += 1
            except CircuitOpenError:
                seen["rejected"] += 1
        return seen

    seen = sum(together(6, work), Counter())
    metrics = breaker.get_metrics()
    assert metrics.successful_calls == seen["succeeded"]
    assert metrics.failed_calls == seen["failed"]
    assert metrics.rejected_calls == seen["rejected"]
    assert metrics.total_calls == 12_000
    assert metrics.times_opened >= metrics.times_half_opened > 0


def test_metrics_read_while_they_change() -> None:
    """A snapshot that is taken in the middle of things adds up, too, and never runs backwards."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000))
    over = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            before = breaker.get_metrics()
            while not over.is_set():
                now = breaker.get_metrics()
                assert at_rest(now)
                assert all(a <= b for a, b in zip(before, now, strict=True))
                before = now
            return
        for _ in range(5000):
            breaker.call_sync(int)
            breaker.acquire().failure()
        over.set()

    together(3, work)
    assert breaker.get_metrics().total_calls == 20_000


def test_permits_settled_from_other_threads() -> None:
    """A permit may be settled by another thread than the one that acquired it."""
    clock = ManualClock()
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(10_000, 2), clock=clock)
    permits = [breaker.acquire() for _ in range(900)]
    verbs = (Permit.success, Permit.failure, Permit.release)

    def settle(number: int) -> None:
        for index in range(number, 900, 6):
            verbs[index % 3](permits[index])

    together(6, settle)
    metrics = breaker.get_metrics()
    assert (metrics.successful_calls, metrics.failed_calls, metrics.ignored_calls) == (300, 300, 300)


def test_a_probe_settled_from_another_thread() -> None:
    """The slot of a probe comes back whoever settles it."""
    clock = ManualClock()
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1, 1, 30.0, 60.0), clock=clock)
    breaker.acquire().failure()
    clock.advance(60)
    probe = breaker.acquire()
    assert breaker.try_acquire() is None
    with ThreadPoolExecutor(1) as pool:
        pool.submit(probe.release).result()
    assert breaker.try_acquire() is not None


def test_double_settlement() -> None:
    """Of many threads that settle one permit exactly one does; the others get RuntimeError and count nothing."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000))
    verbs = (Permit.success, Permit.failure, Permit.release)
    rounds = 100
    for _ in range(rounds):
        permit = breaker.acquire()

        def settle(number: int, permit: Permit = permit) -> bool:
            try:
                verbs[number % 3](permit)
            except RuntimeError:
                return False
            return True

        assert sum(together(6, settle)) == 1
        assert permit.settled
    assert breaker.get_metrics().total_calls == rounds


def test_asyncio_loops_in_many_threads() -> None:
    """One breaker serves the loops of several threads at once, timeouts included."""
    breaker = CircuitBreaker("quotes", CircuitBreakerConfig(1_000_000, timeout=0.01))

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise Boom

    async def main() -> Counter[str]:
        calls = [breaker.call(asyncio.sleep, 0) for _ in range(100)]
        calls += [breaker.call(asyncio.sleep, 20) for _ in range(50)]
        calls += [breaker.call(fail_later) for _ in range(50)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        return Counter(type(result).__name__ for result in results)

    seen = sum(together(4, lambda _: asyncio.run(main())), Counter())
    assert seen == {"NoneType": 400, "CallTimeoutError": 200, "Boom": 200}
    metrics = breaker.get_metrics()
    assert (metrics.successful_calls, metrics.failed_calls, metrics.timed_out_calls) == (400, 400, 200)


def test_listeners_added_and_removed_by_many_threads() -> None:
    """Listeners may come and go while others are told; each event is heard by those who stay."""
    breaker = CircuitBreaker("quotes")
    heard: list[object] = []
    breaker.on_transition(heard.append)

    def work(number: int) -> None:
        def listener(_: object) -> None:
            pass

        for _ in range(200):
            if number == 0:
                breaker.force_open()
                breaker.force_close()
            else:
                breaker.on_transition(listener)
                breaker.off_transition(listener)

    together(4, work)
    assert len(heard) == 400
