"""PostgreSQL behind the breaker: a real server, stopped, killed, frozen and filled."""

import asyncio
import gc
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from helpers import counted, run
from services.postgres_server import MAX_CONNECTIONS, USER, PostgresServer, Unavailable, postgres_server
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services.database import DatabaseCircuitBreaker, PoolExhaustedError, TransactionEndedError
from switchgear.state import Outcome

asyncpg = pytest.importorskip("asyncpg", reason="SKIPPED: asyncpg is not installed")
pytest.importorskip("sqlalchemy.ext.asyncio", reason="SKIPPED: sqlalchemy is not installed")

SOON = 8.0
"""Seconds within which what would take half a minute has to be over: proves an end, and nothing about speed."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresServer]:
    try:
        with postgres_server() as server:
            yield server
    except Unavailable as error:
        pytest.skip(f"SKIPPED: {error}")


@pytest.fixture
def server(cluster: PostgresServer) -> PostgresServer:
    """A server that runs, whatever the test before did to it."""
    if not cluster.running():
        cluster.start()
    return cluster


def database(url: str, timeout: float | None = 10.0, **more: Any) -> DatabaseCircuitBreaker:
    config = CircuitBreakerConfig(timeout=timeout, failure_threshold=50)
    return DatabaseCircuitBreaker("test", url, config=config, registry=CircuitBreakerRegistry(), **more)


@asynccontextmanager
async def with_table(url: str, timeout: float | None = 10.0, **more: Any) -> Any:
    async with database(url, timeout, **more) as db:
        await db.execute("DROP TABLE IF EXISTS t")
        await db.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
        yield db


async def ids(db: DatabaseCircuitBreaker) -> list[int]:
    return [row[0] for row in await db.query("SELECT id FROM t ORDER BY id", type=tuple)]


def outcome_of(db: DatabaseCircuitBreaker, before: dict[str, int]) -> Outcome:
    """The verdict on the one call that was made since ``before``."""
    after = counted(db.breaker)
    words = {"successful_calls": Outcome.SUCCESS, "failed_calls": Outcome.FAILURE, "ignored_calls": Outcome.IGNORED}
    (changed,) = [word for word in words if after.get(word, 0) != before.get(word, 0)]
    return words[changed]


@contextmanager
def quickly() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SOON


async def raised(db: DatabaseCircuitBreaker, call: Awaitable[Any]) -> tuple[Outcome, BaseException]:
    """Return what a call raises and how it was counted."""
    before = counted(db.breaker)
    with pytest.raises(Exception) as caught:
        await call
    return outcome_of(db, before), caught.value


def sqlstate(error: Any) -> str | None:
    return getattr(getattr(error, "orig", error), "sqlstate", None)


async def backend_pid(url: str) -> int:
    """Return the process that serves the one ``pg_sleep`` that runs."""
    connection = await asyncpg.connect(user=USER, database="postgres", host=url.partition("host=")[2])
    try:
        with quickly():
            while True:
                pid = await connection.fetchval("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
                if pid is not None:
                    return int(pid)
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("sql", "params", "code", "outcome"),
    [
        ("SELEC 1", None, "42601", Outcome.SUCCESS),
        ("SELECT * FROM nowhere", None, "42P01", Outcome.SUCCESS),
        ("SELECT 1; SELECT 2", None, "42601", Outcome.SUCCESS),
        ("INSERT INTO t VALUES (1, 1), (1, 1)", None, "23505", Outcome.SUCCESS),
        ("SELECT 1 / 0", None, "22012", Outcome.SUCCESS),
        ("SELECT CAST(:n AS int)", {"n": "x"}, "22000", Outcome.SUCCESS),
        ("SELECT CAST(:n AS int)", {"m": 1}, None, Outcome.IGNORED),
        ("SELECT $1::int", (1, 2), None, Outcome.IGNORED),
        ("SELECT pg_read_file('/nowhere')", None, "58P01", Outcome.FAILURE),
        *(
            (f"DO $$ BEGIN RAISE EXCEPTION 'said by the server' USING ERRCODE = '{code}'; END $$", None, code, outcome)
            for code, outcome in [
                *((code, Outcome.FAILURE) for code in ("08006", "53100", "57P03", "58030", "XX000")),
                *((code, Outcome.SUCCESS) for code in ("P0001", "0A000")),
            ]
        ),
    ],
)
def test_what_the_server_says(
    server: PostgresServer, sql: str, params: Any, code: str | None, outcome: Outcome
) -> None:
    """What the server answers is judged by its SQLSTATE; what the driver refuses to send is neutral or an answer."""

    async def main() -> None:
        async with with_table(server.url) as db:
            judged, error = await raised(db, db.query(sql, params))
            assert judged is outcome
            assert code is None or code == sqlstate(error)
            assert [(1,)] == await db.query("SELECT 1", type=tuple)

    run(main())


def test_a_statement_timeout(server: PostgresServer) -> None:
    """A statement that the server cancelled because it took too long is a failure."""

    async def main() -> None:
        async with database(server.url) as db:

            async def slow(tx: Any) -> None:
                await tx.execute("SET LOCAL statement_timeout = 50")
                await tx.query("SELECT pg_sleep(30)")

            judged, error = await raised(db, db.transaction(slow))
            assert (Outcome.FAILURE, "57014") == (judged, sqlstate(error))

    run(main())


async def together(*calls: Awaitable[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def serialization_failure(db: DatabaseCircuitBreaker) -> list[Any]:
    both = asyncio.Barrier(2)

    async def body(tx: Any, mine: int) -> None:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        await tx.query("SELECT sum(v) FROM t")
        await both.wait()
        await tx.execute("UPDATE t SET v = v + 1 WHERE id = :id", {"id": mine})
        await both.wait()

    return await together(*(db.transaction(lambda tx, mine=mine: body(tx, mine)) for mine in (1, 2)))


async def deadlock(db: DatabaseCircuitBreaker) -> list[Any]:
    both = asyncio.Barrier(2)

    async def body(tx: Any, first: int, second: int) -> None:
        await tx.execute("UPDATE t SET v = 1 WHERE id = :id", {"id": first})
        await both.wait()
        await tx.execute("UPDATE t SET v = 1 WHERE id = :id", {"id": second})

    pairs = ((1, 2), (2, 1))
    return await together(*(db.transaction(lambda tx, pair=pair: body(tx, *pair)) for pair in pairs))


async def lock_timeout(db: DatabaseCircuitBreaker) -> list[Any]:
    both = asyncio.Barrier(2)

    async def holds(tx: Any) -> None:
        await tx.execute("UPDATE t SET v = 1 WHERE id = 1")
        await both.wait()
        await both.wait()

    async def waits(tx: Any) -> None:
        await both.wait()
        try:
            await tx.execute("SET LOCAL lock_timeout = 20")
            await tx.execute("UPDATE t SET v = 2 WHERE id = 1")
        finally:
            await both.wait()

    return await together(db.transaction(holds), db.transaction(waits))


@pytest.mark.parametrize(
    ("conflict", "code"), [(serialization_failure, "40001"), (deadlock, "40P01"), (lock_timeout, "55P03")]
)
def test_conflicts_are_neutral(
    server: PostgresServer, conflict: Callable[[DatabaseCircuitBreaker], Awaitable[list[Any]]], code: str
) -> None:
    """Losing to another transaction says nothing of the server: one of two commits, the other is neutral."""

    async def main() -> None:
        async with with_table(server.url) as db:
            await db.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
            before = db.get_metrics()
            ends = await conflict(db)
            assert [code] == [sqlstate(end) for end in ends if end is not None and not isinstance(end, int)]
            after = db.get_metrics()
            assert (1, 1, 0) == (
                after.successful_calls - before.successful_calls,
                after.ignored_calls,
                after.failed_calls,
            )

    run(main())


def test_a_stopped_server(server: PostgresServer) -> None:
    """A server that was stopped is a failure, with connections in the pool and without; it heals when it starts."""

    async def main() -> None:
        async with database(server.url) as db:
            assert [(1,)] == await db.query("SELECT 1", type=tuple)
            await asyncio.to_thread(server.stop)
            ends = [await raised(db, db.query("SELECT 1")) for _ in range(3)]
            assert [Outcome.FAILURE] * 3 == [judged for judged, _ in ends]
            assert isinstance(ends[-1][1], OSError)
            await asyncio.to_thread(server.start)
            assert [(1,)] == await db.query("SELECT 1", type=tuple)

    run(main())


@pytest.mark.parametrize("way", ["backend terminated", "backend killed", "server killed"])
def test_a_connection_that_dies_in_the_middle_of_a_query(server: PostgresServer, way: str) -> None:
    """A session ended by an administrator, a backend that crashes, a server that is killed: each is a failure."""

    async def main() -> None:
        async with database(server.url, timeout=30.0) as db:
            call = asyncio.create_task(db.query("SELECT pg_sleep(60)"))
            pid = await backend_pid(server.url)
            with quickly():
                if way == "server killed":
                    await asyncio.to_thread(server.stop, signal.SIGKILL)
                    os.kill(pid, signal.SIGTERM)  # it would sleep on, without its server
                elif way == "backend killed":
                    os.kill(pid, signal.SIGKILL)
                else:
                    await db.query("SELECT pg_terminate_backend(:pid)", {"pid": pid})
                with pytest.raises(Exception) as caught:
                    await call
            assert 1 == db.get_metrics().failed_calls
            assert getattr(caught.value, "connection_invalidated", True)
            assert way != "backend terminated" or "57P01" in repr(caught.value.__cause__) or sqlstate(caught.value)

    run(main())
    if server.running():
        with quickly():
            while not server.answers():  # a crash of one backend lets the server begin anew
                time.sleep(0.02)


def test_too_many_connections(server: PostgresServer) -> None:
    """A server that has no connection left is a failure."""

    async def main() -> None:
        async with database(server.url, pool_size=2 * MAX_CONNECTIONS) as db:
            calls = (db.query("SELECT pg_sleep(0.3)") for _ in range(2 * MAX_CONNECTIONS))
            ends = await asyncio.gather(*calls, return_exceptions=True)
            errors = [end for end in ends if isinstance(end, Exception)]
            assert {"53300"} == {sqlstate(error) for error in errors}
            assert len(errors) == db.get_metrics().failed_calls

    run(main())


def test_an_exhausted_pool(server: PostgresServer) -> None:
    """Waiting in vain for a connection of our own pool has an error of its own, and is neutral."""

    async def main() -> None:
        async with database(server.url, pool_size=1, max_wait=0.05) as db:
            async with db.transaction() as tx:
                await tx.query("SELECT 1")
                judged, error = await raised(db, db.query("SELECT 1"))
            assert (Outcome.IGNORED, PoolExhaustedError) == (judged, type(error))
            assert "all 1 connections to 'db:test' were in use for 0.05 s" == str(error)
            await db.query("SELECT 1")

    run(main())


def test_the_wait_for_a_connection_follows_a_new_configuration(server: PostgresServer) -> None:
    """Half of the timeout is half of the one that is in force, in a pool that is there already, too."""

    async def main() -> None:
        async with database(server.url, pool_size=1, timeout=5.0) as db:
            await db.query("SELECT 1")
            pool = await db._engine.pool()  # type: ignore[attr-defined]
            assert 2.5 == pool.engine.pool.timeout()
            db.reconfigure(CircuitBreakerConfig(timeout=0.4))
            assert pool is await db._engine.pool()  # type: ignore[attr-defined]
            assert 0.2 == pool.engine.pool.timeout()
            db.reconfigure(CircuitBreakerConfig(timeout=40.0))
            async with db.transaction() as tx:
                await tx.query("SELECT 1")
                waiting = asyncio.create_task(db.query("SELECT 1 AS one"))
                await asyncio.sleep(0.5)
            assert [{"one": 1}] == await waiting

    run(main())


def test_a_frozen_server(server: PostgresServer) -> None:
    """Against a server that has stopped moving the deadline holds, for the pool's connections and for new ones."""

    async def main() -> None:
        async with with_table(server.url, timeout=0.3) as db:
            async with asyncio.timeout(SOON):
                with server.frozen():
                    ends = await asyncio.gather(*(db.query("SELECT 1") for _ in range(3)), return_exceptions=True)
                    assert [CallTimeoutError] * 3 == [type(end) for end in ends]
                    with pytest.raises(CallTimeoutError):
                        await db.transaction(lambda tx: tx.execute("INSERT INTO t VALUES (1, 0)"))
                while True:
                    try:
                        assert [] == await ids(db)
                        break
                    except (CallTimeoutError, PoolExhaustedError):
                        continue
            assert 4 <= db.get_metrics().timed_out_calls

    with quickly():
        run(main())


