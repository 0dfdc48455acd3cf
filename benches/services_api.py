"""What ``api.get`` adds to the same call of httpx2: keep-alive, a small body.

    python benches/services_api.py

Once to a real server in a process of its own: the budget is of this call. And once through a transport that answers
from memory: without the connection, which is most of a call, what is added is not lost in it. The clock is this
thread's processor time (``measure``), which leaves out the wait for the server. The floor does what a careful caller
does himself: get, check the status, decode.
"""

import asyncio
import subprocess
import sys
from statistics import median
from typing import Any, Final

import httpx2
import msgspec

from measure import Subject, measure
from switchgear import BACKEND, CircuitBreakerRegistry
from switchgear.services.api import ApiCircuitBreaker

ROUNDS: Final = 150
BUDGET_NS: Final = 15_000
BUDGET_PART: Final = 0.10
BODY: Final = b'{"symbol":"AAPL","price":101.5,"size":100,"venue":"XNAS"}'


class Quote(msgspec.Struct):
    symbol: str
    price: float
    size: int
    venue: str


class Server(asyncio.Protocol):
    """Answer every request with the same bytes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        self.transport.write((answer + BODY) * data.count(b"\r\n\r\n"))


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def from_memory(request: httpx2.Request) -> httpx2.Response:
    stream = httpx2.ByteStream(BODY)
    return httpx2.Response(200, headers={"Content-Type": "application/json"}, stream=stream, request=request)


def subjects(url: str, **options: Any) -> dict[str, Subject]:
    client = httpx2.AsyncClient(timeout=None, **options)
    api = ApiCircuitBreaker("bench", client=client, registry=CircuitBreakerRegistry())
    decode = msgspec.json.Decoder(Quote).decode
    names = {"client": client, "api": api, "url": url, "decode": decode, "Quote": Quote}
    return {
        "httpx2": Subject("decode((await client.get(url)).raise_for_status().content)", names),
        "api.get": Subject("await api.get(url, type=Quote)", names),
    }


def row(name: str, given: dict[str, Subject], *, budgeted: bool) -> str:
    samples = measure(given, "async", rounds=ROUNDS)
    floor = samples.cost("httpx2")
    added = median(samples.added("api.get", "httpx2"))
    part = median(samples.ratios("api.get", "httpx2")) - 1.0
    budget = max(BUDGET_NS, BUDGET_PART * floor)
    verdict = f"{budget / 1e3:10.1f}  {'ok' if added <= budget else 'OVER'}" if budgeted else ""
    return (
        f"{name:12} {floor / 1e3:10.1f} {samples.cost('api.get') / 1e3:11.1f} {added / 1e3:9.1f} {part:7.1%} {verdict}"
    )


def main() -> None:
    print(f"api.get over httpx2, {BACKEND} backend, medians of {ROUNDS} interleaved rounds")
    print(f"{'':12} {'httpx2 µs':>10} {'api.get µs':>11} {'added µs':>9} {'part':>7} {'budget µs':>10}")
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            print(row("a server", subjects(f"http://127.0.0.1:{int(server.stdout.readline())}/quote"), budgeted=True))
        finally:
            server.terminate()
    print(
        row("from memory", subjects("http://memory/quote", transport=httpx2.MockTransport(from_memory)), budgeted=False)
    )


if __name__ == "__main__":
    asyncio.run(serve()) if sys.argv[1:] == ["serve"] else main()
