"""An operation answers the expiry: it swallows it, cleans up, raises something else, cancels."""

import asyncio

from timeouts.operations import Boom, forever, two_steps
from timeouts.sides import LATER, NEVER, SOON, TIMEOUT, Compare, Counts, Side

EXPIRED = Counts(failed=1, timed_out=1)


def test_swallowed_and_returned(compare: Compare) -> None:
    """An operation that turns the expiry into a value gives the caller that value, and counts as timed out."""

    async def scenario(side: Side) -> None:
        async def operation() -> str:
            try:
                await forever()
            except asyncio.CancelledError:
                return "too late"
            return ""

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, (("returned", "too late"), 0), counts=EXPIRED)


def test_swallowed_and_suspended_again(compare: Compare) -> None:
    """A limit fires once: an operation that swallows the expiry may suspend as long as it likes."""

    async def scenario(side: Side) -> None:
        async def operation() -> str:
            try:
                await forever()
            except asyncio.CancelledError:
                side.note("swallowed")
            await asyncio.sleep(side.seconds(LATER))
            return await two_steps()

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, "swallowed", (("returned", "done"), 0), counts=EXPIRED)


def test_swallowed_and_cancelled_again_by_somebody(compare: Compare) -> None:
    """A cancellation after a swallowed expiry stays a cancellation."""

    async def scenario(side: Side) -> None:
        swallowed = asyncio.Event()

        async def operation() -> None:
            try:
                await forever()
            except asyncio.CancelledError:
                swallowed.set()
            await forever()

        task = side.task(side.limited(SOON, operation))
        await swallowed.wait()
        task.cancel()
        await side.end(task)

    compare(scenario, ("cancelled", 1), counts=Counts(ignored=1))


def test_swallowed_and_raised_again_later(compare: Compare) -> None:
    """An operation may finish what it is doing and then raise the cancellation that it had caught: a timeout."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            except asyncio.CancelledError as error:
                caught = error
            await two_steps()
            raise caught

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, (TIMEOUT, 0), counts=EXPIRED)


def test_cleanup_awaits(compare: Compare) -> None:
    """A cleanup may await for longer than the limit was, as its own task, before the timeout is raised."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            task = asyncio.current_task()
            try:
                await forever()
            finally:
                await asyncio.sleep(side.seconds(LATER))
                side.note(("cleaned up by its own task", asyncio.current_task() is task))

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, ("cleaned up by its own task", True), (TIMEOUT, 0), counts=EXPIRED)


def test_cleanup_raises(compare: Compare) -> None:
    """Another exception during the cleanup reaches the caller as it is; the call counts as timed out."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                raise Boom

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, (("raised Boom",), 0), counts=EXPIRED)


def test_another_exception_from_the_cancellation(compare: Compare) -> None:
    """An operation that translates the cancellation gives the caller its own exception."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            except asyncio.CancelledError as error:
                raise Boom from error

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, (("raised Boom", "from CancelledError"), 0), counts=EXPIRED)


def test_cleanup_raises_a_base_exception(compare: Compare) -> None:
    """A CancelledError that the cleanup raises by itself is taken for the expiry's: nobody else asked for one."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            finally:
                raise asyncio.CancelledError("another")

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, (TIMEOUT, 0), counts=EXPIRED)


def test_finally_that_cancels_after_the_expiry(compare: Compare) -> None:
    """An expired operation whose cleanup cancels its own task is cancelled, not timed out."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            finally:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, ("cancelled", 1), counts=Counts(ignored=1))


def test_finally_that_cancels_in_time(compare: Compare) -> None:
    """An operation that cancels its own task and ends in time gives its result; the caller is cancelled later."""

    async def scenario(side: Side) -> None:
        async def operation() -> str:
            try:
                return await two_steps()
            finally:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

        async def caller() -> None:
            side.note(await side.limited(NEVER, operation))
            await forever()

        await side.end(side.task(caller()))

    compare(scenario, "done", ("cancelled", 1), counts=Counts(successful=1))


def test_a_limit_inside_the_cleanup(compare: Compare) -> None:
    """A cleanup may have a limit of its own, which expires by itself."""

    async def scenario(side: Side) -> None:
        async def operation() -> None:
            try:
                await forever()
            finally:
                try:
                    await side.limited(SOON, forever)
                except TimeoutError:
                    side.note("gave up cleaning")

        await side.end(side.task(side.limited(SOON, operation)))

    compare(scenario, "gave up cleaning", (TIMEOUT, 0), counts=Counts(failed=2, timed_out=2))
