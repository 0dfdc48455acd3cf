"""The context manager whose body is one call."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from switchgear import _compat, _trio
from switchgear.errors import CallTimeoutError

if TYPE_CHECKING:
    from trio import CancelScope

    from switchgear._compat import Breaker, Deadline, Permit


class Guard:
    """One entry into a breaker: made by ``cb.guard()``, entered once.

    Entering takes a permit and yields it; leaving settles it by how the body ended, unless the body settled it by
    hand. An exception is judged by the configuration's filters; ``is_failure`` is not asked, there is no result.
    ``async with`` enforces the breaker's timeout on the body from its entry, with the semantics of
    ``asyncio.timeout``.

    Raises:
        CircuitOpenError: On entry, when rejected.
        CallTimeoutError: On exit of ``async with``, when the body was cancelled by the timeout.
        RuntimeError: On a second entry; on leaving without an entry; on entering ``async with`` outside a task, where
            there is a timeout and nothing that it could cancel.
    """

    __slots__ = ("_breaker", "_deadline", "_permit", "_scope", "_timeout")

    _deadline: "Deadline"
    _scope: "CancelScope"
    _timeout: float
    """That of the entry: another one may hold when the body ends."""

    def __init__(self, breaker: "Breaker") -> None:
        self._breaker = breaker
        self._permit: Permit | None = None

    def __enter__(self) -> "Permit":
        if self._permit is not None:
            raise RuntimeError("a guard is entered once; call guard() for each entry")
        permit = self._permit = self._breaker.acquire()
        return permit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        permit = self._permit
        if permit is None:
            raise RuntimeError("a guard is left without having been entered")
        if error is not None:
            permit._settle_exception(error)
        elif not permit.settled:
            permit.success()

    async def __aenter__(self) -> "Permit":
        permit = self.__enter__()
        timeout = self._breaker.config.timeout
        if timeout is None:
            return permit
        self._timeout = timeout
        try:
            if _trio.in_trio():
                self._scope = _trio.deadline_scope(timeout)
                self._scope.__enter__()
            else:
                self._deadline = _compat.arm(timeout)
        except BaseException:
            permit.release()
            raise
        return permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if hasattr(self, "_deadline"):
            expired, alone = self._deadline.leave()
            if expired:
                self._leave_late(error, alone and isinstance(error, sys.modules["asyncio"].CancelledError))
        elif hasattr(self, "_scope"):
            caught = self._scope.__exit__(kind, error, traceback)
            if self._scope.cancel_called:
                self._leave_late(error, caught)
        self.__exit__(kind, error, traceback)

    def _leave_late(self, error: BaseException | None, cancelled_by_us: bool) -> None:
        """Settle a body whose time was over, unless somebody else has cancelled it in the same moment."""
        permit = self._permit
        if permit is None:
            return
        if cancelled_by_us or error is None or isinstance(error, Exception):
            # Too late also where the body turned the cancellation into something else: that passes, the call failed.
            permit._settle_timeout()
        if cancelled_by_us:
            raise CallTimeoutError(self._breaker.name, self._timeout) from error
