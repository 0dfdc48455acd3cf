"""The locks under the breakers' state.

A lock is held for a few assignments between which nothing is called, so no user code, no finaliser and no signal
handler ever runs under one. They are shared out among all breakers: sixteen locks can be taken around ``fork()``, so
that a child never inherits one that nobody will release; a lock in each breaker could not, and costs memory.
"""

import itertools
import os
from threading import Lock
from typing import Final

_LOCKS: Final = tuple(Lock() for _ in range(16))
_turn: Final = itertools.cycle(_LOCKS)


def next_lock() -> Lock:
    """Return the lock for one more breaker."""
    return next(_turn)


def _acquire_all() -> None:
    for lock in _LOCKS:
        lock.acquire()


def _release_all() -> None:
    for lock in _LOCKS:
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_release_all)
