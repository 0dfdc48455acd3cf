"""ONNX models: real files, real sessions, and runs that are really ended."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import counted, run
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services.neural import NeuralCircuitBreaker, NotTrainableError, VectorError

numpy = pytest.importorskip("numpy")
onnxruntime = pytest.importorskip("onnxruntime", reason="SKIPPED: onnxruntime is not installed")
onnx = pytest.importorskip("onnx", reason="SKIPPED: there is no onnx to build models with")

FLOAT, DOUBLE, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64
OPSET = [onnx.helper.make_opsetid("", 17)]


def proto(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any] = ()) -> Any:  # type: ignore[assignment]
    """A model of these nodes."""
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    model = onnx.helper.make_model(graph, opset_imports=OPSET, ir_version=8)
    onnx.checker.check_model(model)
    return model


def value(name: str, shape: list[Any], kind: int = FLOAT) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def identity(shape: list[Any], kind: int = FLOAT) -> Any:
    """A model that answers what it is given."""
    return proto(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], [value("x", shape, kind)], [value("y", shape, kind)]
    )


def linear() -> Any:
    """A model that answers x @ [[1, 0], [0, 2], [0, 0]] + [0.5, 0.5]."""
    weights = onnx.numpy_helper.from_array(numpy.array([[1, 0], [0, 2], [0, 0]], "float32"), "w")
    bias = onnx.numpy_helper.from_array(numpy.array([0.5, 0.5], "float32"), "b")
    node = onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    return proto([node], [value("x", ["batch", 3])], [value("y", ["batch", 2])], [weights, bias])


def looping(steps: int) -> Any:
    """A model that adds its input to itself as many times, step by step: a minute and more for 100 million."""
    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Identity", ["condition"], ["going"]),
            onnx.helper.make_node("Tanh", ["sum"], ["next"]),
        ],
        "body",
        [
            value("step", [], INT64),
            value("condition", [], onnx.TensorProto.BOOL),
            value("sum", [1, 2]),
        ],
        [value("going", [], onnx.TensorProto.BOOL), value("next", [1, 2])],
    )
    constants = [
        onnx.numpy_helper.from_array(numpy.array(steps, "int64"), "steps"),
        onnx.numpy_helper.from_array(numpy.array(True), "go"),
    ]
    node = onnx.helper.make_node("Loop", ["steps", "go", "x"], ["y"], body=body)
    return proto([node], [value("x", [1, 2])], [value("y", [1, 2])], constants)


def products(steps: int) -> Any:
    """A model of large matrix products, which are so long each that a run is in one of them when the program ends."""
    size = 1024
    nodes = [onnx.helper.make_node("Expand", ["x", "shape"], ["p0"])]
    nodes += [onnx.helper.make_node("MatMul", [f"p{n}", "w"], [f"p{n + 1}"]) for n in range(steps)]
    nodes += [onnx.helper.make_node("ReduceSum", [f"p{steps}"], ["y"])]
    constants = [
        onnx.numpy_helper.from_array(numpy.eye(size, dtype="float32"), "w"),
        onnx.numpy_helper.from_array(numpy.array([size, size]), "shape"),
    ]
    return proto(nodes, [value("x", [1, size])], [value("y", [1, 1])], constants)


Saved = Callable[[Any], Path]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Write a model to a file."""

    def save(model: Any) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return save


def service(model: Any, **changes: Any) -> NeuralCircuitBreaker:
    """A service in a registry of its own."""
    return NeuralCircuitBreaker("m", model, registry=CircuitBreakerRegistry(), **changes)


def predict(model: Any, vector: Any) -> list[float]:
    """One prediction, in a service and a loop of its own."""

    async def once() -> list[float]:
        async with service(model) as neural:
            return await neural.predict(vector)

    return run(once())


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_file_predicts(saved: Saved, as_path: Callable[[Path], Any]) -> None:
    """A path, as text or as Path, is read at once and asked about one vector at a time."""
    assert [1.5, 4.5] == predict(as_path(saved(linear())), [1, 2, 3])


def test_a_session_predicts() -> None:
    """A session that its owner made is used as it is."""
    session = onnxruntime.InferenceSession(linear().SerializeToString())
    neural = service(session)
    assert neural.model is session
    assert [0.5, 0.5] == run(neural.predict(numpy.zeros(3)))
    run(neural.aclose())


