"""The breakers that the state machine drives together: one over each backend, in one process."""

import math
import types
from collections.abc import Callable
from typing import Any

from model import Change
from switchgear import BACKEND, CircuitBreaker, CircuitBreakerConfig, TransitionEvent

if BACKEND == "native":
    from switchgear import _native, _pure

    BACKENDS: dict[str, Any] = {"native": _native, "pure": _pure}
else:
    from switchgear import _pure

    BACKENDS = {"pure": _pure}


def public_class(base: type[Any]) -> type[CircuitBreaker]:
    """The public breaker over this backend, which may not be the one that the package runs on."""
    own = {name: value for name, value in vars(CircuitBreaker).items() if isinstance(value, types.FunctionType)}

    def new(cls: type[Any], name: str, config: CircuitBreakerConfig, clock: Any) -> Any:
        breaker = base.__new__(cls, name, config, clock)
        breaker._listeners = breaker._shared_listeners = None
        breaker.causes = []
        return breaker

    def on_transition(breaker: Any, *change: Any) -> None:
        # An event tells of its cause in words; here the numbers have to be the same.
        breaker.causes.append(change[5])
        own["_on_transition"](breaker, *change)

    own_again = {"__new__": new, "_on_transition": on_transition, "__slots__": (*CircuitBreaker.__slots__, "causes")}
    return type("Public", (base,), {**own, **own_again})


CLASSES = {name: public_class(backend.Breaker) for name, backend in BACKENDS.items()}


class Side:
    """One backend's breaker, and what its listener has heard."""

    def __init__(self, backend: str, config: CircuitBreakerConfig, start: float) -> None:
        self.backend = BACKENDS[backend]
        self.clock = self.backend.ManualClock(start)
        self.breaker: Any = CLASSES[backend]("machine", config, self.clock)
        self.heard: list[TransitionEvent] = []
        self.breaker.on_transition(self.heard.append)

    def guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        guarded: Callable[..., Any] = self.backend.GuardedFunction(self.breaker, function, False)
        return guarded


def seconds(nanoseconds: int | None) -> float:
    return math.inf if nanoseconds is None else nanoseconds / 1e9


def expected(change: Change) -> Any:
    wait = seconds(change.retry_after) if change.to_state == "OPEN" else None
    start = (change.from_state, change.to_state, change.generation, change.now / 1e9)
    return *start, change.last_failure, wait, change.jitter


def told(event: TransitionEvent) -> Any:
    return (
        event.from_state,
        event.to_state,
        event.generation,
        event.monotonic,
        event.last_failure,
        event.retry_after,
        event.jitter,
    )
