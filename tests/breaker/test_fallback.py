"""with_fallback(): a view that answers where a call was rejected or failed."""

import asyncio
import inspect
import itertools
import types

import pytest

from helpers import Boom, counted, fail, fail_async, ok, ok_async, ok_later, run
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State
from switchgear.errors import UnprotectedError


def answer(error):
    return type(error).__name__


async def answer_async(error):
    await asyncio.sleep(0)
    return type(error).__name__


FALLBACKS = [answer, answer_async]


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_call_that_works_needs_no_fallback(breaker, fallback):
    view = breaker.with_fallback(fallback)
    assert run(view.call(ok)) == run(view.call(ok_later)) == run(view.call(ok_async())) == "ok"
    assert view.call_sync(ok) == "ok"
    assert counted(breaker) == {"total_calls": 4, "successful_calls": 4}


@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("operation", [fail, fail_async])
def test_a_failure_is_answered_and_counted(breaker, fallback, operation):
    assert run(breaker.with_fallback(fallback).call(operation)) == "Boom"
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1}


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_rejection_is_answered_and_counted(opened, fallback):
    assert run(opened.with_fallback(fallback).call(ok_async)) == "CircuitOpenError"
    assert counted(opened)["rejected_calls"] == 1


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_a_timeout_is_answered(fallback):
    breaker = CircuitBreaker("q", CircuitBreakerConfig(timeout=0.01))
    assert run(breaker.with_fallback(fallback).call(lambda: asyncio.Event().wait())) == "CallTimeoutError"
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1, "timed_out_calls": 1}


def test_call_sync_is_answered(breaker):
    view = breaker.with_fallback(answer)
    assert [view.call_sync(fail) for _ in range(4)] == ["Boom", "Boom", "Boom", "CircuitOpenError"]


def test_the_fallback_gets_the_very_exception(breaker):
    error, got = Boom("mine"), []

    def raise_it():
        raise error

    breaker.with_fallback(got.append).call_sync(raise_it)
    assert got == [error]


def test_on_narrows_what_is_answered(opened):
    view = opened.with_fallback(answer, on=CircuitOpenError)
    assert view.call_sync(fail) == "CircuitOpenError"
    opened.reset()
    with pytest.raises(Boom):
        view.call_sync(fail)
    with pytest.raises(Boom):
        run(view.call(fail_async))
    several = opened.with_fallback(answer, on=(Boom, CircuitOpenError))
    assert [several.call_sync(fail), several.call_sync(fail)] == ["Boom", "CircuitOpenError"]


@pytest.mark.parametrize("config", [{"ignore": Boom}, {"record_only": OSError}])
def test_what_is_no_failure_is_not_answered(config):
    """An ignored exception, or one outside ``record_only``, says nothing against the dependency."""
    view = CircuitBreaker("q", CircuitBreakerConfig(**config)).with_fallback(answer)
    with pytest.raises(Boom):
        view.call_sync(fail)
    with pytest.raises(Boom):
        run(view.call(fail_async))


def test_a_rejection_is_answered_whatever_is_ignored():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(ignore=Exception))
    breaker.force_open()
    assert breaker.with_fallback(answer).call_sync(ok) == "CircuitOpenError"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_base_exception_is_not_answered(breaker, error):
    def interrupted():
        raise error

    with pytest.raises(error):
        breaker.with_fallback(answer).call_sync(interrupted)


