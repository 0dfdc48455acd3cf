"""One exchange: a request is sent, redirects are followed, and the body is read as far as it is wanted."""

import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Final

from switchgear._http import retry_after, says_when
from switchgear.services._api.body import Decode, reason
from switchgear.services._api.errors import ApiClosedError, ApiError, ApiStatusError, BodyTooLargeError, DecodeError
from switchgear.services._api.quiet import OURS
from switchgear.services._api.verdict import LIBRARIES

ERROR_BODY: Final = 65_536
"""Bytes that are read of a body which is not what was asked for: an error's, or a redirect's."""


class Exchange:
    """What a request needs on its way, whatever becomes of it.

    Args:
        name: The breaker's name, for what is raised.
        client: What sends it.
        library: The module that the client is of.
        request: The request, checked.
        max_body: Bytes of a body that are read at most.
        closed: Says whether the client was closed under the request.
    """

    __slots__ = ("client", "closed", "library", "max_body", "name", "request")

    def __init__(
        self, name: str, client: Any, *, library: Any, request: Any, max_body: int, closed: Callable[[], bool]
    ) -> None:
        self.name = name
        self.client = client
        self.library = library
        self.request = request
        self.max_body = max_body
        self.closed = closed

    async def fetch(self, decode: Decode, kind: object) -> Any:
        """Send the request and return the body, decoded."""
        response = await self.open()
        mark = OURS.set(True)
        try:
            body = await self._whole(response)
        except Exception as error:
            self._unless_closed(error)
            raise
        finally:
            OURS.reset(mark)
        try:
            return decode(body, response)
        except Exception as error:
            why = reason(error)
            if why is None:
                raise
            status = response.status_code
            raise DecodeError(self.name, self.request.method, status, why, body=body, type=kind) from error

    async def open(self) -> Any:
        """Send the request and return the answer, 2xx, its body unread; it is the caller's to close.

        Raises:
            ApiStatusError: The status is another one.
        """
        mark = OURS.set(True)
        try:
            response = await self._follow(await self._send(self.request))
            if 200 <= response.status_code < 300:
                return response
            body, _ = await _read(response, min(ERROR_BODY, self.max_body))
        except Exception as error:
            self._unless_closed(error)
            raise
        finally:
            OURS.reset(mark)
        raise self._refused(response, body)

    def _unless_closed(self, error: Exception) -> None:
        # Connections that we closed ourselves break in many ways, none of which is the service's.
        if self.closed() and not isinstance(error, ApiError):
            raise ApiClosedError(self.name) from error

    async def _whole(self, response: Any) -> bytes:
        if _announced(response) > self.max_body and self.request.method != "HEAD":
            await response.aclose()
            raise BodyTooLargeError(self.name, self.max_body)
        body, whole = await _read(response, self.max_body)
        if not whole:
            raise BodyTooLargeError(self.name, self.max_body)
        return body

    async def _follow(self, response: Any) -> Any:
        # Not left to the library, which would read the body of each redirect to its end, however far that is.
        hops = 0
        while self.client.follow_redirects and (request := response.next_request) is not None:
            await _read(response, ERROR_BODY)
            hops += 1
            if hops > self.client.max_redirects:
                raise self.library.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)
            # No auth: the request has the header already, unless it goes to another host, which must not have it.
            response = await self._send(request, auth=None)
        return response

    async def _send(self, request: Any, **options: Any) -> Any:
        try:
            return await self.client.send(request, stream=True, follow_redirects=False, **options)
        except Exception as error:
            # Of a hook that calls raise_for_status(): its text has the URL.
            if type(error).__name__ != "HTTPStatusError" or type(error).__module__.partition(".")[0] not in LIBRARIES:
                raise
            refused = self._refused(error.response, b"")  # type: ignore[attr-defined]  # of either library
        raise refused

    def _refused(self, response: Any, body: bytes) -> ApiStatusError:
        status, headers = response.status_code, response.headers
        wait = retry_after(headers.get("Retry-After"), time.time()) if says_when(status) else None
        return ApiStatusError(self.name, self.request.method, status, body=body, headers=headers, retry_after=wait)


async def _read(response: Any, limit: int) -> tuple[bytes, bool]:
    """Read a body as far as the limit and close the response; return the body, and whether that was all."""
    parts: list[bytes] = []
    left = limit
    try:
        async with aclosing(response.aiter_bytes()) as body:
            async for part in body:
                parts.append(part[:left] if len(part) > left else part)
                left -= len(part)
                if left < 0:
                    break
    finally:
        if not response.is_closed:
            await response.aclose()
    return b"".join(parts), left >= 0


def _announced(response: Any) -> int:
    """Return the length that the answer announces, 0 where it does not."""
    length = response.headers.get("Content-Length", "")
    # A number of so many digits is above every limit, and may be more than int() takes.
    return (int(length) if len(length) < 20 else sys.maxsize) if length.isdecimal() else 0
