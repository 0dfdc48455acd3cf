"""What the end of an exchange says of the service: one pure function; its table is in docs/services/api.md."""

from typing import Final

from switchgear._http import is_failure_status
from switchgear.services._api.errors import ApiStatusError, BodyTooLargeError, DecodeError
from switchgear.state import Outcome

LIBRARIES: Final = ("httpx2", "httpx")
"""The clients that work here; their exceptions have the same names, and neither has to be installed."""

_WORDS: Final = {
    "PoolTimeout": Outcome.IGNORED,  # all our own connections are busy
    "TimeoutException": Outcome.FAILURE,
    "NetworkError": Outcome.FAILURE,
    "ProxyError": Outcome.FAILURE,
    "RemoteProtocolError": Outcome.FAILURE,  # a truncated body among them
    "DecodingError": Outcome.FAILURE,  # the body is not gzip, although its header says so
    "LocalProtocolError": Outcome.IGNORED,  # a malformed request of ours
    "UnsupportedProtocol": Outcome.IGNORED,
    "TooManyRedirects": Outcome.IGNORED,
    "TransportError": Outcome.FAILURE,
}
"""By the name of a class of either library; the nearest base of an exception that is in here decides."""


def verdict(error: Exception) -> Outcome:
    """Say what an exception that ended an exchange says of the service.

    Args:
        error: What was raised; cancellation is no ``Exception`` and is not asked about.

    Returns:
        FAILURE: the service did not answer, or not well. SUCCESS: it answered, if with a 4xx. IGNORED: it has no part
        in this, as in whatever is not known here: mistakes of ours and of our callers.
    """
    if isinstance(error, ApiStatusError):
        return Outcome.FAILURE if is_failure_status(error.status_code) else Outcome.SUCCESS
    if isinstance(error, (DecodeError, BodyTooLargeError, ConnectionError, TimeoutError)):
        return Outcome.FAILURE
    for cls in type(error).__mro__:
        if cls.__name__ in _WORDS and cls.__module__.partition(".")[0] in LIBRARIES:
            return _WORDS[cls.__name__]
    return Outcome.IGNORED
