"""Limits inside limits: a breaker's in asyncio's, asyncio's in a breaker's, a breaker's in a breaker's."""

import asyncio

import pytest

from timeouts.operations import Boom, forever, two_steps
from timeouts.sides import LATER, NEVER, SOON, TIMEOUT, Compare, Counts, Operation, Side, describe

EXPIRED = Counts(failed=1, timed_out=1)


async def theirs(side: Side, units: float, operation: Operation) -> object:
    async with asyncio.timeout(side.seconds(units)):
        return await operation()


async def tell(side: Side, who: str, operation: Operation) -> object:
    """Note what passes here on its way out."""
    try:
        return await operation()
    except BaseException as error:
        side.note((who, describe(error), _cancelling()))
        raise


def _cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@pytest.mark.parametrize(
    ("outer", "inner", "counts"), [(SOON, NEVER, Counts(ignored=1)), (NEVER, SOON, EXPIRED)], ids=["outer", "inner"]
)
def test_inside_asyncio_timeout(compare: Compare, outer: float, inner: float, counts: Counts) -> None:
    """In asyncio.timeout the limit that expires is the one that raises; to the breaker the other is a cancellation."""

    async def scenario(side: Side) -> None:
        async def caller() -> object:
            return await theirs(side, outer, lambda: side.limited(inner, forever))

        await side.end(side.task(caller()))

    compare(scenario, (TIMEOUT, 0), counts=counts)


@pytest.mark.parametrize("inner", [SOON, LATER])
@pytest.mark.parametrize("outer", [SOON, LATER])
def test_inside_asyncio_timeout_in_one_tick(compare: Compare, outer: float, inner: float) -> None:
    """Of two limits that expire in one tick, in either order, the outer one raises; the inner sees a cancellation."""

    async def scenario(side: Side) -> None:
        async def caller() -> object:
            return await theirs(side, outer, lambda: tell(side, "inner", lambda: side.limited(inner, forever)))

        task = side.task(caller())
        await side.expire_all(task)

    compare(scenario, ("inner", ("raised CancelledError",), 1), (TIMEOUT, 0), counts=Counts(ignored=1))


@pytest.mark.parametrize(("outer", "inner"), [(SOON, NEVER), (NEVER, SOON)], ids=["outer", "inner"])
def test_around_asyncio_timeout(compare: Compare, outer: float, inner: float) -> None:
    """Around asyncio.timeout an expiry of the breaker is its own timeout, and one of asyncio's an ordinary failure."""

    async def scenario(side: Side) -> None:
        task = side.task(side.limited(outer, lambda: theirs(side, inner, forever)))
        await side.end(task)

    counts = EXPIRED if outer == SOON else Counts(failed=1)
    compare(scenario, (TIMEOUT, 0), counts=counts)


@pytest.mark.parametrize("inner", [SOON, LATER])
@pytest.mark.parametrize("outer", [SOON, LATER])
def test_around_asyncio_timeout_in_one_tick(compare: Compare, outer: float, inner: float) -> None:
    """Around asyncio.timeout, too, the outer of two limits that expire in one tick raises."""

    async def scenario(side: Side) -> None:
        async def inside() -> object:
            return await tell(side, "inner", lambda: theirs(side, inner, forever))

        task = side.task(side.limited(outer, inside))
        await side.expire_all(task)

    compare(scenario, ("inner", ("raised CancelledError",), 1), (TIMEOUT, 0), counts=EXPIRED)


@pytest.mark.parametrize(("outer", "inner"), [(SOON, NEVER), (NEVER, SOON)], ids=["outer", "inner"])
def test_breaker_in_breaker(compare: Compare, outer: float, inner: float) -> None:
    """Of two breakers the one whose limit expires raises; the outer counts the inner's timeout as a plain failure."""

    async def scenario(side: Side) -> None:
        await side.end(side.task(side.limited(outer, lambda: side.limited(inner, forever))))

    counts = Counts(failed=1, ignored=1, timed_out=1) if outer == SOON else Counts(failed=2, timed_out=1)
    compare(scenario, (TIMEOUT, 0), counts=counts)


