"""A real HTTP server that answers as its path says, well or badly: raw sockets, because servers refuse to lie."""

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

CHAT = {
    "id": "chat-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}
MESSAGE = {
    "id": "msg-1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}

TLS = ssl.create_default_context()
"""Shared, though nobody speaks TLS here: a transport that makes its own takes longer than a test."""


class Handler(BaseRequestHandler):
    """One connection; one request, answered and closed."""

    server: "FaultyServer"

    def handle(self) -> None:
        with suppress(OSError):
            head = self._head()
            if head:
                self._answer(urlsplit(head.split(" ")[1]).path)

    def _head(self) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            read = self.request.recv(65536)
            if not read:
                return ""
            data += read
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        while len(body) < length:
            body += self.request.recv(65536)
        return head.decode()

    def _answer(self, path: str) -> None:
        server = self.server
        server.hits[path] += 1
        if server.down:
            return self._send(500, b"{}")
        match path.strip("/").split("/"):
            case ["status", code, *wait]:
                self._send(int(code), b"{}", *(f"Retry-After: {each}" for each in wait))
            case ["redirect", target]:
                self._send(302, b"", f"Location: http://localhost:{server.port}/status/{target}")
            case ["cut"]:
                self.request.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n12345")
            case ["garbage"]:
                self.request.sendall(b"how do you do\r\n\r\n")
            case ["nothing"]:
                pass
            case ["hang"]:
                server.released.wait(30)
            case ["hang-in-body", code]:
                self.request.sendall(
                    f"HTTP/1.1 {code} OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\n12345".encode()
                )
                server.released.wait(30)
            case ["drip"]:
                self.request.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n")
                while not server.released.wait(0.05):
                    self.request.sendall(b".")
            case ["parts", count]:
                self.request.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(int(count)):
                    self.request.sendall(b"5\r\nhello\r\n")
                    server.released.wait(0.02)
                self.request.sendall(b"0\r\n\r\n")
            case ["v1", "chat", "completions"]:
                self._send(200, json.dumps(CHAT).encode())
            case ["v1", "messages"]:
                self._send(200, json.dumps(MESSAGE).encode())
            case _:
                self._send(200, b"hello")
        return None

    def _send(self, code: int, body: bytes, *headers: str) -> None:
        lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
        self.request.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)


class FaultyServer(ThreadingTCPServer):
    """The server; ``hits`` counts the requests that came, by path."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hits: Counter[str] = Counter()
        self.down = False
        self.released = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving() -> Iterator[FaultyServer]:
    """Run a server in a thread."""
    with FaultyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def closed_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
