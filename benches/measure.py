"""Time small statements against each other: interleaved rounds in one process, the empty loop taken off.

Each subject is compiled into a loop of its own, with everything it names as a local variable, so that the interpreter
specialises it for this subject alone. A round runs every subject once, forwards or backwards in turn, for about a
millisecond each. Numbers of one round are compared with one another only, and the median is taken of the comparison.

The clock is the thread's processor time: no subject ever waits, so on an idle machine it is the wall clock's, and on a
busy one it leaves out what others took.
"""

import asyncio
import gc
import inspect
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median
from typing import Any, Final

SLICE_NS: Final = 1_000_000
CROWD_CALLS: Final = 10
"""Calls of each of many tasks in a round: with fewer, what is measured are the first steps of new tasks."""
EMPTY: Final = "empty"

SYNC: Final = """
def run(count, {names}):
    start = _clock()
    for _ in _repeat(None, count):
{statement}
    return _clock() - start
"""

ASYNC: Final = """
async def run(count, {names}):
    start = _clock()
    for _ in _repeat(None, count):
{statement}
    return _clock() - start
"""

CONCURRENT: Final = """
async def run(count, {names}):
    async def one({names}):
        for _ in _repeat(None, count):
{statement}
    start = _clock()
    await _gather(*[one() for _ in _repeat(None, _tasks)])
    return _clock() - start
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A statement and the objects that it names."""

    statement: str
    names: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loop:
    """A subject, compiled: ``run(count)`` returns (or its coroutine does) the nanoseconds of ``count`` iterations."""

    run: Callable[[int], Any]
    tasks: int

    def __call__(self, runner: asyncio.Runner, count: int) -> float:
        """Return nanoseconds per iteration."""
        result = self.run(count)
        elapsed: int = runner.run(result) if inspect.iscoroutine(result) else result
        return elapsed / (count * self.tasks)


@dataclass(frozen=True, slots=True)
class Samples:
    """Nanoseconds per call of each subject, one number a round, the empty loop taken off."""

    ns: dict[str, list[float]] = field(default_factory=dict)

    def extend(self, others: "Samples") -> None:
        """Add the rounds of another measurement of the same subjects."""
        for name, values in others.ns.items():
            self.ns.setdefault(name, []).extend(values)

    def cost(self, subject: str) -> float:
        """Return the median nanoseconds of a call."""
        return median(self.ns[subject])

    def ratios(self, subject: str, floor: str) -> list[float]:
        """Return how many times the floor a subject took, each round."""
        return [mine / its for mine, its in zip(self.ns[subject], self.ns[floor], strict=True)]

    def added(self, subject: str, floor: str) -> list[float]:
        """Return the nanoseconds that a subject took beyond the floor, each round."""
        return [mine - its for mine, its in zip(self.ns[subject], self.ns[floor], strict=True)]

    def added_ratios(self, subject: str, other: str, floor: str) -> list[float]:
        """Return what a subject adds to the floor as a part of what another adds, each round."""
        return [
            mine / its for mine, its in zip(self.added(subject, floor), self.added(other, floor), strict=True) if its
        ]


def compiled(subject: Subject, kind: str, tasks: int = 1) -> Loop:
    """Compile a subject into its loop; ``kind`` is ``"sync"`` or ``"async"``."""
    template = SYNC if kind == "sync" else ASYNC if tasks == 1 else CONCURRENT
    names = {
        **subject.names,
        "_clock": time.thread_time_ns,
        "_repeat": repeat,
        "_gather": asyncio.gather,
        "_tasks": tasks,
    }
    statement = textwrap.indent(subject.statement, " " * 12 if template is CONCURRENT else " " * 8)
    source = template.format(names=", ".join(f"{name}={name}" for name in names), statement=statement)
    scope: dict[str, Any] = dict(names)
    exec(compile(source, f"<{subject.statement}>", "exec"), scope)
    return Loop(scope["run"], tasks)


def measure(subjects: Mapping[str, Subject], kind: str, *, rounds: int, tasks: int = 1) -> Samples:
    """Measure subjects against each other.

    Args:
        subjects: By name.
        kind: ``"sync"``, or ``"async"`` for statements that await.
        rounds: How many times each; 1 or more.
        tasks: How many tasks run an async statement at the same time.
    """
    loops = {name: compiled(each, kind, tasks) for name, each in {EMPTY: Subject("pass"), **subjects}.items()}
    ns: dict[str, list[float]] = {name: [] for name in loops}
    with asyncio.Runner() as runner, _no_collector():
        counts = {name: _calibrated(loop, runner) for name, loop in loops.items()}
        for number in range(rounds):
            for name in list(loops)[:: -1 if number % 2 else 1]:
                ns[name].append(loops[name](runner, counts[name]))
            if tasks > 1:
                gc.collect()
    empty = ns.pop(EMPTY)
    return Samples({name: [mine - its for mine, its in zip(each, empty, strict=True)] for name, each in ns.items()})


def _calibrated(loop: Loop, runner: asyncio.Runner) -> int:
    """Return how many iterations fill a slice, having warmed the loop up."""
    if loop.tasks > 1:
        loop(runner, CROWD_CALLS)
        return CROWD_CALLS
    count = 64
    while (each := loop(runner, count)) * count < SLICE_NS / 2:
        count *= 2
    return max(1, round(SLICE_NS / each))


@contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the cyclic collector out, as ``timeit`` does: its runs fall on whoever happens to allocate."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
