"""Clients, loops and tasks: what a service opens, it closes; what it was given, it leaves."""

import asyncio
import gc
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from helpers import counted, run
from services.api_server import ApiServer
from services.api_sides import GIVEN, SIDES, api_of, client_of, library
from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry, CircuitOpenError
from switchgear.services.api import ApiCircuitBreaker, ApiClosedError, ApiStatusError

PRICE = {"symbol": "AAPL", "price": 101.5}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def service(server: ApiServer, **options: Any) -> ApiCircuitBreaker:
    return ApiCircuitBreaker("test", base_url=server.url, registry=CircuitBreakerRegistry(), **options)


def test_one_loop_after_another(server: ApiServer) -> None:
    """A service may be used in one asyncio.run after another, and no connection is left to the collector's warning."""
    api = service(server)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            assert PRICE == run(api.get("/ok"))
            assert not api._own._held
        gc.collect()
    assert {"total_calls": 3, "successful_calls": 3} == counted(api.breaker)


def test_loops_side_by_side(server: ApiServer) -> None:
    """Two threads with a loop each share one service; closing it in one lets the other close its own part."""
    api = service(server)
    both, closed = threading.Barrier(2), threading.Event()
    ends: list[Any] = []

    async def other() -> None:
        ends.append(await api.get("/ok"))
        both.wait()
        await asyncio.to_thread(closed.wait)
        try:
            await api.get("/ok")
        except ApiClosedError as error:
            ends.append(error)

    async def mine() -> None:
        ends.append(await api.get("/ok"))
        await asyncio.to_thread(both.wait)
        await api.aclose()
        closed.set()

    thread = threading.Thread(target=run, args=(other(),))
    thread.start()
    run(mine())
    thread.join()
    assert [PRICE, PRICE, ApiClosedError] == [*ends[:2], type(ends[2])]


def test_a_loop_that_ended_otherwise(server: ApiServer) -> None:
    """The client of a loop that was closed without its generators is forgotten when the next loop comes."""
    api = service(server)
    loop = asyncio.new_event_loop()
    assert PRICE == loop.run_until_complete(api.get("/ok"))
    # Its connections, so that the test leaves none; the service does not know of it.
    loop.run_until_complete(api._own._held[loop][0].aclose())
    loop.close()
    assert PRICE == run(api.get("/ok"))
    assert not api._own._held


@pytest.mark.parametrize("side", SIDES)
def test_use_after_the_end(server: ApiServer, side: str) -> None:
    """After aclose() every call is a clear error before the breaker is asked; closing twice is none."""

    async def main() -> None:
        async with api_of(server, side) as api:
            async with api as same:
                assert same is api
                await api.get("/ok")
            await api.aclose()
            for call in (api.get("/ok"), api.post("/echo", 1), api.stream("GET", "/ok").__aenter__()):
                with pytest.raises(ApiClosedError, match="'api:test' is closed"):
                    await call
            assert {"total_calls": 1, "successful_calls": 1} == counted(api.breaker)
            assert issubclass(ApiClosedError, RuntimeError)

    run(main())


def test_a_service_that_was_never_used() -> None:
    """A client is made when it is needed first: closing needs none, not even a network."""

    async def main() -> None:
        async with ApiCircuitBreaker("test", registry=CircuitBreakerRegistry()) as api:
            assert not api._own._held

    run(main())


@pytest.mark.parametrize("side", GIVEN)
def test_a_client_that_was_given_stays_open(server: ApiServer, side: str) -> None:
    """aclose() closes no client that was handed in; one that its owner closed is his mistake, and neutral."""

    async def main() -> None:
        client = client_of(side, base_url=server.url)
        async with ApiCircuitBreaker("one", client=client, registry=CircuitBreakerRegistry()) as api:
            await api.get("/ok")
        assert not client.is_closed
        api = ApiCircuitBreaker("two", client=client, registry=CircuitBreakerRegistry())
        await client.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await api.get("/ok")
        assert {"total_calls": 1, "ignored_calls": 1} == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("path", ["/hang", "/stuck", "/slow"])
def test_closing_under_calls_in_flight(server: ApiServer, path: str) -> None:
    """They end with ApiClosedError soon, and say nothing of the service."""

    async def stream(api: ApiCircuitBreaker) -> None:
        async with api.stream("GET", path) as response:
            await response.aread()

    async def main() -> None:
        api = service(server)
        calls = [asyncio.create_task(api.get(path)) for _ in range(5)] + [asyncio.create_task(stream(api))]
        await asyncio.sleep(0.2)
        await api.aclose()
        ends = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
        assert [ApiClosedError] * 5 == list(map(type, ends[:5]))
        assert isinstance(ends[5], Exception)
        assert {"total_calls": 6, "ignored_calls": 6} == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
