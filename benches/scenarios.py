"""What is measured: the rows of the table, each a floor and what is compared with it.

Every scenario has the subjects ``floor`` (the same work without a breaker), ``wrapper`` (the floor behind an empty
Python wrapper), ``native`` and ``twin``; where a budget needs it, ``asyncio.timeout`` too.
"""

import asyncio
from asyncio import sleep
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from backends import BACKENDS, CircuitOpenError, opened, patient
from measure import Samples, Subject

Kind = Literal["sync", "async"]
Sense = Literal["floor", "wrapper", "default", "added", "added/timeout"]


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit: on the ratio to another subject, on the nanoseconds added to the floor, or on a ratio of those."""

    sense: Sense
    limit: float
    subject: str = "native"

    def values(self, samples: Samples, subject: str | None = None) -> list[float]:
        """Return what is limited, each round; or the same of another subject."""
        subject = subject or self.subject
        match self.sense:
            case "added":
                return samples.added(subject, "floor")
            case "added/timeout":
                return samples.added_ratios(subject, "timeout", "floor")
            case other:
                return samples.ratios(subject, other)


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """One thing to measure, with one budget or more."""

    key: str
    title: str
    kind: Kind
    subjects: Mapping[str, Subject]
    budgets: tuple[Budget, ...]
    tasks: int = 1


def bare() -> int:
    return 1


async def bare_async() -> int:
    return 1


async def with_arguments(_a: int, _b: int, *, x: int) -> int:
    return x


async def suspend() -> None:
    await sleep(0)


def fail() -> None:
    raise ValueError


async def fail_async() -> None:
    raise ValueError


def wrapped(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the empty Python wrapper that everything is compared with."""

    def w(*a: Any, **k: Any) -> Any:
        return f(*a, **k)

    return w


def wrapped_async(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the empty wrapper of a coroutine function."""

    async def w(*a: Any, **k: Any) -> Any:
        return await f(*a, **k)

    return w


def caught(statement: str) -> str:
    """Return the statement with its exception, ``E``, caught."""
    return f"try:\n    {statement}\nexcept E:\n    pass"


def scenario(
    key: str,
    title: str,
    *budgets: Budget,
    f: Callable[..., Any],
    floor: str,
    guarded: str,
    make: Callable[[type[Any]], Any] = lambda backend: backend("bench"),
    rejects: bool = False,
    tasks: int = 1,
    others: Mapping[str, Subject] | None = None,
) -> Scenario:
    """Build a scenario from two statements.

    In both, ``f`` is the operation; in ``guarded``, ``cb`` is a breaker by ``make`` and ``g`` the operation decorated
    by it, which raises ``CircuitOpenError`` where it ``rejects``. The wrapper's statement is the floor's.
    """
    kind: Kind = "async" if "await" in floor else "sync"
    wrap = wrapped_async if kind == "async" else wrapped
    subjects = {
        "floor": Subject(floor, {"f": f, "E": ValueError}),
        "wrapper": Subject(floor, {"f": wrap(f), "E": ValueError}),
    }
    for name, backend in BACKENDS.items():
        breaker = make(backend)
        error = CircuitOpenError if rejects else ValueError
        subjects[name] = Subject(guarded, {"f": f, "cb": breaker, "g": breaker(f), "E": error})
    return Scenario(key, title, kind, {**subjects, **(others or {})}, budgets, tasks)


def calls() -> list[Scenario]:
    """Return the calls that succeed without suspending."""
    decorated = scenario(
        "decorated",
        "@cb on a function",
        Budget("floor", 2.6),
        Budget("wrapper", 0.55),
        f=bare,
        floor="f()",
        guarded="g()",
    )
    call_sync = scenario(
        "call_sync",
        "cb.call_sync(f)",
        Budget("floor", 2.4),
        f=bare,
        floor="f()",
        guarded="cb.call_sync(f)",
    )
    call = scenario(
        "call",
        "await cb.call(f)",
        Budget("floor", 1.6),
        Budget("wrapper", 0.65),
        Budget("floor", 6.0, "twin"),
        f=bare_async,
        floor="await f()",
        guarded="await cb.call(f)",
    )
    decorated_async = scenario(
        "decorated-async",
        "@cb on a coroutine function",
        Budget("floor", 1.6),
        f=bare_async,
        floor="await f()",
        guarded="await g()",
    )
    arguments = scenario(
        "arguments",
        "await cb.call(f, 1, 2, x=3)",
        Budget("floor", 1.6),
        f=with_arguments,
        floor="await f(1, 2, x=3)",
        guarded="await cb.call(f, 1, 2, x=3)",
    )
    return [decorated, call_sync, call, decorated_async, arguments]


LIMITED: Final = Subject("async with timeout(30.0):\n    await f()", {"timeout": asyncio.timeout, "f": suspend})


def suspensions() -> list[Scenario]:
    """Return the calls that suspend once, alone and in a crowd."""
    return [
        scenario(
            f"suspend-{tasks}",
            f"f suspends once, {tasks:,} concurrent",
            Budget("added", 400.0),
            Budget("added/timeout", 1 / 8),
            f=suspend,
            floor="await f()",
            guarded="await cb.call(f)",
            tasks=tasks,
            others={"timeout": LIMITED},
        )
        for tasks in (1, 1000)
    ]


def rejections() -> list[Scenario]:
    """Return what an open breaker costs."""
    rejected = scenario(
        "rejected",
        "rejection, async, caught",
        Budget("floor", 1.0),
        f=fail_async,
        floor=caught("await f()"),
        guarded=caught("await cb.call(f)"),
        make=opened,
        rejects=True,
    )
    try_acquire = scenario(
        "try_acquire",
        "cb.try_acquire() while OPEN",
        Budget("floor", 3.0),
        f=bare,
        floor="f()",
        guarded="cb.try_acquire()",
        make=opened,
    )
    return [rejected, try_acquire]


def failures() -> list[Scenario]:
    """Return the calls that fail while the breaker stays closed."""
    failed = scenario(
        "failed",
        "failing call, caught, sync",
        Budget("floor", 1.6),
        f=fail,
        floor=caught("f()"),
        guarded=caught("cb.call_sync(f)"),
        make=patient,
    )
    failed_async = scenario(
        "failed-async",
        "failing call, caught, async",
        Budget("floor", 1.6),
        f=fail_async,
        floor=caught("await f()"),
        guarded=caught("await cb.call(f)"),
        make=patient,
    )
    return [failed, failed_async]


def scenarios() -> list[Scenario]:
    """Return every scenario, each with breakers of its own."""
    return [*calls(), *suspensions(), *rejections(), *failures()]
