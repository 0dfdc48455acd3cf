"""The transaction that a body is given: its statements, and whose fault its end is."""

import builtins
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from switchgear.services._database.input import Params, check_statement
from switchgear.services._database.rows import Shape, as_count, shape
from switchgear.state import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from switchgear._compat import Permit
    from switchgear._verdict import Classify


T = TypeVar("T")


class Session(Protocol):
    """What an engine makes of a transaction."""

    async def begin(self) -> None: ...
    async def run(self, sql: str, params: Params, shape: Shape) -> Any: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...
    def abandon(self) -> None: ...


class Transaction:
    """Run statements that hold together: made by ``DatabaseCircuitBreaker.transaction()``, for its body alone.

    Its statements are no calls of the breaker: the transaction is one. Tasks of the body may share it; their statements
    run one after another.
    """

    __slots__ = ("_classify", "_failure", "_last", "_session")

    def __init__(self, session: Session, classify: "Classify") -> None:
        self._session = session
        self._classify = classify
        self._last: Exception | None = None
        """What the database raised last, to be told from what the body raises of its own."""
        self._failure: Exception | None = None
        """What it raised that is a failure, in case the body turns it into something else."""

    @overload
    async def query(self, sql: str, params: Params = None, *, type: None = None) -> list[dict[str, Any]]: ...
    @overload
    async def query(self, sql: str, params: Params = None, *, type: builtins.type[T]) -> list[T]: ...
    async def query(self, sql: str, params: Params = None, *, type: Any = None) -> list[Any]:  # noqa: A002
        """Run a statement and return its rows; otherwise as ``DatabaseCircuitBreaker.query``.

        Raises:
            TransactionEndedError: The transaction is over, or was ended by the database.
        """
        made = shape(type)
        check_statement(sql, params)
        rows: list[Any] = await self._told(self._session.run(sql, params, made))
        return rows

    async def execute(self, sql: str, params: Params = None) -> int:
        """Run a statement and return how many rows it changed; otherwise as ``query``."""
        check_statement(sql, params)
        count: int = await self._told(self._session.run(sql, params, as_count))
        return count

    async def begin(self) -> None:
        """Begin; called by ``transaction()``."""
        await self._told(self._session.begin())

    async def commit(self) -> None:
        """Commit; called by ``transaction()``."""
        await self._told(self._session.commit())

    async def fail(self, error: Exception, permit: "Permit") -> None:
        """Roll back, and settle the permit where the database is not who raised ``error``."""
        failure = self._failure
        try:
            await self._session.rollback()
        except Exception as another:
            # The caller hears of the first one; the breaker of this one, too.
            failure = failure or another
        if error is self._last:
            return  # the guard judges it
        if failure is not None and self._classify(failure) is Outcome.FAILURE:
            permit.failure(failure)
        else:
            permit.release()

    def end(self) -> None:
        """Undo what was not committed, whatever happened; called by ``transaction()``."""
        self._session.abandon()

    async def _told(self, operation: "Awaitable[Any]") -> Any:
        try:
            return await operation
        except Exception as error:
            self._last = error
            if self._failure is None and self._classify(error) is Outcome.FAILURE:
                self._failure = error
            raise
