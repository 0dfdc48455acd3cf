"""What counts as a failure: ignore, record_only, is_failure, and cancellation."""

import asyncio
import sys
from typing import Any

import pytest

from helpers import Boom, counted, run
from switchgear import CircuitBreaker, CircuitBreakerConfig, State
from switchgear.state import Outcome

SUCCESS = {"total_calls": 1, "successful_calls": 1}
FAILURE = {"total_calls": 1, "failed_calls": 1}
IGNORED = {"total_calls": 1, "ignored_calls": 1}


def through_call_sync(breaker, operation):
    return breaker.call_sync(operation)


def through_call(breaker, operation):
    return run(breaker.call(operation))


def through_call_suspended(breaker, operation):
    async def later():
        await asyncio.sleep(0)
        return operation()

    return run(breaker.call(later))


def through_decorator(breaker, operation):
    return breaker(lambda: operation())()


def through_async_decorator(breaker, operation):
    async def function():
        return operation()

    return run(breaker(function)())


def through_guard(breaker, operation):
    with breaker.guard():
        return operation()


def through_async_guard(breaker, operation):
    async def main():
        async with breaker.guard():
            await asyncio.sleep(0)
            return operation()

    return run(main())


def through_generator(breaker, operation):
    @breaker
    def generator():
        yield operation()

    return next(iter(list(generator())))


def through_async_generator(breaker, operation):
    @breaker
    async def generator():
        await asyncio.sleep(0)
        yield operation()

    async def main():
        return next(iter([value async for value in generator()]))

    return run(main())


CALLS = [through_call_sync, through_call, through_call_suspended, through_decorator, through_async_decorator]
BODIES = [through_guard, through_async_guard, through_generator, through_async_generator]


def raising(error):
    def operation():
        raise error

    return operation


@pytest.mark.parametrize("through", CALLS + BODIES)
@pytest.mark.parametrize(
    ("config", "error", "counts"),
    [
        ({}, Boom, FAILURE),
        ({}, TimeoutError, FAILURE),
        ({}, asyncio.CancelledError, IGNORED),
        ({}, KeyboardInterrupt, IGNORED),
        ({"ignore": Boom}, Boom, IGNORED),
        ({"ignore": LookupError}, KeyError, IGNORED),
        ({"ignore": (KeyError, Boom)}, ValueError, FAILURE),
        ({"record_only": OSError}, ConnectionError, FAILURE),
        ({"record_only": OSError}, Boom, SUCCESS),
        ({"record_only": ()}, Boom, SUCCESS),
        ({"record_only": OSError}, asyncio.CancelledError, IGNORED),
        ({"record_only": OSError, "ignore": ConnectionError}, ConnectionError, IGNORED),
        ({"record_only": OSError, "ignore": ValueError}, ValueError, IGNORED),
        ({"record_only": BaseException}, KeyboardInterrupt, IGNORED),
    ],
)
def test_an_exception_counts_by_the_configuration_and_always_reaches_the_caller(through, config, error, counts):
    breaker = CircuitBreaker("q", CircuitBreakerConfig(**config))
    with pytest.raises(error):
        through(breaker, raising(error("boom")))
    assert counted(breaker) == counts


@pytest.mark.parametrize("through", CALLS)
@pytest.mark.parametrize(("result", "counts"), [({"status": 500}, FAILURE), ({"status": 200}, SUCCESS)])
def test_is_failure_judges_results_and_never_changes_them(through, result, counts):
    breaker = CircuitBreaker("q", CircuitBreakerConfig(is_failure=lambda result: result["status"] >= 500))
    assert through(breaker, lambda: result) is result
    assert counted(breaker) == counts


@pytest.mark.parametrize("through", CALLS)
def test_a_judged_failure_trips_and_is_described(through):
    breaker = CircuitBreaker("q", CircuitBreakerConfig(1, is_failure=lambda result: result == 500))
    assert through(breaker, lambda: 500) == 500
    assert breaker.state is State.OPEN
    assert breaker.last_failure == "result: 500"


