"""Bodies: pydantic models by pydantic, everything else by msgspec, bytes and str as they are."""

import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias

from switchgear._extras import need

Decode: TypeAlias = Callable[[bytes, Any], Any]
"""Takes a body and the response that it is of: its charset takes long to find, and text alone needs it."""

_PURPOSE: Final = "ApiCircuitBreaker"
_BOM: Final = b"\xef\xbb\xbf"
_SHOWN: Final = 3
"""Errors of a pydantic model that a text names."""


def msgspec() -> Any:
    """Import msgspec, or say what to install."""
    return need("msgspec", "http", _PURPOSE)


def encoded(body: object) -> tuple[bytes | None, str | None]:
    """Return the bytes to send and their Content-Type; None where there is none.

    Raises:
        TypeError: There is no JSON for something in it.
        ValueError: It holds itself, or text that is no Unicode.
    """
    if body is None:
        return None, None
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body), "application/octet-stream"
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    try:
        return msgspec().json.encode(body, enc_hook=_plain), "application/json"
    except RecursionError:
        raise ValueError("the body is nested too deeply for JSON, or holds itself") from None


def _plain(value: Any) -> Any:
    if _is_model(type(value)) and hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"there is no JSON for a {type(value).__qualname__}, which is in the body")


def decoder(kind: Any) -> Decode:
    """Return what decodes a body into this type; remembered for the types used last.

    Raises:
        TypeError: Nothing that JSON could be decoded into.
    """
    try:
        hash(kind)
    except TypeError:
        return _decoder.__wrapped__(kind)
    return _decoder(kind)


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> Decode:
    if kind is bytes:
        return lambda body, response: body
    if kind is str:
        return _text
    if _has_model(kind):
        return _of_pydantic(kind)
    return _of_msgspec(Any if kind is None else kind)


def _text(body: bytes, response: Any) -> str:
    try:
        return body.decode(response.charset_encoding or "utf-8")
    except LookupError:
        return body.decode()


def _of_msgspec(kind: Any) -> Decode:
    library = msgspec()
    try:
        read = library.json.Decoder(kind).decode
        foreign = _foreign(library.inspect, library.inspect.type_info(kind), set())
    except Exception as error:
        raise TypeError(f"type must be one that JSON can be decoded into, not {kind!r}: {error}") from error
    if foreign is not None:
        raise TypeError(f"type must be one that JSON can be decoded into, and {foreign!r} is none")
    return lambda body, response: read(_json(body))


def _of_pydantic(kind: Any) -> Decode:
    library = need("pydantic", "http", _PURPOSE)
    try:
        read = library.TypeAdapter(kind).validate_json
    except Exception as error:
        raise TypeError(f"type must be one that pydantic can decode JSON into, not {kind!r}: {error}") from error
    return lambda body, response: read(_json(body))


def _json(body: bytes) -> bytes:
    # No body, as with 204, is read as null: None where that is among what was asked for, and an error where not.
    return body.removeprefix(_BOM) or b"null"


def _is_model(kind: Any) -> bool:
    """Say whether this is a pydantic model, or a pydantic dataclass: either has a validator."""
    return isinstance(kind, type) and "__pydantic_validator__" in vars(kind)


def _has_model(kind: Any) -> bool:
    return _is_model(kind) or any(map(_has_model, typing.get_args(kind)))


def _foreign(inspect: Any, info: Any, seen: set[int]) -> Any:
    """Return a class in a type that msgspec cannot make, or None: it would be found with the first body otherwise."""
    if isinstance(info, inspect.CustomType):
        return info.cls
    if isinstance(info, tuple | list):
        children: Any = info
    elif isinstance(info, inspect.Type | inspect.Field):
        if id(info) in seen:
            return None
        seen.add(id(info))
        children = [getattr(info, name) for name in info.__struct_fields__ if name not in ("default", "cls")]
    else:
        return None
    return next((found for child in children if (found := _foreign(inspect, child, seen)) is not None), None)


def reason(error: Exception) -> str | None:
    """Say why a body did not decode, without what was in it; None where that is not what the exception is about."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not {error.encoding} (byte {error.start})"
    if not isinstance(error, ValueError):
        return None
    if type(error).__name__ == "ValidationError" and hasattr(error, "errors"):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        texts = [f"{each['msg']} - at {'.'.join(map(str, each['loc'])) or 'the top'}" for each in found[:_SHOWN]]
        return "; ".join(texts) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    return str(error)
