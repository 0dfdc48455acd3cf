"""The table of docs/services/database.md, row by row: what SQLite really raises, and the pure function."""

import asyncio
import resource
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from helpers import counted, run
from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services._database.verdicts import FAILED_SQLITE, of_sqlite, of_sqlstate, verdict
from switchgear.services.database import DatabaseCircuitBreaker, PoolExhaustedError, RowDecodeError
from switchgear.state import Outcome

COUNTERS = {
    Outcome.SUCCESS: "successful_calls",
    Outcome.FAILURE: "failed_calls",
    Outcome.IGNORED: "ignored_calls",
}


def open_database(url: object = None) -> DatabaseCircuitBreaker:
    config = CircuitBreakerConfig(timeout=5.0)
    registry = CircuitBreakerRegistry()
    return DatabaseCircuitBreaker("x", url, config=config, registry=registry, max_wait=0.05)  # type: ignore[arg-type]


async def busy(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        async with open_database(path) as db:
            await judged(db, db.execute("CREATE TABLE u (id)"), Outcome.FAILURE, "SQLITE_BUSY")
    finally:
        other.close()


async def cannot_open(path: Path) -> None:
    async with open_database(path / "no" / "such" / "folder") as db:
        await judged(db, db.query("SELECT 1"), Outcome.FAILURE, "SQLITE_CANTOPEN")


async def no_database(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    async with open_database(path) as db:
        await judged(db, db.query("SELECT * FROM t"), Outcome.FAILURE, "SQLITE_NOTADB")


async def corrupt(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (v)")
        other.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
    other.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xaa" * (len(whole) - 4096))
    async with open_database(path) as db:
        await judged(db, db.query("SELECT * FROM t"), Outcome.FAILURE, "SQLITE_CORRUPT")


async def full(path: Path) -> None:
    async with open_database(path) as db:
        await db.execute("PRAGMA max_page_count = 3")
        await judged(db, db.execute("CREATE TABLE t AS SELECT zeroblob(100000)"), Outcome.FAILURE, "SQLITE_FULL")


async def io_error(path: Path) -> None:
    async with open_database(path) as db:
        await db.execute("CREATE TABLE t (v)")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        try:
            await judged(db, db.execute("INSERT INTO t VALUES (zeroblob(1000000))"), Outcome.FAILURE, "SQLITE_IOERR")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def locked(path: Path) -> None:
    # Between two connections of one process that share a cache, which the service's own never does.
    one, two = (sqlite3.connect("file:shared?mode=memory&cache=shared", uri=True) for _ in range(2))
    try:
        one.execute("CREATE TABLE t (v)")
        one.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(sqlite3.OperationalError) as caught:
            two.execute("SELECT * FROM t")
        assert caught.value.sqlite_errorname.startswith("SQLITE_LOCKED")
        assert Outcome.FAILURE is verdict(caught.value)
    finally:
        one.close()
        two.close()


async def no_code(path: Path) -> None:
    async with open_database(path) as db:
        await judged(db, db.query("SELECT CAST(x'ff' AS TEXT)"), Outcome.FAILURE, None)


async def syntax(path: Path) -> None:
    async with open_database(path) as db:
        await judged(db, db.query("SELEC 1"), Outcome.SUCCESS, "SQLITE_ERROR")


async def unique(path: Path) -> None:
    async with open_database(path) as db:
        await db.execute("CREATE TABLE t (v UNIQUE)")
        insert = "INSERT INTO t VALUES (1)"
        await db.execute(insert)
        await judged(db, db.execute(insert), Outcome.SUCCESS, "SQLITE_CONSTRAINT")


async def read_only(path: Path) -> None:
    async with open_database(path) as db:
        await db.execute("PRAGMA query_only = 1")
        await judged(db, db.execute("CREATE TABLE t (v)"), Outcome.SUCCESS, "SQLITE_READONLY")


async def parameters(path: Path) -> None:
    async with open_database(path) as db:
        for sql, params in (
            ("SELECT ?", ()),
            ("SELECT :a", {"b": 1}),
            ("SELECT ?", (object(),)),
            ("SELECT ?", (2**70,)),
        ):
            await judged(db, db.query(sql, params), Outcome.IGNORED, None)


async def several(path: Path) -> None:
    async with open_database(path) as db:
        await judged(db, db.query("SELECT 1; SELECT 2"), Outcome.IGNORED, None)


async def of_another_type(path: Path) -> None:
    async with open_database(path) as db:
        await judged(db, db.query("SELECT 'x' AS v", type=dict[str, int]), Outcome.SUCCESS, None)


async def judged(db: DatabaseCircuitBreaker, call: Awaitable[object], outcome: Outcome, code: str | None) -> None:
    """Assert what a call raises, and how the breaker counts it."""
    before = counted(db.breaker).get(COUNTERS[outcome], 0)
    with pytest.raises(Exception) as caught:
        await call
    name = getattr(caught.value, "sqlite_errorname", None)
    assert (code is None) is (name is None), caught.value
    assert (name or "").startswith(code or ""), caught.value
    assert before + 1 == counted(db.breaker).get(COUNTERS[outcome], 0), caught.value


ROWS = [
    *(busy, locked, cannot_open, io_error, full, corrupt, no_database, no_code),
    *(syntax, unique, read_only, parameters, several, of_another_type),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_what_sqlite_raises(tmp_path: Path, row: Callable[[Path], Awaitable[None]]) -> None:
    """Each row of the table, produced by SQLite itself, is counted as the table says."""
    run(asyncio.wait_for(row(tmp_path / "test.db"), 20))


def test_extended_codes() -> None:
    """An extended code of SQLite is judged as its first word; what is not on the list is an answer."""
    for word in FAILED_SQLITE:
        assert Outcome.FAILURE is of_sqlite(f"SQLITE_{word}") is of_sqlite(f"SQLITE_{word}_EXTENDED")
    for name in ("SQLITE_ERROR", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_MISMATCH", "SQLITE_TOOBIG", "SQLITE_AUTH"):
        assert Outcome.SUCCESS is of_sqlite(name)


@pytest.mark.parametrize(
    ("codes", "outcome"),
    [
        ("08000 08006 53100 53300 57P01 57P02 57P03 57P05 58030 XX000 XX001 57014", Outcome.FAILURE),
        ("40001 40P01 55P03", Outcome.IGNORED),
        ("22012 23505 42601 42P01 P0001 0A000 25P02 28P01 3D000 57000", Outcome.SUCCESS),
    ],
)
def test_sqlstates(codes: str, outcome: Outcome) -> None:
    """A SQLSTATE decides by its class, or alone."""
    assert {outcome} == {of_sqlstate(code) for code in codes.split()}


class Wrapped(Exception):
    """What SQLAlchemy's wrapping looks like to the function."""

    def __init__(self, connection_invalidated: bool, orig: BaseException) -> None:
        super().__init__()
        self.connection_invalidated = connection_invalidated
        self.orig = orig


class Answered(Exception):
    sqlstate = "23505"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Wrapped(True, Answered()), Outcome.FAILURE),
        (Wrapped(False, Answered()), Outcome.SUCCESS),
        (Answered(), Outcome.SUCCESS),
        (ConnectionRefusedError(), Outcome.FAILURE),
        (TimeoutError(), Outcome.FAILURE),
        (sqlite3.OperationalError(), Outcome.FAILURE),
        (sqlite3.InterfaceError(), Outcome.FAILURE),
        (sqlite3.ProgrammingError(), Outcome.IGNORED),
        (PoolExhaustedError(), Outcome.IGNORED),
        (RowDecodeError(), Outcome.SUCCESS),
        (KeyError(), Outcome.IGNORED),
    ],
)
def test_the_order(error: Exception, outcome: Outcome) -> None:
    """The connection is asked before the code, the code before the class."""
    assert outcome is verdict(error)
