"""What happened, as it happens: faults, transitions, states and throughput, each with its time."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from switchgear import State
from switchgear.demo.system import BREAKERS

if TYPE_CHECKING:
    from switchgear import TransitionEvent
    from switchgear.demo.faults import Fault
    from switchgear.demo.trader import Trader
    from switchgear.services.trading import TradingSystemCircuitBreakers

_SERVICES = {breaker: service for service, breaker in BREAKERS.items()}


class Change(NamedTuple):
    """A transition of one service's breaker."""

    at: float
    service: str
    to: State
    text: str


@dataclass(slots=True)
class Phase:
    """One fault with the recovery from it."""

    fault: Fault
    begun: float
    cleared: float | None = None
    changes: list[Change] = field(default_factory=list)
    fallbacks: Counter[str] = field(default_factory=Counter)
    """What the trader fell back on meanwhile."""
    healed: dict[str, bool] = field(default_factory=dict)
    """Whether each breaker was CLOSED when the phase was over."""

    def opened(self) -> set[str]:
        """Return the services whose breakers opened."""
        return {change.service for change in self.changes if change.to is State.OPEN}


class Sample(NamedTuple):
    """One moment."""

    at: float
    states: dict[str, State]
    rounds: int


class Record:
    """The whole run. Times are seconds since its begin."""

    def __init__(self, system: TradingSystemCircuitBreakers, trader: Trader) -> None:
        self.phases: list[Phase] = []
        self.stray: list[Change] = []
        """Changes before the first fault: there should be none."""
        self.samples: list[Sample] = []
        self._begun = time.monotonic()
        self._system = system
        self._trader = trader
        self._counted: Counter[str] = Counter()
        system.registry.on_transition(self._note)

    def now(self) -> float:
        """Return the seconds since the begin."""
        return time.monotonic() - self._begun

    def begin(self, fault: Fault) -> Phase:
        """Note that a fault begins: whatever comes now is its."""
        self._counted = self._trader.fallbacks.copy()
        phase = Phase(fault, self.now())
        self.phases.append(phase)
        return phase

    def end(self) -> None:
        """Note that the present fault's time is over."""
        phase = self.phases[-1]
        phase.fallbacks = self._trader.fallbacks - self._counted
        phase.healed = {name: state is State.CLOSED for name, state in self.states().items()}

    def fell_back_on(self, fallback: str) -> bool:
        """Tell whether the trader has fallen back on this since the present fault began."""
        return self._trader.fallbacks[fallback] > self._counted[fallback]

    def sample(self) -> None:
        """Take a sample."""
        self.samples.append(Sample(self.now(), self.states(), self._trader.rounds))

    def states(self) -> dict[str, State]:
        """Return the state of each service's breaker."""
        return {name: service.breaker.state for name, service in self._system.services().items()}

    def _note(self, event: TransitionEvent) -> None:
        change = Change(event.monotonic - self._begun, _SERVICES[event.name], event.to_state, str(event))
        (self.phases[-1].changes if self.phases else self.stray).append(change)
