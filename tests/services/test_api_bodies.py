"""What is sent and what comes back: requests, and bodies in the types that were asked for."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from helpers import counted, run
from services.api_server import ApiServer, Seen
from services.api_sides import SIDES, api_of
from switchgear.services.api import DecodeError

PRICE = {"symbol": "AAPL", "price": 101.5}


class Struct(msgspec.Struct):
    symbol: str
    price: float


@dataclasses.dataclass
class Data:
    symbol: str
    price: float


class Typed(TypedDict):
    symbol: str
    price: float


class Model(pydantic.BaseModel):
    symbol: str
    price: float = pydantic.Field(gt=0)


@pydantic_dataclass
class ModelData:
    symbol: str
    price: float


class Node(msgspec.Struct):
    value: int
    children: "list[Node]" = []


class Plain:
    pass


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


async def end_of(server: ApiServer, method: str, path: str, *args: Any, **options: Any) -> Any:
    async with api_of(server) as api:
        return await api.request(method, path, *args, **options)


def raw(body: bytes) -> str:
    return f"/raw/{body.hex()}"


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("/ok", None, PRICE),
        ("/ok", Any, PRICE),
        ("/ok", dict, PRICE),
        ("/ok", dict[str, str | float], PRICE),
        ("/ok", Struct, Struct("AAPL", 101.5)),
        ("/ok", Data, Data("AAPL", 101.5)),
        ("/ok", Typed, PRICE),
        ("/ok", Model, Model(symbol="AAPL", price=101.5)),
        ("/ok", Model | None, Model(symbol="AAPL", price=101.5)),
        ("/ok", ModelData, ModelData("AAPL", 101.5)),
        ("/ok", bytes, b'{"symbol": "AAPL", "price": 101.5}'),
        ("/ok", str, '{"symbol": "AAPL", "price": 101.5}'),
        (raw(b'[{"symbol": "A", "price": 1}]'), list[Model], [Model(symbol="A", price=1)]),
        (raw(b'{"value": 1, "children": [{"value": 2}]}'), Node, Node(1, [Node(2)])),
        (raw(b'"2026-01-02"'), dt.date, dt.date(2026, 1, 2)),
        (raw(b"\xef\xbb\xbf[1]"), None, [1]),
        (raw(b"\xff\x00"), bytes, b"\xff\x00"),
        ("/gzip", list[int], [1, 2, 3]),
        ("/latin", str, "größe"),
        ("/empty/204", None, None),
        ("/empty/200", None, None),
        ("/empty/201", Struct | None, None),
        ("/empty/204", Model | None, None),
        ("/empty/204", bytes, b""),
        ("/empty/204", str, ""),
        ("/pieces", str, "line\n" * 5),
    ],
    ids=repr,
)
def test_types(server: ApiServer, path: str, kind: Any, expected: Any) -> None:
    """Models come from pydantic, the rest from msgspec; no body is null; bytes and str are the body as it is."""
    value = run(end_of(server, "GET", path, type=kind))
    assert expected == value
    assert type(expected) is type(value)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Model, "Input should be greater than 0 - at price"),
        (list[Model], "Input should be a valid array - at the top"),
        (Struct, "Object missing required field `symbol`"),
    ],
    ids=repr,
)
def test_a_body_that_does_not_decode(server: ApiServer, kind: Any, reason: str) -> None:
    """The error says where and what, not what was there; the decoder's own is its cause, the body an attribute."""
    body = b'{"price": -7654321, "symbol": "X"}' if kind is not Struct else b'{"price": -7654321}'
    with pytest.raises(DecodeError) as caught:
        run(end_of(server, "GET", raw(body), type=kind))
    assert str(caught.value) == f"'api:test' answered 200 OK to GET, and a body that does not decode: {reason}"
    assert (body, kind) == (caught.value.body, caught.value.type)
    assert caught.value.__cause__ is not None


def test_an_exception_of_a_type_itself(server: ApiServer) -> None:
    """What the caller's own type raises reaches him untouched, and says nothing of the service."""

    class Fussy(msgspec.Struct):
        symbol: str

        def __post_init__(self) -> None:
            raise KeyError("mine")

    async def main() -> None:
        async with api_of(server) as api:
            with pytest.raises(KeyError, match="mine"):
                await api.get("/ok", type=Fussy)
            assert {"total_calls": 1, "ignored_calls": 1} == counted(api.breaker)

    run(main())


