"""A model behind a breaker: predictions and training in threads of its own, with a deadline that holds."""

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from switchgear.config import CircuitBreakerConfig
from switchgear.services._neural.errors import ModelError, NotTrainableError, NotTrainedError, VectorError
from switchgear.services._neural.job import WorkEscapedError
from switchgear.services._neural.models import model_of
from switchgear.services._neural.numbers import check_length, checked_vector
from switchgear.services._neural.verdicts import verdict
from switchgear.services._neural.workers import Workers, WorkersBusyError
from switchgear.services._service import Service

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from switchgear.registry import CircuitBreakerRegistry

__all__ = [
    "ModelError",
    "NeuralCircuitBreaker",
    "NotTrainableError",
    "NotTrainedError",
    "VectorError",
    "WorkEscapedError",
    "WorkersBusyError",
]

DEFAULTS: Final = CircuitBreakerConfig(failure_threshold=3, success_threshold=2, timeout=30.0, reset_timeout=60.0)
MAX_CONCURRENT: Final = 8
_LIMIT: Final = 1000


class SupportsArray(Protocol):
    """An array of numpy, or what turns into one."""

    def __array__(self) -> Any: ...


class Estimator(Protocol):
    """What predicts in the manner of scikit-learn; it can be trained if it has ``partial_fit``, too."""

    def predict(self, rows: Any, /) -> Any:
        """Return an answer for each row of a two-dimensional array."""


class Session(Protocol):
    """A session of onnxruntime."""

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None, /) -> Any:
        """Return the outputs."""


Vector: TypeAlias = "Sequence[float] | SupportsArray"


