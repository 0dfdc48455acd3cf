"""A server that speaks the part of E2B's HTTP API that the real SDK uses for sandboxes with a Python kernel.

It runs what it is sent, in this process: the code comes from the tests. What it shall do wrong is put into ``faults``.
"""

import asyncio
import builtins
import contextlib
import io
import json
import threading
import traceback
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any, Self

KEY = "e2b_0123456789abcdef"


class E2BServer:
    """The API and, under the same address, every sandbox's proxy, health and kernel; in a thread of its own."""

    def __init__(self) -> None:
        self.faults: dict[str, deque[Any]] = defaultdict(deque)
        """By ``create``, ``kill``, ``execute`` and ``health``: a status, ``(status, text)``, ``"drop"``, ``"hang"``,
        ``"truncate"``, or a number of seconds (a float) to be late by. Each is done once; a last ``...`` repeats it."""
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.kernels: dict[str, dict[str, Any]] = {}
        self.killed: list[str] = []
        self.hung_up = 0
        self._made = 0
        self._executing: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._on_loop(asyncio.start_server(self._connection, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._on_loop(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def end_sandboxes(self) -> None:
        """Let every sandbox be gone, and end what runs in it as its proxy does: the others' connections stay.

        On the loop, so that nothing is asked between the two.
        """

        def end() -> None:
            self.kernels.clear()
            for writer in self._executing:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(end)

    def did(self, operation: str) -> int:
        """Return how often it was asked for this."""
        return sum(operation == each[0] for each in self.asked)

    def _on_loop(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        operation = {"POST /v2/sandboxes": "create", "POST /execute": "execute", "GET /health": "health"}.get(
            f"{method} {path}", "kill" if method == "DELETE" else "unknown"
        )
        asked = json.loads(body) if body else {}
        self.asked.append((operation, headers, asked))
        fault = self._fault(operation)
        if isinstance(fault, float):
            await asyncio.sleep(fault)
        elif fault == "drop":
            return False
        elif fault == "hang":
            await self._until_hung_up(reader, writer)
            return False
        elif fault == "truncate":
            await self._stream(writer, [{"type": "stdout", "text": "half", "timestamp": 0}], whole=False)
            return False
        elif fault is not None:
            status, text = fault if isinstance(fault, tuple) else (fault, "no")
            await self._answer(writer, status, {"code": status, "message": text})
            return True
        if headers.get("x-api-key") != KEY and operation in ("create", "kill"):
            await self._answer(writer, 401, {"code": 401, "message": "invalid API key"})
        elif operation == "create":
            await self._create(asked, writer)
        elif operation == "kill":
            await self._kill(path.rpartition("/")[2], writer)
        elif headers.get("e2b-sandbox-id") not in self.kernels:
            await self._answer(writer, 502, {"message": "The sandbox was not found", "code": 502})
        elif operation == "health":
            await self._answer(writer, 204, None)
        elif asked["code"].startswith("while True"):
            await self._until_hung_up(reader, writer)
            return False
        else:
            await self._stream(writer, run_cell(self.kernels[headers["e2b-sandbox-id"]], asked["code"]))
        return True

    def _fault(self, operation: str) -> Any:
        faults = self.faults[operation]
        if not faults:
            return None
        if len(faults) == 2 and faults[1] is ...:
            return faults[0]
        return faults.popleft()

    async def _create(self, asked: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self._made += 1
        identity = f"sandbox{self._made}"
        self.kernels[identity] = {}
        made = {"templateID": asked["templateID"], "sandboxID": identity, "clientID": "c", "envdVersion": "0.4.0"}
        await self._answer(writer, 201, made | {"envdAccessToken": "token"})

    async def _kill(self, identity: str, writer: asyncio.StreamWriter) -> None:
        self.killed.append(identity)
        known = self.kernels.pop(identity, None) is not None
        await self._answer(writer, 204 if known else 404, None if known else {"code": 404, "message": "not there"})

    async def _until_hung_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._executing.add(writer)
        try:
            await reader.read()
        finally:
            self._executing.discard(writer)
        self.hung_up += 1

    async def _answer(self, writer: asyncio.StreamWriter, status: int, body: Any) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        writer.write(f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n".encode())
        if status != 204:
            writer.write(f"Content-Length: {len(text)}\r\n".encode())
        writer.write(b"\r\n" + text)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, events: list[dict[str, Any]], whole: bool = True) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        async for line in _lines(events):
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            await writer.drain()
        if whole:
            writer.write(b"0\r\n\r\n")
            await writer.drain()


async def _lines(events: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    for event in events:
        yield json.dumps(event).encode() + b"\n"


def run_cell(kernel: dict[str, Any], code: str) -> list[dict[str, Any]]:
    """Run code as a notebook's kernel does, and return the events that it would send."""
    out, err = io.StringIO(), io.StringIO()
    events: list[dict[str, Any]] = [{"type": "number_of_executions", "execution_count": 1}]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            try:
                value = builtins.eval(code, kernel)
            except SyntaxError:
                value = builtins.exec(code, kernel)
            if value is not None:
                events.append({"type": "result", "text": repr(value), "is_main_result": True})
        except Exception as error:
            events.append({"type": "error", "name": type(error).__name__, "value": str(error)})
            events[-1]["traceback"] = traceback.format_exc()
    for stream, written in (("stdout", out), ("stderr", err)):
        text = written.getvalue()
        pieces = [text[start : start + 65_536] for start in range(0, len(text), 65_536)]
        events += [{"type": stream, "text": piece, "timestamp": 0} for piece in pieces]
    return events
