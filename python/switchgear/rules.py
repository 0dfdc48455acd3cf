"""When a breaker trips: frozen values for ``CircuitBreakerConfig(trip=...)``.

Any rule that is met trips. Rules look at calls that settled as a success or a failure while the breaker was CLOSED, and
start afresh at every change of state.
"""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from switchgear import _cusum
from switchgear.config import THRESHOLD_LIMIT, _count, _duration, _seconds

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["Calls", "ChangeDetection", "ConsecutiveFailures", "FailureRate", "Seconds", "SlowCallRate", "TripRule"]

RULE_LIMIT: Final = 4
SCORE_LIMIT: Final = 2**42 - 1
CALLS_LIMIT: Final = 100_000
SECONDS_RANGE: Final = (0.01, 86_400.0)
MINIMUM_LIMIT: Final = 1_000_000
HEALTHY_LIMIT: Final = 1e-9
BETWEEN_LIMIT: Final = 1_000_000_000_000
BUCKETS: Final = 10


@dataclass(frozen=True, slots=True)
class Calls:
    """A window over the last calls, exact to the call.

    resilience4j: ``slidingWindowType=COUNT_BASED, slidingWindowSize=count``. Polly: none.

    Args:
        count: How many of the last calls; 2 to 100,000.

    Raises:
        ValueError: ``count`` is no int of that range.
    """

    count: int

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 2 <= self.count <= CALLS_LIMIT:
            raise ValueError(f"count must be an int from 2 to {CALLS_LIMIT:,}, not {self.count!r}")


@dataclass(frozen=True, slots=True)
class Seconds:
    """A window over the last seconds, in ten buckets: it reaches back between 9/10 of its length and all of it.

    resilience4j: ``slidingWindowType=TIME_BASED, slidingWindowSize=seconds``, a bucket a second. Polly:
    ``SamplingDuration``, ten buckets.

    Args:
        seconds: Its length in seconds (or a ``timedelta``); 0.01 to 86,400, a day.

    Raises:
        ValueError: ``seconds`` is no duration of that range.
    """

    seconds: "float | timedelta"

    def __post_init__(self) -> None:
        seconds = _seconds(self.seconds)
        least, most = SECONDS_RANGE
        if not least <= seconds <= most:
            raise ValueError(
                f"seconds must be a number of seconds (or a timedelta) from {least} to {most:,.0f},"
                f" not {self.seconds!r}"
            )
        object.__setattr__(self, "seconds", seconds)


@dataclass(frozen=True, slots=True)
class ConsecutiveFailures:
    """Trip at so many failures with no success between them: the quickest rule for a service that is down.

    What ``failure_threshold`` means where no rule is given. resilience4j: ``failureRateThreshold=100`` with
    ``slidingWindowSize`` and ``minimumNumberOfCalls`` both the threshold. Polly: ``exceptionsAllowedBeforeBreaking``
    until version 7; since then ``FailureRatio=1.0, MinimumThroughput=threshold``, within a time.

    Args:
        threshold: Failures in a row; 1 to 1,000,000,000, default 5.

    Raises:
        ValueError: ``threshold`` is no int of that range.
    """

    threshold: int = 5

    def __post_init__(self) -> None:
        _count("threshold", self.threshold, THRESHOLD_LIMIT)


@dataclass(frozen=True, slots=True)
class FailureRate:
    """Trip when so large a part of the calls in the window failed.

    Looked at after every call, so that a success, too, may trip where it completes ``minimum_calls``. resilience4j:
    ``failureRateThreshold=100 * rate``, ``minimumNumberOfCalls`` and a sliding window. Polly: ``FailureRatio``,
    ``MinimumThroughput``, ``SamplingDuration``.

    Args:
        rate: The part that has to fail; above 0, at most 1, default 0.5.
        window: ``Calls(n)`` or ``Seconds(s)``; default ``Calls(100)``.
        minimum_calls: No verdict with fewer calls in the window; 1 to 1,000,000 and at most the ``Calls`` of the
            window, default 20.

    Raises:
        ValueError: A value has the wrong type or is out of range; the text names field, value and range.
    """

    rate: float = 0.5
    _: KW_ONLY
    window: Calls | Seconds = Calls(100)
    minimum_calls: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _rate("rate", self.rate))
        _check_window(self.window, self.minimum_calls)


