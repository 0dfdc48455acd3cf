"""Keep what the HTTP library logs of our requests free of secrets.

httpx2 writes the whole URL of each request at INFO, and httpcore2 the headers of each answer at DEBUG. Of requests that
go through a service only the origin is written; other requests of the program are logged as ever.
"""

import logging
from contextvars import ContextVar
from typing import Any, Final

OURS: Final[ContextVar[bool]] = ContextVar("switchgear_api_request", default=False)
"""True while a request of ours is on its way."""

_LOGGERS: Final = tuple(
    name
    for digit in ("2", "")
    for name in (f"httpx{digit}", f"httpcore{digit}.http11", f"httpcore{digit}.http2", f"httpcore{digit}.proxy")
)


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if OURS.get():
            if isinstance(record.args, tuple):
                record.args = tuple(map(_bare, record.args))
            if isinstance(record.msg, str):
                # What it failed with may quote the line, or the piece of the body, that was none of HTTP.
                record.msg = record.msg.partition(" return_value=")[0].partition(" exception=")[0]
        return True


_QUIET: Final = _Quiet()


def hush() -> None:
    """Put the filter on the libraries' loggers; a second time is none."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_QUIET)


def _bare(value: Any) -> Any:
    if type(value).__name__ != "URL":
        return value
    port = "" if value.port is None else f":{value.port}"
    # Paths hold keys, too: those of bots and of webhooks do.
    return f"{value.scheme}://{value.host}{port}/[path not shown]"
