"""The five services of a trading system, each behind a breaker of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from switchgear.registry import CircuitBreakerRegistry
from switchgear.services.api import ApiCircuitBreaker
from switchgear.services.database import DatabaseCircuitBreaker
from switchgear.services.neural import NeuralCircuitBreaker
from switchgear.services.sandbox import E2BSandboxCircuitBreaker

if TYPE_CHECKING:
    from types import TracebackType

    from switchgear.config import CircuitBreakerConfig
    from switchgear.services._service import Service

__all__ = ["TradingSystemCircuitBreakers"]

SERVICES: Final = ("market_data_api", "order_execution_api", "e2b_sandbox", "neural_predictor", "database")
_BREAKERS: Final = (
    "api:market_data",
    "api:order_execution",
    "e2b:sandbox",
    "neural:price_predictor",
    "db:trading_db",
)


class TradingSystemCircuitBreakers:
    """Bundle what a trading system depends on, so that one failing service leaves the others untouched.

    Each service is the one of its own module, with that one's defaults, on one registry. Nothing is opened before it is
    used; ``aclose`` closes all of them, also where one fails to.

    Args:
        market_data_url: The base URL of the market data, for ``market_data_api`` (``api:market_data``).
        order_execution_url: That of the venue that takes orders, for ``order_execution_api`` (``api:order_execution``).
        database_url: As for ``DatabaseCircuitBreaker``, for ``database`` (``db:trading_db``); default None: SQLite in
            memory.
        model: As for ``NeuralCircuitBreaker``, for ``neural_predictor`` (``neural:price_predictor``); default None: a
            regression that has to be trained first.
        sandbox_backend: As for ``E2BSandboxCircuitBreaker``, for ``e2b_sandbox`` (``e2b:sandbox``); default None: what
            is there.
        configs: Configurations by the names of the attributes (``"database"``), for services that are not to have
            their modules' defaults.
        registry: Where the breakers are registered; default one of the system's own, so that two systems in a process
            do not share their breakers. ``default_registry()`` makes them share.

    Raises:
        TypeError: Something is of the wrong type.
        ValueError: A URL is none, ``configs`` names something that is no service, or the registry has a breaker of the
            name of one of the five which no service has made.
        ImportError: A library is missing; the text says what to install.

        Where it raises, it leaves no breaker in the registry that was not there before.
    """

    def __init__(
        self,
        market_data_url: str,
        order_execution_url: str,
        database_url: Any = None,
        model: Any = None,
        sandbox_backend: str | None = None,
        *,
        configs: "Mapping[str, CircuitBreakerConfig] | None" = None,
        registry: CircuitBreakerRegistry | None = None,
    ) -> None:
        configs = {} if configs is None else configs
        if not isinstance(configs, Mapping):
            raise TypeError(f"configs must be a mapping or None, not {type(configs).__name__}")
        strange = next((name for name in configs if name not in SERVICES), None)
        if strange is not None:
            raise ValueError(f"configs must be by the names {', '.join(SERVICES)}, not {strange!r}")
        self.registry = CircuitBreakerRegistry() if registry is None else registry
        """Where the five breakers are: for its events, metrics and listeners."""
        for field, url in (("market_data_url", market_data_url), ("order_execution_url", order_execution_url)):
            if not isinstance(url, str):
                raise TypeError(f"{field} must be a str, not {type(url).__name__}")

        if not isinstance(self.registry, CircuitBreakerRegistry):
            raise TypeError(f"registry must be a CircuitBreakerRegistry or None, not {type(registry).__name__}")

        def common(name: str) -> dict[str, Any]:
            return {"config": configs.get(name), "registry": self.registry}

        new = [name for name in _BREAKERS if name not in self.registry]
        try:
            with _named("market_data_api", base_url="market_data_url"):
                self.market_data_api = ApiCircuitBreaker(
                    "market_data", base_url=market_data_url, **common("market_data_api")
                )
            with _named("order_execution_api", base_url="order_execution_url"):
                self.order_execution_api = ApiCircuitBreaker(
                    "order_execution", base_url=order_execution_url, **common("order_execution_api")
                )
            with _named("e2b_sandbox", backend="sandbox_backend"):
                self.e2b_sandbox = E2BSandboxCircuitBreaker(backend=sandbox_backend, **common("e2b_sandbox"))
            with _named("neural_predictor"):
                self.neural_predictor = NeuralCircuitBreaker("price_predictor", model, **common("neural_predictor"))
            with _named("database", url="database_url"):
                self.database = DatabaseCircuitBreaker("trading_db", database_url, **common("database"))
        except BaseException:
            # Nothing is open yet; and who mends the argument and tries again is not to meet this attempt's breakers.
            for name in new:
                self.registry.remove(name)
            raise

    def services(self) -> "dict[str, Service]":
        """Return the five services by the names of their attributes, in the order of ``health_status``."""
        return {name: getattr(self, name) for name in SERVICES}

    def health_status(self) -> dict[str, str]:
        """Return the state of each service for people: ``{"market_data_api": "CLOSED (failures: 0)", ...}``."""
        return {name: service.get_state() for name, service in self.services().items()}

    async def aclose(self) -> None:
        """Close every service, the last one first. Closing twice is no error.

        A cancellation ends the wait for the service that is being closed; the others are closed all the same.

        Raises:
            ExceptionGroup: Several did not close; the others did. Of a single one, its own exception.
        """
        errors: list[Exception] = []
        interruption: BaseException | None = None
        for service in reversed(self.services().values()):
            try:
                await service.aclose()
            except Exception as error:
                errors.append(error)
            except BaseException as error:
                interruption = error
        if interruption is not None:
            # A cancellation in a group would be none to the task that is cancelled.
            raise interruption
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("services did not close", errors)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.health_status()}>"


@contextmanager
def _named(service: str, **arguments: str) -> Iterator[None]:
    """Let an error about a service's argument name the argument of the system: the text begins with the name."""
    try:
        yield
    except (TypeError, ValueError) as error:
        name, _, rest = str(error).partition(" ")
        ours = {"config": f"configs[{service!r}]", **arguments}.get(name)
        if ours is None:
            raise
        raise type(error)(f"{ours} {rest}") from error
