"""A database behind a breaker: SQLite on board, PostgreSQL through SQLAlchemy and asyncpg.

What trips it, engine by engine, is in docs/services/database.md.
"""

import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar, overload

from switchgear.config import CircuitBreakerConfig
from switchgear.services._database.errors import PoolExhaustedError, RowDecodeError, TransactionEndedError
from switchgear.services._database.input import Params, check_statement, sqlite_path
from switchgear.services._database.rows import Shape, as_count, shape
from switchgear.services._database.times import Times
from switchgear.services._database.transaction import Session, Transaction
from switchgear.services._database.verdicts import verdict
from switchgear.services._service import Service

if TYPE_CHECKING:
    import os

    from switchgear.registry import CircuitBreakerRegistry

__all__ = ["DatabaseCircuitBreaker", "PoolExhaustedError", "RowDecodeError", "Transaction", "TransactionEndedError"]

T = TypeVar("T")

DEFAULTS: Final = CircuitBreakerConfig(failure_threshold=5, success_threshold=3, timeout=5.0, reset_timeout=30.0)


class Engine(Protocol):
    """What a database is driven by."""

    def check(self) -> None: ...
    def run(self, sql: str, params: Params, shape: Shape) -> Awaitable[Any]: ...
    def session(self) -> Session: ...
    async def aclose(self) -> None: ...


Connect: TypeAlias = Callable[[str, Times], Engine]
"""What makes an engine of the breaker's name, and of how long calls may take and wait."""