@pytest.mark.parametrize(
    ("shape", "kind", "vector"),
    [
        ([2], FLOAT, [1, 2]),
        (["n"], FLOAT, [1, 2, 3]),
        ([1, 2], DOUBLE, [0.1, 0.2]),
        (["batch", "n"], FLOAT, [1, 2, 3]),
        (["batch", 2, 3], FLOAT, [1, 2, 3, 4, 5, 6]),
        ([1, "n", 2], FLOAT, [1, 2, 3, 4]),
        (["batch", 2], INT64, [-1, 2**53]),
        ([2], onnx.TensorProto.INT32, [-(2**31), 2**31 - 1]),
        ([2], onnx.TensorProto.FLOAT16, [0.5, 65504]),
    ],
)
def test_a_vector_takes_the_inputs_shape(shape: list[Any], kind: int, vector: list[float]) -> None:
    """The first of several dimensions is the batch, which is 1; the vector fills the rest, in the input's type."""
    session = onnxruntime.InferenceSession(identity(shape, kind).SerializeToString())
    assert vector == predict(session, vector)


@pytest.mark.parametrize(
    ("shape", "kind", "vector", "text"),
    [
        ([2], FLOAT, [1], "has 1 numbers, the model takes 2"),
        (["batch", 2, 3], FLOAT, [1] * 5, "has 5 numbers, the model takes 6"),
        ([1, "n", 2], FLOAT, [1] * 3, "has 3 numbers"),
        ([2], FLOAT, [1, 1e39], "out of the range of the model's float32"),
        ([2], onnx.TensorProto.FLOAT16, [1, 65536], "out of the range of the model's float16"),
        ([2], INT64, [1, 2.0**63], "out of the range of the model's int64"),
        ([2], INT64, [1, 0.5], "takes whole numbers"),
    ],
)
def test_a_vector_that_does_not_fit_is_a_value_error(shape: list[Any], kind: int, vector: Any, text: str) -> None:
    """The session is not asked, the breaker neither."""
    neural = service(onnxruntime.InferenceSession(identity(shape, kind).SerializeToString()))
    with pytest.raises(VectorError, match=text):
        run(neural.predict(vector))
    assert {} == counted(neural.breaker)


@pytest.mark.parametrize("content", [b"", b"this is no model", b"\x08\x07\x12" * 1000])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    """At once, by a text that names the file, and no breaker is left behind."""
    path = tmp_path / "junk.onnx"
    path.write_bytes(content)
    registry = CircuitBreakerRegistry()
    with pytest.raises(ValueError, match=r"junk\.onnx is not an ONNX model"):
        NeuralCircuitBreaker("m", path, registry=registry)
    assert [] == registry.list_names()


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    """One that is missing, and a folder."""
    with pytest.raises(FileNotFoundError):
        service(tmp_path / "missing.onnx")
    with pytest.raises(OSError, match=r".+"):
        service(tmp_path)


def test_a_model_of_another_kind_is_refused() -> None:
    """Two inputs, a fixed batch of four, text: what does not take one vector is told at once."""
    two = proto(
        [onnx.helper.make_node("Add", ["a", "b"], ["y"])], [value("a", [2]), value("b", [2])], [value("y", [2])]
    )
    for model, text in (
        (two, r"one input, not 2 \(a, b\)"),
        (identity([4, 2]), "one vector at a time"),
        (identity(["batch", "n", "m"]), "one vector at a time"),
        (identity([]), "not a single number"),
        (identity([2], onnx.TensorProto.STRING), r"not tensor\(string\)"),
    ):
        with pytest.raises(ValueError, match=text):
            service(onnxruntime.InferenceSession(model.SerializeToString()))


def test_it_cannot_be_trained(saved: Saved) -> None:
    """Training is a NotTrainableError that the breaker never hears of."""
    neural = service(saved(linear()))
    with pytest.raises(NotTrainableError, match="only predicts"):
        run(neural.train([[1.0, 2.0, 3.0]], [1.0]))
    assert {} == counted(neural.breaker)


