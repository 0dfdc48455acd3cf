"""The transport under the async clients of httpx and httpx2, and what the breaker's timeout holds over."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import httpx2
import pytest

from helpers import counted, run
from integrations.faulty_server import TLS, FaultyServer, closed_port
from switchgear import (
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    State,
)
from switchgear.integrations.httpx import BreakerTransport

LIBRARIES = [pytest.param(httpx, id="httpx"), pytest.param(httpx2, id="httpx2")]
CONFIG = CircuitBreakerConfig(failure_threshold=3, success_threshold=1, timeout=20.0)
HURRIED = CONFIG.replace(timeout=0.2)
HOST = "127.0.0.1"
SUCCESS = {"total_calls": 1, "successful_calls": 1}
FAILURE = {"total_calls": 1, "failed_calls": 1}
IGNORED = {"total_calls": 1, "ignored_calls": 1}
TIMED_OUT = {"total_calls": 1, "failed_calls": 1, "timed_out_calls": 1}

pytestmark = pytest.mark.parametrize("library", LIBRARIES)


class Site:
    def __init__(self, library: Any, server: FaultyServer, config: CircuitBreakerConfig, **options: Any) -> None:
        inner = options.pop("inner", None) or library.AsyncHTTPTransport(verify=TLS)
        self.transport = BreakerTransport(inner, CircuitBreakerRegistry(), config=config, **options)
        self.client = library.AsyncClient(transport=self.transport, base_url=server.url, timeout=20.0)

    @property
    def breaker(self) -> CircuitBreaker:
        return self.transport.family[HOST]


@asynccontextmanager
async def serve(
    library: Any, server: FaultyServer, config: CircuitBreakerConfig = CONFIG, **options: Any
) -> AsyncIterator[Site]:
    site = Site(library, server, config, **options)
    async with site.client:
        yield site


def test_answers_and_failures(library: Any, server: FaultyServer) -> None:
    """Async as sync: the status, the end of the body, and what httpx raises decide."""

    async def main() -> None:
        async with serve(library, server) as site:
            assert 404 == (await site.client.get("/status/404")).status_code
            assert 503 == (await site.client.get("/status/503")).status_code
            assert b"hello" == (await site.client.get("/")).content
            for path in ("/cut", "/garbage"):
                with pytest.raises(library.RemoteProtocolError):
                    await site.client.get(path)
            with pytest.raises(library.ConnectError):
                await site.client.get(f"http://{HOST}:{closed_port()}/")
            with pytest.raises(CircuitOpenError):
                await site.client.get("/")
            metrics = {"total_calls": 7, "successful_calls": 2, "failed_calls": 4, "rejected_calls": 1}
            assert metrics | {"times_opened": 1} == counted(site.breaker)
            assert 1 == server.hits["/"]

    run(main())


def test_a_streamed_body_settles_at_its_end(library: Any, server: FaultyServer) -> None:
    """Headers settle nothing, the end of the body does; closed early is a success, broken a failure."""

    async def main() -> None:
        async with serve(library, server) as site:
            async with site.client.stream("GET", "/parts/3") as response:
                assert {} == counted(site.breaker)
                assert b"hello" * 3 == b"".join([part async for part in response.aiter_bytes()])
                assert SUCCESS == counted(site.breaker)
            async with site.client.stream("GET", "/parts/50") as response:
                async for _ in response.aiter_bytes():
                    break
            assert {"total_calls": 2, "successful_calls": 2} == counted(site.breaker)
            async with site.client.stream("GET", "/cut") as response:
                with pytest.raises(library.RemoteProtocolError):
                    await response.aread()
            assert {"total_calls": 3, "successful_calls": 2, "failed_calls": 1} == counted(site.breaker)

    run(main())


@pytest.mark.parametrize("path", ["/hang", "/hang-in-body/200", "/hang-in-body/404", "/drip"])
def test_the_timeout_holds_over_the_exchange(library: Any, server: FaultyServer, path: str) -> None:
    """No answer, a body that stops and a body that drips: each ends with the breaker's timeout, as a failure."""

    async def main() -> None:
        async with serve(library, server, HURRIED) as site:
            begun = time.monotonic()
            with pytest.raises(CallTimeoutError, match=f"call through 'http:{HOST}' timed out after 0.2s"):
                await site.client.get(path)
            assert time.monotonic() - begun < 5.0
            assert TIMED_OUT == counted(site.breaker)
            assert 0 == asyncio.current_task().cancelling()  # type: ignore[union-attr]
            # The connection is gone, and the client as good as new.
            assert b"hello" == (await site.client.get("/")).content

    run(main())


