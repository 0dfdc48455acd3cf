"""A limit to the calls in flight: what comes beyond it is rejected, and nothing of it leaks."""

import asyncio
import gc
import math
import pickle

import pytest

from helpers import Boom, counted, drop, fail, fail_async, ok, ok_async, ok_later, run, succeed
from switchgear import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerError,
    CircuitOpenError,
    State,
)
from switchgear.recovery import Ramp
from switchgear.testing import ManualClock


def narrow(clock: ManualClock | None = None, places: int = 1, **settings: object) -> CircuitBreaker:
    """Return a breaker with so many places, whose leases last 30 seconds."""
    return CircuitBreaker("quotes", CircuitBreakerConfig(max_concurrent=places, **settings), clock=clock)


def free(breaker: CircuitBreaker) -> int:
    """Return how many calls may begin now."""
    permits = []
    while (permit := breaker.try_acquire()) is not None:
        permits.append(permit)
    for permit in permits:
        permit.release()
    return len(permits)


def test_the_call_over_the_limit_is_rejected_and_no_failure(clock):
    """It counts as rejected, moves nothing, and the breaker stays CLOSED."""
    breaker = narrow(clock, 2, failure_threshold=1)
    permits = [breaker.acquire(), breaker.acquire()]
    for _ in range(5):
        with pytest.raises(BulkheadFullError):
            breaker.acquire()
    assert breaker.try_acquire() is None
    assert "CLOSED (failures: 0)" == breaker.get_state()
    for permit in permits:
        permit.success()
    assert {"total_calls": 8, "successful_calls": 2, "rejected_calls": 6} == counted(breaker)


def test_a_place_comes_back_however_the_call_ends(clock):
    """Success, failure, abandonment: each leaves its place."""
    breaker = narrow(clock, 3)
    first, second, third = (breaker.acquire() for _ in range(3))
    assert 0 == free(breaker)
    first.success()
    second.failure(Boom())
    assert 2 == free(breaker)
    third.release()
    assert 3 == free(breaker)


def test_a_permit_that_is_dropped_leaves_its_place(clock):
    """Nobody has to settle for a place to come back: the collector will do."""
    breaker = narrow(clock)
    drop(breaker.acquire())
    assert 1 == free(breaker)
    assert 1 <= breaker.get_metrics().ignored_calls


def test_a_permit_that_is_dropped_while_disabled_leaves_its_place(clock):
    """Nothing is counted then; places come back all the same."""
    breaker = narrow(clock)
    permit = breaker.acquire()
    breaker.disable()
    drop(permit)
    del permit
    gc.collect()
    breaker.force_close()
    assert 1 == free(breaker)


def test_a_permit_that_is_settled_twice_leaves_one_place(clock):
    """The second settlement raises and frees nobody else's place."""
    breaker = narrow(clock)
    permit = breaker.acquire()
    permit.success()
    other = breaker.acquire()
    for settle in (permit.success, permit.failure, permit.release):
        with pytest.raises(RuntimeError):
            settle()
    assert 0 == free(breaker)
    other.success()


@pytest.mark.parametrize(("timeout", "lease"), [(30.0, 60.0), (None, 120.0)])
def test_a_lost_call_holds_its_place_no_longer_than_its_lease(clock, timeout, lease):
    """A lease is twice ``timeout``, or ``reset_timeout``; what the lost call does then frees nobody else's place."""
    breaker = narrow(clock, timeout=timeout, reset_timeout=60.0)
    lost = breaker.acquire()
    clock.advance(lease - 0.0001)
    assert 0 == free(breaker)
    clock.advance(0.0001)
    successor = breaker.acquire()
    lost.success()
    assert 0 == free(breaker)
    successor.success()
    assert 1 == free(breaker)
    assert 2 == breaker.get_metrics().successful_calls


def test_sync_calls_inside_one_another_take_a_place_each(clock):
    """Two places are two levels deep; the third meets a full bulkhead, and its caller passes the error on."""
    breaker = narrow(clock, 2)

    def nested(depth: int) -> str:
        return breaker.call_sync(nested, depth - 1) if depth else "bottom"

    assert "bottom" == breaker.call_sync(nested, 1)
    with pytest.raises(BulkheadFullError):
        breaker.call_sync(nested, 2)
    assert 2 == free(breaker)


