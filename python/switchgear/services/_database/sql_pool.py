"""The connections of one event loop, what is left behind on them, and how a statement goes through one."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from switchgear._extras import need
from switchgear.services._database.rows import Answer, Shape

PURPOSE: Final = "DatabaseCircuitBreaker on PostgreSQL"

CLEANUP_SECONDS: Final = 2.0
"""How long a ROLLBACK that nobody waits for may take before its connection is cut."""


class Pool:
    """The connections of one event loop, and what their cleaning takes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Any) -> None:
        self.loop, self.engine = loop, engine
        self.finalizer: weakref.finalize[..., Any] | None = None
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        library = sqlalchemy()
        self.exhausted: type[Exception] = library.exc.TimeoutError
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._left: set[asyncio.Task[Any]] = set()
        self._life: AsyncGenerator[None, None] | None = None
        opened = self._open
        library.event.listen(engine.sync_engine, "connect", lambda adapter, _: opened.add(adapter.driver_connection))

    async def live(self) -> None:
        """Be closed with the loop: ``asyncio.run`` closes the async generators that have begun in it."""
        self._life = _until_closed(self)
        await self._life.__anext__()

    def wait_at_most(self, seconds: float) -> None:
        """Let the next calls wait so long for a connection."""
        # What `timeout()` returns; SQLAlchemy has no word to set it once the pool is there.
        self.engine.pool._timeout = seconds

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


def new_engine(url: Any, pool_size: int, max_wait: float) -> Any:
    """Return SQLAlchemy's engine, which connects to nothing yet."""
    asynchronous = need("sqlalchemy.ext.asyncio", "postgres", PURPOSE)
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
    return sqlalchemy().text(sql)


def sqlalchemy() -> Any:
    """Return the library, or say what to install."""
    return need("sqlalchemy", "postgres", PURPOSE)
