"""PostgreSQL through SQLAlchemy's asyncio extension and asyncpg.

Every operation runs in a task of its own. A caller whose deadline passes, or who is cancelled, leaves at once; what it
leaves behind asks the server to stop the statement and then closes the connection, for at most some seconds, against a
server that may be frozen. SQLAlchemy would let the caller wait for that.

Connections belong to the event loop that opened them, so each loop has a pool of its own, closed with the loop.
"""

import asyncio
import inspect
import re
import weakref
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from switchgear._extras import need
from switchgear.services._database.errors import PoolExhaustedError
from switchgear.services._database.input import postgres_url, refuse_url
from switchgear.services._database.rows import Shape
from switchgear.services._database.sql_pool import PURPOSE, Pool, new_engine, sqlalchemy
from switchgear.services._database.sql_session import SqlSession
from switchgear.services._database.times import Times

T = TypeVar("T")

_NO_HOST: Final = re.compile(r"[\[\]\s]")
"""SQLAlchemy takes the brackets of an IPv6 address off where there are two of them."""

_SQLALCHEMYS: Final = ("prepared_statement_", "async_")
"""What the names of the options begin with that SQLAlchemy keeps from asyncpg."""


def read_url(url: str) -> Any:
    """Return SQLAlchemy's form of a URL, whose repr hides the password.

    Raises:
        ImportError: SQLAlchemy or asyncpg is not installed.
        ValueError: The URL cannot be read.
    """
    library = sqlalchemy()
    need("greenlet", "postgres", PURPOSE)
    options = inspect.signature(need("asyncpg", "postgres", PURPOSE).connect)
    parsed, usable = None, False
    # Out of the except block before it raises: the text of the cause may quote the password.
    with suppress(library.exc.ArgumentError, ValueError, TypeError):
        parsed = library.engine.make_url(postgres_url(url))
        _, given = new_engine(parsed, 1, 1.0).sync_engine.dialect.create_connect_args(parsed)
        options.bind(**{name: value for name, value in given.items() if not name.startswith(_SQLALCHEMYS)})
        usable = not _NO_HOST.search(parsed.host or "")
    if not usable:
        refuse_url("it should read postgresql+asyncpg://user:password@host:port/database")
    return parsed


class SqlEngine:
    """Run statements on a pool of connections.

    Args:
        url: What ``read_url`` returned.
        name: What the database is called, for messages.
        times: How long a call waits for a connection to be free.
        pool_size: Connections at most, for each event loop.
    """

    def __init__(self, url: Any, name: str, times: Times, *, pool_size: int) -> None:
        self._url, self._name, self._times, self._pool_size = url, name, times, pool_size
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

    def session(self) -> SqlSession:
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
            pool = self._pools[loop] = Pool(loop, new_engine(self._url, self._pool_size, self._times.max_wait))
            # Until then the finaliser holds the pool: were it garbage together with the engine, asyncpg's own weak
            # references would be gone when it closes.
            pool.finalizer = weakref.finalize(self, pool.forget)
            pool.finalizer.atexit = False
            await pool.live()
        pool.wait_at_most(self._times.max_wait)
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
                    f"all {self._pool_size} connections to {self._name!r} were in use for {self._times.max_wait:g} s"
                ) from error
            raise