class NeuralCircuitBreaker(Service):
    """Ask a model, and train it, through the breaker ``neural:<model_name>``.

    The work is done in the service's own threads, one call each, and never in those of the event loop's executor. There
    is no line before them: a call beyond ``max_concurrent`` is turned away at once. At the deadline, and when the
    caller is cancelled, the caller is free at once; a run of an ONNX model is ended, any other work goes on until it
    ends by itself and keeps its place so long (``abandoned_threads``). Work that holds the interpreter's lock all the
    time, inside an extension module, holds up the event loop and with it the deadline.

    May be used from several threads and event loops, also one after another. Predictions run beside one another, so a
    callable has to stand that, or ``max_concurrent`` has to be 1.

    Args:
        model_name: What it is called; the breaker is ``neural:<model_name>``.
        model: The path of an ONNX file or an ``onnxruntime.InferenceSession`` (extra ``onnx``; predicts only), an
            estimator with ``predict`` and, to be trained, ``partial_fit`` (extra ``sklearn``), or a callable that takes
            a list of floats (an array where ``predict`` was given one) and returns numbers. Default ``None``:
            scikit-learn's ``MLPRegressor``, which has to be trained first; scikit-learn, a second or two of importing,
            is loaded by the first training, in its thread and within its deadline. Files are read here, at once.
        config: The breaker's configuration; default 3 failures, 2 successes, 30 s a call, 60 s OPEN.
        registry: Where the breaker is registered; default the process's registry.
        features: How many numbers a vector has to have, for a model that does not say so itself: a callable; default
            ``None``: any.
        max_concurrent: How many calls may run at a time, abandoned ones included; 1 to 1000, default 8.

    Raises:
        TypeError: An argument has the wrong type, or the model is a coroutine function.
        ValueError: The name is empty, or that of a breaker which no service has made; ``max_concurrent`` or
            ``features`` is out of range, the file no ONNX model, or the model one that does not take a vector.
        OSError: The file cannot be read.
        ImportError: The model's library is not installed; the text says what to install.
    """

    def __init__(
        self,
        model_name: str,
        model: "str | os.PathLike[str] | Session | Estimator | Callable[[Any], Any] | None" = None,
        *,
        config: CircuitBreakerConfig | None = None,
        registry: "CircuitBreakerRegistry | None" = None,
        features: int | None = None,
        max_concurrent: int = MAX_CONCURRENT,
    ) -> None:
        if features is not None and (type(features) is not int or features < 1):
            raise ValueError(f"features must be None or an int from 1 on, not {features!r}")
        if type(max_concurrent) is not int or not 1 <= max_concurrent <= _LIMIT:
            raise ValueError(f"max_concurrent must be an int from 1 to {_LIMIT}, not {max_concurrent!r}")
        # Before the breaker is registered: a model that cannot be used leaves none behind.
        self._model = model_of(model)
        self._features = features
        super().__init__("neural", model_name, defaults=DEFAULTS, classify=verdict, config=config, registry=registry)
        self._workers = Workers(self.breaker.name, max_concurrent)

    @property
    def model(self) -> Any:
        """The model as it is now: a training puts a trained copy in the place of the one before.

        The default model, before its first training, is made by whoever looks at it, and scikit-learn loaded with it.
        """
        return self._model.given

    @property
    def abandoned_threads(self) -> int:
        """How many threads run work whose caller has left; each holds one place of ``max_concurrent``."""
        return self._workers.abandoned

    async def predict(self, vector: Vector) -> list[float]:
        """Ask the model about one vector.

        Cancelling the caller is neutral, and frees the caller at once.

        Args:
            vector: Finite numbers, as many as the model takes: a sequence, or an array of one dimension, which is
                quicker for long ones. It is copied.

        Returns:
            What the model answers, flattened; never empty, never NaN or infinite.

        Raises:
            VectorError: The vector has the wrong shape, or holds what is no finite number (a ``ValueError``). The
                breaker is not asked.
            TypeError: It is no sequence. The breaker is not asked.
            CircuitOpenError: The breaker rejects the call.
            WorkersBusyError: ``max_concurrent`` calls are running. Neutral.
            NotTrainedError: The model was not trained yet. Neutral.
            CallTimeoutError: It took longer than ``config.timeout``.
            ModelError: The answer is no list of finite numbers. A failure.
            WorkEscapedError: The model raised what is no ``Exception``: ``SystemExit``, for one. A failure.
            RuntimeError: The service is closed, or there is no running asyncio loop. The breaker is not asked.

        What else the model raises reaches the caller as it is, and is a failure.
        """
        self._check_usable()
        checked = checked_vector(vector)
        check_length(len(checked), self._features)
        work, stop = self._model.predicting(checked)
        return await self.breaker.call(self._workers.submit, work, stop)

    async def train(self, data: "Sequence[Vector] | SupportsArray", labels: "Sequence[Any] | SupportsArray") -> float:
        """Train the model by one ``partial_fit``, on a copy that takes the model's place when it has ended well.

        Predictions go on meanwhile, with the model as it was. Trainings follow one another. One that fails, times out
        or is cancelled changes nothing.

        Args:
            data: Vectors of one length; at least one. Copied.
            labels: A number, or a row of numbers, for each vector. Of a classifier, the first training has to show
                every class.

        Returns:
            The loss: the estimator's own ``loss_`` where it has one, else the mean squared error, or, of a classifier,
            the part of the labels that it gets wrong, on this very data.

        Raises:
            NotTrainableError: The model only predicts (a ``TypeError``). The breaker is not asked.
            VectorError: The data has the wrong shape, or holds what is no finite number (a ``ValueError``). Neutral.
            ModelError: The loss is NaN or infinite. A failure; the model is what it was before.

        Otherwise as for ``predict``.
        """
        self._check_usable()
        work, stop = self._model.training(data, labels)
        return await self.breaker.call(self._workers.submit, work, stop)

    async def aclose(self) -> None:
        """Take no more calls; those that run go on to their ends, and their threads with them. Waits for none."""
        self._workers.close()

    def _check_usable(self) -> None:
        # Raised here, where no breaker hears of it: a program without a loop says nothing of the model.
        asyncio.get_running_loop()
        if self._workers.closed:
            raise RuntimeError(f"{self.name!r} is closed")
