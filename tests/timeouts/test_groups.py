"""Limits and the things that asyncio makes of many tasks: TaskGroup, gather, shield, wait_for, wait."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import pytest

from timeouts.operations import Boom, fail, forever, two_steps
from timeouts.sides import LATER, NEVER, SOON, TIMEOUT, Compare, Counts, Side

# ANY stands where a group leaves a request to cancel on one version of Python and takes it back on another.
# The two sides agree on it all the same.
EXPIRED = Counts(failed=1, timed_out=1)
IGNORED = Counts(ignored=1)


async def noting(side: Side, who: str, operation: Callable[[], Any]) -> Any:
    """Note that it was cancelled."""
    try:
        return await operation()
    except asyncio.CancelledError:
        side.note(f"{who} cancelled")
        raise


def test_task_group_around(compare: Compare) -> None:
    """A timeout in one task of a group cancels its siblings and leaves the group as a timeout."""

    async def scenario(side: Side) -> None:
        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(noting(side, "sibling", forever))
                tasks.create_task(side.limited(SOON, forever))

        await side.end(side.task(group()))

    compare(scenario, "sibling cancelled", (("group", TIMEOUT), ANY), counts=EXPIRED)


def test_task_group_around_whose_sibling_fails(compare: Compare) -> None:
    """A limited call that its group cancels, because a sibling failed, is cancelled and no failure."""

    async def scenario(side: Side) -> None:
        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(noting(side, "limited", lambda: side.limited(NEVER, forever)))
                tasks.create_task(fail())

        await side.end(side.task(group()))

    compare(scenario, "limited cancelled", (("group", ("raised Boom",)), ANY), counts=IGNORED)


def test_task_group_whose_body_is_limited(compare: Compare) -> None:
    """A limited call in the body of a group that is cancelled because a child failed is cancelled and no failure."""

    async def scenario(side: Side) -> None:
        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                await noting(side, "body", lambda: side.limited(NEVER, forever))

        await side.end(side.task(group()))

    compare(scenario, "body cancelled", (("group", ("raised Boom",)), ANY), counts=IGNORED)


def test_task_group_inside(compare: Compare) -> None:
    """An expiry cancels the children of a group inside the operation, and is a timeout all the same."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(noting(side, "child", forever))
                tasks.create_task(noting(side, "child", forever))

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, "child cancelled", "child cancelled", (TIMEOUT, 0), counts=EXPIRED)


def test_task_group_inside_whose_child_fails(compare: Compare) -> None:
    """A group inside that fails in time gives its exceptions, and the requests to cancel are all taken back."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                tasks.create_task(noting(side, "other", forever))

        await side.end(side.task(side.limited(NEVER, operation)))

    compare(scenario, "other cancelled", (("group", ("raised Boom",)), ANY), counts=Counts(failed=1))


def test_task_group_inside_whose_child_fails_on_the_expiry(compare: Compare) -> None:
    """A child that answers the expiry with an exception of its own makes the group raise that."""

    async def scenario(side: Side) -> None:
        async def child() -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                raise Boom from None

        async def operation() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(child())

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, (("group", ("raised Boom",)), 0), counts=EXPIRED)


def test_task_group_inside_cancelled_and_expired_in_one_tick(compare: Compare) -> None:
    """Around a group, too, a cancellation from outside in the tick of the expiry wins."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(noting(side, "child", forever))

        await side.cancel_and_expire(operation, user_first=False)

    compare(scenario, "child cancelled", ("cancelled", 1), counts=IGNORED)


def test_shield_inside(compare: Compare) -> None:
    """What an operation shields outlives the expiry."""

    async def scenario(side: Side) -> None:
        release = asyncio.Event()

        async def shielded() -> str:
            await release.wait()
            return "outlived"

        work = side.task(shielded())
        await side.end(side.task(side.limited(SOON, lambda: asyncio.shield(work))))
        release.set()
        await side.end(work)

    compare(scenario, (TIMEOUT, 0), (("returned", "outlived"), 0), counts=EXPIRED)


def test_shield_around(compare: Compare) -> None:
    """A limited call that is shielded goes on, with its limit, when the one who waits for it is cancelled."""

    async def scenario(side: Side) -> None:
        limited = side.task(side.limited(LATER, forever))

        async def caller() -> None:
            await asyncio.shield(limited)

        task = side.task(caller())
        await side.until_waiting()
        side.stalled |= limited.done() or limited.cancelling() > 0
        task.cancel()
        await side.end(task)
        await side.end(limited)

    compare(scenario, ("cancelled", 1), (TIMEOUT, 0), counts=EXPIRED)


def test_gather_inside(compare: Compare) -> None:
    """An expiry cancels everything that an operation gathers."""

    async def scenario(side: Side) -> None:
        async def operation() -> Any:
            return await asyncio.gather(noting(side, "child", forever), noting(side, "child", forever))

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, "child cancelled", "child cancelled", (TIMEOUT, 0), counts=EXPIRED)


def test_gather_around(compare: Compare) -> None:
    """Calls that are gathered directly expire each for itself."""

    async def scenario(side: Side) -> None:
        results = await asyncio.gather(
            side.limited(SOON, forever),
            side.limited(NEVER, two_steps),
            side.limited(SOON, forever),
            side.limited(NEVER, fail),
            return_exceptions=True,
        )
        side.note([isinstance(each, TimeoutError) for each in results])
        side.note((results[1], type(results[3])))

    compare(
        scenario,
        [True, False, True, False],
        ("done", Boom),
        counts=Counts(successful=1, failed=3, timed_out=2),
    )


