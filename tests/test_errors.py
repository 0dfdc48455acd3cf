"""The exceptions a caller meets."""

import copy
import math
import pickle

import pytest

from switchgear import CallTimeoutError, CircuitBreakerError, CircuitOpenError, State
from switchgear.errors import describe_failure, describe_result, describe_timeout


def test_every_error_of_ours_is_a_circuit_breaker_error():
    assert issubclass(CircuitOpenError, CircuitBreakerError)
    assert issubclass(CallTimeoutError, CircuitBreakerError)
    assert issubclass(CallTimeoutError, TimeoutError)
    assert issubclass(CircuitBreakerError, Exception)


def test_a_rejection_knows_its_breaker_its_state_and_when_to_retry():
    error = CircuitOpenError("quotes", State.OPEN, 1.5, "ValueError: boom")
    assert error.args == ("quotes", State.OPEN, 1.5, "ValueError: boom")
    assert (error.name, error.state, error.retry_after, error.last_failure) == error.args
    assert CircuitOpenError("quotes", State.OPEN, 1.5).last_failure is None


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CircuitOpenError("q", State.OPEN, 1.5), "'q' is OPEN; retry in 1.5s"),
        (
            CircuitOpenError("q", State.OPEN, 60.0, "ValueError: boom"),
            "'q' is OPEN; retry in 60s; last failure: ValueError: boom",
        ),
        (CircuitOpenError("q", State.OPEN, 0.0), "'q' is OPEN; retry in 0s"),
        (CircuitOpenError("q", State.OPEN, math.inf), "'q' is OPEN until told otherwise"),
        (
            CircuitOpenError("q", State.HALF_OPEN, 0.25),
            "'q' is OPEN to this call (HALF_OPEN, every probe is out); retry in 0.25s",
        ),
    ],
)
def test_the_text_of_a_rejection_says_what_is_open_and_when_to_retry(error, text):
    assert str(error) == text


def test_a_rejection_built_from_args_alone_is_complete():
    """The core builds rejections without running ``__init__``; ``args`` is all there is."""
    error = BaseException.__new__(CircuitOpenError, "q", State.OPEN, 2.0, None)
    assert (error.name, error.retry_after) == ("q", 2.0)
    assert str(error) == "'q' is OPEN; retry in 2s"


def test_a_timeout_knows_its_breaker_and_its_limit():
    error = CallTimeoutError("quotes", 30.0)
    assert (error.name, error.timeout) == error.args == ("quotes", 30.0)
    assert str(error) == "call through 'quotes' timed out after 30s"


@pytest.mark.parametrize(
    "error",
    [
        CircuitOpenError("q", State.HALF_OPEN, 1.5, "boom"),
        CallTimeoutError("q", 0.5),
        CircuitOpenError("q", State.OPEN, math.inf),
    ],
)
def test_errors_pickle_and_copy(error):
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert again.args == error.args
        assert str(again) == str(error)


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class Shy:
    def __repr__(self):
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ValueError("boom"), "ValueError: boom"),
        (ValueError(), "ValueError"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (ValueError("\x1b[2J\x00\u202e ü"), r"ValueError: \x1b[2J\x00\u202e ü"),
        (None, "reported failure"),
    ],
)
def test_a_failure_is_described_in_one_line(failure, text):
    assert describe_failure(failure) == text


class ProtocolError(Exception):
    """As the libraries below HTTP clients have one each."""


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("h11._util", "RemoteProtocolError"),
        ("httpcore2", "RemoteProtocolError"),
        ("httpx", "RemoteProtocolError"),
        ("mine", "RemoteProtocolError: illegal header line: bytearray(b'a-secret')"),
        (None, "RemoteProtocolError: illegal header line: bytearray(b'a-secret')"),
    ],
)
def test_an_answer_that_was_no_http_is_not_quoted(module, text, monkeypatch):
    """The text of these libraries' protocol errors repeats what they could not read: the class alone is kept."""
    monkeypatch.setattr(ProtocolError, "__module__", module)
    error = type("RemoteProtocolError", (ProtocolError,), {})("illegal header line: bytearray(b'a-secret')")
    assert describe_failure(error) == text


def test_describing_never_raises():
    assert describe_failure(Mute()).startswith("Mute: ")
    assert describe_result(Shy()).startswith("result: ")


def test_a_description_has_at_most_200_characters():
    assert len(describe_failure(ValueError("x" * 1_000_000))) == 200
    assert len(describe_result("x" * 1000)) == 200
    assert describe_failure(ValueError("x" * 188)) == "ValueError: " + "x" * 188


def test_results_and_timeouts_are_described():
    assert describe_result({"status": 500}) == "result: {'status': 500}"
    assert describe_timeout(30.0) == "timed out after 30s"
    assert describe_timeout(0.0005) == "timed out after 0.0005s"
