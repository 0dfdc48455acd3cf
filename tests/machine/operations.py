"""What operations do in the state machine, and what their callers see."""

import asyncio
import types
from collections.abc import Callable, Generator
from typing import Any

from hypothesis import strategies as st

from switchgear import BulkheadFullError, CallTimeoutError, CircuitOpenError


class Fault(Exception):
    """A failure, however the breaker is configured."""


class Answered(Exception):
    """Outside `record_only`, where that is given."""


class Harmless(Exception):
    """In `ignore`."""


class Stop(BaseException):
    """No Exception: nothing that a service does."""


RAISED = {"fault": Fault, "answered": Answered, "harmless": Harmless, "stop": Stop, "cancelled": asyncio.CancelledError}
ENDS = st.sampled_from(["fine", "fine", "bad", "unjudgeable", "fault", "fault", *RAISED])
"""How an operation ends: a result that is judged well, or badly, or not at all; an exception."""


def judge(result: object) -> bool:
    if result == "unjudgeable":
        raise LookupError("no idea")
    return result == "bad"


@types.coroutine
def pause() -> Generator[str, Any, Any]:
    """Suspend, whoever drives."""
    return (yield "paused")


def end(how: str) -> str:
    """End as an operation does."""
    if how in RAISED:
        raise RAISED[how]("boom")
    return how


async def end_async(how: str) -> str:
    return end(how)


async def end_later(how: str | None = None) -> str:
    return end(how or await pause())


async def wait_for(future: "asyncio.Future[str]") -> str:
    return end(await future)


class Result:
    """An awaitable that is no coroutine: nobody complains when it is not awaited."""

    how = ""

    def __await__(self) -> Generator[Any, None, str]:
        return end_async(self.how).__await__()


def outcome_of(act: Callable[[], Any]) -> Any:
    """What a caller sees, as a value that compares."""
    try:
        return "returned", act()
    except StopIteration as stop:
        return "returned", stop.value
    except CircuitOpenError as error:
        return "rejected", error.name, error.state, error.retry_after, error.last_failure
    except BulkheadFullError as error:
        return "full", *error.args
    except CallTimeoutError as error:
        return "timed out", *error.args
    except BaseException as error:
        return "raised", type(error).__name__, str(error)
