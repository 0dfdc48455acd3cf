"""How a breaker behaves: one frozen, validated value."""

import math
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, TypeAlias, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from datetime import timedelta

    from switchgear.recovery import Backoff, Ramp
    from switchgear.rules import TripRule
    from switchgear.state import Outcome
    from switchgear.throttling import AdaptiveThrottle

Exceptions: TypeAlias = type[BaseException] | Iterable[type[BaseException]]

THRESHOLD_LIMIT: Final = 1_000_000_000
DURATION_LIMIT: Final = 315_360_000.0
PROBE_LIMIT: Final = 16
CONCURRENCY_LIMIT: Final = 10_000
RESET_TIMEOUT_CAP: Final = 600.0

_FIELDS: Final = (
    "failure_threshold",
    "success_threshold",
    "timeout",
    "reset_timeout",
    "half_open_max_calls",
    "ignore",
    "record_only",
    "is_failure",
    "classify",
    "trip",
    "half_open_max_wait",
    "backoff",
    "max_reset_timeout",
    "ramp",
    "max_concurrent",
    "throttle",
    "mode",
)


# No dataclass: importing that module and making one class is a third of what `import switchgear` may take.
C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True)
def _frozen(cls: C) -> C:
    # For type checkers alone: they find an assignment to a field, which __setattr__ refuses when it is run.
    return cls