@pytest.mark.parametrize("through", CALLS)
def test_an_exception_in_is_failure_reaches_the_caller_and_the_call_is_ignored(through):
    def judge(result):
        raise Boom("in the judge")

    breaker = CircuitBreaker("q", CircuitBreakerConfig(1, is_failure=judge))
    with pytest.raises(Boom, match="in the judge"):
        through(breaker, lambda: 200)
    assert counted(breaker) == IGNORED
    assert breaker.state is State.CLOSED


def test_is_failure_is_not_asked_about_exceptions():
    asked = []
    breaker = CircuitBreaker("q", CircuitBreakerConfig(is_failure=asked.append))
    with pytest.raises(Boom):
        breaker.call_sync(raising(Boom()))
    assert asked == []


def test_an_answer_of_is_failure_that_has_no_truth_value_is_its_exception():
    class Undecided:
        def __bool__(self):
            raise Boom("undecided")

    breaker = CircuitBreaker("q", CircuitBreakerConfig(is_failure=lambda result: Undecided()))
    with pytest.raises(Boom, match="undecided"):
        breaker.call_sync(int)
    assert counted(breaker) == IGNORED


def test_ignored_calls_leave_the_count_of_failures_alone():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(3, ignore=KeyError))
    for error in (Boom, KeyError, Boom, KeyError):
        with pytest.raises(error):
            breaker.call_sync(raising(error()))
    assert breaker.get_state() == "CLOSED (failures: 2)"


def test_the_exception_that_trips_is_kept_as_text_alone():
    """An exception kept for last_failure would pin its traceback and every local in it."""
    import gc
    import weakref

    breaker = CircuitBreaker("q", CircuitBreakerConfig(1))
    error = Boom("x" * 500)
    gone = weakref.ref(error)
    with pytest.raises(Boom):
        breaker.call_sync(raising(error))
    assert len(breaker.last_failure) == 200
    del error
    gc.collect()
    assert gone() is None


def by_type(error: Exception) -> Outcome | None:
    """Judge a few exceptions and leave the rest to the filters."""
    return {KeyError: Outcome.SUCCESS, IndexError: Outcome.IGNORED, LookupError: Outcome.FAILURE}.get(type(error))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError, (1, 0, 0)),
        (IndexError, (0, 0, 1)),
        (LookupError, (0, 1, 0)),
        (OSError, (0, 0, 1)),
        (ValueError, (0, 1, 0)),
    ],
)
def test_classify_has_the_first_word_and_the_filters_the_second(
    error: type[Exception], expected: tuple[int, int, int]
) -> None:
    """``classify`` judges before ``ignore``; where it says None, the filters judge."""
    breaker = CircuitBreaker("x", CircuitBreakerConfig(classify=by_type, ignore=(OSError, LookupError)))

    def fail() -> None:
        raise error

    with pytest.raises(error):
        breaker.call_sync(fail)
    metrics = breaker.get_metrics()
    assert expected == (metrics.successful_calls, metrics.failed_calls, metrics.ignored_calls)


@pytest.mark.parametrize("answer", [lambda error: 1 / 0, lambda error: "FAILURE"])
def test_a_classify_that_fails_is_reported_and_hurts_no_call(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it raises, or answers wrongly, goes to ``sys.excepthook``; the caller gets the operation's own exception."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, traceback: reported.append(kind))
    breaker = CircuitBreaker("x", CircuitBreakerConfig(classify=answer))
    with pytest.raises(KeyError):
        breaker.call_sync({}.__getitem__, "k")
    assert breaker.get_metrics().failed_calls == 1
    assert reported in ([ZeroDivisionError], [TypeError])


def test_cancellation_is_not_classified() -> None:
    """What is no ``Exception`` is ignored, and nobody is asked."""
    asked: list[object] = []
    breaker = CircuitBreaker("x", CircuitBreakerConfig(classify=lambda error: asked.append(error)))

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaker.call_sync(interrupted)
    assert (asked, breaker.get_metrics().ignored_calls) == ([], 1)


def test_classify_must_be_callable() -> None:
    """Anything else is refused by name."""
    with pytest.raises(ValueError, match=r"^classify must be None or a callable"):
        CircuitBreakerConfig(classify=5)  # type: ignore[arg-type]
