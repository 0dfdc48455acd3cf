"""What the caller gets of an answer: dicts, tuples, or objects of the ``type`` that was asked for."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, get_origin

from switchgear._extras import need
from switchgear.services._database.errors import RowDecodeError


class Answer(NamedTuple):
    """What an engine got for one statement."""

    columns: Sequence[Sequence[Any]]
    """What the cursor says of them, the name first."""
    rows: list[tuple[Any, ...]]
    """In the order of the names."""
    changed: int
    """Rows that the statement changed; 0 where it changes none, or the engine cannot tell."""


Shape: TypeAlias = Callable[[Answer], Any]


def as_count(answer: Answer) -> int:
    """Return how many rows the statement changed."""
    return max(0, answer.changed)


def as_dicts(answer: Answer) -> list[dict[str, Any]]:
    """Return a dict per row."""
    names = [column[0] for column in answer.columns]
    rows = [dict(zip(names, row)) for row in answer.rows]  # noqa: B905 -- as long as each other, and a third cheaper
    if rows and len(rows[0]) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RowDecodeError(f"two columns are named {twice!r}: name them apart with AS, or ask for type=tuple")
    return rows


def as_tuples(answer: Answer) -> list[tuple[Any, ...]]:
    """Return a plain tuple per row."""
    return answer.rows


def shape(wanted: Any) -> Shape:
    """Return what makes a list of the caller's rows out of an answer.

    Args:
        wanted: None and ``dict``: dicts; ``tuple``: tuples; a pydantic model or dataclass: by pydantic; everything else
            by msgspec, a tuple type (also ``NamedTuple``) by position, other types by column name.

    Raises:
        TypeError: It is no type that rows can be decoded to.
        ImportError: msgspec is needed and not installed.
    """
    if wanted is None or wanted is dict:
        return as_dicts
    if wanted is tuple:
        return as_tuples
    try:
        return _decoder(wanted)
    except TypeError as error:
        raise TypeError(f"type must be a type that rows can be decoded to, not {wanted!r}: {error}") from error


@lru_cache(maxsize=256)
def _decoder(wanted: Any) -> Shape:
    # pydantic's own marks: whoever has a model has imported it, and nobody else shall.
    if hasattr(wanted, "__pydantic_validator__"):
        return _by_pydantic(wanted)
    origin = get_origin(wanted) or wanted
    by_position = isinstance(origin, type) and issubclass(origin, tuple)
    return _by_msgspec(wanted, as_tuples if by_position else as_dicts)


def _by_msgspec(wanted: Any, raw: Shape) -> Shape:
    msgspec = need("msgspec", "http", "query(type=...)")
    rows = list[wanted]
    msgspec.convert([], rows)  # builds what it needs to know of the type, and refuses what it cannot do

    def decode(answer: Answer) -> Any:
        try:
            # Not strict, because SQLite has neither booleans nor dates: an int becomes a bool, a str a datetime.
            return msgspec.convert(raw(answer), rows, strict=False)
        except msgspec.ValidationError as error:
            raise RowDecodeError(f"a row is no {_name(wanted)}: {error}") from error

    return decode


def _by_pydantic(wanted: Any) -> Shape:
    pydantic = need("pydantic", "http", "query(type=<a pydantic model>)")
    adapter = pydantic.TypeAdapter(list[wanted])

    def decode(answer: Answer) -> Any:
        rows = as_dicts(answer)
        try:
            return adapter.validate_python(rows)
        except pydantic.ValidationError as error:
            # Its own text quotes the values, which are none of a log's business.
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RowDecodeError(f"a row is no {_name(wanted)}: {first['msg']} - at {where}") from error

    return decode


def _name(wanted: Any) -> str:
    return getattr(wanted, "__name__", repr(wanted))