@pytest.mark.parametrize("act", [ok, fail])
def test_every_sync_way_takes_and_leaves_a_place(clock, act):
    """``call_sync``, a decorated function and a guard leave their place by a return and by an exception."""
    breaker = narrow(clock)

    def guarded() -> None:
        with breaker.guard():
            assert breaker.try_acquire() is None
            act()

    def watched() -> None:
        assert breaker.try_acquire() is None
        act()

    for way in (lambda: breaker.call_sync(watched), breaker(watched), guarded):
        with pytest.raises(Boom) if act is fail else _nothing():
            way()
        assert 1 == free(breaker)


@pytest.mark.parametrize("act", [ok_async, ok_later, fail_async])
def test_every_async_way_takes_and_leaves_a_place(clock, act):
    """``call``, a decorated coroutine function, an async guard and an async generator do, too."""
    breaker = narrow(clock, failure_threshold=100)

    async def watched() -> None:
        assert breaker.try_acquire() is None
        await act()

    async def guarded() -> None:
        async with breaker.guard():
            await watched()

    @breaker
    async def generator():
        await watched()
        yield 1
        await watched()

    async def iterate() -> None:
        async for _ in generator():
            pass

    for way in (lambda: breaker.call(watched), lambda: breaker.call(watched()), breaker(watched), guarded, iterate):
        with pytest.raises(Boom) if act is fail_async else _nothing():
            run(_awaited(way))
        assert 1 == free(breaker)


async def _awaited(way) -> None:
    await way()


class _nothing:  # noqa: N801  # reads as one in a `with`
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_a_rejected_coroutine_is_closed(clock):
    """What was to be awaited and is not gives no warning; the permit in front of it stays."""
    breaker = narrow(clock)
    permit = breaker.acquire()
    with pytest.raises(BulkheadFullError):
        run(_awaited(lambda: breaker.call(ok_async())))
    permit.success()


def test_of_a_hundred_tasks_as_many_pass_as_there_are_places():
    """Tasks that come at one moment: the first take the places, the others are rejected at once and never wait."""
    breaker = narrow(places=10)

    async def main() -> list[object]:
        return await asyncio.gather(*(breaker.call(ok_later) for _ in range(100)), return_exceptions=True)

    answers = run(main())
    assert ["ok"] * 10 == answers[:10]
    assert {BulkheadFullError} == {type(answer) for answer in answers[10:]}
    assert {"total_calls": 100, "successful_calls": 10, "rejected_calls": 90} == counted(breaker)
    assert 10 == free(breaker)


def test_tasks_that_are_cancelled_leave_their_places():
    """Cancelled while it waits, before its first step, or by the end of a group: no place is lost."""
    breaker = narrow(places=5)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        never = loop.create_future()
        for steps in (0, 1, 2):
            tasks = [loop.create_task(_awaited(lambda: breaker.call(_forever, never))) for _ in range(5)]
            for _ in range(steps):
                await asyncio.sleep(0)
            assert (0 if steps else 5) == free(breaker)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert 5 == free(breaker)
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for _ in range(4):
                    group.create_task(_awaited(lambda: breaker.call(_forever, never)))
                group.create_task(_awaited(lambda: breaker.call(fail_async)))
        never.cancel()

    run(main())
    assert 5 == free(breaker)


async def _forever(future: "asyncio.Future[None]") -> None:
    await asyncio.shield(future)


