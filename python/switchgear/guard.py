"""The context manager whose body is one call."""

from types import TracebackType
from typing import TYPE_CHECKING

from switchgear import _trio
from switchgear.errors import CallTimeoutError

if TYPE_CHECKING:
    from asyncio import Timeout
    from typing import NoReturn

    from trio import CancelScope

    from switchgear._compat import Breaker, Permit


class Guard:
    """One entry into a breaker: made by ``cb.guard()``, entered once.

    Entering takes a permit and yields it; leaving settles it by how the body ended, unless the body settled it by
    hand. ``async with`` enforces the breaker's timeout on the body, with the semantics of ``asyncio.timeout``.

    Raises:
        CircuitOpenError: On entry, when rejected.
        CallTimeoutError: On exit of ``async with``, when the body was cancelled by the timeout.
        RuntimeError: On a second entry.
    """

    __slots__ = ("_breaker", "_permit", "_scope", "_trio_scope")

    def __init__(self, breaker: "Breaker") -> None:
        self._breaker = breaker
        self._permit: Permit | None = None
        self._scope: Timeout | None = None
        self._trio_scope: CancelScope | None = None

    def _enter(self) -> "Permit":
        if self._permit is not None:
            raise RuntimeError("a guard is entered once; call guard() for each entry")
        self._permit = self._breaker.acquire()
        return self._permit

    def _settle(self, error: BaseException | None) -> None:
        permit = self._permit
        if permit is None:
            raise RuntimeError("a guard is left without having been entered")
        if error is not None:
            permit._settle_exception(error)
        elif not permit.settled:
            permit.success()

    def __enter__(self) -> "Permit":
        return self._enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._settle(error)

    async def __aenter__(self) -> "Permit":
        permit = self._enter()
        timeout = self._breaker.config.timeout
        if timeout is None:
            return permit
        try:
            if _trio.in_trio():
                self._trio_scope = _trio.deadline_scope(timeout)
                self._trio_scope.__enter__()
            else:
                # Imported here: under trio, and in programs without async, nobody needs asyncio.
                import asyncio

                self._scope = asyncio.timeout(timeout)
                await self._scope.__aenter__()
        except BaseException:
            permit.release()
            raise
        return permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._scope is not None:
            await self._leave_asyncio(self._scope, kind, error, traceback)
        elif self._trio_scope is not None:
            self._leave_trio(self._trio_scope, kind, error, traceback)
        else:
            self._settle(error)

    async def _leave_asyncio(
        self,
        scope: "Timeout",
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await scope.__aexit__(kind, error, traceback)
        except TimeoutError:
            # The scope raises this only for its own expiry; a TimeoutError of the body never passes through here.
            self._raise_timeout(error)
        if scope.expired() and (error is None or isinstance(error, Exception)):
            # Too late, although the body turned the cancellation into something else: the answer passes, the call
            # failed. A cancellation from outside in the same moment is a BaseException and stays one.
            self._settle_timeout()
        else:
            self._settle(error)

    def _leave_trio(
        self,
        scope: "CancelScope",
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if scope.__exit__(kind, error, traceback):
            self._raise_timeout(error)
        if scope.cancel_called and (error is None or isinstance(error, Exception)):
            self._settle_timeout()
        else:
            self._settle(error)

    def _settle_timeout(self) -> None:
        if self._permit is not None:
            self._permit._settle_timeout()

    def _raise_timeout(self, cause: BaseException | None) -> "NoReturn":
        self._settle_timeout()
        timeout = self._breaker.config.timeout
        raise CallTimeoutError(self._breaker.name, 0.0 if timeout is None else timeout) from cause