def test_the_body_of_a_failure_is_not_waited_for_either(library: Any, server: FaultyServer) -> None:
    """The status has said its word; the timeout ends the wait for the rest, and the failure counts once."""

    async def main() -> None:
        async with serve(library, server, HURRIED) as site:
            with pytest.raises(CallTimeoutError):
                await site.client.get("/hang-in-body/500")
            assert FAILURE == counted(site.breaker)

    run(main())


def test_the_readers_own_time_is_not_the_hosts(library: Any, server: FaultyServer) -> None:
    """A reader may take its time between two parts: only the waits for the host are summed."""

    async def main() -> None:
        async with serve(library, server, CONFIG.replace(timeout=0.5)) as site:
            async with site.client.stream("GET", "/parts/4") as response:
                async for _ in response.aiter_raw():
                    await asyncio.sleep(0.3)
            assert SUCCESS == counted(site.breaker)

    run(main())


def test_a_breaker_that_is_reconfigured(library: Any, server: FaultyServer) -> None:
    """An operator may change the timeout of one host while the transport is in use."""

    async def main() -> None:
        async with serve(library, server) as site:
            site.breaker.reconfigure(site.breaker.config.replace(timeout=0.1))
            with pytest.raises(CallTimeoutError, match=r"after 0\.1s"):
                await site.client.get("/hang-in-body/200")
            assert TIMED_OUT == counted(site.breaker)

    run(main())


def test_no_timeout(library: Any, server: FaultyServer) -> None:
    """timeout=None: the exchange takes what it takes."""

    async def main() -> None:
        async with serve(library, server, CONFIG.replace(timeout=None)) as site:
            assert b"hello" * 5 == (await site.client.get("/parts/5")).content
            assert SUCCESS == counted(site.breaker)

    run(main())


@pytest.mark.parametrize("path", ["/hang", "/hang-in-body/200"])
def test_a_timeout_from_outside_is_a_cancellation(library: Any, server: FaultyServer, path: str) -> None:
    """asyncio.timeout around a request says nothing of the host."""

    async def main() -> None:
        async with serve(library, server) as site:
            with pytest.raises(TimeoutError) as raised:
                async with asyncio.timeout(0.1):
                    await site.client.get(path)
            assert not isinstance(raised.value, CallTimeoutError)
            assert IGNORED == counted(site.breaker)

    run(main())


def test_a_hundred_cancelled_tasks_leak_nothing(library: Any, server: FaultyServer) -> None:
    """Cancelled anywhere, each of 100 requests settles once, and the breaker works on."""

    async def main() -> None:
        async with serve(library, server, CONFIG.replace(failure_threshold=1_000)) as site:
            tasks = [asyncio.create_task(site.client.get(path)) for path in ("/parts/9", "/hang", "/", "/drip") * 25]
            await asyncio.sleep(0.1)
            for number, task in enumerate(tasks):
                if number % 3 == 0:
                    await asyncio.sleep(0)
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            metrics = site.breaker.get_metrics()
            assert 100 == metrics.total_calls == metrics.successful_calls + metrics.ignored_calls
            # A body may have been read to its end when the cancellation came.
            assert sum(not isinstance(each, BaseException) for each in done) <= metrics.successful_calls
            assert b"hello" == (await site.client.get("/")).content

    run(main())


def test_a_probe_that_is_cancelled_gives_its_place_back(library: Any, server: FaultyServer) -> None:
    """HALF_OPEN with one place: a cancelled probe does not keep it."""

    async def main() -> None:
        config = CONFIG.replace(failure_threshold=1, reset_timeout=0.01)
        async with serve(library, server, config) as site:
            await site.client.get("/status/500")
            await asyncio.sleep(0.02)
            probe = asyncio.create_task(site.client.get("/hang-in-body/200"))
            while site.breaker.state is not State.HALF_OPEN:
                await asyncio.sleep(0.01)
            with pytest.raises(CircuitOpenError):
                await site.client.get("/")
            probe.cancel()
            with suppress(asyncio.CancelledError):
                await probe
            await site.client.get("/")
            assert State.CLOSED is site.breaker.state

    run(main())


def test_a_response_that_is_dropped_gives_its_permit_back(library: Any, server: FaultyServer) -> None:
    """What is neither read nor closed says nothing."""

    async def main() -> None:
        inner = library.MockTransport(lambda request: library.Response(200, stream=library.ByteStream(b"x")))
        async with serve(library, server, inner=inner) as site:
            response = await site.transport.handle_async_request(library.Request("GET", server.url))
            assert {} == counted(site.breaker)
            del response
            gc.collect()
            assert IGNORED == counted(site.breaker)

    run(main())


