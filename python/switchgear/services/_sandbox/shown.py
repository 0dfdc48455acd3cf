"""``repr`` for values that came out of a sandbox: bounded in length and work, whatever they are.

The real ``repr`` is not: three lists of a thousand references each, ``[[[0] * 1000] * 1000] * 1000`` in shape, cost a
sandbox nothing and whoever writes them out three gigabytes; a list nested a hundred thousand deep ends in
``RecursionError``. So this walks the value with a stack of its own and stops when it has written enough.
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import chain, count
from typing import Any, Final

# Whose repr is as long as the value itself is, and runs no code that came out of the sandbox.
_PLAIN: Final = ("builtins", "datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo")
# Python refuses to write integers of more than 4,300 digits, and takes quadratic time for those that it writes.
_LONGEST_INT_BITS: Final = 14_000
_STEPS: Final = 500


def shown(value: object, limit: int) -> str:
    """Return ``repr(value)``, or its beginning where that is longer than ``limit`` characters.

    Args:
        value: What pydantic-monty made of the last expression's value.
        limit: Characters that are enough; the answer may be longer, by one more piece.
    """
    work = showing(value, limit)
    while True:
        try:
            next(work)
        except StopIteration as end:
            text: str = end.value
            return text


def showing(value: object, limit: int) -> Generator[None, None, str]:
    """Do the same in steps of a millisecond or so, for those who have an event loop to keep running."""
    written: list[str] = []
    length = 0
    stack: list[Iterator[object]] = [iter((value,))]
    for step in count(1):
        if not stack or length > limit:
            break
        if step % _STEPS == 0:
            yield
        piece = next(stack[-1], stack)
        if piece is stack:
            stack.pop()
            continue
        if isinstance(piece, _Written):
            text: str = piece
        else:
            parts = _parts(piece)
            if parts is not None:
                stack.append(parts)
                continue
            text = _leaf(piece, limit)
        written.append(text)
        length += len(text)
    return "".join(written)


class _Written(str):
    """Text that goes into the answer as it is, in contrast to a ``str`` that is part of the value."""

    __slots__ = ()


def _parts(value: Any) -> Iterator[object] | None:
    """Return the pieces of a container, or None for what has no parts."""
    if isinstance(value, list):
        return _between("[", value, "]")
    if isinstance(value, tuple):
        return _between("(", value, ",)" if len(value) == 1 else ")")
    if isinstance(value, dict):
        pairs = (part for key, item in value.items() for part in (key, _Written(": "), item))
        return _between("{", pairs, "}", size=3)
    if isinstance(value, frozenset):
        return _between("frozenset({", value, "})") if value else iter((_Written("frozenset()"),))
    if isinstance(value, set):
        return _between("{", value, "}") if value else iter((_Written("set()"),))
    if isinstance(value, BaseException):
        return _between(f"{type(value).__name__}(", value.args, ")")
    if type(value).__name__ == "MontyClassProxy":
        # An instance of a class of the sandbox, as a dataclass would write it: its own __repr__ stayed inside.
        fields = (part for key, item in value.attributes.items() for part in (_Written(f"{key}="), item))
        return _between(f"{value.name}(", fields, ")", size=2)
    return None


def _between(opening: str, parts: Iterable[object], closing: str, size: int = 1) -> Iterator[object]:
    return chain((_Written(opening),), _separated(parts, size), (_Written(closing),))


def _separated(parts: Iterable[object], size: int) -> Iterator[object]:
    for index, part in enumerate(parts):
        if index and index % size == 0:
            yield _Written(", ")
        yield part


def _leaf(value: Any, limit: int) -> str:
    if isinstance(value, (str, bytes)):
        return repr(value[: limit + 1])
    if isinstance(value, int) and value.bit_length() > _LONGEST_INT_BITS:
        return f"<int of {value.bit_length():,} bits>"
    kind = type(value)
    if kind.__module__ in _PLAIN and kind is not slice:
        return repr(value)
    if kind.__name__ in ("MontyStdTypeProxy", "MontyClassTypeProxy"):
        return f"<{value.name}>"
    return f"<{kind.__name__} object>"
