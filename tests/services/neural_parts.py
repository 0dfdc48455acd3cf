"""What the tests of the neural service's threads share: a model that hangs when it is told to, and patience."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from switchgear import CircuitBreakerRegistry
from switchgear.services.neural import NeuralCircuitBreaker


class Hanging:
    """A model that answers when it is told to."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()

    def __call__(self, vector: list[float]) -> list[float]:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if vector[0] < 0:
                assert self.release.wait(30)
        finally:
            with self.lock:
                self.running -= 1
        return vector


def service(model: Any, **changes: Any) -> NeuralCircuitBreaker:
    """A service in a registry of its own."""
    return NeuralCircuitBreaker("m", model, registry=CircuitBreakerRegistry(), **changes)


def threads() -> list[str]:
    """The names of the services' threads."""
    return [each.name for each in threading.enumerate() if each.name.startswith("neural:")]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does; half a minute is for ever."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.002)
