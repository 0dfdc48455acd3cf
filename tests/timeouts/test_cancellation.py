"""Somebody outside cancels the task: before, at and after the expiry of its limit."""

import asyncio
import gc

import pytest

from timeouts.operations import Boom, forever, two_steps
from timeouts.sides import LATER, NEVER, SOON, TIMEOUT, Compare, Counts, Side

EXPIRED = Counts(failed=1, timed_out=1)
IGNORED = Counts(ignored=1)


def test_cancelled_before_the_expiry(compare: Compare) -> None:
    """A cancellation before the limit stays a cancellation and is counted as neither success nor failure."""

    async def scenario(side: Side) -> None:
        task = side.task(side.limited(NEVER, forever))
        await side.until_waiting()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=IGNORED)


def test_cancelled_before_the_first_step(compare: Compare) -> None:
    """A task that is cancelled before it begins never calls the operation."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            side.note("called")

        task = side.task(side.limited(NEVER, operation))
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=None)
    gc.collect()  # a coroutine that nobody closed complains here


def test_cancelled_at_the_first_suspension(compare: Compare) -> None:
    """A cancellation asked for before the operation has suspended arrives at its first suspension."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await forever()
            except asyncio.CancelledError:
                side.note("cancelled inside")
                raise

        await side.end(side.task(side.limited(NEVER, operation)))

    compare(scenario, "cancelled inside", ("cancelled", 1), counts=IGNORED)


def test_the_message_of_a_cancellation(compare: Compare) -> None:
    """What a canceller says reaches the operation and the caller."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            except asyncio.CancelledError as error:
                side.note(("operation", error.args))
                raise

        async def caller() -> None:
            try:
                await side.limited(NEVER, operation)
            except asyncio.CancelledError as error:
                side.note(("caller", error.args))
                raise

        task = side.task(caller())
        await side.until_waiting()
        task.cancel("shutting down")
        await side.end(task)

    compare(
        scenario,
        ("operation", ("shutting down",)),
        ("caller", ("shutting down",)),
        ("cancelled", 1),
        counts=IGNORED,
    )


def test_cancelled_then_expired_in_one_tick(compare: Compare) -> None:
    """Of a cancellation and, in the same tick, an expiry the caller sees the cancellation."""

    async def scenario(side: Side) -> None:
        await side.cancel_and_expire(forever, user_first=True)

    compare(scenario, ("cancelled", 1), counts=IGNORED)


def test_expired_then_cancelled_in_one_tick(compare: Compare) -> None:
    """Of an expiry and, in the same tick, a cancellation the caller sees the cancellation."""

    async def scenario(side: Side) -> None:
        await side.cancel_and_expire(forever, user_first=False)

    compare(scenario, ("cancelled", 1), counts=IGNORED)


@pytest.mark.parametrize("user_first", [True, False])
def test_one_tick_and_swallowed(compare: Compare, user_first: bool) -> None:
    """An operation that swallows an expiry and a cancellation of one tick returns; the other request stays counted."""

    async def scenario(side: Side) -> None:
        async def operation() -> str:
            try:
                await forever()
            except asyncio.CancelledError:
                return "swallowed"
            return ""

        await side.cancel_and_expire(operation, user_first=user_first)

    compare(scenario, (("returned", "swallowed"), 1), counts=EXPIRED)


@pytest.mark.parametrize("user_first", [True, False])
def test_one_tick_and_translated(compare: Compare, user_first: bool) -> None:
    """An operation that answers an expiry and a cancellation of one tick with an exception gives that, timed out."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                raise Boom from None

        await side.cancel_and_expire(operation, user_first=user_first)

    compare(scenario, (("raised Boom",), 1), counts=EXPIRED)


def test_cancelled_while_it_cleans_up_after_the_expiry(compare: Compare) -> None:
    """A cancellation that comes while an expired operation cleans up turns the timeout into a cancellation."""

    async def scenario(side: Side) -> None:
        cleaning = asyncio.Event()

        async def operation() -> None:
            try:
                await forever()
            finally:
                cleaning.set()
                await forever()

        task = side.task(side.limited(SOON, operation))
        await cleaning.wait()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=IGNORED)


def test_expired_while_it_cleans_up_after_a_cancellation(compare: Compare) -> None:
    """A limit goes on while a cancelled operation cleans up; when it expires the caller sees the cancellation."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            finally:
                task = asyncio.current_task()
                assert task is not None
                if task.cancelling() == 1:
                    await forever()
                side.stalled = True

        task = side.task(side.limited(LATER, operation))
        await side.until_waiting()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=IGNORED)


def test_cancelled_after_the_timeout_was_seen(compare: Compare) -> None:
    """A cancellation after the caller has seen the timeout is one of the caller, and leaves nothing behind."""

    async def scenario(side: Side) -> None:
        expired = asyncio.Event()

        async def caller() -> None:
            try:
                await side.limited(SOON, forever)
            except TimeoutError:
                expired.set()
            await forever()

        task = side.task(caller())
        await expired.wait()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=EXPIRED)


def test_expiry_in_a_task_that_swallowed_a_cancellation(compare: Compare) -> None:
    """A request to cancel that was made and swallowed before the call does not turn its timeout into a cancellation."""

    async def scenario(side: Side) -> None:
        async def caller() -> object:
            try:
                await forever()
            except asyncio.CancelledError:
                side.note("swallowed")
            return await side.limited(SOON, forever)

        task = side.task(caller())
        await side.until_waiting()
        task.cancel()
        await side.end(task)

    compare(scenario, "swallowed", (TIMEOUT, 1), counts=EXPIRED)


def test_cancelled_twice(compare: Compare) -> None:
    """Two cancellations in a row reach the operation as one where it has not run in between."""

    async def scenario(side: Side) -> None:
        task = side.task(side.limited(NEVER, forever))
        await side.until_waiting()
        task.cancel()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 2), counts=IGNORED)


def test_uncancelled_by_the_operation(compare: Compare) -> None:
    """An operation that swallows a cancellation and takes it back goes on, under the same limit."""

    async def scenario(side: Side) -> None:
        async def operation() -> str:
            try:
                await forever()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                side.note(task.uncancel())
            return await two_steps()

        task = side.task(side.limited(NEVER, operation))
        await side.until_waiting()
        task.cancel()
        await side.end(task)

    compare(scenario, 0, (("returned", "done"), 0), counts=Counts(successful=1))
