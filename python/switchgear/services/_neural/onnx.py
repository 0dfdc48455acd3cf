"""ONNX models: the one file that knows onnxruntime."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from switchgear._extras import need
from switchgear.services._neural.arrays import Arrays
from switchgear.services._neural.errors import ModelError, NotTrainableError, VectorError
from switchgear.services._neural.models import Work
from switchgear.services._neural.numbers import answer, check_length
from switchgear.services._neural.runs import RUNS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

_DTYPES: Final = {
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_FATAL_ONLY: Final = 4


def _onnxruntime() -> Any:
    return need("onnxruntime", "onnx", "NeuralCircuitBreaker with an ONNX model")


def load(path: "str | os.PathLike[str]") -> Any:
    """Open an ONNX file on the processor, one thread a run: the runs themselves are what goes on side by side.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds no ONNX model that this onnxruntime can run.
        ImportError: onnxruntime is not installed.
    """
    library = _onnxruntime()
    path = Path(path)
    # The library's own error for a file that is missing has no errno.
    with path.open("rb"):
        pass
    options = library.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # What goes wrong is raised; the log would say it again, on stderr.
    options.log_severity_level = _FATAL_ONLY
    try:
        return library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ValueError(f"{path} is not an ONNX model that onnxruntime can run: {error}") from error


class OnnxModel:
    """A session with one input, fed one vector at a time; its first output is the answer.

    Args:
        session: An ``onnxruntime.InferenceSession``.

    Raises:
        ValueError: It has more than one input, or one that takes no vector of numbers.
    """

    def __init__(self, session: Any) -> None:
        self.given: Final = session
        self._library: Final = _onnxruntime()
        self._arrays: Final = Arrays("NeuralCircuitBreaker with an ONNX model", "onnx")
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1:
            names = ", ".join(each.name for each in inputs)
            raise ValueError(f"the ONNX model must have one input, not {len(inputs)} ({names}): wrap it in a callable")
        if not outputs[0].type.startswith("tensor("):
            raise ValueError(f"the ONNX model's first output must be a tensor, not {outputs[0].type}")
        if inputs[0].type not in _DTYPES:
            raise ValueError(f"the ONNX model must take one of {', '.join(_DTYPES)}, not {inputs[0].type}")
        self._dtype: Final = self._arrays.numpy.dtype(_DTYPES[inputs[0].type])
        self._input: Final[str] = inputs[0].name
        self._outputs: Final[list[str]] = [outputs[0].name]
        self._shape, self._length = _shape_for_one(inputs[0].shape)

    def predicting(self, vector: Any) -> Work:
        """Return a run of it, which ends soon after it is told to."""
        check_length(len(vector), self._length)
        row = self._arrays.cast(vector, self._dtype)
        try:
            row = row.reshape(self._shape)
        except ValueError:
            raise VectorError(f"the vector has {len(vector)} numbers, the model takes {self._shape}") from None
        # One of its own for each run: the word to end must never reach the next.
        options = self._library.RunOptions()
        options.log_severity_level = _FATAL_ONLY
        stop = partial(setattr, options, "terminate", True)
        return partial(self._run, row, options, stop), stop

    def _run(self, row: Any, options: Any, stop: "Callable[[], object]") -> list[float]:
        output = RUNS.during(partial(self.given.run, self._outputs, {self._input: row}, options), stop)[0]
        if not hasattr(output, "dtype"):
            raise ModelError(f"the ONNX model must answer with a tensor, not with a {type(output).__name__}")
        return answer(output)

    def training(self, data: Any, labels: Any) -> NoReturn:
        """Refuse it.

        Raises:
            NotTrainableError: Always.
        """
        raise NotTrainableError("an ONNX model only predicts: train it where it was made, and export it anew")


def _shape_for_one(shape: list[Any]) -> tuple[tuple[int, ...], int | None]:
    """Return the shape of an input that holds one vector, -1 for what its length decides, and the length if fixed.

    Raises:
        ValueError: There is no such shape.
    """
    if not shape:
        raise ValueError("the ONNX model must take a vector, not a single number")
    # What is no int has a name or none, and is decided by what comes.
    batch, features = ([], shape) if len(shape) == 1 else (shape[:1], shape[1:])
    sizes = [size if isinstance(size, int) else -1 for size in features]
    if any(isinstance(size, int) and size != 1 for size in batch) or sizes.count(-1) > 1 or 0 in sizes:
        raise ValueError(f"the ONNX model must take one vector at a time, not the shape {shape}: wrap it in a callable")
    length = None
    if -1 not in sizes:
        length = 1
        for size in sizes:
            length *= size
    return (*(1 for _ in batch), *sizes), length
