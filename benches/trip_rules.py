"""What the trip rules cost a call that succeeds, with a full window: the rows of the table that are about them."""

from collections.abc import Callable
from typing import Any

from backends import BACKENDS, CircuitBreakerConfig
from measure import Subject
from scenarios import Budget, Scenario, bare, bare_async, scenario
from switchgear.rules import Calls, ChangeDetection, FailureRate, Seconds, SlowCallRate, TripRule

RULES: dict[str, tuple[TripRule, float, float]] = {
    "FailureRate, Calls(100)": (FailureRate(window=Calls(100)), 4.0, 1.8),
    "FailureRate, Calls(100_000)": (FailureRate(window=Calls(100_000)), 4.0, 1.8),
    "FailureRate, Seconds(30)": (FailureRate(window=Seconds(30)), 4.0, 1.8),
    "SlowCallRate, Calls(100)": (SlowCallRate(slower_than=2.0, window=Calls(100)), 5.0, 2.0),
    "SlowCallRate, Seconds(30)": (SlowCallRate(slower_than=2.0, window=Seconds(30)), 5.0, 2.0),
}
"""Each with its budgets: the sync decorator, and the awaited call, as ratios to the bare call."""


def having(rule: TripRule | None) -> Callable[[type[Any]], Any]:
    """Return a maker of breakers with this rule, its window filled."""

    def make(backend: type[Any]) -> Any:
        breaker = backend("bench", CircuitBreakerConfig(trip=rule))
        for _ in range(100_000 if rule is not None else 0):
            breaker.call_sync(bare)
        return breaker

    return make


def scenarios() -> list[Scenario]:
    """Return the scenarios of every rule, and of change detection beside the default rule."""
    rows = []
    for name, (rule, sync_limit, async_limit) in RULES.items():
        budget = Budget("floor", sync_limit)
        rows.append(
            scenario(f"{name}, sync", f"@cb, {name}", budget, f=bare, floor="f()", guarded="g()", make=having(rule))
        )
        budget, make = Budget("floor", async_limit), having(rule)
        rows.append(
            scenario(
                f"{name}, async",
                f"await cb.call(f), {name}",
                budget,
                f=bare_async,
                floor="await f()",
                guarded="await cb.call(f)",
                make=make,
            )
        )
    return [*rows, *change_detection()]


def change_detection() -> list[Scenario]:
    """Return change detection at level 0, beside the default rule in the same rounds."""
    by_default = having(None)
    rule, limit = having(ChangeDetection()), Budget("default", 1.05)
    sync = scenario(
        "ChangeDetection, sync",
        "@cb, ChangeDetection, of the default rule's",
        limit,
        f=bare,
        floor="f()",
        guarded="g()",
        make=rule,
        others={"default": Subject("g()", {"g": by_default(BACKENDS["native"])(bare)})},
    )
    awaited = scenario(
        "ChangeDetection, async",
        "await cb.call(f), ChangeDetection, of the default rule's",
        limit,
        f=bare_async,
        floor="await f()",
        guarded="await cb.call(f)",
        make=rule,
        others={"default": Subject("await cb.call(f)", {"cb": by_default(BACKENDS["native"]), "f": bare_async})},
    )
    return [sync, awaited]
