"""What no model is asked about: the breaker never hears of bad input."""

from typing import Any

import pytest

from helpers import counted, run
from switchgear import CircuitBreakerRegistry
from switchgear.services.neural import NeuralCircuitBreaker, VectorError

numpy = pytest.importorskip("numpy")

BAD: dict[str, tuple[Any, str]] = {
    "NaN": ([1.0, float("nan")], r"vector\[1\] must be finite, not nan"),
    "infinite": ([float("inf"), 1.0], r"vector\[0\] must be finite, not inf"),
    "both infinities": ([float("inf"), float("-inf")], r"vector\[0\] must be finite, not inf"),
    "empty": ([], "empty"),
    "nested": ([[1.0, 2.0]], r"vector\[0\] must be a real number, not list"),
    "text inside": ([1.0, "2"], r"vector\[1\] must be a real number, not str"),
    "none inside": ([None], r"vector\[0\] must be a real number, not NoneType"),
    "complex": ([1j], "must be a real number, not complex"),
    "a huge int": ([1.0, 10**400], r"vector\[1\] is no float"),
    "too short": ([1.0], "has 1 numbers, the model takes 2"),
    "too long": ([1.0] * 3, "has 3 numbers, the model takes 2"),
    "array: NaN": (numpy.array([0.0, numpy.nan]), r"vector\[1\] must be finite, not nan"),
    "array: matrix": (numpy.zeros((1, 2)), r"one dimension, not the shape \(1, 2\)"),
    "array: number": (numpy.array(1.0), "one dimension"),
    "array: empty": (numpy.array([]), "empty"),
    "array: objects": (numpy.array([1.0, None]), "real numbers, not object"),
    "array: text": (numpy.array(["1", "2"]), "real numbers, not <U1"),
    "array: complex": (numpy.array([1j, 2]), "real numbers, not complex128"),
    "array: too long": (numpy.zeros(3), "has 3 numbers, the model takes 2"),
}


def refused(vector: Any, kind: type[Exception], text: str) -> None:
    """Check that a vector is refused, that the model was not asked, and the breaker neither."""
    asked: list[Any] = []
    neural = NeuralCircuitBreaker("m", asked.append, registry=CircuitBreakerRegistry(), features=2)
    with pytest.raises(kind, match=text):
        run(neural.predict(vector))
    assert ([], {}) == (asked, counted(neural.breaker))


@pytest.mark.parametrize(("vector", "text"), BAD.values(), ids=BAD)
def test_a_bad_vector_is_a_value_error(vector: Any, text: str) -> None:
    """The text names what is wrong, and where."""
    assert issubclass(VectorError, ValueError)
    refused(vector, VectorError, text)


@pytest.mark.parametrize("vector", [None, 5, "ab", b"12345678", {1.0, 2.0}, {1.0: 2.0}, iter([1.0, 2.0]), object()])
def test_what_is_no_sequence_is_a_type_error(vector: Any) -> None:
    """Text and bytes are sequences of something else."""
    refused(vector, TypeError, "must be a sequence of numbers or an array")


def test_a_large_vector_is_no_infinite_one() -> None:
    """Numbers whose sum overflows are finite each."""
    neural = NeuralCircuitBreaker("m", lambda vector: vector, registry=CircuitBreakerRegistry())
    huge = [1.7e308, 1.7e308]
    assert huge == run(neural.predict(huge))
    run(neural.aclose())


def test_an_open_breaker_still_says_what_is_wrong_with_the_input() -> None:
    """Bad input is told of whatever the breaker's state."""
    neural = NeuralCircuitBreaker("m", max, registry=CircuitBreakerRegistry())
    neural.breaker.force_open()
    with pytest.raises(VectorError):
        run(neural.predict([]))
