"""The table of docs/services/neural.md, row by row."""

import pytest

from helpers import Boom
from switchgear.errors import CallTimeoutError, CircuitOpenError, UnprotectedError
from switchgear.services._neural.verdicts import verdict
from switchgear.services.neural import (
    ModelError,
    NotTrainableError,
    NotTrainedError,
    VectorError,
    WorkersBusyError,
    WorkEscapedError,
)
from switchgear.state import Outcome, State

NEUTRAL = (
    VectorError("the vector is empty"),
    NotTrainedError("call train() first"),
    UnprotectedError("a coroutine"),
    WorkersBusyError("neural:m", 8, 0),
)
FAILURES = (
    ModelError("NaN"),
    WorkEscapedError("SystemExit"),
    Boom("the model's own"),
    ValueError("the model's own"),
    RuntimeError("the model's own"),
    MemoryError(),
    OSError("no such device"),
    TimeoutError("the model's own"),
    CallTimeoutError("neural:m", 30.0),
    CircuitOpenError("another breaker, inside the model", State.OPEN, 1.0),
    NotTrainableError("raised inside, where it has no meaning"),
)


@pytest.mark.parametrize("error", NEUTRAL, ids=repr)
def test_neutral(error: Exception) -> None:
    """What the caller did wrong, and a lack of threads, say nothing of the model."""
    assert Outcome.IGNORED == verdict(error)


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_failures(error: Exception) -> None:
    """Whatever the model raised is left to the configuration, for which it is a failure."""
    assert verdict(error) is None