@pytest.mark.parametrize("body_fails", [False, True], ids=["commit", "rollback"])
def test_a_server_that_freezes_inside_a_transaction(server: PostgresServer, body_fails: bool) -> None:
    """Neither the commit nor the rollback of a transaction waits for a frozen server past the deadline."""

    async def main() -> None:
        async with with_table(server.url, timeout=0.5) as db:
            with ExitStack() as stack, pytest.raises(CallTimeoutError):
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1, 0)")
                    stack.enter_context(server.frozen())
                    if body_fails:
                        raise KeyError
            assert {"failed_calls": 1, "timed_out_calls": 1}.items() <= counted(db.breaker).items()

    with quickly():
        run(main())


def test_a_statement_past_its_deadline_is_stopped_on_the_server(server: PostgresServer) -> None:
    """The caller has its answer at the deadline, and the server stops working on what nobody waits for."""

    async def main() -> None:
        async with with_table(server.url, timeout=0.5) as db:
            with quickly():
                with pytest.raises(CallTimeoutError):
                    await db.query("SELECT pg_sleep(30)")
                task = asyncio.create_task(db.transaction(lambda tx: tx.query("SELECT pg_sleep(30)")))
                await backend_pid(server.url)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                sleeping = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
                while await db.query(sleeping):
                    await asyncio.sleep(0.01)
            assert {"failed_calls": 1, "ignored_calls": 1}.items() <= counted(db.breaker).items()

    run(main())