def test_a_cancellation_is_not_answered(breaker):
    async def main():
        task = asyncio.create_task(breaker.with_fallback(answer).call(asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_an_exception_in_the_fallback_reaches_the_caller_with_the_original_as_context(breaker):
    def broken(error):
        raise LookupError("no last quote")

    view = breaker.with_fallback(broken)
    for call in (lambda: view.call_sync(fail), lambda: run(view.call(fail_async))):
        with pytest.raises(LookupError) as caught:
            call()
        assert isinstance(caught.value.__context__, Boom)


def spent():
    """A coroutine that was awaited before."""
    coroutine = ok_async()
    coroutine.close()
    return coroutine


MISTAKES = {
    "neither callable nor awaitable": (TypeError, lambda view: view.call(42)),
    "awaitable with arguments": (TypeError, lambda view: view.call(ok_async(), 1)),
    "spent coroutine": (RuntimeError, lambda view: view.call(spent())),
    "returns a spent coroutine": (RuntimeError, lambda view: view.call(itertools.repeat(spent()).__next__)),
    "returns a generator": (TypeError, lambda view: view.call(generate)),
    "returns an async generator": (TypeError, lambda view: view.call(generate_async)),
    "sync: not callable": (TypeError, lambda view: view.call_sync(42)),
    "sync: async function": (TypeError, lambda view: view.call_sync(ok_async)),
    "sync: returns a generator": (TypeError, lambda view: view.call_sync(generate)),
    "decorated: returns a generator": (TypeError, lambda view: view(lambda: generate())()),
    "decorated: returns a spent coroutine": (RuntimeError, lambda view: view(lambda: spent())()),
}


@pytest.mark.parametrize(("error", "mistake"), MISTAKES.values(), ids=MISTAKES)
def test_the_callers_mistakes_are_not_answered(breaker, error, mistake):
    """What never runs under protection is refused aloud: answered, it would never run right and nobody would know."""

    async def main():
        result = mistake(breaker.with_fallback(answer))
        if inspect.isawaitable(result):
            await result

    with pytest.raises(error) as caught:
        run(main())
    assert caught.type is UnprotectedError
    assert counted(breaker) in ({}, {"total_calls": 1, "ignored_calls": 1})


def test_a_suspension_that_no_timeout_can_reach_is_not_answered(breaker):
    """Outside a task there is nothing to cancel: a fallback would answer every call there, and none would ever run."""

    @types.coroutine
    def suspend():
        yield

    with pytest.raises(UnprotectedError, match="outside a"):
        breaker.with_fallback(answer).call(suspend).send(None)
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


@pytest.mark.parametrize("error", [TypeError, RuntimeError])
def test_a_type_error_of_the_service_is_answered_like_any_other(breaker, error):
    def broken():
        raise error

    view = breaker.with_fallback(answer)
    assert view.call_sync(broken) == run(view.call(broken)) == error.__name__


def test_an_async_fallback_cannot_answer_call_sync(breaker):
    with pytest.raises(TypeError, match="async fallback"):
        breaker.with_fallback(answer_async).call_sync(fail)


@pytest.mark.parametrize("fallback", [None, 3, "last quote"])
def test_a_fallback_must_be_callable(breaker, fallback):
    with pytest.raises(TypeError, match="fallback"):
        breaker.with_fallback(fallback)


@pytest.mark.parametrize("on", [None, int, Boom(), (Boom, 3), BaseException, KeyboardInterrupt])
def test_on_takes_exception_classes_alone(breaker, on):
    with pytest.raises(TypeError, match="on must be"):
        breaker.with_fallback(answer, on=on)


def test_the_decorator_answers_for_a_function(breaker):
    @breaker.with_fallback(answer)
    def load(symbol: str) -> str:
        """Load it."""
        raise Boom(symbol)

    assert load("AAPL") == load(symbol="AAPL") == "Boom"
    assert (load.__name__, load.__doc__) == ("load", "Load it.")
    assert list(inspect.signature(load).parameters) == ["symbol"]
    assert counted(breaker) == {"total_calls": 2, "failed_calls": 2}


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_the_decorator_answers_for_a_coroutine_function(breaker, fallback):
    @breaker.with_fallback(fallback)
    async def load(symbol):
        await asyncio.sleep(0)
        raise Boom(symbol)

    assert inspect.iscoroutinefunction(load)
    assert [run(load("AAPL")) for _ in range(4)] == ["Boom", "Boom", "Boom", "CircuitOpenError"]


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_the_decorator_answers_for_a_plain_function_that_returns_an_awaitable(breaker, fallback):
    @breaker.with_fallback(fallback)
    def load():
        return fail_async()

    async def main():
        return await load()

    assert run(main()) == "Boom"
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1}


def test_the_decorator_answers_for_methods(breaker):
    view = breaker.with_fallback(answer)

    class Market:
        @view
        def plain(self):
            raise Boom(self)

        @view
        @classmethod
        def of_class(cls):
            raise Boom(cls)

        @classmethod
        @view
        def inside_classmethod(cls):
            raise Boom(cls)

        @view
        @staticmethod
        def of_nothing():
            raise Boom

    breaker.disable()
    market = Market()
    assert market.plain() == Market.of_class() == market.inside_classmethod() == Market.of_nothing() == "Boom"


def generate():
    yield 1


async def generate_async():
    yield 1


@pytest.mark.parametrize("function", [generate, generate_async, int, 42, None])
def test_what_has_no_fallback_is_refused(breaker, function):
    """Half a stream cannot be answered for; classes and values are no functions."""
    with pytest.raises(TypeError):
        breaker.with_fallback(answer)(function)


def test_a_nested_breakers_errors_are_failures_like_any_other(breaker):
    inner = CircuitBreaker("inner")
    inner.force_open()
    view = breaker.with_fallback(answer)
    assert view.call_sync(inner.call_sync, ok) == "CircuitOpenError"
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1}
    assert breaker.state is State.CLOSED