class DatabaseCircuitBreaker(Service):
    """Query a database through the breaker ``db:<name>``: 5 failures open it, for 30 s; a call may take 5 s.

    SQLite runs on a thread of the service's own, one statement or transaction at a time. A statement whose deadline
    passes, or whose caller is cancelled, is interrupted; one that still waited for its turn is never run. PostgreSQL
    runs on a pool of connections for each event loop. For asyncio; usable from any number of event loops, one after
    another or in threads. Not to be used on both sides of a fork.

    A call refused for its arguments, or because the service is closed, does not reach the breaker.

    Args:
        db_name: What the database is called; not empty.
        url: ``None``: a SQLite database in memory. A path, or ``sqlite:///relative`` or ``sqlite:////absolute``: a
            file, in WAL mode. ``postgresql+asyncpg://user:password@host:port/database``: PostgreSQL, with the extra
            ``postgres``.
        config: The breaker's configuration; its ``timeout`` is the deadline of each call and transaction.
        registry: Where the breaker is registered; default the process's registry.
        pool_size: PostgreSQL: connections at most; 1 to 1,000, default 5.
        max_wait: Seconds that a call waits for a connection of the pool (PostgreSQL), or for a lock that another
            process holds (SQLite), before that is an error; above 0, default half of the timeout (15 s without one).

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: The name is empty, or that of a breaker which no service has made; the URL is unusable, or a number
            out of range. The text never holds the URL.
        ImportError: PostgreSQL's libraries are not installed; the text says what to install.
    """

    def __init__(
        self,
        db_name: str,
        url: "str | os.PathLike[str] | None" = None,
        *,
        config: CircuitBreakerConfig | None = None,
        registry: "CircuitBreakerRegistry | None" = None,
        pool_size: int = 5,
        max_wait: float | None = None,
    ) -> None:
        path = sqlite_path(url)
        if type(pool_size) is not int or not 1 <= pool_size <= 1000:
            raise ValueError(f"pool_size must be an int from 1 to 1,000, not {pool_size!r}")
        if max_wait is not None and not (isinstance(max_wait, (int, float)) and 0 < max_wait <= 86_400):
            raise ValueError(f"max_wait must be None or a number of seconds above 0, at most a day, not {max_wait!r}")
        # Whatever is refused is refused before there is a breaker in the registry.
        connect = _postgres(str(url), pool_size) if path is None else _sqlite(path)
        super().__init__("db", db_name, defaults=DEFAULTS, classify=verdict, config=config, registry=registry)
        times = Times(self.breaker, None if max_wait is None else float(max_wait))
        self._engine = connect(self.name, times)

    @overload
    async def query(self, sql: str, params: Params = None, *, type: None = None) -> list[dict[str, Any]]: ...
    @overload
    async def query(self, sql: str, params: Params = None, *, type: builtins.type[T]) -> list[T]: ...
    async def query(self, sql: str, params: Params = None, *, type: Any = None) -> list[Any]:  # noqa: A002
        """Run one statement, committed with its end, and return its rows.

        Args:
            sql: One statement; ``:name`` for parameters on either database, also ``?`` (SQLite) or ``$1`` (PostgreSQL).
            params: A mapping for names, a sequence for positions.
            type: What a row becomes; default a ``dict``. ``tuple``; a dataclass, TypedDict, NamedTuple or msgspec
                Struct (by msgspec); a pydantic model.

        Returns:
            The rows; an empty list for a statement that has none.

        Raises:
            CircuitOpenError: The breaker rejected the call.
            CallTimeoutError: The deadline passed. A statement that had not begun was not run; one that had is undone,
                unless it was over in that moment.
            RowDecodeError: The rows are not of the type.
            PoolExhaustedError: No connection was free.
            Exception: Whatever sqlite3 or SQLAlchemy raises, untouched.
        """
        made = shape(type)
        check_statement(sql, params)
        self._engine.check()
        rows: list[Any] = await self.breaker.call(self._engine.run, sql, params, made)
        return rows

    async def execute(self, sql: str, params: Params = None) -> int:
        """Run one statement, committed with its end, and return how many rows it changed; otherwise as ``query``."""
        check_statement(sql, params)
        self._engine.check()
        count: int = await self.breaker.call(self._engine.run, sql, params, as_count)
        return count

    @overload
    def transaction(self, /) -> AbstractAsyncContextManager[Transaction]: ...
    @overload
    def transaction(self, function: Callable[[Transaction], Awaitable[T]], /) -> Coroutine[Any, Any, T]: ...
    def transaction(self, function: Callable[[Transaction], Awaitable[Any]] | None = None, /) -> Any:
        """Return a transaction to enter, or run a function in one.

        ``async with db.transaction() as tx`` commits when the body ends well, and rolls back on an exception, a
        cancellation and when the deadline passes, which counts from the entry. ``await db.transaction(function)`` does
        the same around ``await function(tx)`` and returns its result.

        The whole transaction is one call of the breaker. What the body raises of its own says nothing of the database
        and is neutral. On SQLite no other statement of this service runs meanwhile; a statement of the service, instead
        of the transaction's, in the same task is refused.

        Raises:
            TypeError: The function is not callable, or what it returns not awaitable.
            TransactionEndedError: On leaving: the database had ended the transaction, nothing is kept.
            Exception: As ``query``, and whatever the body raises, untouched.
        """
        if function is None:
            return self._transaction()
        if not callable(function):
            raise TypeError(f"transaction() takes a function of the transaction, not {function!r}")
        return self._in_transaction(function)

    async def aclose(self) -> None:
        """End what is under way, rolled back, with ``RuntimeError``; close the database. Closing twice is no error."""
        await self._engine.aclose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        self._engine.check()
        async with self.breaker.guard() as permit:
            transaction = Transaction(self._engine.session(), self.breaker.config.classify or verdict)
            try:
                await transaction.begin()
                yield transaction
                await transaction.commit()
            except Exception as error:
                await transaction.fail(error, permit)
                raise
            finally:
                transaction.end()

    async def _in_transaction(self, function: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._transaction() as transaction:
            result = function(transaction)
            if not isinstance(result, Awaitable):
                raise TypeError(f"the function of a transaction must return an awaitable, not {type(result).__name__}")
            return await result


def _sqlite(path: str) -> "Connect":
    # Imported late: users of PostgreSQL need no sqlite3, which some builds of Python lack.
    from switchgear.services._database.sqlite import SqliteEngine

    return lambda name, times: SqliteEngine(path, name, times)


def _postgres(url: str, pool_size: int) -> "Connect":
    from switchgear.services._database.sql import SqlEngine, read_url

    parsed = read_url(url)
    return lambda name, times: SqlEngine(parsed, name, times, pool_size=pool_size)
