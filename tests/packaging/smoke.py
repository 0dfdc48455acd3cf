"""Use an installed switchgear as a stranger would: a trip, a rejection, a recovery, sync and async.

`.ci/run` runs it from outside the source tree, as `python -I smoke.py BACKEND`. A program and not a test: the
environment that it checks has nothing but the wheel in it.
"""

import asyncio
import sys
from contextlib import suppress
from importlib import metadata

import switchgear
from switchgear.testing import ManualClock


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


def fail() -> None:
    raise ConnectionError("refused")


def main(backend: str) -> None:
    assert backend == switchgear.BACKEND, (backend, switchgear.BACKEND)
    assert [line for line in metadata.requires("switchgear") or [] if "extra ==" not in line] == []

    clock = ManualClock()
    config = switchgear.CircuitBreakerConfig(failure_threshold=2, success_threshold=1, reset_timeout=5.0)
    breaker = switchgear.CircuitBreaker("smoke", config, clock=clock)
    assert asyncio.run(breaker.call(answer, 7)) == 7
    for _ in range(2):
        with suppress(ConnectionError):
            breaker.call_sync(fail)
    assert str(breaker.state) == "OPEN"
    rejection = None
    try:
        breaker.call_sync(fail)
    except switchgear.CircuitOpenError as error:
        rejection = str(error)
    assert rejection is not None
    assert "is OPEN" in rejection
    clock.advance(5.0)
    assert asyncio.run(breaker.call(answer, 8)) == 8
    assert str(breaker.state) == "CLOSED"
    metrics = breaker.get_metrics()
    assert (metrics.total_calls, metrics.failed_calls, metrics.rejected_calls) == (5, 2, 1), metrics
    print(f"smoke: switchgear {metadata.version('switchgear')}, {switchgear.BACKEND}: all is well")


if __name__ == "__main__":
    main(*sys.argv[1:])
