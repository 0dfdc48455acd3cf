"""Estimators in the manner of scikit-learn: the one file that knows it."""

import copy
import importlib.util
import inspect
import threading
from functools import partial
from typing import Any, Final, NoReturn

from switchgear._extras import need
from switchgear.services._neural.arrays import Arrays
from switchgear.services._neural.errors import ModelError, NotTrainableError, NotTrainedError, VectorError
from switchgear.services._neural.models import Work
from switchgear.services._neural.numbers import answer, check_length

_DEFAULT: Final = "NeuralCircuitBreaker without a model"


def default_estimator() -> Any:
    """Return the model that is used where none is given: an ``MLPRegressor`` that learns the same way each time.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    return need("sklearn.neural_network", "sklearn", _DEFAULT).MLPRegressor(random_state=0)


class EstimatorModel:
    """An estimator that predicts while it learns.

    A training works on a copy, which takes the model's place when it has ended well. So predictions neither wait nor
    see a model that is half trained, and a training that failed, or whose caller has left, changes nothing.

    Args:
        estimator: What has ``predict``; it can be trained if it has ``partial_fit``. It is never changed itself. None:
            the default, which is made when somebody trains or looks at it: importing scikit-learn takes a second or
            two, in which an event loop that makes the service would stand still.

    Raises:
        ImportError: numpy or scikit-learn is not installed.
    """

    def __init__(self, estimator: Any | None) -> None:
        if estimator is None and importlib.util.find_spec("sklearn") is None:
            need("sklearn", "sklearn", _DEFAULT)  # which says so, and at once
        self._arrays: Final = Arrays("NeuralCircuitBreaker with an estimator")
        self._estimator = estimator
        self.turn: Final = threading.Condition()
        self.learner: Training | None = None

    @property
    def given(self) -> Any:
        """The model as it is now."""
        if self._estimator is None:
            made = default_estimator()
            with self.turn:
                if self._estimator is None:
                    self._estimator = made
        return self._estimator

    def learning(self) -> Any:
        """Return what a training may change."""
        estimator = self._estimator
        return default_estimator() if estimator is None else copy.deepcopy(estimator)

    def replace(self, estimator: Any) -> None:
        """Put what has learned in the model's place."""
        self._estimator = estimator

    def predicting(self, vector: Any) -> Work:
        """Return a prediction by the model as it is now."""
        estimator = self._estimator
        if estimator is None:
            return _untrained, None
        check_length(len(vector), getattr(estimator, "n_features_in_", None))
        return partial(
            _predict, estimator, self._arrays.cast(vector, self._arrays.numpy.dtype("float64"))[None, :]
        ), None

    def training(self, data: Any, labels: Any) -> Work:
        """Return one ``partial_fit``, which ends without effect where its caller leaves."""
        estimator = self._estimator
        if estimator is not None and not callable(getattr(estimator, "partial_fit", None)):
            raise NotTrainableError(f"{type(estimator).__name__} cannot be trained in steps: it has no partial_fit")
        rows, targets = self._arrays.table(data, "data"), self._arrays.table(labels, "labels")
        if rows.ndim != 2:
            raise VectorError(f"data must be rows of numbers, not the shape {rows.shape}")
        if len(rows) != len(targets):
            raise VectorError(f"there are {len(rows)} rows of data and {len(targets)} labels")
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]
        _check_fit(estimator, rows, targets)
        training = Training(self, rows, targets)
        return training, training.abandon


def _untrained() -> NoReturn:
    raise NotTrainedError("MLPRegressor was not trained yet: call train() first")


def _predict(estimator: Any, row: Any) -> list[float]:
    try:
        return answer(estimator.predict(row))
    except Exception as error:
        # By name: an estimator need not be scikit-learn's own.
        if type(error).__name__ != "NotFittedError":
            raise
        raise NotTrainedError(f"{type(estimator).__name__} was not trained yet: call train() first") from error


class Training:
    """One training: waits for its turn, learns on a copy, and puts it in the model's place.

    Its caller may leave at any time. What goes on then is for nothing, so that nobody has to wait for it.
    """

    def __init__(self, model: EstimatorModel, rows: Any, targets: Any) -> None:
        self._model = model
        self._rows = rows
        self._targets = targets
        self._abandoned = False

    def __call__(self) -> float:
        """Learn, in a thread, and return the loss."""
        model = self._model
        with model.turn:
            model.turn.wait_for(lambda: self._abandoned or model.learner is None)
            if self._abandoned:
                return 0.0
            model.learner = self
        try:
            learned = model.learning()
            loss = _learn(learned, self._rows, self._targets)
            with model.turn:
                if not self._abandoned:
                    model.replace(learned)
        finally:
            self._give_way()
        return loss

    def abandon(self) -> None:
        """Have no effect from now on."""
        with self._model.turn:
            self._abandoned = True
        self._give_way()

    def _give_way(self) -> None:
        model = self._model
        with model.turn:
            if model.learner is self:
                model.learner = None
            model.turn.notify_all()


def _check_fit(estimator: Any, rows: Any, targets: Any) -> None:
    """Refuse what does not go with what the estimator has learned before.

    Raises:
        VectorError: Rows or labels have another length, or there is a class that it does not know.
    """
    columns = getattr(estimator, "n_features_in_", None)
    if columns is not None and rows.shape[1] != columns:
        raise VectorError(f"data has {rows.shape[1]} numbers a row, the model takes {columns}")
    classes = getattr(estimator, "classes_", None)
    if classes is not None:
        unknown = set(targets.ravel().tolist()) - set(classes)
        if unknown:
            raise VectorError(f"labels hold {min(unknown)}, which the first training had not")
        return
    outputs, width = getattr(estimator, "n_outputs_", None), 1 if targets.ndim == 1 else targets.shape[1]
    if outputs is not None and outputs != width:
        raise VectorError(f"labels have {width} numbers a row, the model gives {outputs}")


def _learn(estimator: Any, rows: Any, targets: Any) -> float:
    # Again: another training may have been first.
    _check_fit(estimator, rows, targets)
    classifies = "classes" in inspect.signature(estimator.partial_fit).parameters
    if classifies and not hasattr(estimator, "classes_"):
        estimator.partial_fit(rows, targets, classes=sorted(set(targets.ravel().tolist())))
    else:
        estimator.partial_fit(rows, targets)
    [loss] = _loss(estimator, rows, targets, classifies)
    return loss


def _loss(estimator: Any, rows: Any, targets: Any, classifies: bool) -> list[float]:
    loss = getattr(estimator, "loss_", None)
    if loss is None:
        predicted = estimator.predict(rows)
        loss = (predicted != targets).mean() if classifies else ((predicted - targets) ** 2).mean()
    try:
        return answer(float(loss))
    except ModelError as error:
        raise ModelError(f"the training came to nothing, its loss is {loss}") from error
