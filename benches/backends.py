"""Both backends in one process: the public breaker over the native base, and the twin over the pure one."""

import os
import sys
from typing import Any, Self

os.environ["SWITCHGEAR_BACKEND"] = "native"

from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, _native, _pure
from switchgear.guard import Guard


class Twin(_pure.Breaker):
    """What ``CircuitBreaker`` is where there is no native module: it, too, adds nothing to the path of a call."""

    __slots__ = ("__weakref__",)

    def __new__(cls, name: str, config: CircuitBreakerConfig | None = None) -> Self:
        return super().__new__(cls, name, config or CircuitBreakerConfig())

    def __call__(self, function: Any) -> Any:
        # The flag 0x80 is inspect.CO_COROUTINE: only plain functions and coroutine functions are decorated here.
        return _pure.GuardedFunction(self, function, bool(function.__code__.co_flags & 0x80))

    def guard(self) -> Guard:
        return Guard(self)


BACKENDS: dict[str, type[Any]] = {"native": CircuitBreaker, "twin": Twin}


def refuse_debug_build() -> None:
    """Exit unless the native module was built for release: any other number would be about nothing."""
    profile = _native.BUILD_INFO["profile"]
    if profile != "release":
        sys.exit(f"the native module is a {profile!r} build; benchmarks measure release builds only: see `make bench`")


def opened(kind: type[Any], name: str = "bench") -> Any:
    """Return a breaker that a failure has opened for an hour: a rejection reads the clock, as it does in life."""
    breaker = kind(name, CircuitBreakerConfig(failure_threshold=1, reset_timeout=3600.0))
    permit = breaker.acquire()
    permit.failure(ValueError("down"))
    if breaker.try_acquire() is not None:
        raise RuntimeError("the breaker of the benchmark did not open")
    return breaker


def patient(kind: type[Any], name: str = "bench") -> Any:
    """Return a breaker that counts failures and never opens."""
    return kind(name, CircuitBreakerConfig(failure_threshold=1_000_000_000))


__all__ = [
    "BACKENDS",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitOpenError",
    "Twin",
    "opened",
    "patient",
    "refuse_debug_build",
]
