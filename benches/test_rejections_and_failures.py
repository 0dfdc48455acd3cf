"""Calls that end with an exception: the breaker's own, or the operation's."""

import pytest

from backends import opened
from conftest import Compare
from scenarios import Scenario, caught, fail, failures, rejections, scenario

SUBJECTS = ("floor", "wrapper", "native", "twin")

REJECTED_SYNC = scenario(
    "rejected-sync",
    "rejection, sync, caught",
    f=fail,
    floor=caught("f()"),
    guarded=caught("cb.call_sync(f)"),
    make=opened,
    rejects=True,
)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("scenario", [*rejections(), REJECTED_SYNC], ids=lambda scenario: scenario.key)
def test_rejection(scenario: Scenario, subject: str, compare: Compare) -> None:
    compare(scenario, subject)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("scenario", failures(), ids=lambda scenario: scenario.key)
def test_failure(scenario: Scenario, subject: str, compare: Compare) -> None:
    compare(scenario, subject)
