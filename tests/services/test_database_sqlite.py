"""The embedded database: deadlines that hold, interrupts that hit nobody else, and ends that leave nothing behind."""

import asyncio
import gc
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers import counted, run
from switchgear import CallTimeoutError, CircuitBreakerConfig, CircuitBreakerRegistry, CircuitOpenError, State
from switchgear.services._database import sqlite_connection as _sqlite_connection
from switchgear.services.database import DatabaseCircuitBreaker

ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
MANY = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 200000) SELECT count(*) AS n FROM c"
SOON = 5.0
"""Seconds within which what would run for ever has to be over: proves an interrupt, and nothing about speed."""


def database(url: Any = None, timeout: float | None = 5.0, **more: Any) -> DatabaseCircuitBreaker:
    config = CircuitBreakerConfig(timeout=timeout, failure_threshold=50)
    return DatabaseCircuitBreaker("test", url, config=config, registry=CircuitBreakerRegistry(), **more)


async def with_table(db: DatabaseCircuitBreaker) -> DatabaseCircuitBreaker:
    await db.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, v INTEGER)")
    return db


async def ids(db: DatabaseCircuitBreaker) -> list[int]:
    return [row[0] for row in await db.query("SELECT id FROM t ORDER BY id", type=tuple)]


def thread_of(db: DatabaseCircuitBreaker) -> threading.Thread:
    thread: threading.Thread = db._engine._worker.thread  # type: ignore[attr-defined]
    return thread


@contextmanager
def quickly() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SOON


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a file, as another process would."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        if other.in_transaction:
            other.execute("ROLLBACK")
        other.close()


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "memory" else f"sqlite:///{tmp_path / 'test.db'}"


def test_a_deadline_stops_a_runaway_query(url: str | None) -> None:
    """A query without end is over when its deadline is, and the next one runs at once."""

    async def main() -> None:
        async with database(url, timeout=0.2) as db:
            for _ in range(3):
                with quickly(), pytest.raises(CallTimeoutError):
                    await db.query(ENDLESS)
                assert [{"a": 1}] == await db.query("SELECT 1 AS a")
            assert {"total_calls": 6, "successful_calls": 3, "failed_calls": 3, "timed_out_calls": 3} == counted(
                db.breaker
            )

    run(main())


def test_a_cancelled_query_stops(url: str | None) -> None:
    """A caller that is cancelled leaves no query running, and no verdict."""

    async def main() -> None:
        async with database(url, timeout=None) as db:
            task = asyncio.create_task(db.query(ENDLESS))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with quickly():
                assert [(1,)] == await db.query("SELECT 1", type=tuple)
            assert {"total_calls": 2, "successful_calls": 1, "ignored_calls": 1} == counted(db.breaker)

    run(main())


def test_an_interrupted_write_is_undone(url: str | None) -> None:
    """A statement that was interrupted in the middle of its rows has written none of them."""

    async def main() -> None:
        async with await with_table(database(url, timeout=0.2)) as db:
            with pytest.raises(CallTimeoutError):
                await db.execute(f"INSERT INTO t (v) {ENDLESS.replace('count(*)', 'n')}")
            assert [] == await ids(db)

    run(main())


def test_what_waits_past_its_deadline_is_never_run(url: str | None) -> None:
    """A statement whose deadline passes behind a long one does not run when its turn comes."""

    async def main() -> None:
        async with await with_table(database(url, timeout=0.3)) as db:
            calls = [db.query(ENDLESS), *(db.execute("INSERT INTO t VALUES (?, 0)", (n,)) for n in range(20))]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert [CallTimeoutError] * 21 == [type(end) for end in ends]
            assert [] == await ids(db)

    run(main())


def test_what_is_cancelled_in_the_queue_is_never_run(url: str | None) -> None:
    """A caller that is cancelled while its statement waits has not changed anything; the others behind it have."""

    async def main() -> None:
        async with await with_table(database(url)) as db:
            long = asyncio.create_task(db.query(ENDLESS))
            waiting = [asyncio.create_task(db.execute("INSERT INTO t VALUES (?, 0)", (n,))) for n in range(10)]
            await asyncio.sleep(0.05)
            for task in (*waiting[::2], long):
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert [1, 3, 5, 7, 9] == await ids(db)

    run(main())


