"""One scenario, two sides: the breaker's timeout, and ``asyncio.timeout`` in its place."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig
from virtual_time import VirtualLoop

Operation: TypeAlias = Callable[[], Awaitable[Any]]

# In units of the loop: one unit is a second of virtual time, 2 ms of real time.
SOON = 1
LATER = 3
PAST_BOTH = 6
NEVER = 10_000


@dataclass(frozen=True)
class LoopKind:
    """An event loop, and how long a unit is on it."""

    name: str
    make: Callable[[], asyncio.AbstractEventLoop]
    unit: float

    def block(self, units: float) -> None:
        """Hold up the loop, so that every timer up to then is due in one and the same iteration."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.now += units * self.unit
        else:
            time.sleep(units * self.unit)


class Side:
    """What a scenario acts with and writes down its outcome in; the two sides must end up equal."""

    def __init__(self, loop_kind: LoopKind) -> None:
        self.loop_kind = loop_kind
        self.outcomes: list[Any] = []
        self.stalled = False
        """The machine was elsewhere for milliseconds, so the order of the timers is not the one that was meant."""
        self._tasks: list[asyncio.Task[Any]] = []

    def limited(self, units: float, operation: Operation) -> Coroutine[Any, Any, Any]:
        """The operation under a timeout: the one thing in which the sides differ."""
        raise NotImplementedError

    def seconds(self, units: float) -> float:
        return units * self.loop_kind.unit

    def note(self, outcome: Any) -> None:
        self.outcomes.append(outcome)

    def task(self, awaitable: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run it as a task of its own, up to where it waits."""
        task = asyncio.get_running_loop().create_task(awaitable)
        self._tasks.append(task)
        return task

    async def end(self, task: "asyncio.Task[Any]") -> None:
        """Wait for a task and note how it ended, and what is left of the requests to cancel it."""
        await asyncio.wait([task])
        if task.cancelled():
            ended: Any = "cancelled"
        elif (error := task.exception()) is not None:
            ended = describe(error)
        else:
            ended = ("returned", task.result())
        self.note((ended, task.cancelling()))

    async def until_waiting(self) -> None:
        """Let everybody run until they wait for something that no further step brings."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def expire_all(self, task: "asyncio.Task[Any]") -> None:
        """Let a task begin, then hold up the loop until every limit but NEVER is due: they fire in one iteration."""
        await self.until_waiting()
        self.stalled |= task.done() or task.cancelling() > 0
        self.loop_kind.block(PAST_BOTH)
        await self.end(task)

    async def cancel_and_expire(self, operation: Operation, *, user_first: bool) -> None:
        """Have an operation's limit expire and somebody cancel its task in one iteration, in this order."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        task = self.task(self.limited(LATER if user_first else SOON, operation))
        await self.until_waiting()
        cancel_at = loop.time() + self.seconds(SOON if user_first else LATER)
        # Timers are as exact as a millisecond. The other order is sure: this timer was set after that of the limit.
        self.stalled |= user_first and cancel_at + 0.001 > begin + self.seconds(LATER)
        self.stalled |= task.done() or task.cancelling() > 0
        loop.call_at(cancel_at, task.cancel)
        self.loop_kind.block(PAST_BOTH)
        await self.end(task)


class AsyncioSide(Side):
    """``asyncio.timeout``."""

    async def limited(self, units: float, operation: Operation) -> Any:
        async with asyncio.timeout(self.seconds(units)):
            return await operation()


@dataclass(frozen=True)
class Counts:
    """How the breakers of a scenario settled its calls, all together."""

    successful: int = 0
    failed: int = 0
    ignored: int = 0
    timed_out: int = 0


class BreakerSide(Side):
    """A breaker with a timeout."""

    def __init__(self, loop_kind: LoopKind, enter: "Enter") -> None:
        super().__init__(loop_kind)
        self._enter = enter
        self._breakers: list[CircuitBreaker] = []

    def limited(self, units: float, operation: Operation) -> Coroutine[Any, Any, Any]:
        breaker = CircuitBreaker(f"limited {len(self._breakers)}", CircuitBreakerConfig(timeout=self.seconds(units)))
        self._breakers.append(breaker)
        return self._enter(breaker, operation)

    def counts(self) -> Counts:
        metrics = [breaker.get_metrics() for breaker in self._breakers]
        return Counts(
            sum(each.successful_calls for each in metrics),
            sum(each.failed_calls for each in metrics),
            sum(each.ignored_calls for each in metrics),
            sum(each.timed_out_calls for each in metrics),
        )


Enter: TypeAlias = Callable[[CircuitBreaker, Operation], Coroutine[Any, Any, Any]]


def through_call(breaker: CircuitBreaker, operation: Operation) -> Coroutine[Any, Any, Any]:
    # Not awaited in an async function: what a task is made of is the call itself.
    return breaker.call(operation)


def through_decorator(breaker: CircuitBreaker, operation: Operation) -> Coroutine[Any, Any, Any]:
    @breaker
    async def decorated() -> Any:
        return await operation()

    return decorated()


def through_plain_function(breaker: CircuitBreaker, operation: Operation) -> Coroutine[Any, Any, Any]:
    @breaker
    def returns_an_awaitable() -> Any:
        return operation()

    return returns_an_awaitable()


async def through_guard(breaker: CircuitBreaker, operation: Operation) -> Any:
    async with breaker.guard():
        return await operation()


async def through_step(breaker: CircuitBreaker, operation: Operation) -> Any:
    @breaker
    async def generator() -> Any:
        yield await operation()

    (item,) = [item async for item in generator()]
    return item


ENTRIES: dict[str, Enter] = {
    "call": through_call,
    "decorated coroutine function": through_decorator,
    "decorated function": through_plain_function,
    "guard": through_guard,
    "async generator": through_step,
}

Scenario: TypeAlias = Callable[[Side], Coroutine[Any, Any, None]]
AnySide = TypeVar("AnySide", bound=Side)


@dataclass
class Compare:
    """Play a scenario on both sides: the same outcomes, which are these, and the breaker's verdicts."""

    loop_kind: LoopKind
    enter: Enter

    def __call__(self, scenario: Scenario, *outcomes: Any, counts: Counts | None) -> None:
        """Counts of None depend on the kind of call."""
        theirs = self._play(scenario, lambda: AsyncioSide(self.loop_kind))
        ours = self._play(scenario, lambda: BreakerSide(self.loop_kind, self.enter))
        assert theirs.outcomes == ours.outcomes
        assert list(outcomes) == ours.outcomes
        assert counts in (None, ours.counts())

    def _play(self, scenario: Scenario, make: Callable[[], AnySide]) -> AnySide:
        for _ in range(100):
            side = make()
            problems: list[Any] = []
            with asyncio.Runner(loop_factory=self.loop_kind.make) as runner:
                runner.get_loop().set_exception_handler(lambda _, context, into=problems: into.append(context))
                runner.run(scenario(side))
            if not side.stalled:
                assert problems == []
                return side
        raise AssertionError("the order of the timers was never sure")


TIMEOUT = ("raised TimeoutError", "from CancelledError")


def describe(error: BaseException) -> Any:
    """An exception as a value that compares: groups by their members, our timeout as asyncio's."""
    if isinstance(error, BaseExceptionGroup):
        return ("group", *(describe(each) for each in error.exceptions))
    name = "TimeoutError" if isinstance(error, CallTimeoutError) else type(error).__name__
    cause = error.__cause__
    return (f"raised {name}",) if cause is None else (f"raised {name}", f"from {type(cause).__name__}")