@pytest.mark.parametrize("inner", [SOON, LATER])
@pytest.mark.parametrize("outer", [SOON, LATER])
def test_breaker_in_breaker_in_one_tick(compare: Compare, outer: float, inner: float) -> None:
    """Of two breakers whose limits expire in one tick, equal or not, the outer one raises."""

    async def scenario(side: Side) -> None:
        async def inside() -> object:
            return await tell(side, "inner", lambda: side.limited(inner, forever))

        task = side.task(side.limited(outer, inside))
        await side.expire_all(task)

    compare(
        scenario,
        ("inner", ("raised CancelledError",), 1),
        (TIMEOUT, 0),
        counts=Counts(failed=1, ignored=1, timed_out=1),
    )


def test_three_deep_in_one_tick(compare: Compare) -> None:
    """Three equal limits that expire together raise once, at the outermost, and leave no request to cancel."""

    async def scenario(side: Side) -> None:
        async def second() -> object:
            return await tell(side, "third", lambda: side.limited(SOON, forever))

        async def first() -> object:
            return await tell(side, "second", lambda: side.limited(SOON, second))

        task = side.task(side.limited(SOON, first))
        await side.expire_all(task)

    compare(
        scenario,
        ("third", ("raised CancelledError",), 2),
        ("second", ("raised CancelledError",), 1),
        (TIMEOUT, 0),
        counts=Counts(failed=1, ignored=2, timed_out=1),
    )


def test_inner_timeout_caught_then_outer_expires(compare: Compare) -> None:
    """An operation may live through an inner timeout and run into the outer one."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await side.limited(SOON, forever)
            except TimeoutError:
                side.note("inner")
            except asyncio.CancelledError:
                side.stalled = True
                raise
            await forever()

        await side.end(side.task(side.limited(LATER, operation)))

    compare(scenario, "inner", (TIMEOUT, 0), counts=Counts(failed=2, timed_out=2))


def test_inner_timeout_caught_and_in_time(compare: Compare) -> None:
    """An operation that lives through an inner timeout and ends within the outer limit has succeeded."""

    async def scenario(side: Side) -> None:
        async def operation() -> object:
            try:
                await side.limited(SOON, forever)
            except TimeoutError:
                side.note("inner")
            return await side.limited(NEVER, two_steps)

        await side.end(side.task(side.limited(NEVER, operation)))

    compare(scenario, "inner", (("returned", "done"), 0), counts=Counts(successful=2, failed=1, timed_out=1))


def test_cancelled_from_outside_two_limits(compare: Compare) -> None:
    """A cancellation from outside passes through every limit as itself."""

    async def scenario(side: Side) -> None:
        async def inside() -> object:
            return await theirs(side, NEVER, lambda: side.limited(NEVER, forever))

        task = side.task(side.limited(NEVER, inside))
        await side.until_waiting()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=Counts(ignored=2))


def test_inner_fails_when_the_outer_has_expired(compare: Compare) -> None:
    """An exception of the inner operation, raised on the outer's expiry, reaches the caller as it is."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                raise Boom from None

        await side.end(side.task(side.limited(SOON, lambda: side.limited(NEVER, operation))))

    compare(
        scenario,
        (("raised Boom",), 0),
        counts=Counts(failed=2, timed_out=1),
    )


def test_a_scope_that_is_moved(compare: Compare) -> None:
    """An asyncio.timeout that the operation moves into the past expires by itself, whatever limit stands around it."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            async with asyncio.timeout(None) as scope:
                await asyncio.sleep(0)
                scope.reschedule(asyncio.get_running_loop().time() - 1)
                await forever()

        await side.end(side.task(side.limited(NEVER, operation)))

    compare(scenario, (TIMEOUT, 0), counts=Counts(failed=1))
