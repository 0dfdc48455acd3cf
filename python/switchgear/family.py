"""A breaker for each key of a family, made on demand and bounded in number."""

from collections.abc import Iterator
from operator import itemgetter
from threading import RLock
from typing import TYPE_CHECKING, Final

from switchgear.breaker import CircuitBreaker
from switchgear.config import CircuitBreakerConfig
from switchgear.events import Listeners
from switchgear.metrics import CircuitBreakerMetrics
from switchgear.state import State

if TYPE_CHECKING:
    from switchgear._compat import ManualClock

DEFAULT_KEYS: Final = 1_000
KEYS_LIMIT: Final = 1_000_000

# For keys that are made or forgotten, never for a hit. Reentrant, because a finaliser may run inside and look up a key;
# one for all families, so that fork() can take it (`_forks`) and no child inherits it from a thread that it has not.
LOCK: Final = RLock()


class _Entry:
    """A breaker, and when it was looked up last, in new keys since the family began."""

    __slots__ = ("breaker", "key", "used")

    def __init__(self, key: str, breaker: CircuitBreaker, used: int) -> None:
        self.key = key
        self.breaker = breaker
        self.used = used


class Family:
    """Breakers that differ by a key: ``family["NYSE"]``, made by ``CircuitBreakerRegistry.family``.

    A key that is new gets a breaker named ``"<family>:<key>"``; any number of threads get the same one. A look-up is
    a use. Where a new key would be one too many, the least recently used breaker that is CLOSED is forgotten; how
    recently is told apart by the new keys that came since, and among those used between the same two of them the one
    made first goes first. One that is not CLOSED is never forgotten: where none is CLOSED the family grows past its
    bound, until a new key finds some that have closed. An OPEN breaker closes by calls alone, so a key that nobody
    calls any more keeps its place once it has tripped. While few are CLOSED each new key looks at all of them.

    A breaker that was forgotten goes on for those who hold it, and the registry's listeners hear of it no more: look
    it up for each call.

    Raises:
        TypeError: ``name`` or a key is no string, the config no ``CircuitBreakerConfig``.
        ValueError: ``name`` or a key is empty, ``max_keys`` no int from 1 to 1,000,000.
    """

    __slots__ = ("__weakref__", "_clock", "_config", "_entries", "_epoch", "_idle", "_listeners", "_max_keys", "_name")

    def __init__(
        self,
        name: str,
        config: CircuitBreakerConfig | None = None,
        max_keys: int = DEFAULT_KEYS,
        *,
        clock: "ManualClock | None" = None,
        listeners: Listeners | None = None,
    ) -> None:
        if type(max_keys) is not int or not 1 <= max_keys <= KEYS_LIMIT:
            raise ValueError(f"max_keys must be an int from 1 to {KEYS_LIMIT:,}, not {max_keys!r}")
        # A breaker that is thrown away checks the rest, with its own words.
        self._config = CircuitBreaker(name, config, clock=clock).config
        self._name = name
        self._max_keys = max_keys
        self._clock = clock
        self._listeners = listeners
        self._entries: dict[str, _Entry] = {}
        self._epoch = 0
        self._idle: list[tuple[int, _Entry]] = []
        """Who may go, and when they were used last, as it was at the last count; the longest unused at the end."""

    @property
    def name(self) -> str:
        """What the names of the breakers begin with."""
        return self._name

    @property
    def config(self) -> CircuitBreakerConfig:
        """How the breakers behave."""
        return self._config

    @property
    def max_keys(self) -> int:
        """How many breakers are kept, while enough of them are CLOSED."""
        return self._max_keys

    def __getitem__(self, key: str) -> CircuitBreaker:
        # Inlined by the interpreter. A finer measure of recency than one store, an order or a counter, costs each hit.
        try:
            entry = self._entries[key]
        except KeyError:
            pass
        else:
            entry.used = self._epoch
            return entry.breaker
        return self._make(key)

    def get(self, key: str) -> CircuitBreaker | None:
        """Return the breaker of this key, or None; neither makes one nor counts as a use."""
        entry = self._entries.get(key)
        return None if entry is None else entry.breaker

    def remove(self, key: str) -> CircuitBreaker | None:
        """Forget a breaker, whatever its state, and return it; None if there is none of this key."""
        with LOCK:
            entry = self._entries.pop(key, None)
        if entry is None:
            return None
        entry.breaker._shared_listeners = None
        return entry.breaker

    def clear(self) -> None:
        """Forget every breaker, whatever its state."""
        for key in self:
            self.remove(key)
        self._idle = []

    def get_all_metrics(self) -> dict[str, CircuitBreakerMetrics]:
        """Return a snapshot of the counters of every breaker, by key."""
        return {key: entry.breaker.get_metrics() for key, entry in self._entries.copy().items()}

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        """Go over the keys as they were when it began."""
        return iter(list(self._entries))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r}: {len(self)} of {self._max_keys} keys>"

    def _make(self, key: str) -> CircuitBreaker:
        if not isinstance(key, str):
            raise TypeError(f"a key of a family must be a str, not {type(key).__name__}")
        if not key:
            raise ValueError("a key of a family must not be empty")
        with LOCK:
            while key not in self._entries and len(self._entries) >= self._max_keys and self._forget_one():
                pass
            breaker = CircuitBreaker(f"{self._name}:{key}", self._config, clock=self._clock)
            breaker._shared_listeners = self._listeners
            # Odd for the new key, even for the uses until the next one: it is older than what is used after it.
            self._epoch += 1
            entry = self._entries.setdefault(key, _Entry(key, breaker, self._epoch))
            self._epoch += 1
            return entry.breaker

    def _forget_one(self) -> bool:
        """Forget the least recently used breaker that is CLOSED, if there is one.

        Whoever has not been used since the last count is older than whoever has, so one count serves for many new keys.
        """
        while self._idle:
            if self._forget(*self._idle.pop()):
                return True
        self._idle = [(entry.used, entry) for entry in self._entries.copy().values()]
        self._idle.sort(key=itemgetter(0))
        self._idle.reverse()
        while self._idle:
            if self._forget(*self._idle.pop()):
                return True
        return False

    def _forget(self, used: int, entry: _Entry) -> bool:
        if not _is_idle(used, entry) or self._entries.get(entry.key) is not entry:
            return False
        del self._entries[entry.key]
        if not _is_idle(used, entry):
            # Somebody had looked it up, and perhaps tripped it, before it was gone.
            self._entries[entry.key] = entry
            return False
        entry.breaker._shared_listeners = None
        return True


def _is_idle(used: int, entry: _Entry) -> bool:
    return entry.used == used and entry.breaker.state is State.CLOSED
