"""PostgreSQL through SQLAlchemy's asyncio extension and asyncpg.

Every operation runs in a task of its own. A caller whose deadline passes, or who is cancelled, leaves at once; what it
leaves behind asks the server to stop the statement and then closes the connection, for at most some seconds, against a
server that may be frozen. SQLAlchemy would let the caller wait for that.

Connections belong to the event loop that opened them, so each loop has a pool of its own, closed with the loop.
"""

import asyncio
import inspect
import weakref
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeVar

from switchgear._extras import need
from switchgear.services._database_errors import PoolExhaustedError, TransactionEndedError
from switchgear.services._database_input import postgres_url, refuse_url
from switchgear.services._database_rows import Answer, Shape
from switchgear.services._database_verdicts import sqlstate_of

T = TypeVar("T")

_SQLALCHEMYS: Final = ("prepared_statement_", "async_")
"""What the names of the options begin with that SQLAlchemy keeps from asyncpg."""
_PURPOSE: Final = "DatabaseCircuitBreaker on PostgreSQL"

CLEANUP_SECONDS: Final = 2.0
"""How long a ROLLBACK that nobody waits for may take before its connection is cut."""


def read_url(url: str) -> Any:
    """Return SQLAlchemy's form of a URL, whose repr hides the password.

    Raises:
        ImportError: SQLAlchemy or asyncpg is not installed.
        ValueError: The URL cannot be read.
    """
    sqlalchemy = _sqlalchemy()
    need("greenlet", "postgres", _PURPOSE)
    options = inspect.signature(need("asyncpg", "postgres", _PURPOSE).connect)
    parsed, usable = None, False
    # Out of the except block before it raises: the text of the cause may quote the password.
    with suppress(sqlalchemy.exc.ArgumentError, ValueError, TypeError):
        parsed = sqlalchemy.engine.make_url(postgres_url(url))
        _, given = _new_engine(parsed, 1, 1.0).sync_engine.dialect.create_connect_args(parsed)
        options.bind(**{name: value for name, value in given.items() if not name.startswith(_SQLALCHEMYS)})
        usable = True
    if not usable:
        refuse_url("it should read postgresql+asyncpg://user:password@host:port/database")
    return parsed


class SqlEngine:
    """Run statements on a pool of connections.

    Args:
        url: What ``read_url`` returned.
        name: What the database is called, for messages.
        pool_size: Connections at most, for each event loop.
        max_wait: Seconds that a call waits for a connection to be free.
    """

    def __init__(self, url: Any, name: str, *, pool_size: int, max_wait: float) -> None:
        self._url, self._name, self._pool_size, self._max_wait = url, name, pool_size, max_wait
        self._closed = False
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}

    def check(self) -> None:
        """Refuse everything once the engine is closed.

        Raises:
            RuntimeError: It is.
        """
        if self._closed:
            raise RuntimeError(f"{self._name!r} is closed")

    async def run(self, sql: str, params: Any, shape: Shape) -> Any:
        """Run one statement, committed with its end."""
        pool = await self.pool()
        return await self.apart(pool, pool.run(sql, params, shape))

    def session(self) -> "SqlSession":
        """Return a transaction that is yet to begin."""
        return SqlSession(self)

    async def aclose(self) -> None:
        """Cut every connection; what is under way ends with an error."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, pool in list(self._pools.items()):
            if loop is here:
                await pool.close()
            else:
                with suppress(RuntimeError):  # that loop has ended
                    loop.call_soon_threadsafe(pool.cut)
        self._pools.clear()

    async def pool(self) -> "Pool":
        """Return the pool of the running loop."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            self.check()
            # Those of loops that have ended have closed themselves.
            for ended in [each for each in self._pools if each.is_closed()]:
                del self._pools[ended]
            pool = self._pools[loop] = Pool(loop, _new_engine(self._url, self._pool_size, self._max_wait))
            # Until then the finaliser holds the pool: were it garbage together with the engine, asyncpg's own weak
            # references would be gone when it closes.
            pool.finalizer = weakref.finalize(self, pool.forget)
            pool.finalizer.atexit = False
            await pool.live()
        return pool

    async def apart(self, pool: "Pool", operation: Coroutine[Any, Any, T]) -> T:
        """Await an operation in a task of its own, which is cancelled and left to itself when the caller is."""
        task = asyncio.get_running_loop().create_task(operation)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            pool.leave(task)
            raise
        except Exception as error:
            if self._closed:
                raise RuntimeError(f"{self._name!r} is closed") from error
            if isinstance(error, pool.exhausted):
                raise PoolExhaustedError(
                    f"all {self._pool_size} connections to {self._name!r} were in use for {self._max_wait:g} s"
                ) from error
            raise