@_frozen
class CircuitBreakerConfig:
    """Say when a breaker trips, how it recovers and what it counts.

    Hashable and comparable. Every value is checked here, so nothing behind this class checks again.

    Args:
        failure_threshold: Consecutive failures in CLOSED that trip; 1 to 1,000,000,000, default 5.
        success_threshold: Consecutive successful probes in HALF_OPEN that close; 1 to 1,000,000,000, default 2.
        timeout: Seconds (or a ``timedelta``) that one awaited call may take, counted from its first suspension, or
            the body of an ``async with`` guard, counted from its entry; above 0, at most ten years, default 30.0.
            ``None``: no limit. A sync call cannot be interrupted and is not timed.
        reset_timeout: Seconds (or a ``timedelta``) spent OPEN before the first probe; above 0, at most ten years,
            default 60.0.
        half_open_max_calls: Probes that HALF_OPEN admits at a time; 1 to 16, default ``success_threshold`` (at most
            16). A probe holds its place until it settles, but no longer than ``timeout``, or ``reset_timeout`` where
            that is None: one that was lost is replaced then.
        ignore: An exception class, or several, that count neither as success nor as failure; default none.
        record_only: An exception class, or several, outside which an exception counts as a success (the service did
            answer); default ``None``: every exception is a failure.
        is_failure: Called with each returned value; a true answer makes the call a failure (its value is still
            returned). Default ``None``: every returned value is a success.
        classify: Called with each ``Exception`` that a call raised; returns a ``switchgear.Outcome``, or None to
            leave the word to ``ignore`` and ``record_only``. What it raises goes to ``sys.excepthook`` and is None.
            Default ``None``. Cancellation is never asked about: it is ignored.
        trip: A rule of ``switchgear.rules``, or up to four, any of which trips when it is met. Default ``None``:
            ``ConsecutiveFailures(failure_threshold)``; where rules are given, ``failure_threshold`` says nothing.
        half_open_max_wait: Seconds (or a ``timedelta``) that HALF_OPEN waits for the verdicts it needs; when they are
            over, the next call finds the breaker OPEN anew. Above 0, at most ten years, default ``None``: for ever.
        backoff: A ``switchgear.recovery.Backoff``: the open time grows while probes fail. Default ``None``: it is
            ``reset_timeout`` each time.
        max_reset_timeout: The longest time, in seconds (or a ``timedelta``), that a service may ask to be left alone
            for: by the ``retry_after`` of an exception, or of ``permit.failure``, that opens the breaker. At least
            ``reset_timeout``, at most ten years; default ``None``: 600.0, or ``reset_timeout`` where that is longer.
        ramp: A ``switchgear.recovery.Ramp``: after its probes HALF_OPEN lets a growing part of the calls pass before it
            closes. Default ``None``: it closes at once.
        max_concurrent: A bulkhead: calls in flight at a time; what comes beyond them is rejected with
            ``BulkheadFullError``. A call holds its place until it settles, but no longer than twice ``timeout``
            (``reset_timeout`` where that is None), a probe once. 1 to 10,000, default ``None``: no limit.
        throttle: A ``switchgear.throttling.AdaptiveThrottle``: while the service fails in part, a part of the calls is
            rejected in CLOSED. Default ``None``: none.
        mode: ``"enforce"``, the default, or ``"observe"``: the breaker decides as ever but rejects nothing. What it
            would have rejected passes, is counted in ``would_have_rejected``, and moves nothing. The ``timeout`` holds.

    Raises:
        ValueError: A value has the wrong type or is out of range; the text names field, value and range.
    """

    __slots__ = _FIELDS

    failure_threshold: int
    success_threshold: int
    timeout: float | None
    reset_timeout: float
    half_open_max_calls: int | None
    ignore: tuple[type[BaseException], ...]
    record_only: tuple[type[BaseException], ...] | None
    is_failure: Callable[[Any], object] | None
    classify: "Callable[[Exception], Outcome | None] | None"
    trip: "tuple[TripRule, ...] | None"
    half_open_max_wait: float | None
    backoff: "Backoff | None"
    max_reset_timeout: float | None
    ramp: "Ramp | None"
    max_concurrent: int | None
    throttle: "AdaptiveThrottle | None"
    mode: Literal["enforce", "observe"]

    def __init__(
        self,
        failure_threshold: int = 5,
        success_threshold: int = 2,
        timeout: "float | timedelta | None" = 30.0,
        reset_timeout: "float | timedelta" = 60.0,
        *,
        half_open_max_calls: int | None = None,
        ignore: Exceptions = (),
        record_only: Exceptions | None = None,
        is_failure: Callable[[Any], object] | None = None,
        classify: "Callable[[Exception], Outcome | None] | None" = None,
        trip: "TripRule | Iterable[TripRule] | None" = None,
        half_open_max_wait: "float | timedelta | None" = None,
        backoff: "Backoff | None" = None,
        max_reset_timeout: "float | timedelta | None" = None,
        ramp: "Ramp | None" = None,
        max_concurrent: int | None = None,
        throttle: "AdaptiveThrottle | None" = None,
        mode: Literal["enforce", "observe"] = "enforce",
    ) -> None:
        if half_open_max_calls is not None:
            half_open_max_calls = _count("half_open_max_calls", half_open_max_calls, PROBE_LIMIT, "None or ")
        if is_failure is not None and not callable(is_failure):
            raise ValueError(f"is_failure must be None or a callable that takes the result, not {is_failure!r}")
        if classify is not None and not callable(classify):
            raise ValueError(f"classify must be None or a callable that takes the exception, not {classify!r}")
        if max_concurrent is not None:
            max_concurrent = _count("max_concurrent", max_concurrent, CONCURRENCY_LIMIT, "None or ")
        if mode not in ("enforce", "observe"):
            raise ValueError(f'mode must be "enforce" or "observe", not {mode!r}')
        if ramp is not None:
            _check_ramp(ramp)
        if throttle is not None:
            _check_throttle(throttle)
        values: dict[str, Any] = {
            "failure_threshold": _count("failure_threshold", failure_threshold, THRESHOLD_LIMIT),
            "success_threshold": _count("success_threshold", success_threshold, THRESHOLD_LIMIT),
            "timeout": None if timeout is None else _duration("timeout", timeout, "None or "),
            "reset_timeout": _duration("reset_timeout", reset_timeout),
            "half_open_max_calls": half_open_max_calls,
            "ignore": _exceptions("ignore", ignore),
            "record_only": None if record_only is None else _exceptions("record_only", record_only, "None or "),
            "is_failure": is_failure,
            "classify": classify,
            "trip": None if trip is None else _rules(trip),
            "half_open_max_wait": (
                None if half_open_max_wait is None else _duration("half_open_max_wait", half_open_max_wait, "None or ")
            ),
            "backoff": backoff,
            "ramp": ramp,
            "max_concurrent": max_concurrent,
            "throttle": throttle,
            "mode": mode,
        }
        least = values["reset_timeout"]
        values["max_reset_timeout"] = None if max_reset_timeout is None else _cap(max_reset_timeout, least)
        if backoff is not None:
            _check_backoff(backoff, least)
        for field, value in values.items():
            object.__setattr__(self, field, value)

    @classmethod
    def balanced(cls) -> Self:
        """Return the defaults: 5 failures, 2 successes, 30 s a call, 60 s OPEN."""
        return cls()

    @classmethod
    def conservative(cls) -> Self:
        """Return a slow-to-trip, quick-to-probe setting: 10 failures, 3 successes, 60 s a call, 30 s OPEN."""
        return cls(10, 3, 60.0, 30.0)

    @classmethod
    def aggressive(cls) -> Self:
        """Return a quick-to-trip, slow-to-probe setting: 3 failures, 2 successes, 5 s a call, 120 s OPEN."""
        return cls(3, 2, 5.0, 120.0)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, validated anew.

        Raises:
            ValueError: As for the class.
            TypeError: A name is no field.
        """
        return type(self)(**(self._values() | changes))

    def _values(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in _FIELDS}

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name!r}: a configuration is frozen, replace() returns a changed copy")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"cannot delete {name!r}: a configuration is frozen")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, CircuitBreakerConfig) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in self._values().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._values())


def _rebuild(cls: type[CircuitBreakerConfig], values: dict[str, Any]) -> CircuitBreakerConfig:
    return cls(**values)


def _count(field: str, value: object, limit: int, alternative: str = "") -> int:
    if type(value) is int and 1 <= value <= limit:
        return value
    raise ValueError(f"{field} must be {alternative}an int from 1 to {limit:,}, not {value!r}")


def _duration(field: str, value: object, alternative: str = "") -> float:
    seconds = _seconds(value)
    if 0.0 < seconds <= DURATION_LIMIT:
        return seconds
    raise ValueError(
        f"{field} must be {alternative}a number of seconds (or a timedelta) above 0"
        f" and at most {DURATION_LIMIT:,.0f}, not {value!r}"
    )


def _seconds(value: object) -> float:
    """Return NaN, which is inside no range, for whatever is no duration."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # An int past the largest float must not escape as OverflowError.
        return float(min(value, 2**62))
    # Imported late: datetime is a millisecond at start-up, and whoever holds a timedelta has it already.
    from datetime import timedelta

    return value.total_seconds() if isinstance(value, timedelta) else math.nan


