"""The public breaker: the backend's base plus everything that is not on the path of a call."""

import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, Self, TypeVar, overload

from switchgear import _compat
from switchgear.config import CircuitBreakerConfig
from switchgear.events import LOCK, Cause, Listener, Listeners, TransitionEvent, explain, log_transition
from switchgear.fallback import FallbackView
from switchgear.guard import Guard
from switchgear.metrics import CircuitBreakerMetrics
from switchgear.protect import protect
from switchgear.state import State

if TYPE_CHECKING:
    from datetime import timedelta

    from switchgear._compat import ManualClock
    from switchgear.history import History
    from switchgear.streams import EventStream

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
AnyListener = TypeVar("AnyListener", bound=Listener)

# Frozen, so that all who say nothing share it.
_DEFAULT: Final = CircuitBreakerConfig()


class CircuitBreaker(_compat.Breaker):
    """Protect one dependency: let calls pass while it works, reject them while it does not.

    Every method may be used from any thread and from inside any call, listener or fallback; none of them waits.
    The methods of a call (``call``, ``call_sync``, ``acquire``, ``try_acquire``) and the operator's (``force_open``,
    ``force_close``, ``disable``, ``reset``, ``reset_metrics``) come from the backend.

    The breaker is a decorator, and deliberately no context manager: an entry needs a permit of its own, see
    ``guard()``. It cannot be pickled or copied: its state belongs to this process.

    Args:
        name: What it protects, for people; not empty.
        config: How it behaves; default ``CircuitBreakerConfig()``.
        clock: A ``switchgear.testing.ManualClock`` to drive its time by hand; default the monotonic clock.

    Raises:
        TypeError: The name is no string, the config no ``CircuitBreakerConfig``, the clock no ``ManualClock``.
        ValueError: The name is empty.

    Example:
        >>> from switchgear import CircuitBreaker, CircuitBreakerConfig
        >>> quotes = CircuitBreaker("quotes", CircuitBreakerConfig(failure_threshold=1))
        >>> quotes.call_sync(float, "101.5")
        101.5
        >>> quotes.call_sync(float, "down")
        Traceback (most recent call last):
        ValueError: could not convert string to float: 'down'
        >>> quotes.with_fallback(lambda error: 101.5).call_sync(float, "102")
        101.5
        >>> print(quotes.state)
        OPEN
    """

    __slots__ = ("__weakref__", "_history", "_listeners", "_shared_listeners")

    _history: "History"
    """There from the first transition on."""
    _listeners: Listeners | None
    _shared_listeners: Listeners | None

    def __new__(
        cls, name: str, config: CircuitBreakerConfig | None = None, *, clock: "ManualClock | None" = None
    ) -> Self:
        """Check the arguments; the backend takes them as they are."""
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, not {type(name).__name__}")
        if not name:
            raise ValueError("name must not be empty")
        if config is None:
            config = _DEFAULT
        elif not isinstance(config, CircuitBreakerConfig):
            raise TypeError(f"config must be a CircuitBreakerConfig or None, not {type(config).__name__}")
        if clock is not None and not isinstance(clock, _compat.ManualClock):
            raise TypeError(f"clock must be a switchgear.testing.ManualClock or None, not {type(clock).__name__}")
        breaker = super().__new__(cls, name, config, clock)
        breaker._listeners = None
        breaker._shared_listeners = None
        return breaker

    @overload
    def __call__(self, function: "classmethod[T, P, R]", /) -> "classmethod[T, P, R]": ...
    @overload
    def __call__(self, function: "staticmethod[P, R]", /) -> "staticmethod[P, R]": ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, function: Any, /) -> Any:
        """Protect a function for its whole life: the decorator.

        Takes functions, coroutine functions, generator and async generator functions, ``@contextmanager`` and
        ``@asynccontextmanager`` functions, ``classmethod`` and ``staticmethod`` objects, and callable objects. Name,
        signature, docstring and ``inspect.iscoroutinefunction`` stay as they were.

        Args:
            function: What to protect.

        Returns:
            A callable with the same signature, every call of which passes through the breaker.

        Raises:
            TypeError: It is a class, or nothing that can be protected.
        """
        return protect(self, function)

    def reconfigure(self, config: CircuitBreakerConfig) -> None:
        """Behave by another configuration from now on, at once and for every call.

        The state stays, with the deadline of an OPEN breaker, the successes of its probes and the attempts to recover;
        so do the metrics and the places of calls in flight, which settle by the new configuration and count in a
        bulkhead that has become smaller. Windows begin empty; of rules that keep a level the first one goes on where it
        is if it is still the same, every other begins at 0. Nobody is notified.

        What a service of ``switchgear.services`` or a transport knows of its library's exceptions stays, too, behind
        the new configuration's ``classify`` and ``ignore``.

        Args:
            config: How to behave from now on.

        Raises:
            TypeError: It is no ``CircuitBreakerConfig``.
        """
        if not isinstance(config, CircuitBreakerConfig):
            raise TypeError(f"config must be a CircuitBreakerConfig, not {type(config).__name__}")
        classify = self.config.classify
        if classify is not None:
            # Imported late: whoever has no verdict spares it.
            from switchgear._verdict import FirstThen, with_verdict

            if isinstance(classify, FirstThen):
                config = with_verdict(config, classify.then)
        self._reconfigure(config)

    def guard(self) -> Guard:
        """Return a fresh guard: ``with cb.guard() as permit`` or ``async with cb.guard() as permit``.

        The body is one call, settled by how it ends: the exception filters ``ignore`` and ``record_only`` are asked,
        ``is_failure`` is not, for there is no result. Only the async form can be interrupted and so has the timeout,
        which counts from the entry (that of ``call()`` from the first suspension).
        """
        return Guard(self)

    def with_fallback(
        self,
        fallback: Callable[[Exception], Any],
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> FallbackView:
        """Return a view of this breaker that answers ``fallback(error)`` where a call was rejected or failed.

        Args:
            fallback: Called with the exception; in the async forms an awaitable answer is awaited.
            on: Exception class, or a tuple of them, that the fallback answers; default every ``Exception``.

        Raises:
            TypeError: The fallback is not callable, or ``on`` holds something other than exception classes.
        """
        return FallbackView(self, fallback, on)

    def get_state(self) -> str:
        """Return the state for people: ``"CLOSED (failures: 2)"``, ``"OPEN (elapsed: 1.204s)"``.

        In a ramp: ``"HALF_OPEN (ramp: 25%)"``, the part of the calls that passes.
        """
        state, count, elapsed, ramp = self._snapshot()
        if ramp is not None:
            return f"HALF_OPEN (ramp: {100.0 * ramp:g}%)"
        match state:
            case State.CLOSED:
                return f"CLOSED (failures: {count})"
            case State.OPEN:
                return f"OPEN (elapsed: {elapsed:.3f}s)"
            case State.HALF_OPEN:
                return f"HALF_OPEN (successes: {count})"
            case _:
                return str(state)

    def get_metrics(self) -> CircuitBreakerMetrics:
        """Return a snapshot of the counters; exact whenever no call is settling."""
        return CircuitBreakerMetrics._make(self._counters())

    def get_success_rate(self) -> float:
        """Return the percent of all calls, rejected ones included, that succeeded; 100.0 before the first call."""
        return self.get_metrics().success_rate

    def on_transition(self, listener: AnyListener) -> AnyListener:
        """Call ``listener(event)`` after every state change; usable as a decorator.

        It runs in the thread that caused the change, with nothing locked, so it may call the breaker. An exception
        in it is logged and hurts no call. Adding one twice is adding it once.

        Args:
            listener: Takes one ``TransitionEvent``.

        Returns:
            The listener.

        Raises:
            TypeError: It is not callable.
        """
        listeners = self._listeners
        if listeners is None:
            created = Listeners()
            with LOCK:
                if self._listeners is None:
                    self._listeners = created
                listeners = self._listeners
        listeners.add(listener)
        return listener

    def off_transition(self, listener: Listener) -> None:
        """Forget a listener; one that is not registered is no error."""
        if self._listeners is not None:
            self._listeners.discard(listener)

    def events(self, *, maxlen: int = 1024) -> "EventStream":
        """Return the state changes from now on, for ``async for event in cb.events()``.

        Otherwise as ``CircuitBreakerRegistry.events``.
        """
        # Imported late: only asyncio's users need it, and it needs asyncio.
        from switchgear.streams import EventStream

        return EventStream(self, maxlen)

    async def wait_for(self, states: State | Iterable[State], timeout: "float | timedelta | None" = None) -> State:
        """Wait, on asyncio, until the breaker enters a state; return at once if it is there already.

        It watches and changes nothing: OPEN becomes HALF_OPEN with the first call after the reset timeout, not with the
        time, so somebody has to go on calling. The state may be another again when the waiter runs. A cancelled wait
        leaves nothing behind.

        Args:
            states: A state, or several, any of which ends the wait.
            timeout: Seconds (or a ``timedelta``) to wait at most, 0 or more; default ``None``: no limit.

        Returns:
            The state that ended the wait.

        Raises:
            TimeoutError: It was in none of them for so long.
            ValueError: There is no state in ``states``, or something else; ``timeout`` is no duration.
            RuntimeError: There is no running asyncio loop.
        """
        from switchgear.streams import wait_for

        return await wait_for(self, states, timeout)

    def history(self) -> tuple[TransitionEvent, ...]:
        """Return the last 64 state changes, oldest first; empty before the first."""
        history: History | None = getattr(self, "_history", None)
        return () if history is None else history.events()

    def _on_transition(
        self,
        from_state: State,
        to_state: State,
        generation: int,
        now_ns: int,
        retry_after: float | None,
        cause: Cause = (),
        jitter: float | None = None,
    ) -> None:
        history = self._made_history()
        last_failure = self.last_failure
        # An operator opens it for reasons of his own, whatever failed before.
        opened_by_failure = to_state is State.OPEN and cause is not None
        event = TransitionEvent(
            name=self.name,
            from_state=from_state,
            to_state=to_state,
            generation=generation,
            monotonic=now_ns / 1e9,
            timestamp=time.time(),
            last_failure=last_failure,
            retry_after=retry_after,
            why=explain(self.config, to_state, cause),
            failures=history.failures(from_state, last_failure if opened_by_failure else None),
            jitter=jitter,
        )
        history.add(event)
        try:
            log_transition(event)
        except Exception as error:
            # A filter of the logger's owner; what it raises is no answer to anybody's call.
            sys.excepthook(type(error), error, error.__traceback__)
        for listeners in (self._listeners, self._shared_listeners):
            if listeners is not None:
                listeners.notify(event)

    def _made_history(self) -> "History":
        # Imported late: by a program's first state change.
        from switchgear.history import History

        history: History | None = getattr(self, "_history", None)
        if history is None:
            with LOCK:
                history = self._history = getattr(self, "_history", None) or History()
        return history

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.get_state()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {self!r}: its state belongs to this process; pickle its config instead")