def test_a_hundred_tasks(server: ApiServer, side: str) -> None:
    """Every one gets its own answer, and all of them are counted."""

    async def main() -> None:
        async with api_of(server, side) as api:
            bodies = await asyncio.gather(*[api.post("/echo", {"n": n}) for n in range(100)])
            assert [{"n": n} for n in range(100)] == bodies
            assert {"total_calls": 100, "successful_calls": 100} == counted(api.breaker)

    run(main())


def test_cancelled_calls_give_their_connections_back(server: ApiServer) -> None:
    """A hundred calls cancelled at any moment leave a pool of two connections as usable as it was.

    Of httpx2, that is: the frozen httpx loses a connection at some of these moments, with and without us.
    """
    chance = random.Random(7)

    async def one(api: ApiCircuitBreaker, path: str) -> None:
        if chance.random() < 0.5:
            await api.get(path)
        else:
            async with api.stream("GET", path) as response:
                await response.aread()

    async def main() -> None:
        limits = library("httpx2").Limits(max_connections=2)
        async with client_of("httpx2", base_url=server.url, limits=limits) as client:
            api = ApiCircuitBreaker("test", client=client, registry=CircuitBreakerRegistry())
            for _ in range(10):
                tasks = [asyncio.create_task(one(api, chance.choice(("/ok", "/slow", "/pieces")))) for _ in range(10)]
                await asyncio.sleep(chance.random() * 0.03)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert [PRICE] * 4 == await asyncio.gather(*[api.get("/ok") for _ in range(4)])
            metrics = api.get_metrics()
            assert 0 == metrics.failed_calls
            assert 104 == metrics.total_calls == metrics.successful_calls + metrics.ignored_calls

    run(main())


@pytest.mark.parametrize("path", ["/ok", "/pieces", f"/moved/{b'/ok'.hex()}"])
def test_cancellation_at_each_step(server: ApiServer, path: str) -> None:
    """Wherever a call is cancelled, the one connection of the pool is free for the next, and nothing is a failure."""

    async def main() -> None:
        limits = library("httpx2").Limits(max_connections=1)
        async with client_of("httpx2", base_url=server.url, limits=limits, follow_redirects=True) as client:
            api = ApiCircuitBreaker("test", client=client, registry=CircuitBreakerRegistry())
            for steps in range(1, 25):
                task = asyncio.create_task(api.get(path, type=bytes))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert PRICE == await api.get("/ok")
            assert 0 == api.get_metrics().failed_calls
            assert 48 == api.get_metrics().total_calls

    run(main())


@pytest.mark.parametrize("side", SIDES)
def test_an_open_breaker_sends_nothing(server: ApiServer, side: str) -> None:
    """A rejected call reaches no server; after the reset timeout probes do, and close it."""

    async def main() -> None:
        config = CircuitBreakerConfig(failure_threshold=2, success_threshold=2, reset_timeout=0.2)
        async with api_of(server, side, config) as api:
            for _ in range(2):
                with pytest.raises(ApiStatusError):
                    await api.get("/status/500")
            before = len(server.seen)
            for _ in range(10):
                with pytest.raises(CircuitOpenError, match="is OPEN"):
                    await api.get("/ok")
            assert before == len(server.seen)
            await asyncio.sleep(0.25)
            assert [PRICE, PRICE] == [await api.get("/ok") for _ in range(2)]
            assert "CLOSED (failures: 0)" == api.get_state()

    run(main())


@pytest.mark.parametrize(("module", "extra"), [("httpx2", "http"), ("msgspec", "http")])
def test_a_library_that_is_missing(module: str, extra: str) -> None:
    """Without its libraries the module can be imported, and making a service says what to install."""
    program = f"""
import sys
sys.modules[{module!r}] = None
from switchgear.services.api import ApiCircuitBreaker
try:
    ApiCircuitBreaker("x")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert module in done.stdout
    assert f"pip install 'switchgear[{extra}]'" in done.stdout


def test_what_importing_loads() -> None:
    """Importing the module loads no third-party library."""
    program = "import sys, switchgear.services.api; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert set() == {"httpx", "httpx2", "msgspec", "pydantic", "trio", "anyio"} & set(done.stdout.split())


def test_trio_needs_a_client() -> None:
    """On trio a client of ours is refused; one that is given works, its deadline too."""
    import trio

    async def main() -> None:
        with ApiServer() as server:
            with pytest.raises(RuntimeError, match="on trio"):
                await service(server).get("/ok")
            async with client_of("httpx2", base_url=server.url) as client:
                api = ApiCircuitBreaker(
                    "test", client=client, config=CircuitBreakerConfig(timeout=0.2), registry=CircuitBreakerRegistry()
                )
                assert PRICE == await api.get("/ok")
                with pytest.raises(TimeoutError):
                    await api.get("/hang")

    trio.run(main)
