"""Bodies that the caller reads: the permit settles at their end, and by how they end."""

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from helpers import counted, run
from services.api_server import ApiServer
from services.api_sides import GIVEN, ONCE, SIDES, api_of, client_of, library
from switchgear import CallTimeoutError, CircuitBreakerRegistry, CircuitOpenError, State
from switchgear.services.api import ApiCircuitBreaker, ApiStatusError
from switchgear.state import Outcome

GOOD = {"total_calls": 1, "successful_calls": 1}
BAD = {"total_calls": 1, "failed_calls": 1, "times_opened": 1}
NEITHER = {"total_calls": 1, "ignored_calls": 1}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.mark.parametrize("side", SIDES)
def test_the_end_of_the_body_settles_the_permit(server: ApiServer, side: str) -> None:
    """The call is out until the last piece was read, and a success from then on: before the block is over."""

    async def main() -> None:
        async with api_of(server, side) as api:
            async with api.stream("GET", "/pieces") as response:
                assert 200 == response.status_code
                assert {} == counted(api.breaker)
                lines = [line async for line in response.aiter_lines()]
                assert GOOD == counted(api.breaker)
            assert ["line"] * 5 == lines
            assert GOOD == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
def test_a_request_with_all_it_may_have(server: ApiServer, side: str) -> None:
    """Method, body, query and headers are sent as in request()."""

    async def main() -> None:
        async with api_of(server, side) as api:
            async with api.stream("POST", "/echo", [1], params={"a": 1}, headers={"X-A": "b"}) as response:
                assert b"[1]" == await response.aread()
                assert response.elapsed.total_seconds() > 0
            seen = server.seen[-1]
            assert ("POST", "/echo?a=1", "b") == (seen.method, seen.path, seen.headers["x-a"])

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("path", "name"), [("/truncated", "RemoteProtocolError"), ("/reset/body", "ReadError")])
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_body_that_breaks_off(server: ApiServer, side: str, path: str, name: str, swallowed: bool) -> None:
    """It is a failure, and the exception the client's own; also where the block makes nothing of it."""

    async def main() -> None:
        error = getattr(library(side), name)
        async with api_of(server, side, ONCE) as api:
            if swallowed:
                async with api.stream("GET", path) as response:
                    with pytest.raises(error):
                        await response.aread()
            else:
                with pytest.raises(error):
                    async with api.stream("GET", path) as response:
                        await response.aread()
            assert BAD == counted(api.breaker)
            with pytest.raises(CircuitOpenError):
                async with api.stream("GET", "/ok"):
                    pass

    run(main())


@pytest.mark.parametrize("side", SIDES)
def test_a_body_that_is_not_gzip(server: ApiServer, side: str) -> None:
    """What only the decoder notices is a failure, too."""

    async def main() -> None:
        async with api_of(server, side, ONCE) as api:
            with pytest.raises(library(side).DecodingError):
                async with api.stream("GET", "/notgzip") as response:
                    await response.aread()
            assert BAD == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("status", "counts"), [(404, GOOD), (503, BAD), (429, BAD)])
def test_statuses(server: ApiServer, side: str, status: int, counts: dict[str, int]) -> None:
    """Another status than 2xx is an ApiStatusError from the entry."""

    async def main() -> None:
        async with api_of(server, side, ONCE) as api:
            with pytest.raises(ApiStatusError) as caught:
                async with api.stream("GET", f"/status/{status}"):
                    raise AssertionError("the block ran")
            assert (status, b'{"error": "no"}') == (caught.value.status_code, caught.value.body)
            assert counts == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("path", ["/hang", "/stuck", "/slow", "/endless"])
def test_the_deadline_is_the_blocks(server: ApiServer, side: str, path: str) -> None:
    """A block that is not over at the breaker's deadline ends there, wherever the exchange is, and is a failure."""

    async def main() -> None:
        async with api_of(server, side, ONCE.replace(timeout=0.3)) as api:
            with pytest.raises(CallTimeoutError):
                async with api.stream("GET", path) as response:
                    async for _ in response.aiter_bytes():
                        await asyncio.sleep(0)
            assert BAD | {"timed_out_calls": 1} == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
def test_a_block_that_is_left_early(server: ApiServer, side: str) -> None:
    """Whoever has read enough of a body that has no end got what he asked for: a success."""

    async def main() -> None:
        async with api_of(server, side) as api:
            async with api.stream("GET", "/endless") as response:
                async for _ in response.aiter_bytes():
                    break
            assert GOOD == counted(api.breaker)
            await api.get("/ok")

    run(main())


@pytest.mark.parametrize("error", [ValueError("mine"), TimeoutError("my database"), ConnectionError("my database")])
@pytest.mark.parametrize("side", SIDES)
def test_an_exception_of_the_blocks_own(server: ApiServer, side: str, error: Exception) -> None:
    """What the caller's own code raises reaches him untouched, and is neutral, whatever its class."""

    async def main() -> None:
        async with api_of(server, side) as api:
            with pytest.raises(type(error)) as caught:
                async with api.stream("GET", "/stuck"):
                    raise error
            assert caught.value is error
            assert NEITHER == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("swallowed", [False, True])
@pytest.mark.parametrize("config", [{"classify": lambda error: Outcome.IGNORED}, {"ignore": Exception}])
def test_the_users_word_on_a_body_that_breaks_off(
    server: ApiServer, side: str, swallowed: bool, config: dict[str, Any]
) -> None:
    """It comes before the service's in a stream, too."""

    async def main() -> None:
        async with api_of(server, side, ONCE.replace(**config)) as api:
            with nullcontext() if swallowed else pytest.raises(library(side).RemoteProtocolError):
                async with api.stream("GET", "/truncated") as response:
                    with pytest.raises(library(side).RemoteProtocolError) if swallowed else nullcontext():
                        await response.aread()
            assert NEITHER == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", GIVEN)
def test_an_exception_of_another_request(server: ApiServer, side: str) -> None:
    """A failure of another service that the block calls with the same library is not held against this one."""

    async def main() -> None:
        async with client_of(side) as client:
            api = ApiCircuitBreaker("test", client=client, config=ONCE, registry=CircuitBreakerRegistry())
            with pytest.raises(library(side).RemoteProtocolError):
                async with api.stream("GET", f"{server.url}/stuck"):
                    await client.get(f"{server.url}/closed")
            assert NEITHER == counted(api.breaker)

    run(main())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("path", ["/hang", "/stuck", "/slow"])
def test_cancellation_is_neutral(server: ApiServer, side: str, path: str) -> None:
    """A reader that is cancelled says nothing of the service, and leaves its connection to nobody."""

    async def read(api: ApiCircuitBreaker) -> None:
        async with api.stream("GET", path) as response:
            await response.aread()

    async def main() -> None:
        async with api_of(server, side) as api:
            task = asyncio.create_task(read(api))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert NEITHER == counted(api.breaker)
            assert State.CLOSED is api.breaker.state

    run(main())


@pytest.mark.parametrize("side", SIDES)
def test_a_probe_that_streams_closes_the_breaker(server: ApiServer, side: str) -> None:
    """In HALF_OPEN a body that was read to its end is a probe that succeeded."""

    async def main() -> Any:
        config = ONCE.replace(success_threshold=1, reset_timeout=0.05)
        async with api_of(server, side, config) as api:
            with pytest.raises(ApiStatusError):
                await api.get("/status/500")
            await asyncio.sleep(0.06)
            async with api.stream("GET", "/ok") as response:
                assert State.HALF_OPEN is api.breaker.state
                await response.aread()
                assert State.CLOSED is api.breaker.state

    run(main())