def test_a_transaction_commits_or_leaves_nothing(server: PostgresServer) -> None:
    """The end of the body commits; its exception, its cancellation and its deadline roll back."""

    async def main() -> None:
        async with with_table(server.url, timeout=1.0) as db:
            assert 1 == await db.transaction(lambda tx: tx.execute("INSERT INTO t VALUES (1, 0)"))

            async def body(tx: Any, number: int, end: BaseException | None) -> None:
                await tx.execute("INSERT INTO t VALUES (:n, 0)", {"n": number})
                if end is not None:
                    raise end
                await asyncio.sleep(30)

            for number, end in ((2, KeyError()), (3, asyncio.CancelledError()), (4, None)):
                with pytest.raises(CallTimeoutError if end is None else type(end)):
                    await db.transaction(lambda tx, number=number, end=end: body(tx, number, end))
                assert 1 == await db.execute("INSERT INTO t VALUES (:n, 1)", {"n": number + 10})
                assert [1, *range(12, 11 + number)] == await ids(db)
            assert {"failed_calls": 1, "ignored_calls": 2}.items() <= counted(db.breaker).items()

    run(main())


def test_cancellation_anywhere_leaves_nothing(server: PostgresServer) -> None:
    """Wherever the cancellation strikes, the transaction is whole or not there, and every connection comes back."""

    async def main() -> None:
        chance = random.Random(5)
        async with with_table(server.url, pool_size=3) as db:

            async def body(tx: Any, n: int) -> None:
                await tx.execute("INSERT INTO t VALUES (:n, 0)", {"n": n})
                await tx.execute("UPDATE t SET v = 1 WHERE id = :n", {"n": n})

            for n in range(60):
                task = asyncio.create_task(db.transaction(lambda tx, n=n: body(tx, n)))
                await asyncio.sleep(chance.random() * 0.01)
                task.cancel()
                await asyncio.wait([task])
            assert {(1,)} >= set(await db.query("SELECT v FROM t", type=tuple))
            await asyncio.gather(*(db.query("SELECT pg_sleep(0.05)") for _ in range(6)))
            assert 0 == db.get_metrics().failed_calls

    run(main())


