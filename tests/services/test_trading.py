"""The trading system: five services, each on its own breaker, over real parts."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import run
from services.api_server import ApiServer
from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry, State, default_registry
from switchgear.services import ApiCircuitBreaker, TradingSystemCircuitBreakers
from switchgear.services.trading import SERVICES

QUICK = CircuitBreakerConfig(failure_threshold=2, success_threshold=1, timeout=0.3, reset_timeout=60.0)
CLOSED = "CLOSED (failures: 0)"


class Model:
    """A model that can be broken."""

    broken = False

    def __call__(self, vector: list[float]) -> list[float]:
        if self.broken:
            raise RuntimeError("the weights are gone")
        return [sum(vector)]


class Parts:
    """A system over a server, a SQLite file, a callable and monty; and one call of each service."""

    def __init__(self, server: ApiServer, database: Path) -> None:
        self.server = server
        self.database = database
        self.model = Model()
        self.system = TradingSystemCircuitBreakers(
            f"{server.url}",
            f"{server.url}",
            str(database),
            self.model,
            "monty",
            configs=dict.fromkeys(SERVICES, QUICK),
        )
        self.paths = {"market_data_api": "/ok", "order_execution_api": "/ok"}

    async def call(self, name: str) -> Any:
        system = self.system
        match name:
            case "market_data_api":
                return await system.market_data_api.get(self.paths[name])
            case "order_execution_api":
                return await system.order_execution_api.post(self.paths[name], {"id": 7})
            case "e2b_sandbox":
                return await system.e2b_sandbox.create_sandbox()
            case "neural_predictor":
                return await system.neural_predictor.predict([1.0, 2.0])
            case _:
                return await system.database.execute("CREATE TABLE IF NOT EXISTS t (x)")


async def break_service(parts: Parts, name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Break the real part behind one service; what is returned lets go of it again."""

    async def nothing() -> None:
        pass

    match name:
        case "market_data_api" | "order_execution_api":
            parts.paths[name] = "/status/500"
        case "e2b_sandbox":
            # The sandbox's own worker program is one that is not there.
            monkeypatch.setenv("MONTY_BIN", str(parts.database.parent / "no-such-program"))
        case "neural_predictor":
            parts.model.broken = True
        case _:
            lock = sqlite3.connect(parts.database, isolation_level=None)
            lock.execute("BEGIN EXCLUSIVE")

            async def unlock() -> None:
                lock.close()

            return unlock
    return nothing


@pytest.mark.parametrize("name", SERVICES)
def test_one_failing_service_leaves_the_other_four_untouched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its breaker opens by what its real part does, and the other four go on answering, with nothing against them."""

    async def main(server: ApiServer) -> None:
        parts = Parts(server, tmp_path / "trading.db")
        async with parts.system as system:
            mend = await break_service(parts, name, monkeypatch)
            for _ in range(2):
                with pytest.raises(Exception):  # noqa: B017  # each library has its own
                    await parts.call(name)
            for other in set(SERVICES) - {name}:
                await parts.call(other)
            health = system.health_status()
            assert list(health) == list(SERVICES)
            assert health.pop(name).startswith("OPEN (elapsed: ")
            assert set(health.values()) == {CLOSED}
            await mend()

    with ApiServer() as server:
        run(main(server))


def test_the_breakers_have_the_names_of_their_services(tmp_path: Path) -> None:
    """The names are prefixed, on a registry of the system's own, so that two systems do not meet."""
    first, second = (
        TradingSystemCircuitBreakers("http://a.test", "http://b.test", sandbox_backend="monty") for _ in "ab"
    )
    names = ["api:market_data", "api:order_execution", "e2b:sandbox", "neural:price_predictor", "db:trading_db"]
    assert [service.name for service in first.services().values()] == names
    assert sorted(first.registry) == sorted(names)
    assert not set(names) & set(default_registry())
    first.market_data_api.breaker.force_open()
    assert second.market_data_api.breaker.state is State.CLOSED
    assert list(first.health_status()) == list(SERVICES)
    run(first.aclose())
    run(second.aclose())
    run(second.aclose())


def test_a_registry_that_is_given_is_used() -> None:
    registry = CircuitBreakerRegistry()
    system = TradingSystemCircuitBreakers("http://a.test", "http://b.test", sandbox_backend="monty", registry=registry)
    assert registry["db:trading_db"] is system.database.breaker


