"""What a type checker makes of a user's code. Never executed: a test gives it to mypy and to pyright.

Each line with `type: ignore` is a mistake that a checker has to find; one that it does not find is reported as unused.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from datetime import timedelta
from typing import Any, Protocol, assert_type

import switchgear
from switchgear import (
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerError,
    CircuitBreakerMetrics,
    CircuitBreakerRegistry,
    CircuitOpenError,
    Family,
    Outcome,
    Permit,
    State,
    TransitionEvent,
    breaker,
    default_registry,
)
from switchgear.recovery import Backoff
from switchgear.rules import Calls, ChangeDetection, ConsecutiveFailures, FailureRate, Seconds, SlowCallRate
from switchgear.testing import ManualClock

cb = CircuitBreaker("quotes", CircuitBreakerConfig(failure_threshold=3, timeout=timedelta(seconds=5)))


class Quote:
    price: float


# Functions to protect


@cb
def load(symbol: str, depth: int = 5, *, fresh: bool = False) -> Quote:
    return Quote()


@cb
async def fetch(symbol: str, depth: int = 5, *, fresh: bool = False) -> Quote:
    return Quote()


@cb
def numbers(count: int) -> Iterator[int]:
    yield from range(count)


@cb
def talk(count: int) -> Generator[int, str, bytes]:
    sent = yield count
    return sent.encode()


@cb
async def stream(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@cb
@contextlib.contextmanager
def session(name: str) -> Generator[Quote, None, None]:
    yield Quote()


@cb
@contextlib.asynccontextmanager
async def connection(name: str) -> AsyncGenerator[Quote, None]:
    yield Quote()


@breaker("by name", failure_threshold=3)
def by_name(symbol: str) -> Quote:
    return Quote()


@cb.with_fallback(lambda error: None)
def answered(symbol: str) -> Quote | None:
    return Quote()


class Service:
    @cb
    def method(self, symbol: str) -> Quote:
        return Quote()

    @cb
    async def async_method(self, symbol: str) -> Quote:
        return Quote()

    @classmethod
    @cb
    def class_method(cls, symbol: str) -> "Service":
        return cls()

    @staticmethod
    @cb
    def static_method(symbol: str) -> Quote:
        return Quote()

    @cb
    @classmethod
    def class_method_inside(cls, symbol: str) -> "Service":
        return cls()

    @cb
    @staticmethod
    def static_method_inside(symbol: str) -> Quote:
        return Quote()

    @property
    @cb
    def value(self) -> Quote:
        return Quote()

    @cb
    def ticks(self, count: int) -> Iterator[int]:
        yield count


class Callback(Protocol):
    def __call__(self, symbol: str, depth: int = 5, *, fresh: bool = False) -> Quote: ...


def the_decorator_keeps_parameters_and_results() -> None:
    assert_type(load("AAPL"), Quote)
    assert_type(load("AAPL", depth=3, fresh=True), Quote)
    assert_type(numbers(3), Iterator[int])
    assert_type(talk(3), Generator[int, str, bytes])
    assert_type(stream(3), AsyncIterator[int])
    assert_type(by_name("AAPL"), Quote)
    assert_type(answered("AAPL"), Quote | None)
    with session("x") as quote:
        assert_type(quote, Quote)
    callback: Callback = load
    callback("AAPL")

    load(7)  # type: ignore[arg-type]
    load("AAPL", dept=3)  # type: ignore[call-arg]
    load()  # type: ignore[call-arg]
    numbers("3")  # type: ignore[arg-type]
    session(3)  # type: ignore[arg-type]
    by_name(7)  # type: ignore[arg-type]
    answered(7)  # type: ignore[arg-type]


async def so_it_does_for_coroutines() -> None:
    assert_type(await fetch("AAPL"), Quote)
    assert_type(await fetch("AAPL", 3, fresh=True), Quote)
    async for number in stream(3):
        assert_type(number, int)
    async with connection("x") as quote:
        assert_type(quote, Quote)
    assert_type(await asyncio.create_task(fetch("AAPL")), Quote)
    assert_type(await asyncio.gather(fetch("A"), fetch("B")), tuple[Quote, Quote])

    await fetch(7)  # type: ignore[arg-type]
    await fetch("AAPL", dept=3)  # type: ignore[call-arg]


async def so_it_does_for_methods(service: Service) -> None:
    assert_type(service.method("AAPL"), Quote)
    assert_type(await service.async_method("AAPL"), Quote)
    assert_type(Service.class_method("AAPL"), Service)
    assert_type(service.class_method("AAPL"), Service)
    assert_type(Service.static_method("AAPL"), Quote)
    assert_type(Service.class_method_inside("AAPL"), Service)
    assert_type(service.class_method_inside("AAPL"), Service)
    assert_type(Service.static_method_inside("AAPL"), Quote)
    assert_type(service.value, Quote)
    assert_type(service.ticks(3), Iterator[int])

    service.method(7)  # type: ignore[arg-type]
    await service.async_method()  # type: ignore[call-arg]
    Service.class_method(7)  # type: ignore[arg-type]
    Service.static_method_inside(7)  # type: ignore[arg-type]


# Calls


def add(a: int, b: int = 0) -> int:
    return a + b


async def add_later(a: int, *, b: int = 0) -> int:
    return a + b


def call_sync_has_the_operations_types() -> None:
    assert_type(cb.call_sync(add, 1), int)
    assert_type(cb.call_sync(add, 1, b=2), int)
    assert_type(cb.call_sync(str, 7), str)
    assert_type(cb.call_sync(lambda: b""), bytes)

    cb.call_sync(add, "1")  # type: ignore[arg-type]
    cb.call_sync(add, c=1)  # type: ignore[call-arg]
    cb.call_sync()  # type: ignore[call-arg]


async def call_awaits_what_is_awaitable(future: "asyncio.Future[bytes]") -> None:
    assert_type(await cb.call(add_later, 1, b=2), int)
    assert_type(await cb.call(add, 1, b=2), int)
    assert_type(await cb.call(add_later(1)), int)
    assert_type(await cb.call(future), bytes)
    assert_type(await cb.call(fetch, "AAPL", depth=3), Quote)
    assert_type(await cb.call(Service().async_method, "AAPL"), Quote)
    assert_type(await cb.call(lambda: future), bytes)
    assert_type(await asyncio.create_task(cb.call(add_later, 1)), int)
    assert_type(await asyncio.wait_for(cb.call(add_later, 1), 3), int)
    assert_type(await asyncio.gather(cb.call(add, 1), cb.call(add_later, 7)), tuple[int, int])

    await cb.call(add_later, "1")  # type: ignore[call-overload]
    await cb.call(add_later, c=1)  # type: ignore[call-overload]
    await cb.call(7)  # type: ignore[call-overload]
    await cb.call()  # type: ignore[call-overload]


async def a_view_has_the_same_calls() -> None:
    view = cb.with_fallback(lambda error: 0, on=(CircuitOpenError, CallTimeoutError))
    assert_type(view.call_sync(add, 1), int)
    assert_type(await view.call(add_later, 1), int)

    view.call_sync(add, "1")  # type: ignore[arg-type]
    cb.with_fallback(7)  # type: ignore[arg-type]
    cb.with_fallback(lambda error: 0, on=KeyboardInterrupt)  # type: ignore[arg-type]


async def guards_give_permits() -> None:
    with cb.guard() as permit:
        assert_type(permit, Permit)
    async with cb.guard() as permit:
        assert_type(permit, Permit)
        permit.success()
    acquired = cb.acquire()
    assert_type(acquired, Permit)
    acquired.failure(ValueError("boom"))
    assert_type(acquired.settled, bool)
    tried = cb.try_acquire()
    assert_type(tried, Permit | None)
    tried.success()  # type: ignore[union-attr]
    with cb:  # type: ignore[attr-defined]
        pass


def reading_a_breaker() -> None:
    assert_type(cb.name, str)
    assert_type(cb.config, CircuitBreakerConfig)
    assert_type(cb.state, State)
    assert_type(cb.last_failure, str | None)
    assert_type(cb.get_state(), str)
    assert_type(cb.get_success_rate(), float)
    metrics = cb.get_metrics()
    assert_type(metrics, CircuitBreakerMetrics)
    assert_type(metrics.total_calls, int)
    assert_type(metrics.total_open_time_ms, int)

    cb.name = "another"  # type: ignore[misc]
    cb.state = State.OPEN  # type: ignore[misc]
    metrics.total_calls = 7  # type: ignore[misc]


def configuration() -> None:
    config = CircuitBreakerConfig(3, 2, 30, timedelta(minutes=1), ignore=ValueError, record_only=(OSError, KeyError))
    assert_type(config.failure_threshold, int)
    assert_type(config.timeout, float | None)
    assert_type(config.reset_timeout, float)
    assert_type(config.ignore, tuple[type[BaseException], ...])
    assert_type(CircuitBreakerConfig.conservative(), CircuitBreakerConfig)
    assert_type(config.replace(timeout=None), CircuitBreakerConfig)

    config.timeout = 3.0  # type: ignore[misc]
    CircuitBreakerConfig(failure_threshold="3")  # type: ignore[arg-type]
    CircuitBreakerConfig(timeout="3")  # type: ignore[arg-type]
    CircuitBreakerConfig(ignore=7)  # type: ignore[arg-type]
    CircuitBreakerConfig(is_failure=lambda: True)  # type: ignore[misc, arg-type]
    CircuitBreaker(7)  # type: ignore[arg-type]
    CircuitBreaker("x", 7)  # type: ignore[arg-type]


def judged(error: Exception) -> Outcome | None:
    return Outcome.IGNORED if isinstance(error, KeyError) else None


def rules_and_recovery(permit: Permit) -> None:
    CircuitBreakerConfig(trip=ConsecutiveFailures(3), classify=judged, backoff=Backoff(2.0, jitter=0.1, seed=1))
    CircuitBreakerConfig(
        trip=(FailureRate(0.5, window=Calls(100)), SlowCallRate(0.5, slower_than=2.0, window=Seconds(30)))
    )
    CircuitBreakerConfig(half_open_max_wait=timedelta(seconds=5), max_reset_timeout=60.0)
    CircuitBreakerConfig(trip=0.5)  # type: ignore[arg-type]
    CircuitBreakerConfig(classify=len)  # type: ignore[arg-type]
    SlowCallRate(0.5)  # type: ignore[call-arg]
    detection = ChangeDetection(healthy=0.01, failing=0.3)
    assert_type(detection.limit, int)
    assert_type(detection.expected_calls_to_trip(0.3), float)
    assert_type(detection.calls_between_false_trips, float)
    permit.failure(OSError(), retry_after=5.0)
    permit.failure(OSError(), 5.0)  # type: ignore[call-arg]
    cb.force_open(for_=timedelta(minutes=1))
    cb.force_open("soon")  # type: ignore[arg-type]


async def waiting_for_changes(registry: CircuitBreakerRegistry) -> None:
    assert_type(await cb.wait_for(State.CLOSED, timeout=5.0), State)
    async for event in registry.events():
        assert_type(event, TransitionEvent)
        assert_type(event.why, str)
    assert_type(cb.history(), tuple[TransitionEvent, ...])
    venues = registry.family("venue")
    assert_type(venues, Family)
    assert_type(venues["NYSE"], CircuitBreaker)


def listeners() -> None:
    @cb.on_transition
    def listener(event: TransitionEvent) -> int:
        assert_type(event.from_state, State)
        assert_type(event.retry_after, float | None)
        event.name = "another"  # type: ignore[misc]
        return 7

    kept: Callable[[TransitionEvent], int] = listener
    cb.off_transition(kept)
    default_registry().on_transition(print)

    cb.on_transition(lambda: None)  # type: ignore[type-var]


def errors() -> None:
    try:
        load("AAPL")
    except CircuitOpenError as error:
        assert_type(error.retry_after, float)
        assert_type(error.state, State)
        assert_type(error.last_failure, str | None)
    except CallTimeoutError as error:
        assert_type(error.timeout, float)
        timeout: TimeoutError = error
        ours: CircuitBreakerError = error
        print(timeout, ours)


def registries(clock: ManualClock) -> None:
    registry = CircuitBreakerRegistry(clock=clock)
    assert_type(registry.get_or_create("x"), CircuitBreaker)
    assert_type(registry["x"], CircuitBreaker)
    assert_type(registry.get("x"), CircuitBreaker | None)
    assert_type(list(registry), list[str])
    assert_type(registry.get_all_metrics(), dict[str, CircuitBreakerMetrics])
    assert_type(breaker("x"), CircuitBreaker)
    clock.advance(1)
    clock.advance(timedelta(seconds=1))
    assert_type(clock.now(), float)
    assert_type(switchgear.BACKEND, str)

    registry.get_or_create(7)  # type: ignore[arg-type]
    clock.advance("1")  # type: ignore[arg-type]


class Mine(CircuitBreaker):
    """A subclass of a user's."""

    def describe(self) -> str:
        return f"{self.name}: {self.get_state()}"


def subclasses_keep_their_type() -> None:
    mine = Mine("mine")
    assert_type(mine, Mine)
    assert_type(mine.describe(), str)
    assert_type(mine.call_sync(add, 1), int)


def anything(untyped: Any) -> None:
    cb(untyped)
    cb.call_sync(untyped, 1, x=2)
    assert_type(State("OPEN"), State)
