"""A callable behind a breaker: what it is given, what it may answer, and what its end means."""

import array
import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from helpers import Boom, counted, run
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry, CircuitOpenError, State
from switchgear.errors import UnprotectedError
from switchgear.services.neural import ModelError, NeuralCircuitBreaker, NotTrainableError, WorkEscapedError
from switchgear.state import Outcome


def service(model: Any, **changes: Any) -> NeuralCircuitBreaker:
    """A service in a registry of its own."""
    return NeuralCircuitBreaker("m", model, registry=CircuitBreakerRegistry(), **changes)


def predict(model: Any, vector: Any = (1.0, 2.0), **changes: Any) -> list[float]:
    """One prediction, in a service and a loop of its own."""

    async def once() -> list[float]:
        async with service(model, **changes) as neural:
            return await neural.predict(vector)

    return run(once())


def test_it_has_the_name_and_the_defaults_of_a_model() -> None:
    """The breaker is `neural:<name>`, in the registry, with 3 failures, 2 successes, 30 s a call and 60 s OPEN."""
    registry = CircuitBreakerRegistry()
    neural = NeuralCircuitBreaker("prices", max, registry=registry)
    config = neural.breaker.config
    assert "neural:prices" == neural.name
    assert registry["neural:prices"] is neural.breaker
    assert (3, 2, 30.0, 60.0) == (
        config.failure_threshold,
        config.success_threshold,
        config.timeout,
        config.reset_timeout,
    )
    assert "CLOSED (failures: 0)" == neural.get_state()
    assert "<NeuralCircuitBreaker 'neural:prices' CLOSED (failures: 0)>" == repr(neural)


def test_it_runs_in_a_thread_of_the_service() -> None:
    """The model runs neither on the loop's thread nor in the loop's executor."""
    seen: list[str] = []

    def model(vector: list[float]) -> list[float]:
        seen.append(threading.current_thread().name)
        return vector

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with service(model) as neural:
            await neural.predict([1.0])
        assert getattr(loop, "_default_executor") is None  # noqa: B009  # private, for mypy

    run(main())
    assert ["neural:m 1"] == seen


@pytest.mark.parametrize("vector", [[1, 2.5], (1, 2.5), array.array("d", [1, 2.5])])
def test_it_is_given_a_list_of_floats(vector: Any) -> None:
    """Whatever the sequence, the callable sees a list of its own, of floats."""
    seen: list[Any] = []

    def model(given: Any) -> float:
        seen.append(given)
        return 0.0

    predict(model, vector)
    assert [[1.0, 2.5]] == seen
    assert {float} == set(map(type, seen[0]))
    assert seen[0] is not vector


def test_an_array_stays_an_array() -> None:
    """An array reaches the callable as a float64 copy: what its owner changes meanwhile is not seen."""
    numpy = pytest.importorskip("numpy")
    given = numpy.array([1, 2], dtype="int32")

    def model(vector: Any) -> list[float]:
        assert vector.dtype == numpy.float64
        vector[0] = 7.0
        return [float(vector.sum()), 0.5]

    assert [9.0, 0.5] == predict(model, given)
    assert [1, 2] == given.tolist()


@pytest.mark.parametrize(
    ("result", "expected"),
    [(1, [1.0]), (0.5, [0.5]), ([1, 0.5], [1.0, 0.5]), ((2.0,), [2.0]), (array.array("f", [0.5]), [0.5])],
)
def test_the_answer_is_a_list_of_floats(result: Any, expected: list[float]) -> None:
    """A number or a flat sequence of them is an answer."""
    answered = predict(lambda _: result)
    assert expected == answered
    assert {float} == set(map(type, answered))


def test_an_array_is_an_answer_whatever_its_shape() -> None:
    """An array of any shape, and a number of numpy, is flattened."""
    numpy = pytest.importorskip("numpy")
    assert [0.0, 1.0, 2.0, 3.0] == predict(lambda _: numpy.arange(4, dtype="float32").reshape(1, 2, 2))
    assert [0.5] == predict(lambda _: numpy.float32(0.5))


BAD: dict[str, tuple[Any, str]] = {
    "NaN": ([1.0, float("nan")], "answered with nan among its 2 numbers"),
    "infinite": (float("-inf"), "answered with -inf"),
    "none": (None, "not with a NoneType"),
    "empty": ([], "no numbers at all"),
    "text": ("1.0", "not with a str"),
    "bytes": (b"12345678", "not with a bytes"),
    "nested": ([[1.0]], "flat list of numbers"),
    "a set": ({1.0, 2.0}, "not with a set"),
    "a huge int": ([10**400], "flat list of numbers"),
    "complex": (1j, "not with a complex"),
}


@pytest.mark.parametrize(("result", "text"), BAD.values(), ids=BAD)
def test_an_answer_that_is_none_is_a_failure(result: Any, text: str) -> None:
    """What is not finite numbers is an error with a clear text, and a failure of the model."""

    async def main() -> None:
        async with service(lambda _: result) as neural:
            with pytest.raises(ModelError, match=text):
                await neural.predict([1.0])
            assert {"total_calls": 1, "failed_calls": 1} == counted(neural.breaker)

    run(main())


