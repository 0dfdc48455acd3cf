"""What an HTTP answer says of the service."""

import math
import time

import pytest

from switchgear._http import is_failure_status, retry_after, says_when

NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT, the moment in the examples of RFC 9110."""


def test_failures_are_what_the_service_says_of_itself() -> None:
    """5xx and 429 are failures, and what is past them is a 5xx, too; every other answer is an answer."""
    failures = {status for status in range(100, 1000) if is_failure_status(status)}
    assert {429, *range(500, 1000)} == failures


def test_who_may_ask_to_be_left_alone() -> None:
    """A Retry-After counts beside 429 and 503; beside a 3xx or a 413 it means something else."""
    assert [429, 503] == [status for status in range(100, 1000) if says_when(status)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("007", 7.0),
        ("1.5", 1.5),
        ("315360000", 315_360_000.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 09:50:37 +0100", 60.0),
        ("Sun, 06 Nov 1994 08:50:37 -0000", 60.0),
    ],
)
def test_times_that_are_read(value: str, expected: float) -> None:
    """Seconds and all three forms of a date are read."""
    assert expected == retry_after(value, NOW)


@pytest.mark.parametrize(
    "value",
    [
        None, "", " ", "-1", "+1", "1e3", "0x10", "1_000", "1,5", ".5", "5.", "nan", "NaN", "inf", "-inf", "Infinity",
        "soon", "5 seconds", "5, 10", "٣", "²", "9" * 12, "9" * 60, "9" * 100_000, "1." + "0" * 100_000, "\x00", "5\n6",
        "Sun, 06 Nov 1994 08:48:37 GMT", "Sunday", "Sun, 06", "Sun, 99 Nov 1994 99:99:99 GMT",
        "Sun, 06 Nov 9999 08:49:37 GMT", "Sun, 06 Nov 99999999999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:50:37 +99999999999999", "Sun, 06 Nov 2014 08:49:37 GMT", "\ud800", ",,,,", "::::",
    ],
)  # fmt: skip
def test_junk_is_ignored(value: str | None) -> None:
    """What is no time, is past, or is further off than any breaker stays open, says nothing; and nothing raises."""
    assert retry_after(value, NOW) is None


@pytest.mark.parametrize("clock", [0.0, -1e18, 1e18, math.inf, math.nan])
def test_a_clock_that_is_wrong_gives_no_wrong_time(clock: float) -> None:
    """A date on a machine whose wall clock is off gives a time a breaker can use, or none."""
    seconds = retry_after("Sun, 06 Nov 1994 08:49:37 GMT", clock)
    assert seconds is None or 0.0 <= seconds <= 315_360_000.0


def test_the_zone_of_this_machine_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A date without a zone is GMT, wherever it is read."""
    with monkeypatch.context() as here:
        here.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert 60.0 == retry_after("Sun Nov  6 08:50:37 1994", NOW)
    time.tzset()
