"""A request, made and checked before the breaker is asked: what is wrong with it says nothing of the service."""

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, TypeAlias

from switchgear.services._api.body import encoded
from switchgear.services._api.client import SCHEMES

Params: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, Any]] | str | None
Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | None

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?")
_SCHEME: Final = re.compile(r"[^/?#]*:")
_HOST: Final = re.compile(rb"[0-9A-Za-z._~-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%.+)?")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINES: Final = re.compile(
    rb"(?:%(name)b\n%(value)b\n)*%(name)b\n%(value)b" % {b"name": _NAME.pattern, b"value": _VALUE.pattern}
)


def make_request(
    client: Any,
    library: Any,
    method: str,
    url: Any,
    *,
    body: object,
    params: Params,
    headers: Headers,
    timeout: float | None,
) -> Any:
    """Return the client's request.

    No text of what this raises holds a URL, a header's value or a body.

    Args:
        client: What will send it.
        library: The module that the client is of.
        method: GET, POST, ...; in any case.
        url: Absolute, or relative to the client's base URL.
        body: What to send: ``encoded``.
        params: The query.
        headers: Beside the client's own; they go before the Content-Type that the body brings.
        timeout: The breaker's deadline.

    Raises:
        TypeError: Something is of the wrong type.
        ValueError: The method, the URL or a header is none that could be sent.
    """
    _check_types(library, method, url, params, headers)
    content, content_type = encoded(body)
    try:
        address = library.URL(url)
        _check_address(str(url), address, client.base_url)
        request = client.build_request(method, address, content=content, params=params, headers=headers)
    except library.InvalidURL as error:
        # What the library says of it may quote a part of it, where there is a password before the host.
        shown = "" if "@" in str(url) else f": {error}"
        raise ValueError(f"url is no URL that could be requested{shown}") from None
    except UnicodeEncodeError:
        raise ValueError("url, params or headers hold characters that cannot be sent") from None
    except AttributeError as error:
        # From inside the library: something that is no mapping, or no pairs.
        raise TypeError(f"params or headers are of a wrong type: {error}") from None
    if content_type is not None:
        request.headers.setdefault("Content-Type", content_type)
    _check_headers(request.headers.raw)
    _hurry_to_connect(request.extensions, timeout)
    return request


def _check_types(library: Any, method: object, url: object, params: object, headers: object) -> None:
    if not isinstance(method, str):
        raise TypeError(f"method must be a str, not {type(method).__name__}")
    if not _METHOD.fullmatch(method) or method.upper() == "CONNECT":
        raise ValueError("method must be one of HTTP's, letters, other than CONNECT")
    if not isinstance(url, (str, library.URL)):
        raise TypeError(f"url must be a str, not {type(url).__name__}")
    if params is not None and (not isinstance(params, Iterable) or isinstance(params, (bytes, bytearray))):
        raise TypeError(f"params must be a mapping, pairs, a str or None, not {type(params).__name__}")
    if headers is not None and (not isinstance(headers, Iterable) or isinstance(headers, (str, bytes, bytearray))):
        raise TypeError(f"headers must be a mapping, pairs or None, not {type(headers).__name__}")


def _check_address(text: str, url: Any, base_url: Any) -> None:
    if not url.scheme and not url.raw_host:
        # No relative URL has a colon in its first part (RFC 3986, section 4.2): it would be a scheme, or a port.
        if _SCHEME.match(text):
            raise ValueError("url must begin with http:// or https://, or with a / where it is relative to a base URL")
        url = base_url
    # One with a scheme and no host would be taken for relative, and sent elsewhere than it says.
    host = url.raw_host
    if url.scheme not in SCHEMES or not host:
        raise ValueError("url must begin with http:// or https:// and a host, or be relative to a base URL")
    if not 0 < (url.port or 80) < 65_536 or not _HOST.fullmatch(host):
        raise ValueError("url must have a host that is a name or an address, and a port from 1 to 65,535")


def _check_headers(headers: list[tuple[bytes, bytes]]) -> None:
    # The library finds this, too, when it sends the request, and says so with the value in the text. All at once here,
    # with a separator that is in no name and in no value, as its number tells.
    lines = b"\n".join(chain.from_iterable(headers))
    if _LINES.fullmatch(lines) and lines.count(b"\n") == 2 * len(headers) - 1:
        return
    for name, value in headers:
        if not _NAME.fullmatch(name):
            raise ValueError("headers must have names of letters, digits and -, and one has not")
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"the header {name.decode('ascii')!r} must have a value without line breaks, other control characters"
                " and spaces around it"
            )


def _hurry_to_connect(extensions: Any, timeout: float | None) -> None:
    """Let the wait for a free connection of ours end before the deadline: that is no failure of the service."""
    limits = extensions.get("timeout")
    if timeout is not None and isinstance(limits, dict) and (limits.get("pool") or timeout) >= timeout:
        limits["pool"] = timeout / 2
