"""Estimators: trained while they predict, by real scikit-learn."""

import asyncio
import copy
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest

from helpers import Boom, counted, run
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services.neural import (
    ModelError,
    NeuralCircuitBreaker,
    NotTrainableError,
    NotTrainedError,
    VectorError,
    WorkersBusyError,
)

numpy = pytest.importorskip("numpy")
neural_network = pytest.importorskip("sklearn.neural_network", reason="SKIPPED: scikit-learn is not installed")
linear_model = pytest.importorskip("sklearn.linear_model")

DATA = [[x / 10, 1 - x / 10] for x in range(10)]
LABELS = [2 * x - y for x, y in DATA]


def service(model: Any = None, **changes: Any) -> NeuralCircuitBreaker:
    """A service in a registry of its own."""
    return NeuralCircuitBreaker("m", model, registry=CircuitBreakerRegistry(), **changes)


def small(**changes: Any) -> Any:
    return neural_network.MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.02, random_state=1, **changes)


def test_the_default_model_learns() -> None:
    """Without a model there is an MLPRegressor: its loss falls, and it predicts what it was taught."""

    async def main() -> None:
        async with service() as neural:
            assert isinstance(neural.model, neural_network.MLPRegressor)
            losses = [await neural.train(DATA, LABELS) for _ in range(150)]
            assert {float} == set(map(type, losses))
            assert losses[-1] < losses[0] / 5
            [predicted] = await neural.predict([0.5, 0.5])
            assert 0.5 == pytest.approx(predicted, abs=0.3)
            assert neural.model.loss_ == losses[-1]
            assert {"total_calls": 151, "successful_calls": 151} == counted(neural.breaker)

    run(main())


FRESH = """
import asyncio, sys, threading
from switchgear.services.neural import NeuralCircuitBreaker, NotTrainedError

importers = []

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "sklearn":
            importers.append(threading.current_thread().name)

async def main():
    neural = NeuralCircuitBreaker("m")
    try:
        await neural.predict([0.0])
    except NotTrainedError:
        # Installed late: that it is installed is looked up when the service is made.
        sys.meta_path.insert(0, Watch())
    assert "sklearn" not in sys.modules
    await neural.train([[0.0], [1.0]], [0.0, 1.0])
    assert importers == ["neural:m 1"], importers
    assert type(neural.model).__name__ == "MLPRegressor"
    assert len(await neural.predict([0.0])) == 1

asyncio.run(main())
"""


def test_scikit_learn_is_loaded_by_the_first_training_in_its_thread() -> None:
    """Making the service, or predicting too early, holds up no event loop with an import of seconds."""
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_who_has_no_scikit_learn_hears_of_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only with the first training."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"without a model needs 'sklearn'.*pip install 'switchgear\[sklearn\]'"):
        service()


def test_the_default_model_can_be_looked_at_before_it_is_trained() -> None:
    """It is made for whoever looks, once, and then trained like any other."""
    neural = service()
    model = neural.model
    assert model is neural.model
    run(neural.train(DATA, LABELS))
    assert (False, True) == (hasattr(model, "coefs_"), hasattr(neural.model, "coefs_"))


def test_a_model_that_was_not_trained_says_so() -> None:
    """A prediction before the first training is a clear error, and neutral: the model is not ill."""

    async def main() -> None:
        async with service() as neural:
            for _ in range(4):
                with pytest.raises(NotTrainedError, match=r"MLPRegressor was not trained yet: call train\(\) first"):
                    await neural.predict([1.0])
            assert {"total_calls": 4, "ignored_calls": 4} == counted(neural.breaker)
            assert "CLOSED (failures: 0)" == neural.get_state()

    run(main())


def test_a_given_estimator_is_left_as_it_was() -> None:
    """Training replaces the model by a trained copy: whoever holds the one before sees no change."""

    async def main() -> None:
        given = small().partial_fit(DATA, LABELS)
        before = copy.deepcopy(given.coefs_)
        async with service(given) as neural:
            assert neural.model is given
            expected = given.predict([[0.1, 0.2]]).tolist()
            assert expected == await neural.predict([0.1, 0.2])
            await neural.train(numpy.array(DATA), numpy.array(LABELS).reshape(-1, 1))
            assert neural.model is not given
            assert all((old == new).all() for old, new in zip(before, given.coefs_, strict=True))
            assert expected != await neural.predict([0.1, 0.2])

    run(main())


def test_several_outputs_are_a_longer_list() -> None:
    """A model with two outputs answers with two numbers."""

    async def main() -> None:
        async with service(small()) as neural:
            await neural.train(DATA, [[x, y] for x, y in DATA])
            assert 2 == len(await neural.predict([0.1, 0.2]))

    run(main())