@pytest.mark.parametrize(
    ("errors", "raised"),
    [([OSError("one")], OSError), ([OSError("one"), ValueError("two")], BaseExceptionGroup)],
)
def test_all_are_closed_also_where_one_fails_to(
    errors: list[Exception], raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every service is asked to close, the last one first, and then the caller hears of what went wrong."""
    system = TradingSystemCircuitBreakers("http://a.test", "http://b.test", sandbox_backend="monty")
    closed: list[str] = []
    failing = iter(errors)

    def closing(name: str) -> Callable[[], Awaitable[None]]:
        async def aclose() -> None:
            closed.append(name)
            if (error := next(failing, None)) is not None:
                raise error

        return aclose

    for name, service in system.services().items():
        monkeypatch.setattr(service, "aclose", closing(name))
    with pytest.raises(raised):
        run(system.aclose())
    assert closed == list(reversed(SERVICES))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((7, "http://b.test"), TypeError, "market_data_url must be a str, not int"),
        (("http://a.test", None), TypeError, "order_execution_url must be a str, not NoneType"),
        (("nowhere", "http://b.test"), ValueError, "market_data_url must be a URL that begins with"),
        (("http://a.test", "ftp://b.test"), ValueError, "order_execution_url must be a URL that begins with"),
        (("http://a.test", "http://b.test", "mysql://c"), ValueError, "database_url is not a database URL"),
        (("http://a.test", "http://b.test", 7), TypeError, "database_url must be a str, a path or None, not int"),
        (("http://a.test", "http://b.test", None, None, "cloud"), ValueError, "sandbox_backend must be 'e2b'"),
    ],
)
def test_what_is_no_url_is_refused(arguments: tuple[Any, ...], error: type[Exception], text: str) -> None:
    """The error names the system's argument, not that of the service which found it."""
    with pytest.raises(error, match=f"^{text}"):
        TradingSystemCircuitBreakers(*arguments, **{} if len(arguments) > 4 else {"sandbox_backend": "monty"})


async def hangs() -> None:
    await asyncio.sleep(60)


def test_a_cancellation_closes_the_others_and_stays_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cancels ``aclose`` ends the wait for one service, whose neighbours are closed; also where one fails."""
    system = TradingSystemCircuitBreakers("http://a.test", "http://b.test", sandbox_backend="monty")
    closed: list[str] = []

    def closing(name: str) -> Callable[[], Awaitable[None]]:
        async def aclose() -> None:
            closed.append(name)
            raise OSError(name)

        return aclose

    for name, service in system.services().items():
        monkeypatch.setattr(service, "aclose", hangs if name == "e2b_sandbox" else closing(name))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await system.aclose()

    run(main())
    assert closed == [name for name in reversed(SERVICES) if name != "e2b_sandbox"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"database_url": 7}, TypeError), ({"sandbox_backend": "cloud"}, ValueError), ({"model": 7}, TypeError)],
)
def test_a_refused_system_leaves_no_breakers(arguments: dict[str, Any], error: type[Exception]) -> None:
    """What was made before the argument that is wrong is gone from the registry; what was there before is not."""
    registry = CircuitBreakerRegistry()
    kept = ApiCircuitBreaker("market_data", registry=registry).breaker
    with pytest.raises(error):
        TradingSystemCircuitBreakers(
            "http://a.test", "http://b.test", **{"sandbox_backend": "monty", **arguments}, registry=registry
        )
    assert {"api:market_data": kept} == dict(registry)


def test_what_is_no_registry_is_refused() -> None:
    with pytest.raises(TypeError, match="registry must be a CircuitBreakerRegistry or None, not dict"):
        TradingSystemCircuitBreakers("http://a.test", "http://b.test", registry={})  # type: ignore[arg-type]


def test_a_config_for_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"configs must be by the names market_data_api, .*, not 'databse'"):
        TradingSystemCircuitBreakers("http://a.test", "http://b.test", configs={"databse": QUICK})


def test_what_is_no_config_is_named_by_its_service() -> None:
    with pytest.raises(TypeError, match=r"^configs\['database'\] must be a CircuitBreakerConfig or None, not int$"):
        TradingSystemCircuitBreakers(
            "http://a.test",
            "http://b.test",
            sandbox_backend="monty",
            configs={"database": 7},  # type: ignore[dict-item]
        )


def test_it_outlives_its_event_loop(tmp_path: Path) -> None:
    """The same system serves one event loop after another."""
    with ApiServer() as server:
        parts = Parts(server, tmp_path / "trading.db")

        async def main() -> None:
            await asyncio.gather(*(parts.call(name) for name in SERVICES if name != "e2b_sandbox"))

        run(main())
        run(main())
        run(parts.system.aclose())
    assert set(parts.system.health_status().values()) == {CLOSED}
