"""The options beside the rules, and what the model has to know of a configuration: numbers."""

from hypothesis import strategies as st

from model import Backoff, Ramp, Rate, Score, Settings, Throttle
from switchgear import CircuitBreakerConfig, recovery, throttling
from switchgear.rules import Seconds

_SEEDS = st.integers(0, 3)
_RAMPS = st.builds(
    recovery.Ramp,
    st.sampled_from([(0.5,), (0.3, 0.6), (0.05, 0.25, 0.5)]),
    step=st.sampled_from([0.00005, 1.0, 7.0]),
    seed=_SEEDS,
)
_BACKOFFS = st.builds(
    recovery.Backoff,
    st.sampled_from([1.0, 2.0, 3.7]),
    max=st.just(315_360_000.0),
    jitter=st.sampled_from([0.0, 0.2, 1.0]),
    seed=_SEEDS | st.just(2**64 - 1),
)
_THROTTLES = st.builds(
    throttling.AdaptiveThrottle,
    k=st.sampled_from([1.0, 1.5, 2.0]),
    window=st.sampled_from([Seconds(1.0), Seconds(7.7), Seconds(120)]),
    seed=_SEEDS,
)

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "half_open_max_wait": st.sampled_from([0.00005, 1.0, 7.0]),
        "backoff": _BACKOFFS,
        "ramp": _RAMPS,
        "max_concurrent": st.integers(1, 4),
        "throttle": _THROTTLES,
        "mode": st.just("observe"),
    },
)
"""Any of the options; the rest is as nobody has said anything."""

UNSAID = {
    "half_open_max_wait": None,
    "backoff": None,
    "ramp": None,
    "max_concurrent": None,
    "throttle": None,
    "mode": "enforce",
}


def settings_of(config: CircuitBreakerConfig, trip: list[Score | Rate]) -> Settings:
    """The numbers of a configuration, its rules aside, which the model is told in numbers of its own."""
    backoff, ramp, throttle = config.backoff, config.ramp, config.throttle
    reset = _ns(config.reset_timeout)
    return Settings(
        tuple(trip),
        config.success_threshold,
        min(config.half_open_max_calls or config.success_threshold, 16),
        reset,
        reset if config.timeout is None else _ns(config.timeout),
        None if config.half_open_max_wait is None else _ns(config.half_open_max_wait),
        backoff and Backoff(backoff.multiplier, _ns(backoff.max), backoff.jitter, backoff.seed or 0),
        ramp and Ramp(ramp.steps, _ns(ramp.step), ramp.seed or 0),
        config.max_concurrent,
        throttle and Throttle(throttle.k, _ns(throttle.window.seconds / 10), throttle.seed or 0),
        config.mode == "observe",
    )


def _ns(seconds: object) -> int:
    assert isinstance(seconds, float)
    return round(seconds * 1e9)
