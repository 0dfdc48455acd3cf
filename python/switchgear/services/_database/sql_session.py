"""A transaction on PostgreSQL."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from switchgear.services._database.errors import TransactionEndedError, ended
from switchgear.services._database.rows import Shape
from switchgear.services._database.sql_pool import CLEANUP_SECONDS, Pool, answer
from switchgear.services._database.verdicts import sqlstate_of

if TYPE_CHECKING:
    from switchgear.services._database.sql import SqlEngine

T = TypeVar("T")


class SqlSession:
    """One transaction, on a connection of its own."""

    def __init__(self, engine: "SqlEngine") -> None:
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
            raise ended()
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
            raise ended()

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
