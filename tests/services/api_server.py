"""A server of raw sockets that answers each path in its own way, well or badly, from threads of its own."""

import gzip
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

GIGABYTE = 1 << 30


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ApiServer:
    """Listen on a port of this machine until the ``with`` block is over."""

    seen: list[Seen] = field(default_factory=list)
    sent: int = 0
    """Bytes of bodies without an end that were sent."""

    def __enter__(self) -> Self:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()
        self.connections: list[socket.socket] = []
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        # A thread that is in accept() or recv() is woken by this, not by close().
        for each in (self.socket, *self.connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self.threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as stream:
            while (request := _request(stream)) is not None:
                self.seen.append(request)
                if request.method == "CONNECT":
                    send(connection, b"", "407")
                    return
                name, _, rest = request.path.partition("?")[0].strip("/").partition("/")
                answer: Callable[..., bool | None] = getattr(self, f"on_{name}")
                if not answer(connection, request, rest):
                    return

    # Each answers one request; True where the connection stays.

    def on_ok(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, b'{"symbol": "AAPL", "price": 101.5}')

    def on_echo(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, request.body)

    def on_empty(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, b"", rest or "204")

    def on_raw(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        """Answer with bytes that the path has in hex."""
        return send(connection, bytes.fromhex(rest))

    def on_latin(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, "größe".encode("latin-1"), "200", "Content-Type: text/plain; charset=latin-1")

    def on_html(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, b"<html>we are sorry</html>", "200", "Content-Type: text/html")

    def on_status(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, b'{"error": "no"}', rest)

    def on_later(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        """Answer with a status and the Retry-After in the path."""
        status, _, value = rest.partition("/")
        return send(connection, b"", status, f"Retry-After: {value.replace('%20', ' ')}")

    def on_secretive(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, b"answer-secret", rest, "Set-Cookie: session=cookie-secret")

    def on_truncated(self, connection: socket.socket, request: Seen, rest: str) -> None:
        connection.sendall(f'HTTP/1.1 {rest or 200} OK\r\nContent-Length: 100\r\n\r\n{{"symbol": '.encode())

    def on_chopped(self, connection: socket.socket, request: Seen, rest: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1, 2\r\n")

    def on_garbage(self, connection: socket.socket, request: Seen, rest: str) -> None:
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

    def on_unreadable(self, connection: socket.socket, request: Seen, rest: str) -> None:
        """Answer with a header that is none, or a chunk without a length, beside what nobody shall read in a log."""
        lines = "Transfer-Encoding: chunked\r\n\r\nchunk-secret" if rest == "chunk" else "header-line-secret"
        connection.sendall(f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n".encode())

    def on_closed(self, connection: socket.socket, request: Seen, rest: str) -> None:
        pass

    def on_reset(self, connection: socket.socket, request: Seen, rest: str) -> None:
        if rest:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1, ")
            time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def on_hang(self, connection: socket.socket, request: Seen, rest: str) -> None:
        self.over.wait()

    def on_stuck(self, connection: socket.socket, request: Seen, rest: str) -> None:
        """Begin a body and never end it."""
        connection.sendall(f"HTTP/1.1 {rest or 200} OK\r\nContent-Length: 100\r\n\r\n[1, ".encode())
        self.over.wait()

    def on_slow(self, connection: socket.socket, request: Seen, rest: str) -> None:
        """Send a byte at a time: no wait for one of them is long."""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not self.over.wait(0.02):
            connection.sendall(b" ")

    def on_pieces(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            connection.sendall(b"5\r\nline\n\r\n")
            time.sleep(0.01)
        connection.sendall(b"0\r\n\r\n")
        return True

    def on_endless(self, connection: socket.socket, request: Seen, rest: str) -> None:
        extra = "Location: /ok\r\n" if rest.startswith("3") else ""
        connection.sendall(f"HTTP/1.1 {rest or 200} OK\r\n{extra}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        while not self.over.is_set():
            connection.sendall(chunk)
            self.sent += 65_536

    def on_gigabyte(self, connection: socket.socket, request: Seen, rest: str) -> None:
        connection.sendall(f"HTTP/1.1 {rest or 200} OK\r\nContent-Length: {GIGABYTE}\r\n\r\n".encode())
        for _ in range(GIGABYTE // 65_536):
            connection.sendall(b" " * 65_536)
            self.sent += 65_536

    def on_bomb(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, gzip.compress(b" " * (24 << 20)), "200", "Content-Encoding: gzip")

    def on_notgzip(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, b"this is not gzip", "200", "Content-Encoding: gzip")

    def on_gzip(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, gzip.compress(b"[1, 2, 3]"), "200", "Content-Encoding: gzip")

    def on_loop(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        return send(connection, b"", "302", "Location: /loop")

    def on_moved(self, connection: socket.socket, request: Seen, rest: str) -> bool:
        """Redirect to the URL that the path has in hex."""
        return send(connection, b"elsewhere", "307", f"Location: {bytes.fromhex(rest).decode()}")


def send(connection: socket.socket, body: bytes, status: str = "200", *headers: str) -> bool:
    lines = [f"HTTP/1.1 {status} X", *headers, *([f"Content-Length: {len(body)}"] if status != "204" else [])]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return True


def _request(stream: Any) -> Seen | None:
    line = stream.readline().decode("latin-1").split()
    if len(line) != 3 or not line[2].startswith("HTTP/"):
        # The end, or no HTTP: the first message of TLS, which is random and may well have three words.
        return None
    method, path, _ = line
    headers = {}
    while (header := stream.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Seen(method, path, headers, stream.read(int(headers.get("content-length", 0))))