async def _later(_: Any) -> list[float]:
    return [1.0]


def _steps(_: Any) -> Iterator[float]:
    yield 1.0


class _Awaited:
    async def __call__(self, _: Any) -> list[float]:
        return [1.0]


@pytest.mark.parametrize("model", [_later, _steps, _Awaited(), functools.partial(_later), _Awaited().__call__])
def test_a_coroutine_function_is_refused(model: Any) -> None:
    """What does nothing in a thread is no model, and leaves no breaker in the registry."""
    registry = CircuitBreakerRegistry()
    with pytest.raises(TypeError, match="coroutine function"):
        NeuralCircuitBreaker("m", model, registry=registry)
    assert [] == registry.list_names()


@pytest.mark.parametrize("model", [lambda v: _later(v), lambda v: _steps(v)])
def test_a_promise_is_no_answer(model: Callable[[Any], Any]) -> None:
    """A coroutine that is found too late is closed and refused; that is the program's mistake and neutral."""

    async def main() -> None:
        async with service(model) as neural:
            with pytest.raises(UnprotectedError, match="must answer there"):
                await neural.predict([1.0])
            assert {"total_calls": 1, "ignored_calls": 1} == counted(neural.breaker)

    run(main())


@pytest.mark.parametrize("error", [Boom("no"), ValueError("inside"), TimeoutError("its own"), MemoryError()])
def test_the_models_own_exception_reaches_the_caller(error: Exception) -> None:
    """Untouched, and as a failure, a ValueError too: those of bad input are raised before the model is asked."""

    def model(_: Any) -> float:
        raise error

    async def main() -> None:
        async with service(model) as neural:
            for _ in range(3):
                with pytest.raises(type(error)) as caught:
                    await neural.predict([1.0])
                assert error is caught.value
            assert neural.breaker.state is State.OPEN
            with pytest.raises(CircuitOpenError):
                await neural.predict([1.0])

    run(main())


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), StopIteration(1)]
)
def test_what_would_end_the_loop_stays_in_the_thread(error: BaseException) -> None:
    """A model that calls sys.exit() fails its own call: neither the program nor the thread ends by it."""
    errors = [error]

    def model(vector: list[float]) -> list[float]:
        if errors:
            raise errors.pop()
        return vector

    async def main() -> None:
        async with service(model, max_concurrent=1) as neural:
            with pytest.raises(WorkEscapedError, match=type(error).__name__) as caught:
                await neural.predict([1.0])
            assert error is caught.value.__cause__
            assert [2.0] == await neural.predict([2.0])
            assert {"total_calls": 2, "failed_calls": 1, "successful_calls": 1} == counted(neural.breaker)

    run(main())


def test_a_callable_cannot_be_trained() -> None:
    """Training what only predicts is a TypeError that the breaker never hears of."""

    async def main() -> None:
        async with service(max) as neural:
            with pytest.raises(NotTrainableError, match="partial_fit"):
                await neural.train([[1.0]], [1.0])
            assert {} == counted(neural.breaker)

    run(main())


def test_the_users_classification_is_asked_first() -> None:
    """`config.classify` may overrule the service's verdict, and `ignore` holds where the service has none."""

    def model(_: Any) -> float:
        raise Boom("no")

    overruling = CircuitBreakerConfig(classify=lambda error: Outcome.SUCCESS if isinstance(error, Boom) else None)
    for config, expected in (
        (overruling, {"total_calls": 1, "successful_calls": 1}),
        (CircuitBreakerConfig(ignore=Boom), {"total_calls": 1, "ignored_calls": 1}),
    ):
        neural = service(model, config=config)
        with pytest.raises(Boom):
            run(neural.predict([1.0]))
        assert expected == counted(neural.breaker)
        run(neural.aclose())


def test_a_model_that_hangs_trips() -> None:
    """Each deadline is a failure, and holds though the thread goes on."""
    release = threading.Event()

    def model(_: Any) -> float:
        release.wait(60)
        return 1.0

    async def main() -> None:
        config = CircuitBreakerConfig(failure_threshold=2, timeout=0.05)
        async with service(model, config=config) as neural:
            for number in (1, 2):
                with pytest.raises(CallTimeoutError):
                    await neural.predict([1.0])
                assert number == neural.abandoned_threads
            assert neural.breaker.state is State.OPEN
            assert 2 == neural.get_metrics().timed_out_calls

    try:
        run(main())
    finally:
        release.set()


@pytest.mark.parametrize("model", [5, object(), [1.0], b"model.onnx"])
def test_what_is_no_model_is_refused(model: Any) -> None:
    """At once, with what it was."""
    with pytest.raises(TypeError, match="must be"):
        service(model)


@pytest.mark.parametrize("changes", [{"max_concurrent": 0}, {"max_concurrent": True}, {"features": 0}])
def test_limits_are_checked(changes: dict[str, Any]) -> None:
    """A wrong limit is a ValueError that names it."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        service(max, **changes)
