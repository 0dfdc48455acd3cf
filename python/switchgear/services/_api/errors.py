"""What ``ApiCircuitBreaker`` raises of its own. No text holds a URL, a header or a body: any of them may hold a secret.

Texts and ``args`` go into events and logs; what a caller may want to look at is an attribute beside them.
"""

# ruff: noqa: A002  # `type` is the word of the interface

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

_EMPTY: Final[Mapping[str, str]] = {}


class ApiError(Exception):
    """Base of what ``ApiCircuitBreaker`` raises of its own.

    Args:
        name: The breaker's name, as in ``api:prices``.
    """

    @property
    def name(self) -> str:
        """The breaker's name."""
        name: str = self.args[0]
        return name


class ApiStatusError(ApiError):
    """The service answered with another status than 2xx; a failure of it if that is 5xx or 429, else no fault of it.

    Args:
        name: The breaker's name.
        method: The method of the request.
        status_code: The status.
        body: The first part of the answer's body, 64 KiB at most.
        headers: The answer's headers, whose names are found in any case.
        retry_after: Seconds that the service asks to be left alone, beside 429 and 503; None where it says nothing.
    """

    def __init__(
        self,
        name: str,
        method: str,
        status_code: int,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] = _EMPTY,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(name, method, status_code)
        self.body = body
        self.headers = headers
        self.retry_after = retry_after

    @property
    def method(self) -> str:
        """The method of the request."""
        method: str = self.args[1]
        return method

    @property
    def status_code(self) -> int:
        """The status of the answer."""
        status_code: int = self.args[2]
        return status_code

    def __str__(self) -> str:
        return f"{self.name!r} answered {_status(self.status_code)} to {self.method}"


class DecodeError(ApiError):
    """The service answered 2xx with a body that is not what was asked for; a failure of the service.

    ``__cause__`` is what the decoder said.

    Args:
        name: The breaker's name.
        method: The method of the request.
        status_code: The status.
        reason: Where the body is wrong, and in what.
        body: The whole body.
        type: What was asked for.
    """

    def __init__(
        self, name: str, method: str, status_code: int, reason: str, *, body: bytes = b"", type: object = None
    ) -> None:
        super().__init__(name, method, status_code, reason)
        self.body = body
        self.type = type

    @property
    def method(self) -> str:
        """The method of the request."""
        method: str = self.args[1]
        return method

    @property
    def status_code(self) -> int:
        """The status of the answer."""
        status_code: int = self.args[2]
        return status_code

    @property
    def reason(self) -> str:
        """Where the body is wrong, and in what."""
        reason: str = self.args[3]
        return reason

    def __str__(self) -> str:
        answer = f"{self.name!r} answered {_status(self.status_code)} to {self.method}"
        return f"{answer}, and a body that does not decode: {self.reason}"


class BodyTooLargeError(ApiError):
    """The service answered 2xx with a body of more than ``max_body`` bytes, which was not read on; a failure of it.

    Args:
        name: The breaker's name.
        max_body: The limit, in bytes.
    """

    def __init__(self, name: str, max_body: int) -> None:
        super().__init__(name, max_body)

    @property
    def max_body(self) -> int:
        """The limit, in bytes."""
        max_body: int = self.args[1]
        return max_body

    def __str__(self) -> str:
        return f"{self.name!r} answered with a body of more than {self.max_body:,} bytes (max_body)"


class ApiClosedError(ApiError, RuntimeError):
    """The ``ApiCircuitBreaker`` was closed, before the call or during it; says nothing of the service.

    Args:
        name: The breaker's name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)

    def __str__(self) -> str:
        return f"{self.name!r} is closed: aclose() was called, or its async with block is over"


def _status(code: int) -> str:
    # Our own words, not the server's.
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)
