"""What every service has in common: a breaker under a prefixed name, its deadline, its verdicts and its end."""

from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from switchgear._verdict import Classify, has_verdict, with_verdict
from switchgear.config import CircuitBreakerConfig
from switchgear.registry import CircuitBreakerRegistry, default_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.breaker import CircuitBreaker
    from switchgear.metrics import CircuitBreakerMetrics


class Service:
    """Hold the breaker of one dependency; the base of the services, not to be used alone.

    Args:
        kind: The prefix of the breaker's name: ``api`` in ``api:prices``.
        name: What the service is called; a non-empty str.
        defaults: The configuration where none is given.
        classify: The service's verdict on an exception.
        config: The user's configuration; its ``classify`` and ``ignore`` are asked before the service's verdict, and
            ``record_only`` narrows what the service takes for a failure. Where a service of this name is there already,
            its breaker is shared and keeps its configuration; a warning is logged where this one differs.
        registry: Where the breaker is registered; default the process's registry.
        check: Called with the configuration of a breaker before it is made; what it raises leaves none behind.

    Raises:
        TypeError: The name is no str, the config no ``CircuitBreakerConfig``, the registry no registry.
        ValueError: The name is empty, or a breaker of this name is registered that was made without the service and
            so knows nothing of its exceptions.
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
        check: "Callable[[CircuitBreakerConfig], object] | None" = None,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of the {kind} service must be a str, not {type(name).__name__}")
        if not name:
            raise ValueError(f"the name of the {kind} service must not be empty")
        if config is not None and not isinstance(config, CircuitBreakerConfig):
            raise TypeError(f"config must be a CircuitBreakerConfig or None, not {type(config).__name__}")
        if registry is None:
            registry = default_registry()
        elif not isinstance(registry, CircuitBreakerRegistry):
            raise TypeError(f"registry must be a CircuitBreakerRegistry or None, not {type(registry).__name__}")
        self.breaker = _shared(registry, f"{kind}:{name}", config, defaults=defaults, classify=classify, check=check)

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

    def reconfigure(self, config: CircuitBreakerConfig) -> None:
        """Behave by another configuration from now on: ``breaker.reconfigure``, for this service and all of its name.

        As in the constructor, the service's verdict on exceptions comes behind the configuration's own words. The times
        that a service takes from its breaker's ``timeout`` follow.

        Args:
            config: How to behave from now on.

        Raises:
            TypeError: It is no ``CircuitBreakerConfig``.
        """
        self.breaker.reconfigure(config)

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


def _shared(
    registry: CircuitBreakerRegistry,
    name: str,
    config: CircuitBreakerConfig | None,
    *,
    defaults: CircuitBreakerConfig,
    classify: Classify,
    check: "Callable[[CircuitBreakerConfig], object] | None",
) -> "CircuitBreaker":
    breaker = registry.get(name)
    if breaker is None and check is not None:
        check(config or defaults)
    # Whoever says nothing takes what is there, and is warned of nothing.
    if breaker is None or (config is not None and has_verdict(breaker.config, classify)):
        breaker = registry.get_or_create(name, with_verdict(config or defaults, classify))
    if not has_verdict(breaker.config, classify):
        raise ValueError(
            f"a breaker named {name!r} is registered already that was made without the service and knows nothing of its"
            " exceptions: let the service make it, config= says how it behaves; or give the service another name"
        )
    return breaker
