"""What an HTTP answer says of the service: pure words, shared by the API service and the integrations."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from switchgear.config import DURATION_LIMIT

_SECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_LONGEST: Final = 64
"""Characters of a ``Retry-After`` that are looked at: a date has 35 at most."""


def is_failure_status(status: int) -> bool:
    """Say whether an answer with this status is a failure of the service: 5xx, and 429.

    A status that is no status, from 600 on, is to be taken for a 5xx (RFC 9110, section 15).
    """
    return status >= 500 or status == 429


def says_when(status: int) -> bool:
    """Say whether a ``Retry-After`` beside this status asks to be left alone: 429 and 503."""
    return status in (429, 503)


def retry_after(headers_value: str | None, now_wall: float) -> float | None:
    """Read a ``Retry-After``: seconds, or one of the three forms of an HTTP-date (RFC 9110, sections 5.6.7, 10.2.3).

    Nothing is capped here but what is no wait at all: how long a service is believed is the breaker's
    ``max_reset_timeout``.

    Args:
        headers_value: The header's value, or None where there is none. Parts of a second are read, too: some send them.
        now_wall: The wall clock, in seconds since the epoch: what a date is compared with.

    Returns:
        Seconds from now, 0 or more; None for junk, for a date that is past and for a time of more than ten years.
    """
    if headers_value is None or len(headers_value) > _LONGEST:
        return None
    text = headers_value.strip(" \t")
    seconds = float(text) if _SECONDS.fullmatch(text) else _until(text, now_wall)
    return seconds if seconds is not None and 0.0 <= seconds <= DURATION_LIMIT else None


def _until(date: str, now_wall: float) -> float | None:
    # What the parser makes of junk it does not say: ValueError, TypeError, IndexError and OverflowError were seen.
    try:
        # A date without a zone, or of the zone -0000, comes without one; HTTP knows none but GMT.
        moment = parsedate_to_datetime(date)
        return (moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=UTC).timestamp()) - now_wall
    except Exception:
        return None
