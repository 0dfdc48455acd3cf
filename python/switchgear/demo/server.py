"""`python -m switchgear.demo.server`: the market-data server, and the faults that it can be told to have.

`GET /quotes/SYMBOL` answers a quote, or does what the mode says. `PUT /mode` with `{"mode": "hang"}` sets the mode and
is itself never disturbed. The port goes to stdout as the first line. The server lives as long as its stdin is open:
whoever started it holds the other end, so that however that process ends, the server ends with it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from switchgear.demo.market import Market
from switchgear.demo.modes import Mode

HOST: Final = "127.0.0.1"
LONGEST_COMMAND: Final = 1024


class QuoteServer(ThreadingHTTPServer):
    """One market behind HTTP: a thread a connection, the mode shared by all."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        self.market = Market()
        self.mode = Mode.HEALTHY
        self._mode_changed = threading.Condition()
        super().__init__((HOST, port), QuoteHandler)

    def set_mode(self, mode: Mode) -> None:
        """Behave like this from the next request on, and let go of those that hang."""
        with self._mode_changed:
            self.mode = mode
            self._mode_changed.notify_all()

    def hang(self) -> None:
        """Return when hanging is over."""
        with self._mode_changed:
            self._mode_changed.wait_for(lambda: self.mode is not Mode.HANG)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: ours do, when their time is up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class QuoteHandler(BaseHTTPRequestHandler):
    """The requests of one connection, which stays open between them."""

    server: QuoteServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a quote, or do what the mode says."""
        root, _, symbol = self.path.removeprefix("/").partition("/")
        if root != "quotes":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        match self.server.mode:
            case Mode.HANG:
                self.server.hang()
                self.close_connection = True  # the client has long gone
            case Mode.ERRORS:
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the order book is on fire"})
            case mode:
                try:
                    quote = self.server.market.quote(symbol)
                except KeyError:
                    self._answer(HTTPStatus.NOT_FOUND, {"error": f"no such symbol: {symbol}"})
                else:
                    self._answer(HTTPStatus.OK, quote, cut=mode is Mode.CUT)

    def do_PUT(self) -> None:
        """Set the mode."""
        try:
            length = int(self.headers["Content-Length"])
            if self.path != "/mode" or not 0 < length <= LONGEST_COMMAND:
                raise ValueError
            mode = Mode(json.loads(self.rfile.read(length))["mode"])
        except (KeyError, TypeError, ValueError):
            self.send_error(HTTPStatus.BAD_REQUEST, f"PUT /mode wants a mode of {', '.join(Mode)}")
            return
        self.server.set_mode(mode)
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def _answer(self, status: HTTPStatus, content: dict[str, object], *, cut: bool = False) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log nothing: a terminal with a live view on it is not ours to write to."""


def _stop_with_stdin(server: QuoteServer) -> None:
    while os.read(sys.stdin.fileno(), LONGEST_COMMAND):
        pass
    server.shutdown()


def main() -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m switchgear.demo.server", description="The demo's market data.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default): any that is free")
    try:
        server = QuoteServer(parser.parse_args().port)
    except (OSError, OverflowError) as error:
        print(f"cannot listen on {HOST}: {error}", file=sys.stderr)
        return 1
    with server, suppress(KeyboardInterrupt):
        print(server.server_port, flush=True)
        threading.Thread(target=_stop_with_stdin, args=(server,), daemon=True).start()
        server.serve_forever(poll_interval=0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
