"""Rejecting a part of the calls of a service that fails in part."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from switchgear.recovery import check_seed, drawn_seed
from switchgear.rules import BUCKETS, Seconds

if TYPE_CHECKING:
    from switchgear.config import CircuitBreakerConfig

K_RANGE: Final = (1.0, 1_000.0)
_WINDOW: Final = Seconds(120)


@dataclass(frozen=True, slots=True)
class AdaptiveThrottle:
    """Reject calls by chance while the service accepts few of them: for outages that are partial.

    In CLOSED a call is rejected with the probability ``max(0, (requests - k * accepts) / (requests + 1))``, which is
    never 1 (Beyer, Jones, Petoff and Murphy, Site Reliability Engineering, 2016, chapter 21, "client-side
    throttling"). Requests are the calls that asked, the rejected ones included. Accepts are those of them that were
    neither rejected nor failed: a call on its way counts as accepted until it fails, since counted the other way round
    a hundred calls that come at once to a healthy service would nearly all be rejected. A state change empties the
    window.

    resilience4j and Polly have none; Envoy calls it admission control.

    Args:
        k: How much more to send than is accepted; 1 to 1,000, default 2.0. With 2.0 nothing is rejected while half of
            the calls or more succeed; nearer to 1 it begins earlier.
        window: ``switchgear.rules.Seconds``; default ``Seconds(120)``.
        seed: What chance is drawn from, 0 to 2^64 - 1: with the same seed the n-th call draws the same. Default None:
            another one in each breaker.

    Raises:
        ValueError: A value is out of range or has the wrong type; the text names field, value and range.
    """

    k: float = 2.0
    window: Seconds = _WINDOW
    seed: int | None = None

    def __post_init__(self) -> None:
        least, most = K_RANGE
        if not isinstance(self.k, (int, float)) or isinstance(self.k, bool) or not least <= self.k <= most:
            raise ValueError(f"k must be a number from {least:,g} to {most:,g}, not {self.k!r}")
        object.__setattr__(self, "k", float(self.k))
        if not isinstance(self.window, Seconds):
            raise ValueError(f"window must be Seconds(...), not {self.window!r}")
        check_seed(self.seed)


def throttle_numbers(config: "CircuitBreakerConfig") -> tuple[float, int, int]:
    """Return what a backend keeps of a config's throttle for one breaker: k, the length of a bucket in ns, the seed."""
    throttle = config.throttle
    if throttle is None:
        raise ValueError("the config has no throttle")
    bucket_ns = max(1, round(throttle.window.seconds * 1e9 / BUCKETS))  # type: ignore[arg-type]  # a float by now
    return throttle.k, bucket_ns, drawn_seed(throttle.seed)
