"""guard(): one entry, one permit; the async form has the timeout."""

import asyncio
import contextlib

import pytest

from helpers import Boom, counted, run, trip
from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, Permit, State

SOON = CircuitBreakerConfig(3, timeout=0.01)


def test_a_body_that_ends_is_a_success(breaker):
    with breaker.guard() as permit:
        assert isinstance(permit, Permit)
        assert counted(breaker) == {}
    assert permit.settled
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_an_async_body_that_ends_is_a_success(breaker):
    async def main():
        async with breaker.guard() as permit:
            assert isinstance(permit, Permit)
            await asyncio.sleep(0)

    run(main())
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_an_exception_in_the_body_is_a_failure_and_passes(breaker):
    error = Boom("body")

    async def main():
        async with breaker.guard():
            raise error

    with pytest.raises(Boom) as caught, breaker.guard():
        raise error
    assert caught.value is error
    with pytest.raises(Boom) as caught:
        run(main())
    assert caught.value is error
    assert counted(breaker) == {"total_calls": 2, "failed_calls": 2}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_base_exception_in_the_body_is_ignored(breaker, error):
    with pytest.raises(error), breaker.guard():
        raise error
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_a_rejected_entry_never_runs_the_body(opened):
    ran = []

    async def main():
        async with opened.guard():
            ran.append(1)

    with pytest.raises(CircuitOpenError), opened.guard():
        ran.append(1)
    with pytest.raises(CircuitOpenError):
        run(main())
    assert ran == []
    assert counted(opened)["rejected_calls"] == 2


@pytest.mark.parametrize("outcome", ["success", "failure", "release"])
def test_a_permit_settled_by_hand_is_left_alone(breaker, outcome):
    async def main():
        async with breaker.guard() as permit:
            getattr(permit, outcome)()

    with breaker.guard() as permit:
        getattr(permit, outcome)()
    with pytest.raises(Boom), breaker.guard() as permit:
        getattr(permit, outcome)()
        raise Boom
    run(main())
    field = {"success": "successful_calls", "failure": "failed_calls", "release": "ignored_calls"}[outcome]
    assert counted(breaker).pop("times_opened", 0) == (1 if outcome == "failure" else 0)
    assert breaker.get_metrics()._asdict()[field] == breaker.get_metrics().total_calls == 3


def test_a_guard_is_entered_once(breaker):
    guard = breaker.guard()
    with guard:
        pass
    with pytest.raises(RuntimeError, match="once"), guard:
        pass

    async def main():
        async with guard:
            pass

    with pytest.raises(RuntimeError, match="once"):
        run(main())
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_each_guard_is_fresh_so_entries_nest_and_interleave(breaker):
    with breaker.guard() as outer, breaker.guard() as inner:
        assert outer is not inner

    async def body():
        async with breaker.guard():
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(body() for _ in range(50)))

    run(main())
    assert counted(breaker) == {"total_calls": 52, "successful_calls": 52}


def test_the_breaker_itself_is_no_context_manager(breaker):
    assert not isinstance(breaker, contextlib.AbstractContextManager)
    assert not isinstance(breaker, contextlib.AbstractAsyncContextManager)


def test_an_unentered_guard_takes_no_permit(opened):
    opened.guard()
    assert "rejected_calls" not in counted(opened)


def test_a_cancelled_async_body_is_ignored(breaker):
    async def body():
        async with breaker.guard():
            await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_an_async_body_that_takes_too_long_times_out():
    breaker = CircuitBreaker("q", SOON)

    async def main():
        async with breaker.guard():
            await asyncio.Event().wait()

    with pytest.raises(CallTimeoutError) as caught:
        run(main())
    assert caught.value.args == ("q", 0.01)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1, "timed_out_calls": 1}


def test_a_body_that_turns_its_expiry_into_an_answer_keeps_it_and_has_failed():
    breaker = CircuitBreaker("q", SOON)

    async def main():
        async with breaker.guard():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        assert asyncio.current_task().cancelling() == 0
        with pytest.raises(Boom):
            async with breaker.guard():
                try:
                    await asyncio.Event().wait()
                finally:
                    raise Boom

    run(main())
    assert counted(breaker) == {"total_calls": 2, "failed_calls": 2, "timed_out_calls": 2}


def test_a_timeout_error_of_the_body_stays_the_bodys():
    breaker = CircuitBreaker("q", SOON)
    error = TimeoutError("mine")

    async def main():
        async with breaker.guard():
            raise error

    with pytest.raises(TimeoutError) as caught:
        run(main())
    assert caught.value is error
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1}


def test_a_timeout_trips_and_is_described():
    breaker = CircuitBreaker("q", SOON.replace(failure_threshold=1))

    async def main():
        async with breaker.guard():
            await asyncio.Event().wait()

    with pytest.raises(CallTimeoutError):
        run(main())
    assert breaker.state is State.OPEN
    assert breaker.last_failure == "timed out after 0.01s"


def test_a_sync_body_has_no_timeout():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(timeout=1e-9))
    with breaker.guard():
        sum(range(10_000))
    assert counted(breaker) == {"total_calls": 1, "successful_calls": 1}


def test_an_async_guard_with_a_timeout_needs_a_task_and_gives_its_permit_back():
    breaker = CircuitBreaker("q")

    async def body():
        async with breaker.guard():
            pass

    async def main():
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def outside_any_task():
            try:
                body().send(None)
            except BaseException as error:
                done.set_result(error)

        loop.call_soon(outside_any_task)
        return await done

    assert isinstance(run(main()), RuntimeError)
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_without_a_timeout_an_async_guard_needs_no_loop():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(timeout=None))

    async def body():
        async with breaker.guard():
            return "done"

    with pytest.raises(StopIteration) as stopped:
        body().send(None)
    assert stopped.value.value == "done"


def test_a_guard_may_outlive_a_change_of_state(breaker):
    with breaker.guard():
        trip(breaker)
    assert breaker.state is State.OPEN
    assert breaker.get_metrics().late_calls == 1