@dataclass(frozen=True, slots=True)
class SlowCallRate:
    """Trip when so large a part of the calls in the window was slow, whether they succeeded or failed.

    A call lasts from its admission to its settlement; one that the breaker times out ends there, so that
    ``slower_than`` belongs below the ``timeout``. A permit, or a sync call, that never ends is never counted. In
    HALF_OPEN a slow success is a failed probe.
    resilience4j: ``slowCallRateThreshold=100 * rate``, ``slowCallDurationThreshold``. Polly: none; a timeout inside the
    breaker makes slow calls failures.

    Args:
        rate: The part that has to be slow; above 0, at most 1, default 0.5.
        slower_than: Seconds (or a ``timedelta``) above which a call is slow; above 0, at most ten years.
        window: ``Calls(n)`` or ``Seconds(s)``; default ``Calls(100)``.
        minimum_calls: As in ``FailureRate``.

    Raises:
        ValueError: A value has the wrong type or is out of range; the text names field, value and range.
    """

    rate: float = 0.5
    _: KW_ONLY
    slower_than: "float | timedelta"
    window: Calls | Seconds = Calls(100)
    minimum_calls: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _rate("rate", self.rate))
        object.__setattr__(self, "slower_than", _duration("slower_than", self.slower_than))
        _check_window(self.window, self.minimum_calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDetection:
    """Trip as soon as the calls speak for the failing rate rather than the healthy one: Page's CUSUM.

    No rule with as many calls between false trips finds the change sooner in the worst case (Page, Continuous
    inspection schemes, Biometrika 1954; Moustakides, Optimal stopping times for detecting changes in distributions,
    Annals of Statistics 1986). In integers (Reynolds and Stoumbos, A CUSUM chart for monitoring a proportion when
    inspecting continuously, Journal of Quality Technology 1999): a failure lifts the level by ``step``, a success
    lowers it by one, never below 0, and the breaker trips at ``limit``, the smallest that keeps ``false_trip_every``.
    resilience4j and Polly have nothing like it.

    Args:
        healthy: The failure rate to live with; from 1e-9 and below ``failing``, default 0.01.
        failing: The failure rate to find; below 1, default 0.3. Higher ones are found sooner still.
        false_trip_every: Calls between false trips, on average and at least, while calls fail at the rate ``healthy``;
            1 to 1,000,000,000,000, default 1,000,000.

    Raises:
        ValueError: A value has the wrong type or is out of range, or the rates are too close: to be told apart in
            whole numbers, or for so few false trips. The text names field, value and what would fit.

    Example:
        >>> rule = ChangeDetection(healthy=0.01, failing=0.3)
        >>> rule.step, rule.limit, round(rule.calls_between_false_trips)
        (10, 35, 1267316)
        >>> round(rule.expected_calls_to_trip(0.3)), rule.expected_calls_to_trip(1)
        (16, 4.0)
    """

    healthy: float = 0.01
    failing: float = 0.3
    false_trip_every: int = 1_000_000

    def __post_init__(self) -> None:
        failing = _number(self.failing)
        if not HEALTHY_LIMIT < failing < 1.0:
            raise ValueError(f"failing must be a number above {HEALTHY_LIMIT} and below 1, not {self.failing!r}")
        healthy = _number(self.healthy)
        if not HEALTHY_LIMIT <= healthy < failing:
            raise ValueError(
                f"healthy must be a number from {HEALTHY_LIMIT} and below failing, {failing!r}, not {self.healthy!r}"
            )
        balance = _cusum.balance(healthy, failing)
        if not healthy < balance < failing:
            nearest = _cusum.nearest(healthy, failing)
            raise ValueError(
                f"failing must be further above healthy, {healthy!r}, than {self.failing!r}: in whole numbers what a"
                f" failure adds and a success takes balance at a rate of {balance:.4g}, which must lie between them; "
                + ("with a healthy one of 0.5 or more none will do" if nearest is None else f"{nearest:g} will do")
            )
        object.__setattr__(self, "healthy", healthy)
        object.__setattr__(self, "failing", failing)
        _count("false_trip_every", self.false_trip_every, BETWEEN_LIMIT)
        most = self._design().calls_between
        if most < self.false_trip_every:
            raise ValueError(
                f"false_trip_every must be an int from 1 to {int(most):,} for healthy={healthy!r} and"
                f" failing={failing!r}, not {self.false_trip_every!r}: it takes a limit above {_cusum.LEVEL_LIMIT:,};"
                " with the two rates further apart more is possible"
            )

    @property
    def step(self) -> int:
        """What a failure adds to the level; a success takes one."""
        return self._design().step

    @property
    def limit(self) -> int:
        """The level that trips."""
        return self._design().limit

    @property
    def calls_between_false_trips(self) -> float:
        """The mean number of calls between false trips while calls fail at the rate ``healthy``; exact."""
        return self._design().calls_between

    def expected_calls_to_trip(self, rate: float) -> float:
        """Return the mean number of calls from level 0 to a trip; exact, from the Markov chain of the levels.

        Args:
            rate: The part of the calls that fails, independently of one another; 0 to 1.

        Returns:
            The mean, which is infinite for a rate of 0 and past the largest float.

        Raises:
            ValueError: ``rate`` is no number of that range.
        """
        number = _number(rate)
        if not 0.0 <= number <= 1.0:
            raise ValueError(f"rate must be a number from 0 to 1, not {rate!r}")
        return _cusum.mean_calls(number, self.step, self.limit)

    def _design(self) -> _cusum.Design:
        return _cusum.design(self.healthy, self.failing, self.false_trip_every)


TripRule: TypeAlias = ConsecutiveFailures | FailureRate | SlowCallRate | ChangeDetection


class Score(NamedTuple):
    """A level that failures lift by ``up`` and successes lower by ``down``, never below 0; met from ``limit`` up."""

    up: int
    down: int
    limit: int


class Rate(NamedTuple):
    """A window that counts slow calls, or, where ``slower_than_ns`` is 0, failures.

    Over the last ``calls`` calls, or, where that is 0, over ten buckets of ``bucket_ns``.
    """

    calls: int
    bucket_ns: int
    rate: float
    minimum_calls: int
    slower_than_ns: int


def meters(rules: Iterable[TripRule]) -> tuple[Score | Rate, ...]:
    """Return what a backend keeps for each rule, in their order."""
    return tuple(_meter(rule) for rule in rules)


def _meter(rule: TripRule) -> Score | Rate:
    match rule:
        case ConsecutiveFailures():
            return Score(1, SCORE_LIMIT, rule.threshold)
        case ChangeDetection():
            return Score(rule.step, 1, rule.limit)
        case FailureRate():
            return Rate(*_span(rule.window), rule.rate, rule.minimum_calls, 0)
        case SlowCallRate():
            # Below a nanosecond the clock does not look, and 0 would count failures.
            return Rate(*_span(rule.window), rule.rate, rule.minimum_calls, max(1, _ns(rule.slower_than)))


def _span(window: Calls | Seconds) -> tuple[int, int]:
    return (window.count, 0) if isinstance(window, Calls) else (0, -(-_ns(window.seconds) // BUCKETS))


def _ns(duration: "float | timedelta") -> int:
    return round(_seconds(duration) * 1e9)


def _number(value: object) -> float:
    # What is a number of seconds but no timedelta; NaN, which is inside no range, for whatever is no number.
    return _seconds(value) if isinstance(value, int | float) else float("nan")


def _rate(field: str, value: object) -> float:
    number = _number(value)
    if 0.0 < number <= 1.0:
        return number
    raise ValueError(f"{field} must be a number above 0 and at most 1, not {value!r}")


def _check_window(window: object, minimum_calls: object) -> None:
    if isinstance(window, Calls):
        if type(minimum_calls) is not int or not 1 <= minimum_calls <= window.count:
            raise ValueError(
                f"minimum_calls must be an int from 1 to {window.count:,}, the calls of the window,"
                f" not {minimum_calls!r}"
            )
    elif isinstance(window, Seconds):
        _count("minimum_calls", minimum_calls, MINIMUM_LIMIT)
    else:
        raise ValueError(f"window must be Calls(...) or Seconds(...), not {window!r}")