@pytest.mark.parametrize(
    "kind", [5, "int", Plain, list[Plain], dict[str, Plain], len, list[5], Plain | None, [int], {}], ids=repr
)
def test_a_type_that_is_none(server: ApiServer, kind: Any) -> None:
    """What JSON cannot be decoded into is refused before anything is sent, also deep inside."""

    class Holder(msgspec.Struct):
        inner: kind

    async def main() -> None:
        before = len(server.seen)
        async with api_of(server) as api:
            for each in (kind,) if kind == "int" else (kind, Holder):
                with pytest.raises(TypeError, match="type must be"):
                    await api.get("/ok", type=each)
            assert ({}, before) == (counted(api.breaker), len(server.seen))

    run(main())


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        (None, b"", None),
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}', "application/json"),
        ([], b"[]", "application/json"),
        (0, b"0", "application/json"),
        (Struct("A", 1.5), b'{"symbol":"A","price":1.5}', "application/json"),
        (Data("A", 1.5), b'{"symbol":"A","price":1.5}', "application/json"),
        (Model(symbol="A", price=1.5), b'{"symbol":"A","price":1.5}', "application/json"),
        (ModelData("A", 1.5), b'{"symbol":"A","price":1.5}', "application/json"),
        ([Model(symbol="A", price=1.5)], b'[{"symbol":"A","price":1.5}]', "application/json"),
        (dt.date(2026, 1, 2), b'"2026-01-02"', "application/json"),
        (b"\x00\xff", b"\x00\xff", "application/octet-stream"),
        (bytearray(b"ab"), b"ab", "application/octet-stream"),
        ("größe", "größe".encode(), "text/plain; charset=utf-8"),
    ],
    ids=repr,
)
def test_bodies_that_are_sent(server: ApiServer, body: Any, sent: bytes, content_type: str | None) -> None:
    """A body is JSON, unless it is bytes or str, with the Content-Type that says so."""
    run(end_of(server, "POST", "/echo", body, type=bytes))
    seen = server.seen[-1]
    assert (sent, content_type) == (seen.body, seen.headers.get("content-type"))


@pytest.mark.parametrize("side", SIDES)
def test_verbs(server: ApiServer, side: str) -> None:
    """Each verb sends its own method, with query, headers and body."""

    async def main() -> list[Seen]:
        server.seen.clear()
        async with api_of(server, side) as api:
            query = {"a": 1, "b": ["x", "y"]}
            await api.get("/echo", type=bytes, params=query, headers={"X-A": "1"})
            await api.delete("/echo", type=bytes, params=[("c", "2")], headers=[("X-A", "2")])
            await api.post("/echo", {"n": 1}, headers={"Content-Type": "application/vnd.api+json"})
            await api.put("/echo", {"n": 2})
            await api.patch("/echo", {"n": 3}, type=dict)
            await api.request("HEAD", "/empty/200")
            await api.request("report", "/echo", {"n": 4})
        return server.seen

    seen = run(main())
    assert ["GET", "DELETE", "POST", "PUT", "PATCH", "HEAD", "REPORT"] == [each.method for each in seen]
    assert ["/echo?a=1&b=x&b=y", "/echo?c=2"] == [each.path for each in seen[:2]]
    assert ["1", "2"] == [each.headers["x-a"] for each in seen[:2]]
    assert "application/vnd.api+json" == seen[2].headers["content-type"]
    assert [b'{"n":1}', b'{"n":2}', b'{"n":3}'] == [each.body for each in seen[2:5]]


@pytest.mark.parametrize("side", SIDES)
def test_redirects_are_followed(server: ApiServer, side: str) -> None:
    """A redirect is followed with method and body; another host is not told the Authorization."""

    async def main() -> list[Seen]:
        server.seen.clear()
        async with api_of(server, side) as api:
            here, elsewhere = "/echo", server.url.replace("127.0.0.1", "localhost") + "/echo"
            for target in (here, elsewhere):
                answer = await api.post(f"/moved/{target.encode().hex()}", [1], headers={"Authorization": "Bearer key"})
                assert [1] == answer
            assert {"total_calls": 2, "successful_calls": 2} == counted(api.breaker)
        return server.seen

    seen = run(main())
    assert ["POST", "POST"] * 2 == [each.method for each in seen]
    assert ["Bearer key", "Bearer key", "Bearer key", None] == [each.headers.get("authorization") for each in seen]


def test_a_client_that_follows_no_redirects(server: ApiServer) -> None:
    """A client's own policy holds: where it follows none, a redirect is an answer with a status that is not 2xx."""
    import httpx2

    from switchgear import CircuitBreakerRegistry
    from switchgear.services.api import ApiCircuitBreaker, ApiStatusError

    async def main() -> None:
        async with httpx2.AsyncClient(base_url=server.url) as client:
            api = ApiCircuitBreaker("test", client=client, registry=CircuitBreakerRegistry())
            with pytest.raises(ApiStatusError) as caught:
                await api.get("/loop")
            assert (302, "/loop") == (caught.value.status_code, caught.value.headers["location"])
            assert {"total_calls": 1, "successful_calls": 1} == counted(api.breaker)

    run(main())
