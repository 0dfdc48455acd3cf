"""Other circuit breakers, each through its decorator and, but for an hour of staying open, with its defaults.

Most of them do less for their price: "What it promises" in the README is what every call of ours includes.
"""

import asyncio
import importlib.metadata
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any, Final

from backends import BACKENDS, opened
from measure import Samples, Subject, measure
from rows import render_cells
from scenarios import bare, bare_async, caught, fail, fail_async, wrapped, wrapped_async

Function = Callable[..., Any]
Decorator = Any

HOUR: Final = 3600.0
ENOUGH_FAILURES: Final = 50


@dataclass(frozen=True, slots=True)
class Peer:
    """A library: its distribution, and how to make a fresh decorator for functions or for coroutine functions."""

    distribution: str
    decorator: Callable[[bool], Decorator]
    has_async: bool = True


def _pybreaker(_is_async: bool) -> Decorator:
    import pybreaker

    return pybreaker.CircuitBreaker(reset_timeout=HOUR)


def _circuitbreaker(_is_async: bool) -> Decorator:
    import circuitbreaker

    return circuitbreaker.CircuitBreaker(recovery_timeout=HOUR)


def _purgatory(is_async: bool) -> Decorator:
    import purgatory

    factory = purgatory.AsyncCircuitBreakerFactory if is_async else purgatory.SyncCircuitBreakerFactory
    return factory(default_ttl=HOUR)("bench")


def _aiobreaker(_is_async: bool) -> Decorator:
    import aiobreaker

    return aiobreaker.CircuitBreaker(timeout_duration=timedelta(seconds=HOUR))


def _interlock(_is_async: bool) -> Decorator:
    import interlock

    return interlock.CircuitBreaker(name="bench", config=interlock.Config(wait_duration_in_open=HOUR))


def _nopanic(_is_async: bool) -> Decorator:
    import nopanic

    return nopanic.CircuitBreaker(reset_timeout=HOUR)


def _grit(_is_async: bool) -> Decorator:
    import grit

    return grit.breaker(reset_after=HOUR)


PEERS: Final = (
    # Its coroutines are Tornado's: a native one would count as a success before it has begun.
    Peer("pybreaker", _pybreaker, has_async=False),
    Peer("circuitbreaker", _circuitbreaker),
    Peer("purgatory", _purgatory),
    Peer("aiobreaker", _aiobreaker),
    Peer("interlock-cb", _interlock),
    Peer("nopanic", _nopanic),
    Peer("grit-toolkit", _grit),
)


@dataclass(frozen=True, slots=True)
class Column:
    """One comparison, of all the libraries that can make it."""

    title: str
    kind: str
    subjects: dict[str, Subject]


def installed() -> list[Peer]:
    """Return the libraries that are there and import."""
    found = []
    for peer in PEERS:
        try:
            importlib.metadata.version(peer.distribution)
            peer.decorator(False)
        except (ImportError, importlib.metadata.PackageNotFoundError):
            continue
        found.append(peer)
    return found


def measured(rounds: int) -> dict[str, Samples]:
    """Measure ours and every installed library against each other; by the title of the column."""
    return {each.title: measure(each.subjects, each.kind, rounds=rounds) for each in columns(installed())}


def render(columns: dict[str, Samples]) -> str:
    """Return the comparison as a table, and name the libraries that are not here."""
    names = dict.fromkeys(name for samples in columns.values() for name in samples.ns)
    lines = [("ns per call (ratio to the floor)", *columns)]
    for name in names:
        cells = [
            f"{samples.cost(name):,.0f} ({median(samples.ratios(name, 'floor')):.2f})" if name in samples.ns else "-"
            for samples in columns.values()
        ]
        lines.append((_named(name), *cells))
    missing = ", ".join(peer.distribution for peer in PEERS if peer.distribution not in names)
    return render_cells(lines) + (f"\n\nnot installed here: {missing}" if missing else "")


def _named(subject: str) -> str:
    ours = {"floor": "floor", "wrapper": "empty Python wrapper", "native": "switchgear", "twin": "switchgear, pure"}
    return ours.get(subject) or f"{subject} {importlib.metadata.version(subject)}"


def columns(peers: list[Peer]) -> list[Column]:
    """Return the comparisons: success and rejection, sync and async."""
    answer = []
    for is_async in (False, True):
        kind, awaiting = ("async", "await ") if is_async else ("sync", "")
        those = [each for each in peers if each.has_async or not is_async]
        works, fails = (bare_async, fail_async) if is_async else (bare, fail)
        wrap = wrapped_async if is_async else wrapped
        succeeding = {"floor": works, "wrapper": wrap(works)}
        rejecting: dict[str, tuple[Function, type[BaseException]]] = {
            "floor": (fails, ValueError),
            "wrapper": (wrap(fails), ValueError),
        }
        for name, kind_of_ours in BACKENDS.items():
            succeeding[name] = kind_of_ours("bench")(works)
            rejecting[name] = _rejecting(opened(kind_of_ours)(fails))
        for peer in those:
            succeeding[peer.distribution] = peer.decorator(is_async)(works)
            rejecting[peer.distribution] = _rejecting(peer.decorator(is_async)(fails))
        success = {name: Subject(f"{awaiting}f()", {"f": f}) for name, f in succeeding.items()}
        rejection = {
            name: Subject(caught(f"{awaiting}f()"), {"f": f, "E": error}) for name, (f, error) in rejecting.items()
        }
        answer += [Column(f"success, {kind}", kind, success), Column(f"rejection, {kind}", kind, rejection)]
    return answer


def _rejecting(function: Function) -> tuple[Function, type[BaseException]]:
    """Call a failing function until its breaker rejects it; return it with the class of the rejection."""
    for _ in range(ENOUGH_FAILURES):
        error = _error_of(function)
        if not isinstance(error, ValueError):
            # The one that trips may differ from those that follow.
            return function, type(_error_of(function))
    raise RuntimeError(f"{function!r} still lets calls through after {ENOUGH_FAILURES} failures")


def _error_of(function: Function) -> BaseException:
    try:
        result = function()
        if inspect.isawaitable(result):

            async def finish() -> None:
                await result

            asyncio.run(finish())
    except Exception as error:
        return error
    raise RuntimeError(f"{function!r} did not fail")
