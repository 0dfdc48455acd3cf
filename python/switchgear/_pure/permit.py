"""The right to make one call."""

from typing import TYPE_CHECKING, final

from switchgear._pure.word import FAILURE, IGNORED, SUCCESS, Grant

if TYPE_CHECKING:
    from switchgear._pure.core import Core


@final
class Permit:
    """The right to make one call, from ``cb.acquire()`` until it is settled.

    Settle it exactly once, from any thread: ``success()``, ``failure()`` or ``release()``. What you report counts as it
    is: ``ignore``, ``record_only`` and ``is_failure`` are not asked. A second settlement raises ``RuntimeError`` and
    counts nothing. One that is dropped unsettled is released.
    """

    __slots__ = ("__weakref__", "_breaker", "_unsettled")

    _breaker: "Core"
    # Popping from it is how exactly one of two racing threads settles: a single list operation, atomic everywhere.
    _unsettled: list[Grant]

    def __init__(self) -> None:
        raise TypeError("a permit comes from a breaker's acquire(), try_acquire() or guard()")

    @property
    def settled(self) -> bool:
        """Whether the outcome has been reported."""
        return not self._unsettled

    def success(self) -> None:
        """Report that the call worked.

        Raises:
            RuntimeError: The permit is settled already.
        """
        self._breaker._settle(self._take(), SUCCESS)

    def failure(self, exc: BaseException | None = None, *, retry_after: float | None = None) -> None:
        """Report that the call failed.

        Args:
            exc: Why, for ``last_failure``; it is a failure whatever its type. Default None.
            retry_after: Seconds for which the service wants to be left alone, 0 or more: if this failure opens the
                breaker, it stays OPEN for so long at least, up to ``config.max_reset_timeout``. Default None: what a
                numeric ``exc.retry_after`` says.

        Raises:
            RuntimeError: The permit is settled already.
            TypeError: It is no exception, or no number; the permit stays unsettled.
            ValueError: ``retry_after`` is negative or NaN; the permit stays unsettled.
        """
        if exc is not None and not isinstance(exc, BaseException):
            raise TypeError(f"exc must be an exception or None, not {type(exc).__name__}")
        if retry_after is not None:
            # Imported late, as by the breaker.
            from switchgear.recovery import checked_retry_after

            retry_after = checked_retry_after(retry_after)
        least_ns = self._breaker._asked_for(exc, retry_after)
        self._breaker._settle(self._take(), FAILURE, exc, least_ns=least_ns)

    def release(self) -> None:
        """Report that the call was abandoned: neither success nor failure; a probe gives its slot back.

        Raises:
            RuntimeError: The permit is settled already.
        """
        self._breaker._settle(self._take(), IGNORED)

    def _settle_exception(self, error: BaseException) -> None:
        """Settle, if it is not settled yet, by what the call raised."""
        if grant := self._take_if_unsettled():
            self._breaker._settle_exception(grant, error)

    def _settle_timeout(self) -> None:
        """Settle, if it is not settled yet, as a failure that exceeded the breaker's timeout."""
        if grant := self._take_if_unsettled():
            self._breaker._settle_timeout(grant)

    def _take(self) -> Grant:
        grant = self._take_if_unsettled()
        if grant is None:
            raise RuntimeError("this permit is settled already")
        return grant

    def _take_if_unsettled(self) -> Grant | None:
        try:
            return self._unsettled.pop()
        except IndexError:
            return None

    def __del__(self) -> None:
        # No attributes: it was never handed out.
        if getattr(self, "_unsettled", None):
            self._breaker._abandon(self._unsettled.pop())

    def __repr__(self) -> str:
        return f"<Permit of {self._breaker.name!r}, {'settled' if self.settled else 'unsettled'}>"


def new_permit(breaker: "Core", grant: Grant) -> Permit:
    """Return a permit that holds a grant."""
    if breaker._abandoned:
        # Whoever drops permits without ever reading the metrics makes new ones: so what was dropped never piles up.
        breaker._settle_abandoned()
    permit = Permit.__new__(Permit)
    permit._breaker = breaker
    permit._unsettled = [grant]
    return permit
