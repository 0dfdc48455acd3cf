"""What every service has in common: a breaker under a prefixed name, its deadline, its verdicts and its end."""

from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

from switchgear.config import CircuitBreakerConfig
from switchgear.registry import CircuitBreakerRegistry, default_registry
from switchgear.state import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.breaker import CircuitBreaker
    from switchgear.metrics import CircuitBreakerMetrics

Classify: TypeAlias = "Callable[[Exception], Outcome | None]"


class FirstThen(NamedTuple):
    """Ask the user's configuration first, the service where that says nothing; comparable, as a config must be."""

    classify: "Classify | None"
    ignore: tuple[type[BaseException], ...]
    record_only: tuple[type[BaseException], ...] | None
    then: Classify

    def __call__(self, error: Exception) -> Outcome | None:
        outcome = None if self.classify is None else self.classify(error)
        if outcome is not None:
            return outcome
        if isinstance(error, self.ignore):
            return None
        verdict = self.then(error)
        # `record_only` narrows what is a failure; what is neutral to the service stays so.
        return None if verdict is Outcome.FAILURE and self.record_only is not None else verdict


class Service:
    """Hold the breaker of one dependency; the base of the services, not to be used alone.

    Args:
        kind: The prefix of the breaker's name: ``api`` in ``api:prices``.
        name: What the service is called; a non-empty str.
        defaults: The configuration where none is given.
        classify: The service's verdict on an exception.
        config: The user's configuration; its ``classify`` and ``ignore`` are asked before the service's verdict, and
            ``record_only`` narrows what the service takes for a failure.
        registry: Where the breaker is registered; default the process's registry.

    Raises:
        TypeError: The name is no str, the config no ``CircuitBreakerConfig``, the registry no registry.
        ValueError: The name is empty.
    """

    breaker: "Final[CircuitBreaker]"
    """The breaker that every operation passes; shared by all services of this name in the registry."""

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        defaults: CircuitBreakerConfig,
        classify: Classify,
        config: CircuitBreakerConfig | None,
        registry: CircuitBreakerRegistry | None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of the {kind} service must be a str, not {type(name).__name__}")
        if not name:
            raise ValueError(f"the name of the {kind} service must not be empty")
        if config is None:
            config = defaults
        elif not isinstance(config, CircuitBreakerConfig):
            raise TypeError(f"config must be a CircuitBreakerConfig or None, not {type(config).__name__}")
        if registry is None:
            registry = default_registry()
        elif not isinstance(registry, CircuitBreakerRegistry):
            raise TypeError(f"registry must be a CircuitBreakerRegistry or None, not {type(registry).__name__}")
        asks = FirstThen(config.classify, config.ignore, config.record_only, classify)
        config = config.replace(classify=classify if asks[:3] == (None, (), None) else asks)
        self.breaker = registry.get_or_create(f"{kind}:{name}", config)

    @property
    def name(self) -> str:
        """The breaker's name, with its prefix: ``api:prices``."""
        return self.breaker.name

    def get_state(self) -> str:
        """Return the breaker's state for people: ``"CLOSED (failures: 2)"``."""
        return self.breaker.get_state()

    def get_metrics(self) -> "CircuitBreakerMetrics":
        """Return a snapshot of the breaker's counters."""
        return self.breaker.get_metrics()

    async def aclose(self) -> None:
        """Release what the service opened itself; what was handed in stays open. Closing twice is no error."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.get_state()}>"
