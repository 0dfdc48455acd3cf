"""The checks of what a sandbox service is made with."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_E2B_OPTIONS: Final = (
    "domain",
    "api_url",
    "sandbox_url",
    "proxy",
    "http_version",
    "metadata",
    "envs",
    "allow_internet_access",
    "network",
)
_LONGEST_CODE: Final = 1_000_000


def count(field: str, value: object, least: int, most: int) -> int:
    """Return an int of a range.

    Raises:
        ValueError: It is something else.
    """
    if type(value) is int and least <= value <= most:
        return value
    raise ValueError(f"{field} must be an int from {least:,} to {most:,}, not {value!r}")


def e2b_arguments(backend: str, api_key: object, options: object) -> Mapping[str, Any] | None:
    """Return the options for E2B's SDK, if they are such.

    Raises:
        ValueError: There are some, or a key, and the backend is another; one is not known.
        TypeError: They are no mapping.
    """
    # No value is shown: a proxy's URL or an environment holds secrets.
    if backend != "e2b":
        if api_key is not None or options is not None:
            raise ValueError(f"api_key and e2b_options are for the backend 'e2b', and this one is {backend!r}")
        return None
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise TypeError(f"e2b_options must be a mapping or None, not {type(options).__name__}")
    unknown = sorted(map(str, set(options) - set(_E2B_OPTIONS)))
    if unknown:
        raise ValueError(f"e2b_options may hold {', '.join(_E2B_OPTIONS)}, not {', '.join(unknown)}")
    return options


def chosen(backend: str | None, api_key: str | None) -> str:
    """Return which backend it is: the one asked for, or the one that there is.

    Raises:
        ValueError: There is none of this name.
        ImportError: There is none at all.
    """
    if backend not in (None, "e2b", "monty"):
        raise ValueError(f"backend must be 'e2b', 'monty' or None, not {backend!r}")
    if backend is not None:
        return backend
    if api_key is not None:
        return "e2b"
    if os.environ.get("E2B_API_KEY") and importlib.util.find_spec("e2b_code_interpreter") is not None:
        return "e2b"
    if importlib.util.find_spec("pydantic_monty") is not None:
        return "monty"
    raise ImportError(
        "E2BSandboxCircuitBreaker needs a sandbox to run code in: pip install 'switchgear[sandbox]' for the embedded"
        " one, or pip install 'switchgear[e2b]' and set E2B_API_KEY",
        name="pydantic_monty",
    )


def check_code(code: str) -> None:
    """Refuse what no sandbox can be sent.

    Raises:
        TypeError: It is no str.
        ValueError: It is too long, or cannot be encoded.
    """
    if not isinstance(code, str):
        raise TypeError(f"code must be a str, not {type(code).__name__}")
    if len(code) > _LONGEST_CODE:
        raise ValueError(f"code must have at most {_LONGEST_CODE:,} characters, not {len(code):,}")
    try:
        code.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"code must be text that can be encoded: there is half of a character at index {error.start}"
        ) from None


def checked_key(key: object) -> str:
    """Return an API key for E2B.

    Raises:
        ValueError: There is none, or it holds what no header can.
        TypeError: It is no str.
    """
    # None of these may show the key: what a header cannot hold, httpx would write into its exception.
    if key is None or key == "":
        raise ValueError("backend='e2b' needs an API key: api_key= or the environment variable E2B_API_KEY")
    if not isinstance(key, str):
        raise TypeError(f"api_key must be a str or None, not {type(key).__name__}")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("the E2B API key holds characters that no key has")
    return key


def passwords(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the passwords in the URLs among the options."""
    urls = (urlsplit(str(options[name])) for name in ("proxy", "api_url", "sandbox_url") if options.get(name))
    return tuple(word for url in urls if url.password for word in (url.password, unquote(url.password)))