def test_an_interrupt_hits_nobody_else(url: str | None) -> None:
    """Calls given up at random moments, five hundred of them, disturb none of those between them."""

    async def main() -> None:
        chance = random.Random(7)
        async with database(url, timeout=None) as db:

            async def given_up() -> None:
                task = asyncio.create_task(db.query(MANY))
                await asyncio.sleep(chance.random() * 0.004)
                task.cancel()
                await asyncio.wait([task])

            async def undisturbed(n: int) -> None:
                assert [{"n": n}] == await db.query("SELECT :n AS n", {"n": n})

            for _ in range(100):
                await asyncio.gather(*(given_up() if n % 2 else undisturbed(n) for n in range(10)))
            assert 0 == db.get_metrics().failed_calls

    run(main())


def test_an_interrupt_that_comes_too_early_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement given up after it was taken up and before its first step still ends."""
    taken, go = threading.Event(), threading.Event()
    execute = _sqlite_connection.run

    def late(connection: sqlite3.Connection, job: Any) -> Any:
        if job.sql == ENDLESS:
            # The job is the current one, and an interrupt now meets no statement.
            taken.set()
            assert go.wait(SOON)
        return execute(connection, job)

    monkeypatch.setattr(_sqlite_connection, "run", late)

    async def main() -> None:
        async with database(timeout=None) as db:
            task = asyncio.create_task(db.query(ENDLESS))
            assert await asyncio.to_thread(taken.wait, SOON)
            task.cancel()
            await asyncio.wait([task])
            go.set()
            with quickly():
                assert [(1,)] == await db.query("SELECT 1", type=tuple)

    run(main())


def test_a_transaction_commits_or_leaves_nothing(url: str | None) -> None:
    """The end of the body commits; its exception, untouched, its cancellation and its deadline roll back."""

    async def main() -> None:
        async with await with_table(database(url, timeout=0.3)) as db:
            async with db.transaction() as tx:
                assert 1 == await tx.execute("INSERT INTO t VALUES (1, 0)")
                assert [{"id": 1}] == await tx.query("SELECT id FROM t")
            error = KeyError("mine")
            with pytest.raises(KeyError) as caught:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (2, 0)")
                    raise error
            assert error is caught.value
            with pytest.raises(CallTimeoutError):
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (3, 0)")
                    await asyncio.sleep(30)
            with pytest.raises(CallTimeoutError):
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (4, 0)")
                    await tx.query(ENDLESS)
            assert [1] == await ids(db)

    run(main())


def test_a_cancelled_transaction_leaves_nothing(url: str | None) -> None:
    """Wherever the cancellation strikes, in the queue, a statement or between them, nothing is kept, nothing stuck."""

    async def main() -> None:
        chance = random.Random(3)
        async with await with_table(database(url)) as db:

            async def body(n: int) -> None:
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (?, 0)", (n,))
                    await asyncio.sleep(0)
                    await tx.query(MANY)
                    await tx.execute("UPDATE t SET v = 1 WHERE id = ?", (n,))

            for n in range(60):
                task = asyncio.create_task(body(n))
                await asyncio.sleep(chance.random() * 0.02)
                task.cancel()
                await asyncio.wait([task])
            whole = await db.query("SELECT v FROM t", type=tuple)
            assert {(1,)} >= set(whole)
            assert db.get_metrics().ignored_calls + len(whole) == 60
            assert 0 == db.get_metrics().failed_calls

    run(main())


def test_a_transaction_around_a_function() -> None:
    """``transaction(fn)`` commits and returns what the function returned; its exception rolls back."""

    async def main() -> None:
        async with await with_table(database()) as db:
            assert 1 == await db.transaction(lambda tx: tx.execute("INSERT INTO t VALUES (1, 0)"))

            async def fails(tx: Any) -> None:
                await tx.execute("INSERT INTO t VALUES (2, 0)")
                raise KeyError

            with pytest.raises(KeyError):
                await db.transaction(fails)
            with pytest.raises(TypeError, match="awaitable"):
                await db.transaction(lambda tx: 1)  # type: ignore[arg-type,return-value]
            with pytest.raises(TypeError, match="takes a function"):
                db.transaction(1)  # type: ignore[call-overload]
            assert [1] == await ids(db)

    run(main())


def test_transactions_are_serial(url: str | None) -> None:
    """A hundred transactions that read, wait and write lose no update."""

    async def main() -> None:
        async with await with_table(database(url, timeout=30.0)) as db:
            await db.execute("INSERT INTO t VALUES (1, 0)")

            async def add(tx: Any) -> None:
                ((value,),) = await tx.query("SELECT v FROM t", type=tuple)
                await asyncio.sleep(0)
                await tx.execute("UPDATE t SET v = ?", (value + 1,))

            await asyncio.gather(*(db.transaction(add) for _ in range(100)))
            assert [(100,)] == await db.query("SELECT v FROM t", type=tuple)

    run(main())


def test_what_the_body_raises_is_not_the_databases() -> None:
    """An exception of the body's own is neutral, whatever its class; the database's is judged, also in disguise."""

    async def main() -> None:
        async with await with_table(database()) as db:
            for error in (KeyError(), ConnectionError("another service"), TimeoutError()):
                with pytest.raises(type(error)):
                    async with db.transaction() as tx:
                        await tx.query("SELECT 1")
                        raise error
            assert {"total_calls": 4, "successful_calls": 1, "ignored_calls": 3} == counted(db.breaker)
            await db.execute("PRAGMA max_page_count = 3")
            with pytest.raises(KeyError):
                async with db.transaction() as tx:
                    try:
                        await tx.execute("CREATE TABLE big AS SELECT zeroblob(1000000)")
                    except sqlite3.OperationalError as full:
                        raise KeyError from full
            assert 1 == db.get_metrics().failed_calls

    run(main())


def test_a_transaction_that_sqlite_has_rolled_back_takes_no_more() -> None:
    """After an automatic rollback the next statement is refused: it would be committed on its own."""

    async def main() -> None:
        async with await with_table(database()) as db:
            await db.execute("INSERT INTO t VALUES (1, 0)")
            with pytest.raises(RuntimeError, match="transaction has ended"):
                async with db.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (2, 0)")
                    with pytest.raises(sqlite3.IntegrityError):
                        await tx.execute("INSERT OR ROLLBACK INTO t VALUES (1, 0)")
                    with pytest.raises(RuntimeError, match="transaction has ended"):
                        await tx.execute("INSERT INTO t VALUES (3, 0)")
            assert [1] == await ids(db)
            with pytest.raises(RuntimeError, match="transaction has ended"):
                await tx.query("SELECT 1")

    run(main())


def test_a_statement_that_would_wait_for_its_own_transaction() -> None:
    """A call of the service inside the body of its transaction is refused at once, instead of a wait for itself."""

    async def main() -> None:
        async with database() as db:
            async with db.transaction():
                with pytest.raises(RuntimeError, match="this task has a transaction open"):
                    await db.query("SELECT 1")
                with pytest.raises(RuntimeError, match="this task has a transaction open"):
                    async with db.transaction():
                        pass
            assert {"total_calls": 1, "successful_calls": 1} == counted(db.breaker)

    run(main())


def test_a_lock_that_another_process_holds(tmp_path: Path) -> None:
    """A statement waits for a lock for a while; its deadline still holds, and reading goes on meanwhile."""
    path = tmp_path / "test.db"

    async def main() -> None:
        async with await with_table(database(path, timeout=10.0, max_wait=8.0)) as db:
            with locked(path) as other:
                writing = asyncio.create_task(db.execute("INSERT INTO t VALUES (1, 0)"))
                await asyncio.sleep(0.05)
                other.execute("ROLLBACK")
                assert 1 == await writing
        async with database(path, timeout=0.3, max_wait=20.0) as db:
            with locked(path), quickly():
                for _ in range(2):
                    with pytest.raises(CallTimeoutError):
                        await db.execute("INSERT INTO t VALUES (2, 0)")
                    assert [1] == await ids(db)
            await db.execute("INSERT INTO t VALUES (3, 0)")
            assert [1, 3] == await ids(db)

    run(main())


def test_the_wait_for_a_lock_follows_a_new_configuration(tmp_path: Path) -> None:
    """Half of the timeout is half of the one that is in force, on a thread that is there already, too."""
    path = tmp_path / "test.db"

    async def main() -> None:
        async with await with_table(database(path, timeout=0.8)) as db:
            db.reconfigure(CircuitBreakerConfig(timeout=40.0))
            with locked(path) as other:
                writing = asyncio.create_task(db.execute("INSERT INTO t VALUES (1, 0)"))
                await asyncio.sleep(0.6)
                other.execute("ROLLBACK")
            assert 1 == await writing

    run(main())


def test_the_breaker_opens_and_rejects(tmp_path: Path) -> None:
    """Failures open the breaker, a rejected statement is not run, and a mended file heals."""
    path = tmp_path / "test.db"

    async def main() -> None:
        path.write_bytes(b"this is no database" * 100)
        config = CircuitBreakerConfig(failure_threshold=2, success_threshold=1, reset_timeout=0.05)
        async with DatabaseCircuitBreaker("healing", path, config=config, registry=CircuitBreakerRegistry()) as db:
            for _ in range(2):
                with pytest.raises(sqlite3.DatabaseError):
                    await with_table(db)
            with pytest.raises(CircuitOpenError):
                await with_table(db)
            path.unlink()
            await asyncio.sleep(0.06)
            await with_table(db)
            assert ([], State.CLOSED) == (await ids(db), db.breaker.state)

    run(main())


def test_closing_ends_what_is_under_way(url: str | None) -> None:
    """Closing interrupts, refuses what waits and rolls back, all with a neutral ``RuntimeError``; twice is no error."""

    async def main() -> None:
        db = await with_table(database(url, timeout=None))
        entered = asyncio.Event()

        async def body(tx: Any) -> None:
            await tx.execute("INSERT INTO t VALUES (1, 0)")
            entered.set()
            await tx.query(ENDLESS)

        calls = [asyncio.create_task(db.transaction(body))]
        await entered.wait()
        calls += [asyncio.create_task(db.query("SELECT 1")) for _ in range(5)]
        await asyncio.sleep(0.01)
        thread = thread_of(db)
        with quickly():
            await asyncio.gather(db.aclose(), db.aclose())
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert ["'db:test' is closed"] * 6 == [str(end) for end in ends]
        assert {"total_calls": 7, "successful_calls": 1, "ignored_calls": 6} == counted(db.breaker)
        with pytest.raises(RuntimeError, match="is closed"):
            await db.query("SELECT 1")
        await db.aclose()
        thread.join(SOON)
        assert not thread.is_alive()
        if url is not None:
            async with database(url) as again:
                assert [] == await ids(again)

    run(main())


def test_one_service_in_two_loops_one_after_another(url: str | None) -> None:
    """A service outlives the loop that it was used in first."""
    db = database(url)
    run(with_table(db))
    run(db.execute("INSERT INTO t VALUES (1, 0)"))
    assert [1] == run(ids(db))
    run(db.aclose())


def test_one_service_in_many_threads(url: str | None) -> None:
    """Loops of several threads may share a service."""
    db = database(url, timeout=30.0)
    run(with_table(db))

    async def insert(first: int) -> None:
        await asyncio.gather(*(db.execute("INSERT INTO t VALUES (?, 0)", (first + n,)) for n in range(25)))

    threads = [threading.Thread(target=run, args=(insert(first),)) for first in range(0, 100, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(100)) == run(ids(db))
    run(db.aclose())


def test_a_loop_that_ends_in_the_middle_of_a_transaction(url: str | None) -> None:
    """Where a loop is closed over an open transaction, it is rolled back, and the next loop can go on."""
    db = database(url, timeout=0.5)
    run(with_table(db))

    async def body(tx: Any) -> None:
        await tx.execute("INSERT INTO t VALUES (1, 0)")
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it complains of the task that nobody cancelled
    task = loop.create_task(db.transaction(body))
    loop.run_until_complete(asyncio.wait([task], timeout=0.1))
    loop.close()
    # The task lives on: nothing but the thread's own clock can end this transaction.
    with quickly():
        while True:
            try:
                assert [] == run(ids(db))
                break
            except CallTimeoutError:
                continue
    run(db.aclose())
    del task
    gc.collect()


def test_a_task_that_its_loop_left_behind(url: str | None) -> None:
    """Without a deadline a transaction ends when the task that was in it becomes garbage."""
    db = database(url, timeout=None)
    run(with_table(db))

    async def body(tx: Any) -> None:
        await tx.execute("INSERT INTO t VALUES (1, 0)")
        await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    task = loop.create_task(db.transaction(body))
    loop.run_until_complete(asyncio.wait([task], timeout=0.1))
    loop.close()
    del task
    gc.collect()
    assert [] == run(asyncio.wait_for(ids(db), SOON))
    assert 1 == db.get_metrics().ignored_calls
    run(db.aclose())


def test_a_forgotten_service_leaves_no_thread(url: str | None) -> None:
    """A service that is dropped without being closed takes its thread along."""
    db = database(url)
    run(with_table(db))
    thread = thread_of(db)
    del db
    gc.collect()
    thread.join(SOON)
    assert not thread.is_alive()


EXIT = """
import asyncio, sys
from switchgear import CircuitBreakerConfig
from switchgear.services.database import DatabaseCircuitBreaker
db = DatabaseCircuitBreaker("x", sys.argv[1], config=CircuitBreakerConfig(timeout=None))
async def main():
    await db.execute("CREATE TABLE t (id)")
    tasks = [asyncio.create_task(db.query(sys.argv[2]))]
    await asyncio.sleep(0.1)
    if sys.argv[3] == "hard":
        sys.exit(0)
asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["hard", "soft"])
def test_an_interpreter_that_ends_without_closing(tmp_path: Path, way: str) -> None:
    """The interpreter's exit waits for no query, and says nothing."""
    command = [sys.executable, "-W", "error", "-c", EXIT, str(tmp_path / "test.db"), ENDLESS, way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_it_works_on_uvloop() -> None:
    """The deadline and the hop work on uvloop, too."""
    uvloop = pytest.importorskip("uvloop", reason="SKIPPED: uvloop is not installed")

    async def main() -> None:
        async with await with_table(database(timeout=0.3)) as db:
            with quickly(), pytest.raises(CallTimeoutError):
                await db.query(ENDLESS)
            await asyncio.gather(*(db.execute("INSERT INTO t VALUES (?, 0)", (n,)) for n in range(50)))
            assert list(range(50)) == await ids(db)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_file_is_in_wal_mode(tmp_path: Path) -> None:
    """A file is written ahead of, so that other processes read while this one writes; each form of its name works."""
    for number, url in enumerate((tmp_path / "0.db", str(tmp_path / "1.db"), f"sqlite:///{tmp_path / '2.db'}")):
        db = database(url)
        assert [("wal",)] == run(db.query("PRAGMA journal_mode", type=tuple))
        run(db.aclose())
        assert (tmp_path / f"{number}.db").exists()


@pytest.mark.parametrize("by", ["the deadline", "closing"])
def test_an_interrupt_does_not_reach_the_close(tmp_path: Path, by: str) -> None:
    """All is in the file itself when the service is closed, also where the last statement was interrupted."""

    async def main() -> None:
        db = await with_table(database(tmp_path / "test.db", timeout=0.1 if by == "the deadline" else None))
        await db.execute("INSERT INTO t VALUES (1, 0)")
        running = asyncio.create_task(db.query(ENDLESS))
        if by == "the deadline":
            await asyncio.wait([running])
        else:
            await asyncio.sleep(0.05)
        await db.aclose()
        assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], Exception)

    run(main())
    assert ["test.db"] == [each.name for each in tmp_path.iterdir()]
