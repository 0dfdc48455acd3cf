"""The other ways through a breaker: permits, guards, and a decorated method."""

from typing import Any

import pytest

from conftest import Compare
from measure import Subject
from scenarios import Scenario, bare, bare_async, scenario

SUBJECTS = ("floor", "wrapper", "native", "twin")


def _method() -> Scenario:
    """Return the comparison of a plain method with a decorated one."""
    plain = scenario("method", "@cb on a method", f=bare, floor="o.m()", guarded="o.m()")

    def owner(method: Any) -> object:
        return type("Owner", (), {"m": method})()

    def m(self: object) -> int:
        return 1

    def w(*a: Any, **k: Any) -> int:
        return m(*a, **k)

    methods = {"floor": m, "wrapper": w}
    for name in ("native", "twin"):
        breaker: Any = plain.subjects[name].names["cb"]
        methods[name] = breaker(m)
    subjects = {name: Subject("o.m()", {"o": owner(method)}) for name, method in methods.items()}
    return Scenario(plain.key, plain.title, plain.kind, subjects, budgets=())


SCENARIOS = [
    scenario(
        "permit",
        "acquire(), success()",
        f=bare,
        floor="f()",
        guarded="p = cb.acquire()\nf()\np.success()",
    ),
    scenario(
        "guard",
        "with cb.guard()",
        f=bare,
        floor="f()",
        guarded="with cb.guard():\n    f()",
    ),
    scenario(
        "guard-async",
        "async with cb.guard()",
        f=bare_async,
        floor="await f()",
        guarded="async with cb.guard():\n    await f()",
    ),
    _method(),
]


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_permits(scenario: Scenario, subject: str, compare: Compare) -> None:
    compare(scenario, subject)