@pytest.mark.parametrize(
    ("data", "labels", "text"),
    [
        ([], [], "data is empty"),
        ([[]], [1.0], "data is empty"),
        ([1.0, 2.0], [1.0, 2.0], "rows of numbers, not the shape"),
        ([[1.0, 2.0], [1.0]], [1.0, 2.0], "all of one length"),
        ([[1.0, float("nan")]], [1.0], r"data\[0, 1\] must be finite, not nan"),
        ([[1.0, 2.0]], [float("inf")], r"labels\[0\] must be finite, not inf"),
        ([[1.0, 2.0]], [1.0, 2.0], "1 rows of data and 2 labels"),
        ([["a", "b"]], [1.0], "data must hold real numbers"),
        ([[1.0, 2.0]], ["up"], "labels must hold real numbers"),
        ([[[1.0]]], [1.0], "one dimension or two"),
        (None, None, r"data must have one dimension or two, not the shape \(\)"),
        ([[1.0, 2.0, 3.0]], [1.0], "data has 3 numbers a row, the model takes 2"),
        ([[1.0, 2.0]], [[1.0, 2.0]], "labels have 2 numbers a row, the model gives 1"),
    ],
)
def test_bad_training_data_is_a_value_error(data: Any, labels: Any, text: str) -> None:
    """Neither the model nor the breaker hears of it."""
    neural = service(small().partial_fit(DATA, LABELS))
    model = neural.model
    with pytest.raises(VectorError, match=text):
        run(neural.train(data, labels))
    assert neural.model is model
    assert {} == counted(neural.breaker)


def test_a_class_in_place_of_an_estimator_is_refused() -> None:
    """Whoever forgets the parentheses hears of it at once."""
    with pytest.raises(TypeError, match="must be an instance, not the class MLPRegressor"):
        service(neural_network.MLPRegressor)


def test_a_vector_of_another_length_is_a_value_error() -> None:
    """What the model was trained with says how many numbers it takes."""
    neural = service(small().partial_fit(DATA, LABELS))
    with pytest.raises(VectorError, match="has 3 numbers, the model takes 2"):
        run(neural.predict([1.0, 2.0, 3.0]))
    assert {} == counted(neural.breaker)


def test_a_pipeline_only_predicts() -> None:
    """What has no partial_fit cannot be trained, and the breaker never hears of it."""
    pipeline = pytest.importorskip("sklearn.pipeline").make_pipeline(linear_model.LinearRegression())
    pipeline.fit(DATA, LABELS)

    async def main() -> None:
        async with service(pipeline) as neural:
            assert [0.5] == pytest.approx(await neural.predict([0.5, 0.5]))
            with pytest.raises(NotTrainableError, match=r"Pipeline .* has no partial_fit"):
                await neural.train(DATA, LABELS)
            assert {"total_calls": 1, "successful_calls": 1} == counted(neural.breaker)

    run(main())


def test_a_classifier_learns_the_classes_of_its_first_training() -> None:
    """The first training says which classes there are; a label beside them is the caller's mistake."""

    async def main() -> None:
        async with service(linear_model.SGDClassifier(random_state=0)) as neural:
            loss = 1.0
            for _ in range(20):
                loss = await neural.train([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1])
            assert 0.0 == loss
            assert ([0.0], [1.0]) == (await neural.predict([0.0]), await neural.predict([5.0]))
            with pytest.raises(VectorError, match=r"labels hold 2\.0, which the first training had not"):
                await neural.train([[0.0]], [2])

    run(main())


def test_the_loss_of_a_regressor_without_one_is_its_mean_squared_error() -> None:
    """An estimator that keeps no loss is measured on the data of the training."""

    async def main() -> None:
        async with service(linear_model.SGDRegressor(random_state=0)) as neural:
            loss = await neural.train(DATA, LABELS)
            assert ((neural.model.predict(DATA) - LABELS) ** 2).mean() == loss

    run(main())


class Estimator:
    """An estimator of one number, which can be told to wait, to fail or to lose itself."""

    def __init__(self) -> None:
        self.learned: list[float] = []

    def partial_fit(self, rows: Any, targets: Any) -> "Estimator":
        self.learned = [*self.learned, *targets.tolist()]
        action = ACTIONS.get(targets[0])
        if action is not None:
            action()
        return self

    def predict(self, rows: Any) -> Any:
        return numpy.full(len(rows), sum(self.learned))


ACTIONS: dict[float, Any] = {}


