"""What keeps the demo itself from running; nothing that a breaker is there for."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on; the text is for the user."""
