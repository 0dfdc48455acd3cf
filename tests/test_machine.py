"""The native core, the twin and a reference model, driven together through anything: they never differ."""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

pytest.register_assert_rewrite("machine.base", "machine.calls", "machine.permits", "machine.tasks", "machine.waiting")
from machine.calls import CallRules  # noqa: E402
from machine.control import ControlRules  # noqa: E402
from machine.permits import PermitRules  # noqa: E402
from machine.tasks import TaskRules  # noqa: E402
from machine.waiting import WaitingRules  # noqa: E402


class BreakerMachine(PermitRules, CallRules, WaitingRules, TaskRules, ControlRules):
    """All rules together."""


@pytest.mark.once_per_interpreter
def test_any_sequence_of_anything(caplog: pytest.LogCaptureFixture) -> None:
    """After any step of any sequence the backends and the model have the same state, metrics, verdicts and events."""
    caplog.set_level("CRITICAL", logger="switchgear")
    first = next(BreakerMachine.steps)
    run_state_machine_as_test(
        BreakerMachine,
        settings=settings(
            max_examples=500,
            stateful_step_count=50,
            deadline=None,
            derandomize="CI" in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert next(BreakerMachine.steps) - first > 10_000
