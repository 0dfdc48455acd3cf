"""The words in which the server is told how to behave."""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Mode(StrEnum):
    """What the server does with a request of one kind: quotes, or orders."""

    HEALTHY = "healthy"
    """Answer it."""

    ERRORS = "errors"
    """Answer 500."""

    HANG = "hang"
    """Accept it and never answer."""

    CUT = "cut"
    """Promise an answer and close the connection in the middle of it."""


KINDS = ("quotes", "orders")
