"""Tools for testing code that uses switchgear."""

from switchgear._compat import ManualClock

__all__ = ["ManualClock"]
