"""Vectors before a model sees them, and what it made of them: finite numbers, or a clear error."""

import inspect
from array import array
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, Final

from switchgear.errors import UnprotectedError
from switchgear.services._neural.errors import ModelError, VectorError

_BYTES: Final = (str, bytes, bytearray, memoryview)
"""Sequences, but of something else than numbers."""


def checked_vector(vector: Any) -> Any:
    """Copy a vector, so that what a thread reads is what was checked.

    Args:
        vector: A sequence of real numbers, or an array of one dimension.

    Returns:
        An ``array("d")``; a float64 array of numpy where an array was given.

    Raises:
        VectorError: It is empty or nested, or holds something that is not a finite number.
        TypeError: It is no sequence.
    """
    kind = type(vector)
    # What nearly everybody has is looked for first: asking an abstract class takes as long as all the rest.
    usual = kind is list or kind is tuple
    if not usual and hasattr(vector, "__array__"):
        # Whoever has an array has numpy.
        from switchgear.services._neural.arrays import Arrays

        return Arrays("array").vector(vector)
    if not usual and (not isinstance(vector, Sequence) or isinstance(vector, _BYTES)):
        raise TypeError(f"the vector must be a sequence of numbers or an array, not {type(vector).__name__}")
    if not vector:
        raise VectorError("the vector is empty")
    try:
        numbers = array("d", vector)
    except (TypeError, ValueError, OverflowError):
        raise _bad_element(vector) from None
    if not _all_finite(numbers):
        index = next(index for index, number in enumerate(numbers) if not isfinite(number))
        raise VectorError(f"vector[{index}] must be finite, not {numbers[index]}")
    return numbers


def check_length(length: int, wanted: int | None) -> None:
    """Refuse a vector that the model has no place for.

    Raises:
        VectorError: The lengths differ.
    """
    if wanted is not None and length != wanted:
        raise VectorError(f"the vector has {length} numbers, the model takes {wanted}")


def answer(result: Any) -> list[float]:
    """Return what a model answered as a list of numbers.

    Args:
        result: A real number, a flat sequence of them, or an array of any shape, which is flattened.

    Raises:
        ModelError: It is something else, it is empty, or a number in it is not finite.
        UnprotectedError: It is a promise of a result: an awaitable or an iterator.
    """
    kind = type(result)
    if kind is list or kind is tuple:
        pass
    elif hasattr(result, "__array__"):
        result = result.__array__().ravel().tolist()
    elif isinstance(result, (int, float)):
        result = [result]
    elif not isinstance(result, Sequence) or isinstance(result, _BYTES):
        raise _no_answer(result)
    try:
        numbers = array("d", result)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"the model must answer with a flat list of numbers: {error}") from None
    if not numbers:
        raise ModelError("the model answered with no numbers at all")
    if not _all_finite(numbers):
        bad = next(number for number in numbers if not isfinite(number))
        raise ModelError(f"the model answered with {bad} among its {len(numbers)} numbers")
    return numbers.tolist()


def _all_finite(numbers: "array[float]") -> bool:
    # A sum is finite only where all of them are; it may overflow where all of them are, too.
    return isfinite(sum(numbers)) or all(map(isfinite, numbers))


def _bad_element(vector: Sequence[Any]) -> VectorError:
    for index, element in enumerate(vector):
        try:
            array("d", [element])
        except TypeError:
            return VectorError(f"vector[{index}] must be a real number, not {type(element).__name__}")
        except (ValueError, OverflowError):
            return VectorError(f"vector[{index}] is no float: {type(element).__name__} out of range")
    return VectorError("the vector changed while it was read")


def _no_answer(result: object) -> Exception:
    if inspect.isawaitable(result) or isinstance(result, Iterator) or hasattr(result, "__aiter__"):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        return UnprotectedError(
            f"a model runs in a thread and must answer there, with numbers and not with a {type(result).__name__}"
        )
    return ModelError(f"the model must answer with numbers, not with a {type(result).__name__}")