class Pool:
    """The connections of one event loop, and what their cleaning takes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Any) -> None:
        self.loop, self.engine = loop, engine
        self.finalizer: weakref.finalize[..., Any] | None = None
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        sqlalchemy = _sqlalchemy()
        self.exhausted: type[Exception] = sqlalchemy.exc.TimeoutError
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._left: set[asyncio.Task[Any]] = set()
        self._life: AsyncGenerator[None, None] | None = None
        opened = self._open
        sqlalchemy.event.listen(engine.sync_engine, "connect", lambda adapter, _: opened.add(adapter.driver_connection))

    async def live(self) -> None:
        """Be closed with the loop: ``asyncio.run`` closes the async generators that have begun in it."""
        self._life = _until_closed(self)
        await self._life.__anext__()

    async def run(self, sql: str, params: Any, shape: Shape) -> Any:
        """Run one statement on any connection."""
        async with self._autocommit.connect() as connection:
            return shape(await answer(connection, sql, params))

    def leave(self, task: "asyncio.Task[Any]") -> None:
        """Cancel a task and keep it until it has cleaned up."""
        if not task.done():
            task.cancel()
            self.keep(task)

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Let a task clean up, whatever becomes of it."""
        self._left.add(task)
        task.add_done_callback(self._left_is_done)

    def _left_is_done(self, task: "asyncio.Task[Any]") -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()

    def forget(self) -> None:
        """Close once the service was dropped, from whatever thread that is noticed in."""
        with suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(lambda: self.keep(self.loop.create_task(self.close())))

    def cut(self) -> None:
        """Close every connection without waiting for the server."""
        for connection in list(self._open):
            # A loop that is closed cannot be told; the socket goes with its object.
            with suppress(RuntimeError):
                connection.terminate()

    async def close(self) -> None:
        """Cut every connection, and end what still cleans up."""
        life, self._life = self._life, None
        if life is not None:
            with suppress(RuntimeError):  # it is being closed by the loop in this moment
                await life.aclose()

    async def end(self) -> None:
        """Do what ``close`` and the loop's end have in common."""
        if self.finalizer is not None:
            self.finalizer.detach()
        self.cut()
        left = self._left - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CLEANUP_SECONDS)
        await self.engine.dispose()
        await asyncio.sleep(0)  # in which the transports let go of their sockets


async def _until_closed(pool: Pool) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await pool.end()


class SqlSession:
    """One transaction, on a connection of its own."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self._pool: Pool | None = None
        self._connection: Any = None
        self._lock = asyncio.Lock()
        self._over = False
        self._suspect = False
        """A statement has failed, so the server may have ended the transaction, and COMMIT would not say so."""

    async def begin(self) -> None:
        """Wait for a connection; BEGIN goes with the first statement."""
        self._pool = pool = await self._engine.pool()
        await self._engine.apart(pool, self._begin(pool))

    async def run(self, sql: str, params: Any, shape: Shape) -> Any:
        """Run one statement of the transaction."""
        return await self._apart(self._run(sql, params, shape))

    async def commit(self) -> None:
        """Commit, or end with everything undone."""
        await self._apart(self._commit())

    async def rollback(self) -> None:
        """Undo everything."""
        if not self._over and self._pool is not None:
            self._over = True
            await self._engine.apart(self._pool, self._undo())

    def abandon(self) -> None:
        """Undo what was not committed, without waiting."""
        if self._over or self._pool is None:
            return
        self._over = True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # its loop is gone, and the connection with it
        self._pool.keep(loop.create_task(self._undo()))

    async def _apart(self, operation: Coroutine[Any, Any, T]) -> T:
        if self._over or self._pool is None:
            operation.close()
            raise _ended()
        return await self._engine.apart(self._pool, operation)

    async def _begin(self, pool: Pool) -> None:
        async with self._lock:
            connection = pool.engine.connect()
            self._connection = await connection.start()
            await connection.begin()

    async def _run(self, sql: str, params: Any, shape: Shape) -> Any:
        async with self._lock:
            self._check()
            try:
                answered = await answer(self._connection, sql, params)
            except BaseException:
                self._suspect = True
                raise
            return shape(answered)

    async def _commit(self) -> None:
        async with self._lock:
            self._check()
            if self._suspect:
                await self._ask()
            self._over = True
            try:
                await self._connection.commit()
            finally:
                await self._connection.close()

    async def _ask(self) -> None:
        try:
            await answer(self._connection, "SELECT 1", None)
        except Exception as error:
            if sqlstate_of(error) == "25P02":
                raise TransactionEndedError(
                    "a statement of the transaction has failed, so nothing of it can be committed"
                ) from error
            raise

    def _check(self) -> None:
        if self._over or self._connection.invalidated:
            raise _ended()

    async def _undo(self) -> None:
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                if not connection.invalidated:
                    await asyncio.wait_for(connection.rollback(), CLEANUP_SECONDS)
            finally:
                await connection.close()


def _ended() -> TransactionEndedError:
    return TransactionEndedError("the transaction has ended, and was rolled back where it was not committed")


def _new_engine(url: Any, pool_size: int, max_wait: float) -> Any:
    asynchronous = need("sqlalchemy.ext.asyncio", "postgres", _PURPOSE)
    return asynchronous.create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=max_wait,
        hide_parameters=True,  # they would stand in the texts of errors, and so in logs
    )


async def answer(connection: Any, sql: str, params: Any) -> Answer:
    """Execute a statement: a mapping goes with ``:name``, a sequence with ``$1``."""
    if isinstance(params, Mapping):
        result = await connection.execute(_text(sql), dict(params))
    elif params:
        result = await connection.exec_driver_sql(sql, tuple(params))
    else:
        # Not through text(), which would take a colon in a string for a parameter.
        result = await connection.exec_driver_sql(sql)
    if not result.returns_rows:
        return Answer((), [], result.rowcount)
    return Answer([(name,) for name in tuple(result.keys())], [tuple(row) for row in result], result.rowcount)


@lru_cache(maxsize=512)
def _text(sql: str) -> Any:
    return _sqlalchemy().text(sql)


def _sqlalchemy() -> Any:
    return need("sqlalchemy", "postgres", _PURPOSE)
