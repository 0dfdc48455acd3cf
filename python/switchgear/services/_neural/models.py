"""What a model can be, and the one kind of it that needs no library: a callable."""

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias

from switchgear.services._neural.errors import NotTrainableError
from switchgear.services._neural.numbers import answer

Work: TypeAlias = "tuple[Callable[[], Any], Callable[[], object] | None]"
"""What to do in a thread, and how to end it from outside, where there is a way."""


class Model(Protocol):
    """A model, as the service sees it. The methods check and prepare; what they return is done in a thread."""

    @property
    def given(self) -> Any:
        """The model itself, as its library has it."""

    def predicting(self, vector: Any) -> Work:
        """Return the work of one prediction, from a vector that ``checked_vector`` has passed."""

    def training(self, data: Any, labels: Any) -> Work:
        """Return the work of one training."""


class CallableModel(NamedTuple):
    """Any callable: it is given a list of floats, or an array where the caller gave one, and answers with numbers."""

    given: Callable[[Any], Any]

    def predicting(self, vector: Any) -> Work:
        """Return a call of it."""
        return functools.partial(_call, self.given, vector if hasattr(vector, "__array__") else vector.tolist()), None

    def training(self, data: Any, labels: Any) -> NoReturn:
        """Refuse it.

        Raises:
            NotTrainableError: Always.
        """
        raise NotTrainableError(f"a callable only predicts: {type(self.given).__name__} has no partial_fit")


def _call(function: Callable[[Any], Any], vector: Any) -> list[float]:
    return answer(function(vector))


def model_of(model: Any) -> Model:
    """Find out what a model is.

    Args:
        model: A path of an ONNX file, an ``onnxruntime.InferenceSession``, an estimator with ``predict``, a callable,
            or None for scikit-learn's ``MLPRegressor``.

    Raises:
        TypeError: It is none of these, or it is a coroutine function.
        ValueError: The file holds no ONNX model, or one that does not map one vector to numbers.
        OSError: The file cannot be read.
        ImportError: The library is not installed.
    """
    if isinstance(model, type) and (hasattr(model, "predict") or hasattr(model, "run")):
        raise TypeError(f"the model must be an instance, not the class {model.__name__}")
    if isinstance(model, (str, os.PathLike)):
        from switchgear.services._neural.onnx import OnnxModel, load

        return OnnxModel(load(model))
    if all(hasattr(model, name) for name in ("get_inputs", "get_outputs", "run")):
        from switchgear.services._neural.onnx import OnnxModel

        return OnnxModel(model)
    if model is None or callable(getattr(model, "predict", None)):
        from switchgear.services._neural.sklearn import EstimatorModel

        return EstimatorModel(model)
    if not callable(model):
        raise TypeError(
            "the model must be the path of an ONNX file, an InferenceSession, an estimator with predict,"
            f" a callable or None, not {type(model).__name__}"
        )
    if _is_async(model):
        raise TypeError(
            "the model must not be a coroutine function: it has nothing to do in a thread."
            " Put it behind a CircuitBreaker of its own, with call()"
        )
    return CallableModel(model)


def _is_async(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return any(
        check(each)
        for check in (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004  # not whether it is callable
    )