def test_gather_around_that_is_cancelled(compare: Compare) -> None:
    """Cancelling a gather cancels its calls, none of which times out."""

    async def scenario(side: Side) -> None:
        async def caller() -> None:
            await asyncio.gather(side.limited(NEVER, forever), side.limited(NEVER, forever))

        task = side.task(caller())
        await side.until_waiting()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=Counts(ignored=2))


def test_wait_for_around_expires(compare: Compare) -> None:
    """To the breaker a wait_for around that expires is a cancellation."""

    async def scenario(side: Side) -> None:
        async def caller() -> Any:
            return await asyncio.wait_for(side.limited(NEVER, forever), side.seconds(SOON))

        await side.end(side.task(caller()))

    compare(scenario, (TIMEOUT, 0), counts=IGNORED)


def test_wait_for_around_is_longer(compare: Compare) -> None:
    """A wait_for around that has time left passes the timeout of the breaker on."""

    async def scenario(side: Side) -> None:
        async def caller() -> Any:
            return await asyncio.wait_for(side.limited(SOON, forever), side.seconds(NEVER))

        await side.end(side.task(caller()))

    compare(scenario, (TIMEOUT, 0), counts=EXPIRED)


@pytest.mark.parametrize(("around", "within"), [(SOON, NEVER), (NEVER, SOON)], ids=["limit", "wait_for"])
def test_wait_for_inside(compare: Compare, around: float, within: float) -> None:
    """Around a wait_for the limit that expires first raises."""

    async def scenario(side: Side) -> None:
        async def operation() -> Any:
            return await asyncio.wait_for(noting(side, "innermost", forever), side.seconds(within))

        await side.end(side.task(side.limited(around, operation)))

    counts = EXPIRED if around == SOON else Counts(failed=1)
    compare(scenario, "innermost cancelled", (TIMEOUT, 0), counts=counts)


def test_waiting_for_another_task(compare: Compare) -> None:
    """An expiry cancels the task that an operation awaits."""

    async def scenario(side: Side) -> None:
        work = side.task(noting(side, "work", forever))

        async def operation() -> None:
            await work

        await side.end(side.task(side.limited(SOON, operation)))
        await side.end(work)

    compare(scenario, "work cancelled", (TIMEOUT, 0), ("cancelled", 1), counts=EXPIRED)


def test_an_operation_that_awaits_a_future(compare: Compare) -> None:
    """The operation may hand out a bare Future or Task: the expiry cancels it."""

    async def scenario(side: Side) -> None:
        future = asyncio.get_running_loop().create_future()
        await side.end(side.task(side.limited(SOON, lambda: future)))
        side.note(("future cancelled", future.cancelled()))

    compare(scenario, (TIMEOUT, 0), ("future cancelled", True), counts=EXPIRED)


def test_a_task_that_cancels_the_limited_one(compare: Compare) -> None:
    """A child that cancels its limited parent cancels it, limit or not."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            parent = asyncio.current_task()
            assert parent is not None
            child = side.task(two_steps())
            child.add_done_callback(lambda _: parent.cancel())
            await forever()

        await side.end(side.task(side.limited(NEVER, operation)))

    compare(scenario, ("cancelled", 1), counts=IGNORED)


def eager_task_factory(loop: Any, coroutine: Any, **options: Any) -> Any:
    """Begin tasks at once; uvloop passes an option that asyncio's own factory does not know before 3.13.3."""
    options.pop("eager_start", None)
    return asyncio.eager_task_factory(loop, coroutine, **options)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="SKIPPED: eager tasks begin with Python 3.12")
@pytest.mark.parametrize("operation", [forever, two_steps, fail], ids=["expires", "returns", "fails"])
def test_eager_tasks(compare: Compare, operation: Callable[[], Any]) -> None:
    """A task that begins to run inside create_task has its limit like any other."""

    async def scenario(side: Side) -> None:
        asyncio.get_running_loop().set_task_factory(eager_task_factory)
        limit = SOON if operation is forever else NEVER
        await side.end(side.task(side.limited(limit, operation)))

    outcomes: dict[Any, tuple[Any, Counts]] = {
        forever: (TIMEOUT, EXPIRED),
        two_steps: (("returned", "done"), Counts(successful=1)),
        fail: (("raised Boom",), Counts(failed=1)),
    }
    outcome, counts = outcomes[operation]
    compare(scenario, (outcome, 0), counts=counts)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="SKIPPED: eager tasks begin with Python 3.12")
def test_eager_tasks_in_a_task_with_a_limit(compare: Compare) -> None:
    """The limit of an eager child is the child's: its expiry leaves the parent alone."""

    async def scenario(side: Side) -> None:
        asyncio.get_running_loop().set_task_factory(eager_task_factory)

        async def operation() -> str:
            child = side.task(side.limited(SOON, forever))
            await side.end(child)
            return "parent"

        await side.end(side.task(side.limited(NEVER, operation)))

    compare(scenario, (TIMEOUT, 0), (("returned", "parent"), 0), counts=Counts(successful=1, failed=1, timed_out=1))
