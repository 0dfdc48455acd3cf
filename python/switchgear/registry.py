"""Breakers by name."""

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from switchgear.breaker import CircuitBreaker
from switchgear.config import CircuitBreakerConfig
from switchgear.events import Listener, Listeners
from switchgear.metrics import CircuitBreakerMetrics

if TYPE_CHECKING:
    from switchgear._compat import ManualClock
    from switchgear.family import Family
    from switchgear.streams import EventStream

AnyListener = TypeVar("AnyListener", bound=Listener)

logger: Final = logging.getLogger("switchgear")


class CircuitBreakerRegistry(Mapping[str, CircuitBreaker]):
    """Hold breakers by name: a read-only mapping with ``get_or_create``, and beside it families of breakers by key.

    Safe from any thread and without a lock: each change is one atomic operation on a dict. Iteration goes over the
    names as they were when it began.

    Args:
        clock: A ``switchgear.testing.ManualClock`` for every breaker made here; default the monotonic clock.
    """

    __slots__ = ("__weakref__", "_breakers", "_clock", "_families", "_listeners")

    def __init__(self, *, clock: "ManualClock | None" = None) -> None:
        self._breakers: dict[str, CircuitBreaker] = {}
        self._families: dict[str, Family] = {}
        self._clock = clock
        self._listeners = Listeners()

    def register(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """Make a breaker under a name that is free.

        Args:
            name: What it protects; not empty.
            config: How it behaves; default ``CircuitBreakerConfig()``.

        Raises:
            ValueError: The name is taken, or empty.
            TypeError: The name is no string, or the config no ``CircuitBreakerConfig``.
        """
        created = self._make(name, config)
        if self._breakers.setdefault(name, created) is not created:
            raise ValueError(f"a breaker named {name!r} is registered already")
        return created

    def get_or_create(self, name: str, config: CircuitBreakerConfig | None = None) -> CircuitBreaker:
        """Return the breaker of this name, made now if there is none.

        Atomic: any number of threads get the same object.

        Args:
            name: What it protects; not empty.
            config: How it behaves if it is made now; default ``CircuitBreakerConfig()``. A breaker that exists keeps
                its own, and where this one differs a warning is logged.

        Raises:
            ValueError: The name is empty.
            TypeError: The name is no string, or the config no ``CircuitBreakerConfig``.
        """
        breaker = self._breakers.get(name)
        if breaker is None:
            # Of two threads here one makes a breaker in vain; that is cheaper than a lock for everybody.
            breaker = self._breakers.setdefault(name, self._make(name, config))
        if config is not None and config is not breaker.config and config != breaker.config:
            if not isinstance(config, CircuitBreakerConfig):
                raise TypeError(f"config must be a CircuitBreakerConfig or None, not {type(config).__name__}")
            logger.warning("breaker %r keeps its configuration %s; %s is not used", name, breaker.config, config)
        return breaker

    def family(self, name: str, config: CircuitBreakerConfig | None = None, max_keys: int | None = None) -> "Family":
        """Return the family of this name, made now if there is none: ``family["NYSE"]`` is a breaker of its own.

        Its breakers share the listeners and the clock of this registry and are not in its mapping.

        Args:
            name: What the names of the breakers begin with, as in ``"venue:NYSE"``; not empty.
            config: How the breakers behave if the family is made now; default ``CircuitBreakerConfig()``. A family
                that exists keeps its own, and where this one differs a warning is logged.
            max_keys: How many breakers it keeps, 1 to 1,000,000, default 1,000; otherwise as ``config``.

        Raises:
            ValueError: The name is empty, ``max_keys`` out of range.
            TypeError: The name is no string, or the config no ``CircuitBreakerConfig``.
        """
        # Imported late: whoever has no families spares it.
        from switchgear.family import DEFAULT_KEYS, Family

        family = self._families.get(name)
        if family is not None and config in (None, family.config) and max_keys in (None, family.max_keys):
            return family
        # Made in any case: it checks what would be ignored, too.
        asked = Family(
            name,
            config,
            DEFAULT_KEYS if max_keys is None else max_keys,
            clock=self._clock,
            listeners=self._listeners,
        )
        family = self._families.setdefault(name, asked)
        if config is not None and config != family.config:
            logger.warning("family %r keeps its configuration %s; %s is not used", name, family.config, config)
        if max_keys is not None and max_keys != family.max_keys:
            logger.warning("family %r keeps its bound of %s keys; %s is not used", name, family.max_keys, max_keys)
        return family

    @property
    def families(self) -> "dict[str, Family]":
        """The families by name, as they are now."""
        return self._families.copy()

    def remove(self, name: str) -> CircuitBreaker | None:
        """Forget a breaker and return it, or None if there is none of this name.

        Calls in flight and other holders of the breaker go on with it; the registry's listeners hear of it no more.
        """
        breaker = self._breakers.pop(name, None)
        if breaker is not None:
            breaker._shared_listeners = None
        return breaker

    def clear(self) -> None:
        """Forget every breaker and every family."""
        for name in self.list_names():
            self.remove(name)
        for name in list(self._families):
            family = self._families.pop(name, None)
            if family is not None:
                family.clear()

    def list_names(self) -> list[str]:
        """Return the names, in the order in which the breakers were made."""
        return list(self._breakers)

    def get_all_metrics(self) -> dict[str, CircuitBreakerMetrics]:
        """Return a snapshot of the counters of every breaker, by name; a family has its own."""
        return {name: breaker.get_metrics() for name, breaker in self._breakers.copy().items()}

    def on_transition(self, listener: AnyListener) -> AnyListener:
        """Call ``listener(event)`` after every state change of every breaker here, present and future.

        Those of families are among them. Usable as a decorator; otherwise as ``CircuitBreaker.on_transition``.
        """
        self._listeners.add(listener)
        return listener

    def off_transition(self, listener: Listener) -> None:
        """Forget a listener; one that is not registered is no error."""
        self._listeners.discard(listener)

    def events(self, *, maxlen: int = 1024) -> "EventStream":
        """Return the state changes from now on, for ``async for event in registry.events()``.

        They may come from any thread. A reader that falls behind loses the oldest ones, is told how many, and slows
        no call: see ``switchgear.streams.EventStream``.

        Args:
            maxlen: Events that wait for the reader at most; 1 to 1,000,000, default 1,024.

        Raises:
            ValueError: ``maxlen`` is no int of that range.
            RuntimeError: There is no running asyncio loop.
        """
        # Imported late: only asyncio's users need it, and it needs asyncio.
        from switchgear.streams import EventStream

        return EventStream(self, maxlen)

    def _make(self, name: str, config: CircuitBreakerConfig | None) -> CircuitBreaker:
        breaker = CircuitBreaker(name, config, clock=self._clock)
        breaker._shared_listeners = self._listeners
        return breaker

    def __getitem__(self, name: str) -> CircuitBreaker:
        return self._breakers[name]

    def __contains__(self, name: object) -> bool:
        return name in self._breakers

    def __len__(self) -> int:
        return len(self._breakers)

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_names())

    # Mapping would compare contents; two registries are never the same thing.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.list_names()}>"