def test_what_onnxruntime_raises_is_a_failure() -> None:
    """A model that fails inside trips, and its exception is the library's own."""
    node = onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])
    three = onnx.numpy_helper.from_array(numpy.array([3], "int64"), "shape")
    model = proto([node], [value("x", ["n"])], [value("y", [3])], [three])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4

    async def main() -> None:
        async with service(onnxruntime.InferenceSession(model.SerializeToString(), options)) as neural:
            assert [1.0, 2.0, 3.0] == await neural.predict([1, 2, 3])
            with pytest.raises(Exception, match="Reshape") as caught:
                await neural.predict([1, 2])
            assert "onnxruntime" in type(caught.value).__module__
            assert {"total_calls": 2, "successful_calls": 1, "failed_calls": 1} == counted(neural.breaker)

    run(main())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does; half a minute is for ever."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


HOURS = 2_000_000_000


@pytest.mark.parametrize("own_session", [False, True])
def test_a_run_that_times_out_is_ended(saved: Saved, capfd: pytest.CaptureFixture[str], own_session: bool) -> None:
    """A run of hours ends soon after its deadline: its thread is there for the next call, and nothing is logged."""
    path = saved(looping(HOURS))
    model = onnxruntime.InferenceSession(str(path)) if own_session else path

    async def main() -> None:
        config = CircuitBreakerConfig(failure_threshold=10, timeout=0.1)
        async with service(model, config=config, max_concurrent=1) as neural:
            for _ in range(2):
                with pytest.raises(CallTimeoutError):
                    await neural.predict([1, 2])
                await until(lambda: not neural.abandoned_threads)
            assert 2 == neural.get_metrics().timed_out_calls

    run(main())
    assert ("", "") == capfd.readouterr()


def test_a_run_that_is_cancelled_is_ended(saved: Saved) -> None:
    """A cancelled caller ends its own run, and no other one of the same session."""

    async def main() -> None:
        async with service(saved(looping(300_000))) as neural:
            staying = asyncio.create_task(neural.predict([1, 2]))
            leaving = asyncio.create_task(neural.predict([1, 2]))
            await asyncio.sleep(0.05)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            await until(lambda: not neural.abandoned_threads)
            assert not staying.done()
            assert 2 == len(await staying)
            assert {"total_calls": 2, "successful_calls": 1, "ignored_calls": 1} == counted(neural.breaker)

    run(main())


def test_threads_end_with_the_service(saved: Saved) -> None:
    """After a run was ended and the service closed, no thread of it is left."""

    async def main() -> None:
        async with service(saved(looping(HOURS)), config=CircuitBreakerConfig(timeout=0.05)) as neural:
            with pytest.raises(CallTimeoutError):
                await neural.predict([1, 2])
        await until(lambda: not [each for each in threading.enumerate() if each.name.startswith("neural:m ")])

    run(main())


EXIT = """
import asyncio, logging, sys
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services.neural import NeuralCircuitBreaker

logging.disable()
path, way = sys.argv[1:]
config = CircuitBreakerConfig(timeout=0.2 if way == "timed out" else None)
neural = NeuralCircuitBreaker("m", path, config=config, registry=CircuitBreakerRegistry())

def predict():
    return neural.predict([1.0] * 1024)

async def timed_out():
    async with neural:
        try:
            await predict()
        except CallTimeoutError:
            pass

async def cancelled():
    tasks = [asyncio.create_task(predict()) for _ in range(2)]
    await asyncio.sleep(0.2)
    sys.exit(0)

asyncio.run(timed_out() if way == "timed out" else cancelled())
"""


@pytest.mark.parametrize("way", ["timed out", "cancelled"])
def test_a_run_does_not_come_back_to_an_interpreter_that_ends(saved: Saved, way: str) -> None:
    """The exit ends what runs and waits for that: a run that comes back later takes the whole process down."""
    command = [sys.executable, "-W", "error", "-c", EXIT, str(saved(products(200))), way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)


FORKED = """
import os, threading, time
from switchgear.services._neural.runs import RUNS

threading.Thread(target=RUNS.during, args=(lambda: time.sleep(600), list), daemon=True).start()
time.sleep(0.1)
start = time.monotonic()
if os.fork():
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert time.monotonic() - start < 4
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: no fork here")
def test_a_forked_child_waits_for_no_run_of_its_parents() -> None:
    """A run in the parent is none in the child, and does not hold up its exit."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)