def test_calls_that_time_out_leave_their_places():
    """Our own timeout is a failure; the place is free when it is raised."""
    breaker = narrow(places=3, timeout=0.01, failure_threshold=100)

    async def main() -> None:
        calls = [breaker.call(asyncio.sleep, 60) for _ in range(3)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [CallTimeoutError] * 3 == [type(answer) for answer in answers]
        with pytest.raises(TimeoutError):
            async with breaker.guard():
                await asyncio.sleep(60)

    run(main())
    assert 3 == free(breaker)
    assert 4 == breaker.get_metrics().timed_out_calls


def test_a_call_that_cleans_up_after_its_timeout_keeps_its_place(clock):
    """In flight is what has not ended, late as it may be: up to its lease nobody takes its place."""
    breaker = narrow(clock, timeout=0.01)

    async def main() -> None:
        timed_out, cleaned_up = asyncio.Event(), asyncio.Event()

        async def hang() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                timed_out.set()
                await cleaned_up.wait()

        call = asyncio.ensure_future(breaker.call(hang))
        await timed_out.wait()
        clock.advance(0.019)
        assert 0 == free(breaker)
        clock.advance(0.001)
        assert 1 == free(breaker)
        cleaned_up.set()
        with pytest.raises(CallTimeoutError):
            await call

    run(main())
    assert 1 == free(breaker)


def test_calls_that_never_begin_take_no_place(clock):
    """Nothing happens before the first step: a call that is made and thrown away was never in flight."""
    breaker = narrow(clock)
    held = [breaker.call(ok_async) for _ in range(5)]
    assert 1 == free(breaker)
    for call in held:
        call.close()


@pytest.mark.filterwarnings("ignore:.*never awaited")
def test_a_decorated_function_holds_its_place_until_what_it_returned_is_dropped(clock):
    """The call begins when the function does; dropped before it is awaited, it is abandoned."""
    breaker = narrow(clock)
    protected = breaker(lambda: ok_async())
    held = protected()
    assert 0 == free(breaker)
    held.close()
    del held
    assert 1 == free(breaker)
    drop(protected())
    assert 1 == free(breaker)


def test_a_refused_operation_leaves_its_place(clock):
    """What cannot be protected is refused after the call began; its place comes back."""
    breaker = narrow(clock)
    with pytest.raises(TypeError):
        breaker.call_sync(ok_async)
    with pytest.raises(TypeError):
        breaker.call_sync(lambda: (_ for _ in ()))
    with pytest.raises(TypeError):
        run(_awaited(lambda: breaker.call(7)))
    assert 1 == free(breaker)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_leaves_its_place(clock, interruption):
    """What is no ``Exception`` is ignored, and the place comes back."""
    breaker = narrow(clock)

    def interrupt() -> None:
        raise interruption

    with pytest.raises(interruption):
        breaker.call_sync(interrupt)
    assert 1 == free(breaker)


def test_a_judge_that_fails_leaves_its_place(clock):
    """Whatever ``is_failure`` raises leaves, and the place comes back."""
    breaker = narrow(clock, is_failure=lambda result: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        breaker.call_sync(ok)
    assert 1 == free(breaker)


def test_a_trip_leaves_what_is_in_flight_its_places(clock):
    """Places go with the calls, not with the state: those that are late still leave theirs."""
    breaker = narrow(clock, 3, failure_threshold=1)
    kept = breaker.acquire()
    breaker.acquire().failure()
    assert State.OPEN is breaker.state
    breaker.force_close()
    assert 2 == free(breaker)
    kept.success()
    assert 3 == free(breaker)
    assert 1 == breaker.get_metrics().late_calls


def test_a_probe_needs_a_place_and_a_slot(clock):
    """A probe that finds the bulkhead full gives its slot back: once there is a place it may go."""
    breaker = narrow(clock, 2, timeout=1000.0, reset_timeout=60.0, success_threshold=2)
    kept = [breaker.acquire(), breaker.acquire()]
    breaker.force_open(for_=60.0)
    clock.advance(60.0)
    for _ in range(3):
        with pytest.raises(BulkheadFullError):
            breaker.acquire()
    assert State.HALF_OPEN is breaker.state
    kept[0].success()
    probe = breaker.acquire()
    with pytest.raises(BulkheadFullError):
        breaker.acquire()
    kept[1].success()
    other = breaker.acquire()
    # Now it is the slots that are out, and the bulkhead is not asked.
    with pytest.raises(CircuitOpenError, match="every probe is out"):
        breaker.acquire()
    probe.success()
    other.success()
    assert State.CLOSED is breaker.state
    assert 2 == free(breaker)


def test_a_ramp_draws_before_it_looks_for_a_place(clock):
    """Who is not of the part is told so, also where there would be no place; and takes none where there is."""
    breaker = narrow(clock, timeout=1000.0, success_threshold=1, ramp=Ramp((1e-9,), step=1.0, seed=1))
    breaker.force_open(for_=60.0)
    clock.advance(60.0)
    succeed(breaker)
    with pytest.raises(CircuitOpenError, match="not its turn"):
        breaker.acquire()
    clock.advance(1.0)
    assert 1 == free(breaker)


def test_a_disabled_breaker_has_no_limit(clock):
    """All pass and nothing is recorded; who took a place before still leaves it."""
    breaker = narrow(clock)
    before = breaker.acquire()
    breaker.disable()
    others = [breaker.acquire() for _ in range(20)]
    before.success()
    breaker.force_close()
    assert 1 == free(breaker)
    for permit in others:
        permit.success()
    assert 1 == free(breaker)


def test_a_fallback_answers_for_a_full_bulkhead(clock):
    """A rejection is what a fallback is for, and ``on`` may name it."""
    breaker = narrow(clock)
    view = breaker.with_fallback(lambda error: type(error).__name__, on=BulkheadFullError)
    permit = breaker.acquire()
    assert "BulkheadFullError" == view.call_sync(ok)
    assert "BulkheadFullError" == run(_answer(view))
    permit.success()
    assert "ok" == view.call_sync(ok)


async def _answer(view) -> object:
    return await view.call(ok_async)


@pytest.mark.parametrize(("limit", "text"), [(1, "1 call in flight"), (2, "2 calls in flight")])
def test_the_error_says_what_is_full(clock, limit, text):
    """It has the breaker's name and the limit, is no ``CircuitOpenError``, and pickles."""
    breaker = narrow(clock, limit)
    permits = [breaker.acquire() for _ in range(limit)]
    with pytest.raises(CircuitBreakerError) as caught:
        breaker.acquire()
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert (BulkheadFullError, "quotes", limit) == (type(error), error.name, error.limit)
        assert f"'quotes' is full: {text}" == str(error)
    assert not isinstance(caught.value, CircuitOpenError)
    assert caught.value.__context__ is None
    del permits


def test_the_error_names_the_limit_that_was_met(clock):
    """A listener of the same call may have replaced it before the error is made."""
    breaker = narrow(clock, timeout=1000.0)
    kept = breaker.acquire()
    breaker.force_open(for_=60.0)
    clock.advance(60.0)
    breaker.on_transition(lambda event: breaker.reconfigure(breaker.config.replace(max_concurrent=None)))
    with pytest.raises(BulkheadFullError) as caught:
        breaker.acquire()
    assert 1 == caught.value.limit
    kept.release()


def test_many_places(clock):
    """All taken and all left, in any order; of what was left, as many can be had again."""
    breaker = narrow(clock, 1000)
    permits = [breaker.acquire() for _ in range(1000)]
    assert breaker.try_acquire() is None
    for permit in permits[::-2]:
        permit.success()
    assert 500 == free(breaker)


def test_the_most_places_there_may_be(clock):
    """A place that comes back far behind others that are taken is found again."""
    breaker = narrow(clock, 10_000)
    permits = [breaker.acquire() for _ in range(500)]
    for _ in range(3):
        permits.pop(250).success()
        permits.append(breaker.acquire())
    assert {"successful_calls": 3, "total_calls": 3} == counted(breaker)


@pytest.mark.parametrize("value", [0, -1, 10_001, True, False, 1.0, "1", math.nan, math.inf, (1,), 1 << 70], ids=str)
def test_limits_that_make_no_sense_are_refused(value):
    """The error names the field, the range and the value."""
    with pytest.raises(ValueError, match=r"^max_concurrent must be None or an int from 1 to 10,000, not "):
        CircuitBreakerConfig(max_concurrent=value)
