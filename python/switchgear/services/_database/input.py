"""What is refused before the breaker is asked: statements, parameters and URLs that can lead to nothing."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

Params: TypeAlias = "Mapping[str, Any] | Sequence[Any] | None"

# White space, comments and empty statements in front, possessively: a thousand comments are no riddle for the matcher.
# Then nothing, or what begins and ends transactions; ROLLBACK TO a savepoint does not.
_REFUSED: Final = re.compile(
    r"(?:\s++|--[^\n]*+|/\*.*?\*/|;)*+(?:\Z|"
    r"(BEGIN|START\s+TRANSACTION|COMMIT|END|ABORT|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b)",
    re.DOTALL | re.IGNORECASE,
)
_COMMON: Final = frozenset(word for each in ("SELECT", "INSERT", "UPDATE", "DELETE") for word in (each, each.lower()))
"""What most statements begin with: they are spared the pattern, which is a microsecond."""
_POSTGRES: Final = ("postgresql+asyncpg", "postgresql", "postgres")


def check_statement(sql: object, params: object) -> None:
    """Refuse what is no statement, or begins or ends a transaction by hand, and what are no parameters.

    Raises:
        TypeError: ``sql`` is no str, ``params`` neither None nor a mapping nor a sequence.
        ValueError: ``sql`` is empty, or BEGIN, COMMIT, ROLLBACK and their like.
    """
    if not isinstance(sql, str):
        raise TypeError(f"sql must be a str, not {type(sql).__name__}")
    if sql[:6] not in _COMMON:
        _check_beginning(sql)
    if params is None or isinstance(params, (tuple, list)):
        return
    if isinstance(params, Mapping):
        odd = next((key for key in params if not isinstance(key, str)), None)
        if odd is not None:
            raise TypeError(f"the names in params must be str, not {type(odd).__name__}")
    elif not isinstance(params, Sequence) or isinstance(params, (str, bytes, bytearray, memoryview)):
        raise TypeError(f"params must be a mapping, a sequence or None, not {type(params).__name__}")


def _check_beginning(sql: str) -> None:
    refused = _REFUSED.match(sql)
    if refused is not None:
        if refused[1] is None:
            raise ValueError("sql must hold a statement, and is empty")
        raise ValueError(f"{refused[1].upper()} is not yours to send: use transaction()")


def sqlite_path(url: object) -> str | None:
    """Return the path of SQLite's file, ``":memory:"`` where there is none; None where the URL is PostgreSQL's.

    Raises:
        TypeError: It is neither None nor a str nor a path.
        ValueError: It names nothing that this library speaks to. The text never holds the URL: it may hold a password.
    """
    if url is None:
        return ":memory:"
    if isinstance(url, os.PathLike):
        path = os.fspath(url)
        return path if isinstance(path, str) else os.fsdecode(path)
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, a path or None, not {type(url).__name__}")
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not url or "\0" in url:
            raise ValueError("url must be a URL or a path, and is neither")
        return url
    if scheme in _POSTGRES:
        return None
    if scheme != "sqlite":
        refuse_url("its scheme is not one of sqlite, postgresql+asyncpg")
    if rest in ("", "/", "/:memory:"):
        return ":memory:"
    if not rest.startswith("/") or "?" in rest or "\0" in rest:
        refuse_url("of sqlite it is sqlite:///relative/path or sqlite:////absolute/path, and nothing behind it")
    return rest[1:]


def postgres_url(url: str) -> str:
    """Return the URL with the driver named that is used."""
    return "postgresql+asyncpg://" + url.partition("://")[2]


def refuse_url(reason: str) -> NoReturn:
    """Raise the ``ValueError`` of a URL that will not do, without the URL."""
    raise ValueError(f"url is not a database URL that can be used: {reason}")
