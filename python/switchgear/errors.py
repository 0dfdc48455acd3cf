"""The exceptions a caller can meet, and the one-line descriptions of failures."""

import math
import sys
from contextlib import suppress
from typing import Final

from switchgear.state import State

_DESCRIPTION_LIMIT: Final = 200

_QUOTING: Final = ("h11", "httpcore", "httpcore2", "httpx", "httpx2")
"""Libraries whose ``ProtocolError`` quotes what went over the wire and was no HTTP: a header's line, a piece of a body.

Here and not with the service and the transport that know these libraries: whoever calls them through a breaker of his
own, or settles a permit with what they raise, finds the text in the same events and logs.
"""


class CircuitBreakerError(Exception):
    """Base of everything that switchgear itself raises because of a breaker's state or timeout."""


class CircuitOpenError(CircuitBreakerError):
    """A call was rejected: the breaker is OPEN, or HALF_OPEN with every probe out, or rejects a part of the calls.

    All data lies in ``args`` and the text is made when somebody reads it, so that a rejection costs no formatting.

    Args:
        name: The breaker's name.
        state: The state that rejected the call: OPEN, HALF_OPEN, or CLOSED where a throttle did.
        retry_after: Seconds until another call may be admitted, 0 or more; 0.0 where a ramp or a throttle decides call
            by call; ``math.inf`` where only an operator can tell.
        last_failure: Description of the failure that tripped the breaker last, where there is one.
    """

    # No attributes of our own: the core builds rejections from `args` alone, without running this `__init__`.
    def __init__(self, name: str, state: State, retry_after: float, last_failure: str | None = None) -> None:
        super().__init__(name, state, retry_after, last_failure)

    @property
    def name(self) -> str:
        """The breaker's name."""
        name: str = self.args[0]
        return name

    @property
    def state(self) -> State:
        """The state that rejected the call."""
        state: State = self.args[1]
        return state

    @property
    def retry_after(self) -> float:
        """Seconds until another call may be admitted; ``math.inf`` where only an operator can tell."""
        retry_after: float = self.args[2]
        return retry_after

    @property
    def last_failure(self) -> str | None:
        """Description of the failure that tripped the breaker last, or None."""
        last_failure: str | None = self.args[3]
        return last_failure

    def __str__(self) -> str:
        text = f"{self.name!r} is OPEN"
        if self.state is State.CLOSED:
            # The throttle rejects by chance, and the next call may be luckier.
            return f"{text} to this call (CLOSED, throttled)"
        if self.state is State.HALF_OPEN:
            if self.retry_after == 0.0:
                return f"{text} to this call (HALF_OPEN, not its turn yet)"
            text += " to this call (HALF_OPEN, every probe is out)"
        if math.isinf(self.retry_after):
            # An operator's word, whatever failed before it.
            return f"{text} until told otherwise"
        text += f"; retry in {format_seconds(self.retry_after, digits=3)}"
        if self.last_failure is not None:
            text += f"; last failure: {self.last_failure}"
        return text


class BulkheadFullError(CircuitBreakerError):
    """A call was rejected because ``max_concurrent`` others are in flight: no failure, and nothing of the service's.

    Args:
        name: The breaker's name.
        limit: How many calls may be in flight at a time.
    """

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name, limit)

    @property
    def name(self) -> str:
        """The breaker's name."""
        name: str = self.args[0]
        return name

    @property
    def limit(self) -> int:
        """How many calls may be in flight at a time."""
        limit: int = self.args[1]
        return limit

    def __str__(self) -> str:
        return f"{self.name!r} is full: {self.limit} {'call' if self.limit == 1 else 'calls'} in flight"


class CallTimeoutError(CircuitBreakerError, TimeoutError):
    """A call took longer than the breaker's ``timeout`` and was cancelled; counted as a failure.

    Args:
        name: The breaker's name.
        timeout: The limit that was exceeded, in seconds.
    """

    def __init__(self, name: str, timeout: float) -> None:
        super().__init__(name, timeout)

    @property
    def name(self) -> str:
        """The breaker's name."""
        name: str = self.args[0]
        return name

    @property
    def timeout(self) -> float:
        """The limit that was exceeded, in seconds."""
        timeout: float = self.args[1]
        return timeout

    def __str__(self) -> str:
        return f"call through {self.name!r} {describe_timeout(self.timeout)}"


class UnprotectedError(TypeError, RuntimeError):
    """A call was made in a way that no breaker can protect: the caller's mistake, which says nothing of the service.

    Counted as ignored or not at all, and answered by no fallback: where it passed for a failure, the operation would
    never run right and nobody would hear of it. It has two bases because half of the mistakes are what Python itself
    calls a ``TypeError`` (a result of the wrong kind), half a ``RuntimeError`` (a coroutine that was awaited before).
    """


def format_seconds(seconds: float, digits: int = 9) -> str:
    """Write a duration without exponent or trailing zeros: ``1.5s``, ``30s``."""
    text = f"{seconds:.{digits}f}"
    return text.rstrip("0").rstrip(".") + "s"


def describe_failure(failure: BaseException | None) -> str:
    """Describe an exception in one line of at most 200 characters; never raises.

    Args:
        failure: The exception, or None for a failure that was reported without one.

    Returns:
        ``"ValueError: boom"``; the bare type where the exception has no text, and where the text quotes an answer that
        was no HTTP, which may hold a secret; ``"reported failure"`` for None.
    """
    if failure is None:
        return "reported failure"
    kind = type(failure).__name__
    if _quotes(type(failure)):
        return kind
    try:
        text = str(failure)
    except Exception:
        text = "<no text: its __str__ raised>"
    return _one_line(f"{kind}: {text}" if text else kind)


def _quotes(kind: type[BaseException]) -> bool:
    bases = (base for base in kind.__mro__ if base.__name__ == "ProtocolError")
    return any(str(base.__module__).partition(".")[0] in _QUOTING for base in bases)


def describe_result(result: object) -> str:
    """Describe a result that ``is_failure`` judged a failure: ``"result: <repr>"``; never raises."""
    try:
        text = repr(result)
    except Exception:
        text = f"<{type(result).__name__}: its __repr__ raised>"
    return _one_line(f"result: {text}")


def describe_timeout(timeout: float) -> str:
    """Describe a call that exceeded ``timeout`` seconds: ``"timed out after 30s"``."""
    if math.isinf(timeout):
        # The limit was taken out of the configuration while the call was on its way.
        return "timed out"
    return f"timed out after {format_seconds(timeout)}"


def describe_slow(duration: float) -> str:
    """Describe a call that was slow, whatever it brought, by its ``duration`` in seconds: ``"took 2.5s"``."""
    return f"took {format_seconds(duration, digits=3)}"


def report(mistake: BaseException) -> None:
    """Tell ``sys.excepthook`` what a user's judge did wrong: the caller hears of the operation's own exception."""
    # A hook that fails is its owner's.
    with suppress(Exception):
        sys.excepthook(type(mistake), mistake, mistake.__traceback__)


def _one_line(text: str) -> str:
    # Cut before splitting: an exception's text may be megabytes of somebody's response body.
    line = " ".join(text[: 4 * _DESCRIPTION_LIMIT].split())
    if not line.isprintable():
        # A terminal would obey it: a log is read by people.
        line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    return line if len(line) <= _DESCRIPTION_LIMIT else line[: _DESCRIPTION_LIMIT - 1] + "…"
