"""The faults: what is done to which service, what is done to mend it, and what is expected meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which a part of the system breaks."""

    name: str
    begins: str
    """What is done, in words."""
    ends: str
    """What is done to make it well again, in words."""
    trips: tuple[str, ...]
    """The services whose breakers must open; every other one must not."""
    fallback: str
    """What the trader must have fallen back on, as it counts them."""


FAULTS: Final = (
    Fault(
        "quotes-errors",
        "every quote is answered with status 500",
        "quotes are answered again",
        ("market_data_api",),
        "last known price",
    ),
    Fault(
        "quotes-hang",
        "requests for quotes are never answered",
        "quotes are answered again",
        ("market_data_api",),
        "last known price",
    ),
    Fault(
        "orders-hang",
        "orders are read and never answered",
        "orders are answered again",
        ("order_execution_api",),
        "order not sent",
    ),
    Fault(
        "orders-cut",
        "orders are accepted, and the answer is cut off",
        "orders are answered again",
        ("order_execution_api",),
        "order asked after later",
    ),
    Fault(
        "server-kill",
        "the server of both is killed with SIGKILL",
        "the server is started again on its port",
        ("market_data_api", "order_execution_api"),
        "last known price",
    ),
    Fault(
        "database-lock",
        "somebody else locks the database",
        "the lock is given back",
        ("database",),
        "row written later",
    ),
    Fault(
        "model-raises",
        "the model raises on every prediction",
        "the model works again",
        ("neural_predictor",),
        "last move goes on",
    ),
    Fault(
        "model-hangs",
        "the model never comes back from a prediction",
        "the model works again",
        ("neural_predictor",),
        "last move goes on",
    ),
    # The sandbox holds what its code does: that is an answer, and its breaker stays closed.
    Fault("code-loops", "the strategy's code loops for ever", "the strategy is itself again", (), "hold: TimeoutError"),
    Fault("code-hoards", "the strategy's code eats memory", "the strategy is itself again", (), "hold: MemoryError"),
    Fault(
        "sandbox-kill",
        "every process of the sandbox is killed as soon as it is there",
        "the sandbox's processes live",
        ("e2b_sandbox",),
        "hold",
    ),
)
