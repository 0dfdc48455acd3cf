"""`python -m switchgear doctor`: what runs here, why it is not the native backend where it is not, and is it well.

It reads and reports, and changes nothing. Being on the pure backend is no illness: it is reported with its reason. The
exit code is 1 for what nobody can have wanted: a native module that is there and does not load, a debug build, a module
of another version than the package, a clock that can go backwards, a breaker that does not break.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import switchgear
from switchgear.cli import native

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Event loops first, then the libraries that the extras bring or that calls are made with.
LIBRARIES = ("uvloop", "trio", "anyio", "httpx2", "httpx", "fastapi")


@dataclass(frozen=True, slots=True)
class Report:
    """All that the doctor found, in the order in which it is printed."""

    version: str
    backend: str
    why_not_native: str | None
    native: Mapping[str, str] | None
    python: str
    platform: str
    gil: str
    clock: Mapping[str, object]
    libraries: Mapping[str, str | None]
    environment: Mapping[str, str]
    problems: tuple[str, ...]


def run(*, as_json: bool) -> int:
    """Print the report; return 0 when nothing is wrong and 1 otherwise."""
    report = examine()
    try:
        print(json.dumps(asdict(report), indent=2) if as_json else "\n".join(_lines(report)), flush=True)
    except BrokenPipeError:  # nobody reads on; and the interpreter's last flush must not meet the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if report.problems else 0


def examine() -> Report:
    """Look at this interpreter, this machine and the package in it."""
    version = installed_version()
    module = native.look()
    clock = vars(time.get_clock_info("monotonic"))
    return Report(
        version=version,
        backend=switchgear.BACKEND,
        why_not_native=None if switchgear.BACKEND == "native" else native.reason(module),
        native=module.build,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        # A free-threaded interpreter turns the lock on again for a module that did not say it can do without.
        gil="on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off",
        clock={name: clock[name] for name in ("implementation", "resolution", "monotonic", "adjustable")},
        libraries={name: _version_of(name) for name in LIBRARIES},
        environment={name: value for name, value in sorted(os.environ.items()) if name.startswith("SWITCHGEAR_")},
        problems=(*native.problems(module, version), *_clock_problems(clock), *_breaker_problems()),
    )


def installed_version() -> str:
    """Return the version of the installed package; a source tree on the path is not installed."""
    return _version_of("switchgear") or "unknown (not installed)"


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _clock_problems(clock: Mapping[str, object]) -> Iterator[str]:
    if not clock["monotonic"]:
        yield f"the clock that breakers read, {clock['implementation']}, can go backwards"


def _breaker_problems() -> Iterator[str]:
    life = _life_of_a_breaker()
    if life != ["CLOSED", "OPEN", "HALF_OPEN", "CLOSED"]:
        yield f"a breaker that should trip, probe and close went {' -> '.join(life)}"


def _life_of_a_breaker() -> list[str]:
    """Return the states of one breaker from first to last: only that shows a backend that loads and does not work."""
    from switchgear.testing import ManualClock

    clock = ManualClock()
    config = switchgear.CircuitBreakerConfig(failure_threshold=1, success_threshold=1, reset_timeout=1.0)
    breaker = switchgear.CircuitBreaker("doctor", config, clock=clock)
    with _silent(logging.getLogger("switchgear")):
        life = [str(breaker.state)]
        breaker.acquire().failure()
        life.append(str(breaker.state))
        clock.advance(1.0)
        probe = breaker.acquire()
        life.append(str(breaker.state))
        probe.success()
        life.append(str(breaker.state))
    return life


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Keep a trip on purpose from being taken for one in earnest."""
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _lines(report: Report) -> Iterator[str]:
    yield f"switchgear   {report.version}"
    yield f"backend      {report.backend}"
    if report.why_not_native:
        yield f"             not native: {report.why_not_native}"
    if report.native is not None:
        yield f"native       {_pairs(report.native)}"
    yield f"python       {report.python}, GIL {report.gil}"
    yield f"platform     {report.platform}"
    yield f"clock        {_pairs(report.clock)}"
    yield f"libraries    {_pairs({name: version or '-' for name, version in report.libraries.items()})}"
    yield f"environment  {_pairs(report.environment) or 'no SWITCHGEAR_ variable is set'}"
    yield from (f"PROBLEM      {problem}" for problem in report.problems)
    yield "something is wrong" if report.problems else "all is well"


def _pairs(fields: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {str(value).removeprefix(name + ' ')}" for name, value in fields.items())
