"""What a person sees of calls in flight."""

import asyncio

import pytest

from helpers import run
from switchgear import BACKEND, CircuitBreaker


async def fetch_quote() -> None:
    await asyncio.sleep(0)


@pytest.mark.skipif(BACKEND == "pure", reason="SKIPPED: the twin's calls are coroutines of its own and named so")
def test_a_task_of_a_call_is_named_for_its_operation() -> None:
    """Of a thousand calls in flight each says which operation it is, and where that stands."""

    async def main() -> tuple[str, str]:
        task = asyncio.create_task(CircuitBreaker("quotes").call(fetch_quote))
        before = repr(task)
        await asyncio.sleep(0)
        suspended = repr(task)
        await task
        return before, suspended

    before, suspended = run(main())
    assert "coro=<fetch_quote()>" in before
    assert "fetch_quote() running at" in suspended


def test_a_permit_says_whose_it_is_and_how_it_stands() -> None:
    """A permit's repr names its breaker and whether it is settled."""
    permit = CircuitBreaker("quotes").acquire()
    assert "<Permit of 'quotes', unsettled>" == repr(permit)
    permit.success()
    assert "<Permit of 'quotes', settled>" == repr(permit)


def test_an_awaitable_that_comes_with_arguments_is_closed() -> None:
    """A coroutine that is refused does not complain later that nobody awaited it."""

    async def main() -> None:
        with pytest.raises(TypeError, match="takes no arguments"):
            await CircuitBreaker("quotes").call(fetch_quote(), 1)  # type: ignore[call-overload]

    run(main())