def test_a_commit_that_the_server_would_turn_into_a_rollback(server: PostgresServer) -> None:
    """Where a statement has failed and the body hides it, leaving raises: PostgreSQL answers COMMIT with ROLLBACK."""

    async def main() -> None:
        async with with_table(server.url) as db:
            with pytest.raises(TransactionEndedError, match="nothing of it can be committed"):
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1, 0)")
                    with pytest.raises(Exception, match="division by zero"):
                        await tx.query("SELECT 1 / 0")
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (2, 0)")
                await tx.execute("SAVEPOINT before")
                with pytest.raises(Exception, match="division by zero"):
                    await tx.query("SELECT 1 / 0")
                await tx.execute("ROLLBACK TO SAVEPOINT before")
            assert [2] == await ids(db)
            with pytest.raises(TransactionEndedError):
                await tx.query("SELECT 1")
            assert 0 == db.get_metrics().failed_calls

    run(main())


def test_a_hundred_tasks_share_five_connections(server: PostgresServer) -> None:
    """A hundred transactions, and statements of one transaction from several tasks, are all done once."""

    async def main() -> None:
        async with with_table(server.url, timeout=30.0, pool_size=5) as db:
            await db.execute("INSERT INTO t VALUES (0, 0)")
            add = "UPDATE t SET v = v + 1"
            await asyncio.gather(*(db.transaction(lambda tx: tx.execute(add)) for _ in range(100)))
            async with db.transaction() as tx:
                await asyncio.gather(*(tx.execute(add) for _ in range(20)))
            assert [(120,)] == await db.query("SELECT v FROM t", type=tuple)

    run(main())