_default_registry: Final = CircuitBreakerRegistry()


def default_registry() -> CircuitBreakerRegistry:
    """Return the registry of this process."""
    return _default_registry


def breaker(
    name: str,
    config: CircuitBreakerConfig | None = None,
    *,
    registry: CircuitBreakerRegistry | None = None,
    **changes: Any,
) -> CircuitBreaker:
    """Return the breaker of this name from the default registry: the one-line decorator.

    ``@breaker("quotes", failure_threshold=3)`` protects a function; every use of the name shares one breaker.

    Args:
        name: What it protects; not empty.
        config: How it behaves if it is made now; default ``CircuitBreakerConfig()``.
        registry: Where to look; default the process's registry.
        **changes: Fields of the configuration, applied to ``config``.

    Raises:
        ValueError: The name is empty or a field is out of range.
        TypeError: The name is no string, the config no ``CircuitBreakerConfig``, or a change no field of it.
    """
    if changes:
        if config is None:
            config = CircuitBreakerConfig(**changes)
        elif isinstance(config, CircuitBreakerConfig):
            config = config.replace(**changes)
        else:
            raise TypeError(f"config must be a CircuitBreakerConfig or None, not {type(config).__name__}")
    return (_default_registry if registry is None else registry).get_or_create(name, config)
