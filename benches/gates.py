"""What a family, and the gates that a call may pass beside the state, cost: rows of the table."""

from typing import Any

from backends import CircuitBreakerConfig
from measure import Subject
from scenarios import Budget, Scenario, bare, bare_async, scenario
from switchgear import CircuitBreakerRegistry
from switchgear.throttling import AdaptiveThrottle

GATES: dict[str, dict[str, Any]] = {
    "max_concurrent=100": {"max_concurrent": 100},
    "AdaptiveThrottle()": {"throttle": AdaptiveThrottle()},
    'mode="observe"': {"mode": "observe"},
}
"""No budget was set for these: theirs is what they took when they were made, so that a step back shows."""
LIMITS: dict[str, tuple[float, float]] = {
    "max_concurrent=100": (6.5, 3.0),
    "AdaptiveThrottle()": (7.5, 3.5),
    'mode="observe"': (4.0, 1.8),
}


def scenarios() -> list[Scenario]:
    """Return the scenarios of the family and of each gate."""
    rows = [family()]
    for name, options in GATES.items():

        def make(backend: type[Any], options: dict[str, Any] = options) -> Any:
            return backend("bench", CircuitBreakerConfig(**options))

        sync_limit, async_limit = (Budget("floor", limit) for limit in LIMITS[name])
        title = f"@cb, {name}"
        rows.append(scenario(title, title, sync_limit, f=bare, floor="f()", guarded="g()", make=make))
        title = f"await cb.call(f), {name}"
        rows.append(
            scenario(
                title,
                title,
                async_limit,
                f=bare_async,
                floor="await f()",
                guarded="await cb.call(f)",
                make=make,
            )
        )
    return rows


class Wrapped:
    """A dict behind an empty Python wrapper."""

    def __init__(self, d: dict[str, Any]) -> None:
        self.d = d

    def __getitem__(self, key: str) -> Any:
        return self.d[key]


def family() -> Scenario:
    """Return the hit of a family of a hundred, beside that of a dict."""
    hit = CircuitBreakerRegistry().family("venue")
    names = [f"venue {number}" for number in range(100)]
    looked_up = {name: hit[name] for name in names}
    key = names[50]
    # What a hit runs is the same code over either backend.
    subjects = {
        name: Subject("d[key]", {"d": d, "key": key})
        for name, d in {"floor": looked_up, "wrapper": Wrapped(looked_up), "native": hit, "twin": hit}.items()
    }
    return Scenario("family", 'family["NYSE"], over a dict\'s', "sync", subjects, (Budget("added", 60),))
