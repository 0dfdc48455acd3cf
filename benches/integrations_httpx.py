"""What the transport adds to a request: ``python benches/integrations_httpx.py`` prints a table of it.

Beneath is a transport that answers out of memory with a body of one part, so that nothing but a round trip is missing.
It is called as a client does it, and the body is read. A whole ``client.get`` takes a hundred times as long: the
difference would be lost in its noise.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from statistics import median
from typing import Any

import httpx
import httpx2

from measure import Subject, measure
from switchgear import BACKEND, CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.integrations.httpx import BreakerTransport

LIMIT_NS = 3_000
FLOORS = {"sync": ("f()", 20), "async": ("await f()", 69)}
"""What an empty call took, in nanoseconds, on the machine that the limit was set for: others are slower, and this one
at times, so what is added is compared with the limit in empty calls of the same round."""
ROUNDS = 100
PART = b"[1, 2, 3, 4]"

READ = "for _ in t.handle_request(r).stream: pass"
READ_ASYNC = "s = (await t.handle_async_request(r)).stream\nasync for _ in s: pass\nawait s.aclose()"


def library(module: Any) -> dict[str, Any]:
    """Return a request of a library, and transports that answer out of memory."""

    class Body(module.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            yield PART

    class AsyncBody(module.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield PART

    class Memory(module.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            return module.Response(200, stream=Body())

    class AsyncMemory(module.AsyncBaseTransport):  # type: ignore[misc]
        async def handle_async_request(self, request: Any) -> Any:
            return module.Response(200, stream=AsyncBody())

    return {"request": module.Request("GET", "http://localhost/"), "sync": Memory(), "async": AsyncMemory()}


def through(transport: Any, timeout: float | None = 30.0) -> BreakerTransport:
    """Put breakers of their own before a transport."""
    return BreakerTransport(transport, CircuitBreakerRegistry(), config=CircuitBreakerConfig(timeout=timeout))


def rows(module: Any) -> Iterator[tuple[str, str, Subject, Subject]]:
    """Yield the rows of a library: what, kind, the bare subject, the guarded one."""
    made, name = library(module), module.__name__

    def each(transport: Any) -> dict[str, Any]:
        return {"t": transport, "r": made["request"]}

    sync, guarded = made["sync"], through(made["sync"])
    yield f"{name}, sync transport", "sync", Subject(READ, each(sync)), Subject(READ, each(guarded))
    bare, guarded = made["async"], through(made["async"])
    yield f"{name}, async transport", "async", Subject(READ_ASYNC, each(bare)), Subject(READ_ASYNC, each(guarded))
    guarded = through(made["async"], timeout=None)
    yield (
        f"{name}, async transport, timeout=None",
        "async",
        Subject(READ_ASYNC, each(bare)),
        Subject(READ_ASYNC, each(guarded)),
    )


def nothing() -> None:
    """Do nothing."""


async def nothing_async() -> None:
    """Do nothing."""


def main() -> int:
    """Print the table; 1 where the limit is exceeded."""
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    print(
        f"backend {BACKEND}, body read, medians of {ROUNDS} rounds; limit: {LIMIT_NS / 1000:.0f} µs at reference speed"
    )
    print(f"{'':44}{'bare':>10}{'guarded':>10}{'added':>10}{'at reference speed':>20}")
    exceeded = False
    for module in (httpx2, httpx):
        for name, kind, bare, guarded in rows(module):
            statement, reference = FLOORS[kind]
            floor = Subject(statement, {"f": nothing if kind == "sync" else nothing_async})
            samples = measure({"floor": floor, "bare": bare, "guarded": guarded}, kind, rounds=ROUNDS)
            added = samples.added("guarded", "bare")
            scaled = median(mine / its * reference for mine, its in zip(added, samples.ns["floor"], strict=True))
            exceeded |= scaled > LIMIT_NS
            costs = (samples.cost("bare"), samples.cost("guarded"), median(added))
            print(f"{name:44}" + "".join(f"{each / 1000:>7.2f} µs" for each in costs) + f"{scaled / 1000:>17.2f} µs")
    return int(exceeded)


if __name__ == "__main__":
    raise SystemExit(main())