def _exceptions(field: str, value: object, alternative: str = "") -> tuple[type[BaseException], ...]:
    if isinstance(value, type):
        classes: tuple[object, ...] = (value,)
    elif isinstance(value, Iterable):
        classes = tuple(value)
    else:
        classes = (value,)
    if all(isinstance(each, type) and issubclass(each, BaseException) for each in classes):
        return classes  # type: ignore[return-value]  # `all` narrows nothing
    raise ValueError(f"{field} must be {alternative}an exception class or an iterable of them, not {value!r}")


def _rules(value: object) -> "tuple[TripRule, ...]":
    # Imported late: whoever holds a rule has the module already, and everybody else spares it.
    from switchgear.rules import RULE_LIMIT, TripRule

    # No more than it takes to see that there are too many: some iterators never end.
    rules = tuple(islice(value, RULE_LIMIT + 1)) if isinstance(value, Iterable) else (value,)
    if 1 <= len(rules) <= RULE_LIMIT and all(isinstance(rule, TripRule) for rule in rules):
        return rules
    raise ValueError(f"trip must be None, a rule of switchgear.rules, or 1 to {RULE_LIMIT} of them, not {value!r}")


def _cap(value: object, least: float) -> float:
    seconds = _duration("max_reset_timeout", value, "None or ")
    if seconds < least:
        raise ValueError(f"max_reset_timeout must be at least the reset_timeout of {least!r} seconds, not {value!r}")
    return seconds


def _check_backoff(value: object, reset_timeout: float) -> None:
    from switchgear.recovery import Backoff

    if not isinstance(value, Backoff):
        raise ValueError(f"backoff must be None or a switchgear.recovery.Backoff, not {value!r}")
    if value.max < reset_timeout:
        raise ValueError(
            f"the backoff's max must be at least the reset_timeout of {reset_timeout!r}, not {value.max!r}"
        )


def _check_ramp(value: object) -> None:
    from switchgear.recovery import Ramp

    if not isinstance(value, Ramp):
        raise ValueError(f"ramp must be None or a switchgear.recovery.Ramp, not {value!r}")


def _check_throttle(value: object) -> None:
    from switchgear.throttling import AdaptiveThrottle

    if not isinstance(value, AdaptiveThrottle):
        raise ValueError(f"throttle must be None or a switchgear.throttling.AdaptiveThrottle, not {value!r}")