def test_bodies_that_are_no_generators(library: Any, server: FaultyServer) -> None:
    """Any async iterator is a body, also one whose steps are futures."""

    class Body(library.AsyncByteStream):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.parts = [b"1", b"2"]

        def __aiter__(self) -> Any:
            return self

        def __anext__(self) -> Any:
            if not self.parts:
                raise StopAsyncIteration
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, self.parts.pop(0))
            return future

    async def main() -> None:
        inner = library.MockTransport(lambda request: library.Response(200, stream=Body()))
        async with serve(library, server, inner=inner) as site:
            assert b"12" == (await site.client.get("/")).content
            assert SUCCESS == counted(site.breaker)

    run(main())


def test_a_client_lives_through_two_event_loops(library: Any, server: FaultyServer) -> None:
    """The transport keeps nothing of a loop: one after another may use it."""
    registry = CircuitBreakerRegistry()

    async def main() -> None:
        transport = BreakerTransport(library.AsyncHTTPTransport(verify=TLS), registry, config=HURRIED)
        async with library.AsyncClient(transport=transport, base_url=server.url) as client:
            await client.get("/")
            with pytest.raises(CallTimeoutError):
                await client.get("/hang-in-body/200")

    run(main())
    run(main())
    expected = {"total_calls": 4, "successful_calls": 2, "failed_calls": 2, "timed_out_calls": 2}
    assert expected == counted(registry.family("http")[HOST])


def test_a_transport_in_a_transport(library: Any, server: FaultyServer) -> None:
    """The inner one's rejection says nothing of what the outer one protects; its timeout is a failure of both."""

    async def main() -> None:
        registry = CircuitBreakerRegistry()
        inner = BreakerTransport(
            library.AsyncHTTPTransport(verify=TLS), registry, name="inner", config=HURRIED.replace(failure_threshold=1)
        )
        async with serve(library, server, inner=inner) as site:
            with pytest.raises(CallTimeoutError, match="inner:"):
                await site.client.get("/hang")
            with pytest.raises(CircuitOpenError, match="inner:"):
                await site.client.get("/")
            assert {"total_calls": 2, "failed_calls": 1, "ignored_calls": 1} == counted(site.breaker)

    run(main())


def test_a_sync_transport_under_an_async_client(library: Any, server: FaultyServer) -> None:
    """A transport of the wrong kind is named, before a permit is taken."""

    async def main() -> None:
        transport = BreakerTransport(library.HTTPTransport(verify=TLS), CircuitBreakerRegistry())
        with pytest.raises(TypeError, match="an async client needs an async transport"):
            await transport.handle_async_request(library.Request("GET", server.url))
        assert 0 == len(transport.family)

    run(main())


def test_trio(library: Any, server: FaultyServer) -> None:
    """Under trio the same: the timeout holds over the headers and the body, and a cancellation is neutral."""
    import trio

    async def main() -> None:
        async with serve(library, server, HURRIED.replace(failure_threshold=9)) as site:
            assert b"hello" == (await site.client.get("/")).content
            for path in ("/hang", "/hang-in-body/200", "/drip"):
                with pytest.raises(CallTimeoutError):
                    await site.client.get(path)
            with trio.move_on_after(0.05):
                await site.client.get("/hang")
            metrics = counted(site.breaker)
            assert metrics == {
                "total_calls": 5,
                "successful_calls": 1,
                "failed_calls": 3,
                "timed_out_calls": 3,
                "ignored_calls": 1,
            }

    trio.run(main)


def test_a_body_that_is_closed_while_another_task_reads_it(library: Any, server: FaultyServer) -> None:
    """Closing ends the reader as it does without a breaker, and counts once: what had come was good."""

    async def main() -> None:
        async with serve(library, server) as site:
            request = site.client.build_request("GET", "/hang-in-body/200")
            response = await site.client.send(request, stream=True)
            reader = asyncio.create_task(response.aread())
            await asyncio.sleep(0.1)
            await response.aclose()
            with pytest.raises(library.ReadError):
                await reader
            assert SUCCESS == counted(site.breaker)

    run(main())


def test_steps_in_tasks_of_their_own(library: Any, server: FaultyServer) -> None:
    """A reader may give each part a task, as wait_for does; the deadline is that of whoever waits."""

    async def main() -> None:
        async with serve(library, server, HURRIED) as site, site.client.stream("GET", "/hang-in-body/200") as response:
            parts = response.aiter_raw()
            assert b"12345" == await asyncio.create_task(anext(parts))  # type: ignore[arg-type]
            with pytest.raises(CallTimeoutError):
                await asyncio.create_task(anext(parts))  # type: ignore[arg-type]
            assert TIMED_OUT == counted(site.breaker)

    run(main())
