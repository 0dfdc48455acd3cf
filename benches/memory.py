"""Resident memory of one more breaker: 10,000 of them, with names, in a process of their own."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

COUNT: Final = 10_000
REPEATS: Final = 5
WAYS: Final = {
    "direct": ("one more breaker, with name", 600),
    "registry": ("  through a registry", 600),
    "window": ("  with FailureRate over Calls(100)", 1024),
}
"""How a breaker comes into being, ``CircuitBreaker(name)`` or ``registry.get_or_create``, and how large it may be."""


def resident_bytes() -> int:
    """Return how much of this process lies in memory, exactly where the system can tell, else its peak."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_text()
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Rss:"))


def bytes_each(backend: str, way: str) -> list[float]:
    """Return the resident bytes of one more breaker, each run; ``backend`` is ``"native"`` or ``"pure"``."""
    environment = {**os.environ, "SWITCHGEAR_BACKEND": backend}
    command = [sys.executable, __file__, way]
    runs = [subprocess.run(command, env=environment, check=True, capture_output=True) for _ in range(REPEATS)]
    return [float(run.stdout) for run in runs]


def _child(way: str) -> float:
    from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerRegistry
    from switchgear.rules import Calls, FailureRate

    registry = CircuitBreakerRegistry()
    window = CircuitBreakerConfig(trip=FailureRate(window=Calls(100)))
    makers = {
        "direct": CircuitBreaker,
        "registry": registry.get_or_create,
        "window": lambda name: CircuitBreaker(name, window),
    }
    make = makers[way]
    kept: list[object] = [None] * COUNT
    # Whatever the first ones set up for all, and the call that every one of them will see.
    for number in range(10):
        make(f"warm-up-{number}").call_sync(int)
    gc.collect()
    before = resident_bytes()
    for number in range(COUNT):
        kept[number] = make(f"service-{number:05}")
    gc.collect()
    return (resident_bytes() - before) / COUNT


if __name__ == "__main__":
    print(_child(sys.argv[1]))
