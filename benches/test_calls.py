"""Calls that succeed: without suspending, and suspending once."""

import pytest

from conftest import Compare
from scenarios import Scenario, calls, suspensions

SUBJECTS = ("floor", "wrapper", "native", "twin")


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("scenario", calls(), ids=lambda scenario: scenario.key)
def test_success(scenario: Scenario, subject: str, compare: Compare) -> None:
    compare(scenario, subject)


@pytest.mark.parametrize("subject", [*SUBJECTS, "timeout"])
@pytest.mark.parametrize("scenario", suspensions(), ids=lambda scenario: scenario.key)
def test_suspension(scenario: Scenario, subject: str, compare: Compare) -> None:
    compare(scenario, subject)