class Gate:
    """Where a training waits until it is told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(30)

    async def wait_for_it(self) -> None:
        while not self.reached.is_set():
            await asyncio.sleep(0.002)


async def idle(neural: NeuralCircuitBreaker) -> None:
    """Wait until no thread is abandoned any more."""
    while neural.abandoned_threads:
        await asyncio.sleep(0.002)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Where a training on the label 99 waits."""
    gate = Gate()
    monkeypatch.setitem(ACTIONS, 99.0, gate)
    return gate


def test_predictions_go_on_during_a_training(gate: Gate) -> None:
    """They neither wait for it nor see half of it."""

    async def main() -> None:
        async with service(Estimator()) as neural:
            await neural.train([[0.0]], [1])
            training = asyncio.create_task(neural.train([[0.0]], [99]))
            await gate.wait_for_it()
            assert [1.0] == await neural.predict([0.0])
            gate.open.set()
            await training
            assert [100.0] == await neural.predict([0.0])

    run(main())


def test_trainings_follow_one_another() -> None:
    """None of those that are started at once is lost."""

    async def main() -> None:
        async with service(Estimator(), max_concurrent=50) as neural:
            await asyncio.gather(*[neural.train([[0.0]], [number]) for number in range(50)])
            assert list(range(50)) == sorted(neural.model.learned)

    run(main())


def test_a_training_that_times_out_changes_nothing_and_holds_nobody_up(gate: Gate) -> None:
    """The next training does not wait for it; when it ends at last, its result is dropped."""

    async def main() -> None:
        config = CircuitBreakerConfig(timeout=0.5)
        async with service(Estimator(), config=config) as neural:
            with pytest.raises(CallTimeoutError):
                await neural.train([[0.0]], [99])
            assert 1 == neural.abandoned_threads
            await neural.train([[0.0]], [1])
            gate.open.set()
            await idle(neural)
            assert [1.0] == neural.model.learned

    run(main())


def test_a_training_that_is_cancelled_while_it_waits_gives_its_place_back(gate: Gate) -> None:
    """A training behind another one that hangs is not lost with it."""

    async def main() -> None:
        async with service(Estimator(), max_concurrent=2) as neural:
            first = asyncio.create_task(neural.train([[0.0]], [99]))
            await gate.wait_for_it()
            second = asyncio.create_task(neural.train([[0.0]], [2]))
            await asyncio.sleep(0.05)
            with pytest.raises(WorkersBusyError):
                await neural.predict([0.0])
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await idle(neural)
            assert [0.0] == await neural.predict([0.0])
            gate.open.set()
            await first
            assert [99.0] == neural.model.learned

    run(main())


def test_a_training_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is the one before, though the copy had learned when it failed; the next training may go."""

    def fail() -> None:
        raise Boom("no")

    monkeypatch.setitem(ACTIONS, 13.0, fail)

    async def main() -> None:
        async with service(Estimator()) as neural:
            await neural.train([[0.0]], [1])
            with pytest.raises(Boom):
                await neural.train([[0.0]], [13])
            assert [1.0] == neural.model.learned
            await neural.train([[0.0]], [2])
            assert [1.0, 2.0] == neural.model.learned
            assert {"total_calls": 3, "failed_calls": 1, "successful_calls": 2} == counted(neural.breaker)

    run(main())


def test_a_training_that_diverges_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A loss that is no number is the model's failure, and what it came to is dropped."""
    caplog.set_level(logging.CRITICAL, "switchgear")

    class Diverging(Estimator):
        loss_ = float("nan")

    async def main() -> None:
        async with service(Diverging()) as neural:
            model = neural.model
            with pytest.raises(ModelError, match="came to nothing, its loss is nan"):
                await neural.train([[0.0]], [1])
            assert neural.model is model
            assert {"total_calls": 1, "failed_calls": 1} == counted(neural.breaker)

    run(main())


def test_a_model_that_predicts_nan_is_a_failure() -> None:
    """Weights that went bad show in the answer, not in the caller's portfolio."""
    broken = small().partial_fit(DATA, LABELS)
    broken.coefs_[0][:] = numpy.nan

    async def main() -> None:
        async with service(broken) as neural:
            with pytest.raises(ModelError, match="answered with nan"):
                await neural.predict([0.0, 1.0])
            assert {"total_calls": 1, "failed_calls": 1} == counted(neural.breaker)

    run(main())


def test_predictions_and_trainings_all_at_once() -> None:
    """A hundred tasks on a real model: every answer is finite, every call is counted."""

    async def main() -> None:
        async with service(small().partial_fit(DATA, LABELS), max_concurrent=100) as neural:
            calls = [neural.train(DATA, LABELS) if n % 5 == 0 else neural.predict([0.1, n / 100]) for n in range(100)]
            await asyncio.gather(*calls)
            assert {"total_calls": 100, "successful_calls": 100} == counted(neural.breaker)

    run(main())
