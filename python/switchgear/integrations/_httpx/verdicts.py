"""What the end of an HTTP exchange says of the host: pure words, for httpx and httpx2 alike.

Neither library is imported: their exceptions have the same names, and those are looked for among the base classes.
"""

from http import HTTPStatus
from typing import Final

from switchgear.integrations._rejection import REJECTIONS
from switchgear.state import Outcome

_OURS: Final = frozenset({"InvalidURL", "LocalProtocolError", "PoolTimeout", "UnsupportedProtocol"})
"""Names of httpx: a request that is malformed, or that our own pool had no connection for."""

_MISTAKES: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a request's body raises while it is sent, or a client that is used wrongly; httpx's StreamError is one."""

_FILES: Final = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What a file that is uploaded raises. Where a socket does, httpx makes it a ConnectError."""


class BadStatusError(Exception):
    """A host answered with a status that is a failure; only ever seen as text, in events and ``last_failure``.

    Args:
        status: The status code: 503.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)

    def __str__(self) -> str:
        status: int = self.args[0]
        # Not the server's own phrase: anything may stand there.
        return f"{status} {HTTPStatus(status).phrase}" if status in HTTPStatus._value2member_map_ else str(status)


def classify(error: Exception) -> Outcome | None:
    """Say what an exception of a transport, or of a body, means for the breaker.

    Returns:
        IGNORED where the host is not to blame; None, which leaves the word to the configuration's ``ignore`` and
        ``record_only``, and without those is a failure, for everything else: connect errors, time-outs, protocol
        errors of the server, truncated bodies, and what nobody has heard of.
    """
    if isinstance(error, REJECTIONS):
        # Another breaker, further in: nobody was asked.
        return Outcome.IGNORED
    names = {each.__name__ for each in type(error).__mro__}
    if names & _OURS:
        return Outcome.IGNORED
    if "TransportError" in names:
        return None
    # Before the mistakes: a certificate that does not verify is an OSError and a ValueError.
    if isinstance(error, OSError):
        return Outcome.IGNORED if isinstance(error, _FILES) else None
    return Outcome.IGNORED if isinstance(error, _MISTAKES) or "RequestError" in names else None
