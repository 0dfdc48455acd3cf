"""The trip rules that the demo can run with: each notices every one of its faults within three calls that time out."""

from typing import Final

from switchgear.rules import (
    Calls,
    ChangeDetection,
    ConsecutiveFailures,
    FailureRate,
    Seconds,
    SlowCallRate,
    TripRule,
)

RULES: Final[dict[str, tuple[TripRule, ...] | None]] = {
    "consecutive": None,
    "failure-rate": (FailureRate(0.5, window=Calls(5), minimum_calls=5),),
    "failure-rate-seconds": (FailureRate(0.5, window=Seconds(0.5), minimum_calls=2),),
    # The server that answers 500s does so at once, so slowness alone would not notice it.
    "slow-calls": (SlowCallRate(0.5, slower_than=0.2, window=Calls(4), minimum_calls=4), ConsecutiveFailures(3)),
    "change-detection": (ChangeDetection(healthy=0.001, failing=0.5, false_trip_every=1_000_000),),
}
"""By the name that ``--rule`` takes; None: the failure threshold of the demo's configuration."""
