import asyncio
import importlib.util
from typing import Any

import pytest

from virtual_time import VirtualLoop

pytest.register_assert_rewrite("timeouts.sides")
from timeouts.sides import ENTRIES, Compare, LoopKind  # noqa: E402


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


LOOPS = {
    "virtual time": LoopKind("virtual time", VirtualLoop, 1.0),
    "asyncio": LoopKind("asyncio", asyncio.SelectorEventLoop, 0.002),
    "uvloop": LoopKind("uvloop", _uvloop, 0.002),
}


def _loop_kind(name: str) -> LoopKind:
    if name == "uvloop" and importlib.util.find_spec("uvloop") is None:
        pytest.skip("SKIPPED: uvloop is not installed")
    return LOOPS[name]


@pytest.fixture(params=LOOPS)
def loop_kind(request: pytest.FixtureRequest) -> LoopKind:
    """Each event loop in turn."""
    return _loop_kind(request.param)


# Calls on every loop; what else enters a breaker does so in virtual time, since it makes the same call.
WAYS = [*((loop, "call") for loop in LOOPS), *(("virtual time", entry) for entry in ENTRIES if entry != "call")]


@pytest.fixture(params=WAYS, ids=", ".join)
def compare(request: pytest.FixtureRequest) -> Any:
    """Play a scenario with ``asyncio.timeout`` and with the breaker, on each loop and through each kind of call."""
    loop, entry = request.param
    return Compare(_loop_kind(loop), ENTRIES[entry])
