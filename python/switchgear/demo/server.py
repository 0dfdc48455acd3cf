"""`python -m switchgear.demo.server`: market data and a venue behind HTTP, and faults that they can be told to have.

`GET /quotes/SYMBOL` answers a quote. `POST /orders` with `{"id": ...}` accepts an order, once, `GET /orders/ID` says
whether it did, and `DELETE /orders/ID` the same, and that it never will where it did not. Each does what its mode says:
`PUT /mode` with `{"orders": "hang"}` sets one and is itself never disturbed. The port goes to stdout as the first line.
The server lives as long as its stdin is open: whoever started it holds the other end, so that however that process
ends, the server ends with it.
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
from pathlib import Path
from typing import Any, Final

from switchgear.demo.exchange import Exchange
from switchgear.demo.market import Market
from switchgear.demo.modes import KINDS, Mode

HOST: Final = "127.0.0.1"
LONGEST_BODY: Final = 1024


class VenueServer(ThreadingHTTPServer):
    """One market and one venue behind HTTP: a thread a connection, the modes shared by all."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, journal: Path) -> None:
        self.market = Market()
        self.exchange = Exchange(journal)
        self.modes = dict.fromkeys(KINDS, Mode.HEALTHY)
        self._changed = threading.Condition()
        super().__init__((HOST, port), VenueHandler)

    def set_modes(self, modes: dict[str, Mode]) -> None:
        """Behave like this from the next request on, and let go of those that hang."""
        with self._changed:
            self.modes |= modes
            self._changed.notify_all()

    def hang(self, kind: str) -> None:
        """Return when hanging is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.modes[kind] is not Mode.HANG)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: ours do, when their time is up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class VenueHandler(BaseHTTPRequestHandler):
    """The requests of one connection, which stays open between them."""

    server: VenueServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer a quote, or what became of an order; or do what the mode says."""
        kind, _, name = self.path.removeprefix("/").partition("/")
        if kind not in KINDS:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif not self._fails(kind):
            self._answer(kind, *(self._quote(name) if kind == "quotes" else self._order(name)))

    def do_POST(self) -> None:
        """Accept an order, or do what the mode says."""
        try:
            order = self._body()["id"]
            if self.path != "/orders" or not isinstance(order, str) or not order.isalnum():
                raise ValueError
        except (KeyError, TypeError, ValueError):
            self.send_error(HTTPStatus.BAD_REQUEST, "POST /orders wants an id of letters and digits")
            return
        self.server.exchange.receive(order)
        if not self._fails("orders"):
            accepted = self.server.exchange.accept(order)
            status = HTTPStatus.CREATED if accepted else HTTPStatus.CONFLICT
            self._answer("orders", status, {"id": order, "accepted": accepted})

    def do_DELETE(self) -> None:
        """Cancel an order that was not accepted, or do what the mode says."""
        kind, _, order = self.path.removeprefix("/").partition("/")
        if kind != "orders" or not order.isalnum():
            self.send_error(HTTPStatus.NOT_FOUND)
        elif not self._fails("orders"):
            accepted = not self.server.exchange.cancel(order)
            self._answer("orders", HTTPStatus.OK, {"id": order, "accepted": accepted})

    def do_PUT(self) -> None:
        """Set modes."""
        try:
            modes = {kind: Mode(mode) for kind, mode in self._body().items()}
            if self.path != "/mode" or not modes.keys() <= set(KINDS):
                raise ValueError
        except (AttributeError, TypeError, ValueError):
            self.send_error(HTTPStatus.BAD_REQUEST, f"PUT /mode wants a mode of {', '.join(Mode)} for {KINDS}")
            return
        self.server.set_modes(modes)
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def _quote(self, symbol: str) -> tuple[HTTPStatus, dict[str, object]]:
        try:
            return HTTPStatus.OK, self.server.market.quote(symbol)
        except KeyError:
            return HTTPStatus.NOT_FOUND, {"error": f"no such symbol: {symbol}"}

    def _order(self, order: str) -> tuple[HTTPStatus, dict[str, object]]:
        known = self.server.exchange.has(order)
        return (HTTPStatus.OK if known else HTTPStatus.NOT_FOUND), {"id": order, "accepted": known}

    def _fails(self, kind: str) -> bool:
        """Fail as the mode of this kind says; False where the request is to be served."""
        match self.server.modes[kind]:
            case Mode.HANG:
                self.server.hang(kind)
                self.close_connection = True  # the client has long gone
                return True
            case Mode.ERRORS:
                self._answer(kind, HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "the order book is on fire"})
                return True
            case _:
                return False

    def _body(self) -> Any:
        length = int(self.headers["Content-Length"])
        if not 0 < length <= LONGEST_BODY:
            raise ValueError
        return json.loads(self.rfile.read(length))

    def _answer(self, kind: str, status: HTTPStatus, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.modes[kind] is Mode.CUT:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log nothing: a terminal with a live view on it is not ours to write to."""


def _stop_with_stdin(server: VenueServer) -> None:
    while os.read(sys.stdin.fileno(), LONGEST_BODY):
        pass
    server.shutdown()


def main() -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m switchgear.demo.server", description="The demo's venue.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default): any that is free")
    parser.add_argument("--journal", type=Path, required=True, help="where orders are written down")
    options = parser.parse_args()
    try:
        server = VenueServer(options.port, options.journal)
    except (OSError, OverflowError) as error:
        print(f"cannot serve on {HOST}: {error}", file=sys.stderr)
        return 1
    with server, suppress(KeyboardInterrupt):
        print(server.server_port, flush=True)
        threading.Thread(target=_stop_with_stdin, args=(server,), daemon=True).start()
        server.serve_forever(poll_interval=0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
