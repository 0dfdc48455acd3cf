"""What a decorator makes of odd callables behaves as they do."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

from switchgear import CircuitBreaker, CircuitBreakerConfig


class Source:
    @contextlib.contextmanager
    def opened(self, mode: str) -> Iterator[tuple[str, str]]:
        yield type(self).__name__, mode

    def rows(self) -> Iterator[str]:
        yield type(self).__name__


class Generating:
    def __call__(self) -> Iterator[int]:
        yield 1


class Answering:
    def __call__(self) -> str:
        return "answer"


def test_a_bound_context_manager_method_keeps_its_self() -> None:
    """A method of a living object is protected with the object that it belongs to."""
    with CircuitBreaker("x")(Source().opened)("r") as opened:
        assert ("Source", "r") == opened


def test_what_does_not_bind_does_not_begin_to() -> None:
    """A callable object, or a bound method, as an attribute of a class gets no self, decorated or not."""
    cb = CircuitBreaker("x")

    class Host:
        generating = cb(Generating())
        rows = cb(Source().rows)
        answering = cb.with_fallback(lambda error: f"fallback for {error!r}")(Answering())

    host = Host()
    assert [1] == list(host.generating())
    assert ["Source"] == list(host.rows())
    assert "answer" == host.answering()


def test_a_logging_filter_that_raises_hurts_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    """The operation's own exception arrives, and the listeners hear of the change."""
    cb = CircuitBreaker("x", CircuitBreakerConfig(failure_threshold=1))
    heard: list[object] = []
    cb.on_transition(heard.append)

    def refuse(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError(record.msg)

    def fail() -> None:
        raise KeyError("mine")

    logger = logging.getLogger("switchgear")
    logger.addFilter(refuse)
    try:
        with pytest.raises(KeyError, match="mine"):
            cb.call_sync(fail)
    finally:
        logger.removeFilter(refuse)
    assert 1 == len(heard)
    assert "ZeroDivisionError" in capsys.readouterr().err
