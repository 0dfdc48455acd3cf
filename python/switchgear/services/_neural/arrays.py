"""Arrays: the one file that knows numpy."""

from array import array
from math import hypot
from typing import Any, Final

from switchgear._extras import need
from switchgear.services._neural.errors import VectorError

_REAL: Final = "biuf"


class Arrays:
    """Check numbers and convert them to arrays.

    Args:
        purpose: Who needs numpy, for the message where it is missing.
        extra: The extra that brings it; default ``sklearn``.

    Raises:
        ImportError: numpy is not installed.
    """

    def __init__(self, purpose: str, extra: str = "sklearn") -> None:
        self.numpy: Final[Any] = need("numpy", extra, purpose)

    def vector(self, values: Any) -> Any:
        """Copy an array of one dimension to float64.

        Raises:
            VectorError: It has another shape, no elements, or one that is not a finite number.
        """
        given = self.numpy.asarray(values)
        if given.ndim != 1:
            raise VectorError(f"the vector must have one dimension, not the shape {given.shape}")
        return self._checked(given, "vector")

    def table(self, rows: Any, what: str) -> Any:
        """Copy numbers of one or two dimensions, as training wants them, to a float64 array.

        Raises:
            VectorError: They have another shape, there are none, or one that is not a finite number.
        """
        try:
            given = self.numpy.asarray(rows)
        except (TypeError, ValueError) as error:
            raise VectorError(f"{what} must be rows of numbers, all of one length: {error}") from None
        if given.ndim not in (1, 2):
            raise VectorError(f"{what} must have one dimension or two, not the shape {given.shape}")
        return self._checked(given, what)

    def _checked(self, given: Any, what: str) -> Any:
        if given.dtype.kind not in _REAL:
            raise VectorError(f"{what} must hold real numbers, not {given.dtype}")
        if not given.size:
            raise VectorError(f"{what} is empty" if given.ndim == 1 else f"{what} is empty: its shape is {given.shape}")
        copy = given.astype(self.numpy.float64)
        finite = self.numpy.isfinite(copy)
        if not finite.all():
            index = tuple(int(each[0]) for each in self.numpy.nonzero(~finite))
            raise VectorError(f"{what}[{', '.join(map(str, index))}] must be finite, not {copy[index]}")
        return copy

    def cast(self, vector: Any, dtype: Any) -> Any:
        """Convert a checked vector to what a model takes, without a change of value beyond rounding.

        Raises:
            VectorError: A number is out of the type's range, or no whole number where only those are.
        """
        numpy = self.numpy
        # Without a copy: the numbers are an array of Python or of numpy, both float64.
        numbers = numpy.frombuffer(vector)
        if dtype.kind == "f":
            if dtype.itemsize < 8 and not _fits(vector, numbers, float(numpy.finfo(dtype).max)):
                raise VectorError(f"the vector holds a number that is out of the range of the model's {dtype}")
            return numbers.astype(dtype)
        limits = numpy.iinfo(dtype)
        # The upper limit itself is no float64 where the type has 64 bits: the next one is 1 past it.
        if (numbers < float(limits.min)).any() or (numbers >= float(limits.max) + 1.0).any():
            raise VectorError(f"the vector holds a number that is out of the range of the model's {dtype}")
        if (numbers != numpy.rint(numbers)).any():
            raise VectorError(f"the model takes whole numbers ({dtype}), the vector holds others")
        return numbers.astype(dtype)


def _fits(vector: Any, numbers: Any, limit: float) -> bool:
    # No number is larger than the length of them all, which takes Python alone: numpy's way to the largest one is code
    # that nobody else runs, and with a small model an eighth of a prediction.
    return (isinstance(vector, array) and hypot(*vector) <= limit) or bool(abs(numbers).max() <= limit)