def test_closing_ends_what_is_under_way(server: PostgresServer) -> None:
    """Closing cuts the connections: what is under way ends with a neutral ``RuntimeError``; twice is no error."""

    async def main() -> None:
        db = database(server.url, timeout=None)
        calls = [asyncio.create_task(db.query("SELECT pg_sleep(30)")) for _ in range(3)]
        calls.append(asyncio.create_task(db.transaction(lambda tx: tx.query("SELECT pg_sleep(30)"))))
        await asyncio.sleep(0.3)
        with quickly():
            await asyncio.gather(db.aclose(), db.aclose())
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert ["'db:test' is closed"] * 4 == [str(end) for end in ends]
        assert {"total_calls": 4, "ignored_calls": 4} == counted(db.breaker)
        with pytest.raises(RuntimeError, match="is closed"):
            await db.query("SELECT 1")
        await db.aclose()

    run(main())


def test_a_frozen_server_does_not_hold_up_closing(server: PostgresServer) -> None:
    """Closing waits for no server."""

    async def main() -> None:
        db = database(server.url)
        await db.query("SELECT 1")
        with server.frozen(), quickly():
            await db.aclose()

    run(main())


def test_one_service_in_two_loops_one_after_another(server: PostgresServer) -> None:
    """Connections end with their loop, without a warning; the next loop opens its own."""
    db = database(server.url)
    for _ in range(2):
        assert [(1,)] == run(db.query("SELECT 1", type=tuple))
    gc.collect()
    run(db.aclose())


def test_a_forgotten_service_closes_its_connections(server: PostgresServer) -> None:
    """A service that is dropped without being closed leaves no connection and no warning."""

    async def main() -> None:
        db = database(server.url)
        pid = (await db.query("SELECT pg_backend_pid()", type=tuple))[0][0]
        del db
        gc.collect()
        async with database(server.url) as other, asyncio.timeout(SOON):
            while await other.query("SELECT 1 FROM pg_stat_activity WHERE pid = :pid", {"pid": pid}):
                await asyncio.sleep(0.01)

    run(main())


def test_rows_are_the_same_as_on_sqlite(server: PostgresServer) -> None:
    """Dicts by default, other types as asked for; values come as PostgreSQL has them."""

    async def main() -> None:
        async with database(server.url) as db:
            sql = "SELECT CAST(:n AS int) AS n, TRUE AS ok, NULL AS nothing"
            assert [{"n": 7, "ok": True, "nothing": None}] == await db.query(sql, {"n": 7})
            assert [(7, True, None)] == await db.query(sql, {"n": 7}, type=tuple)
            assert [(7, "a:b")] == await db.query("SELECT $1::int, 'a:b'", (7,), type=tuple)
            assert [(7,)] == await db.query(
                "SELECT count(*) FROM unnest(CAST(:n AS int[]))", {"n": [1] * 7}, type=tuple
            )
            assert 0 == await db.execute("CREATE TEMP TABLE u (v int)")

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid"])
def test_the_password_never_shows(host: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither reprs nor errors, events and logs hold the password of the URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> list[str]:
        config = CircuitBreakerConfig(timeout=10.0, failure_threshold=1)
        url = f"postgresql+asyncpg://me:hunter2@{host}:{port}/it"
        async with DatabaseCircuitBreaker("x", url, config=config, registry=CircuitBreakerRegistry()) as db:
            judged, error = await raised(db, db.query("SELECT 1"))
            assert Outcome.FAILURE is judged
            return [repr(db), repr(db._engine), str(error), repr(error), repr(db.breaker.history())]

    with caplog.at_level(logging.DEBUG, "switchgear"):
        texts = run(main())
    assert "OPEN" in texts[0]
    assert not [text for text in (*texts, caplog.text) if "hunter2" in text]


def test_a_server_that_speaks_something_else() -> None:
    """What answers and is no PostgreSQL is a failure, though its error has no code."""

    async def main() -> None:
        async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(other, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            for query in ("", "?ssl=disable"):
                url = f"postgresql+asyncpg://me:hunter2@127.0.0.1:{port}/it{query}"
                async with database(url) as db:
                    judged, error = await raised(db, db.query("SELECT 1"))
                    assert Outcome.FAILURE is judged, error

    run(main())
