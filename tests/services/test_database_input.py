"""What the database service refuses before the breaker hears of it, and what rows become."""

import dataclasses
import datetime as dt
import sys
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec
import pydantic
import pytest

from helpers import counted, run
from switchgear import CircuitBreakerRegistry
from switchgear.services.database import DatabaseCircuitBreaker, RowDecodeError


class Struct(msgspec.Struct):
    id: int
    ok: bool
    day: dt.date


@dataclasses.dataclass
class Data:
    id: int
    ok: bool
    day: dt.date


class Typed(TypedDict):
    id: int
    ok: bool
    day: dt.date


class Named(NamedTuple):
    id: int
    ok: bool
    day: dt.date


class Model(pydantic.BaseModel):
    id: int
    ok: bool
    day: dt.date


DAY = dt.date(2024, 2, 29)
SQL = "SELECT 7 AS id, 1 AS ok, '2024-02-29' AS day"


def database(**more: Any) -> DatabaseCircuitBreaker:
    return DatabaseCircuitBreaker("test", registry=CircuitBreakerRegistry(), **more)


@pytest.mark.parametrize(
    ("wanted", "row"),
    [
        (None, {"id": 7, "ok": 1, "day": "2024-02-29"}),
        (dict, {"id": 7, "ok": 1, "day": "2024-02-29"}),
        (tuple, (7, 1, "2024-02-29")),
        (tuple[int, bool, dt.date], (7, True, DAY)),
        (Struct, Struct(7, True, DAY)),
        (Data, Data(7, True, DAY)),
        (Typed, {"id": 7, "ok": True, "day": DAY}),
        (Named, Named(7, True, DAY)),
        (Model, Model(id=7, ok=True, day=DAY)),
    ],
)
def test_rows_of_every_type(wanted: Any, row: object) -> None:
    """A row is a dict, a tuple, or an object of the type that was asked for."""

    async def main() -> None:
        async with database() as db:
            rows = await db.query(SQL, type=wanted)
            assert [row] == rows
            assert type(row) is type(rows[0])
            async with db.transaction() as tx:
                assert [row] == await tx.query(SQL, type=wanted)
            assert [] == await db.query(f"{SQL} WHERE 0", type=wanted)

    run(main())


@pytest.mark.parametrize("wanted", [Struct, Data, Typed, Named, Model, tuple[int, int]])
def test_rows_of_the_wrong_type(wanted: Any) -> None:
    """Rows that are not of the type are an error that names type and column, and no value; the database did answer."""

    async def main() -> None:
        async with database() as db:
            with pytest.raises(RowDecodeError, match="a row is no") as caught:
                await db.query("SELECT 's3cret' AS id, 's3cret' AS ok, 's3cret' AS day", type=wanted)
            assert "s3cret" not in str(caught.value)
            assert {"total_calls": 1, "successful_calls": 1} == counted(db.breaker)

    run(main())


def test_two_columns_of_one_name() -> None:
    """A dict would lose one of them, so it is refused; a tuple has both."""

    async def main() -> None:
        async with database() as db:
            with pytest.raises(RowDecodeError, match="two columns are named 'a'"):
                await db.query("SELECT 1 AS a, 2 AS a")
            assert [(1, 2)] == await db.query("SELECT 1 AS a, 2 AS a", type=tuple)

    run(main())


@pytest.mark.parametrize(
    ("sql", "params", "error", "match"),
    [
        (None, None, TypeError, "sql must be a str, not NoneType"),
        (b"SELECT 1", None, TypeError, "sql must be a str, not bytes"),
        ("", None, ValueError, "must hold a statement"),
        ("  -- nothing\n /* at all */ ;; ", None, ValueError, "must hold a statement"),
        ("/*" + "*/ /*" * 10_000 + "*/", None, ValueError, "must hold a statement"),
        ("begin", None, ValueError, r"BEGIN is not yours to send: use transaction\(\)"),
        (" /* c */ Commit;", None, ValueError, "COMMIT is not yours"),
        ("ROLLBACK", None, ValueError, "ROLLBACK is not yours"),
        ("START TRANSACTION", None, ValueError, "START TRANSACTION is not yours"),
        ("SELECT 1", "text", TypeError, "params must be a mapping, a sequence or None, not str"),
        ("SELECT 1", b"bytes", TypeError, "not bytes"),
        ("SELECT 1", 7, TypeError, "not int"),
        ("SELECT 1", {1, 2}, TypeError, "not set"),
        ("SELECT 1", {1: 2}, TypeError, "names in params must be str, not int"),
    ],
)
def test_bad_statements_never_reach_the_breaker(sql: Any, params: Any, error: type[Exception], match: str) -> None:
    """What is no statement, or no parameters, is refused at once, in a transaction too, and is not counted."""

    async def main() -> None:
        async with database() as db:
            for call in (db.query, db.execute):
                with pytest.raises(error, match=match):
                    await call(sql, params)
            async with db.transaction() as tx:
                for call in (tx.query, tx.execute):
                    with pytest.raises(error, match=match):
                        await call(sql, params)
            assert {"total_calls": 1, "successful_calls": 1} == counted(db.breaker)

    run(main())


@pytest.mark.parametrize("wanted", [7, object(), {"id": int}])
def test_a_type_that_is_none(wanted: Any) -> None:
    """What rows cannot become is refused before the statement runs."""

    async def main() -> None:
        async with database() as db:
            with pytest.raises(TypeError, match="type must be a type"):
                await db.query("SELECT 1", type=wanted)
            assert {} == counted(db.breaker)

    run(main())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://me:hunter2@host/db",
        "postgresql+psycopg2://me:hunter2@host/db",
        "postgresql+asyncpg://me:hunter2@host:port/db",
        "postgresql+asyncpg://me:hunter2@[host/db",
        "postgresql+asyncpg://me:hunter2@host]:5432/db",
        "postgresql+asyncpg://me:hunter2@ho st/db",
        "postgresql+asyncpg://me:hunter2@host/db?nonsense=1&ssl=",
        "http://me:hunter2@host",
        "sqlite://host:hunter2/path",
        "sqlite:///path?mode=hunter2",
        "a\0b",
        7,
        b"bytes",
    ],
)
def test_bad_urls(url: Any) -> None:
    """An unusable URL is refused at once, without its password in the text, and leaves no breaker behind."""
    registry = CircuitBreakerRegistry()
    with pytest.raises((TypeError, ValueError), match=r"^url ") as caught:
        DatabaseCircuitBreaker("test", url, registry=registry)
    assert "hunter2" not in "".join(map(str, (caught.value, caught.value.__cause__, caught.value.__context__)))
    assert [] == registry.list_names()


@pytest.mark.parametrize(
    "bad", [{"pool_size": 0}, {"pool_size": True}, {"pool_size": 1001}, {"max_wait": 0}, {"max_wait": float("nan")}]
)
def test_bad_numbers(bad: dict[str, Any]) -> None:
    """A number out of range is refused with its name."""
    with pytest.raises(ValueError, match=next(iter(bad))):
        database(**bad)


def test_the_breaker_and_its_defaults() -> None:
    """The breaker is ``db:<name>`` with 5 / 3 / 5 s / 30 s; the user's classification is asked first."""
    db = database()
    config = db.breaker.config
    assert ("db:test", 5, 3, 5.0, 30.0) == (
        db.breaker.name,
        config.failure_threshold,
        config.success_threshold,
        config.timeout,
        config.reset_timeout,
    )
    assert "CLOSED (failures: 0)" == db.get_state()
    assert "<DatabaseCircuitBreaker 'db:test' CLOSED (failures: 0)>" == repr(db)


@pytest.mark.parametrize("missing", ["sqlalchemy", "asyncpg", "greenlet"])
def test_a_missing_library_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the constructor says what to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"switchgear\[postgres\]"):
        DatabaseCircuitBreaker("test", "postgresql+asyncpg://host/db", registry=CircuitBreakerRegistry())


def test_what_leaves_a_transaction_open_is_undone(tmp_path: Path) -> None:
    """A statement that opens a transaction by another name is rolled back and refused, and blocks nobody."""

    async def main() -> None:
        async with database(url=tmp_path / "test.db") as db:
            with pytest.raises(ValueError, match=r"use transaction\(\)"):
                await db.execute("SAVEPOINT here")
            assert 0 == await db.execute("CREATE TABLE t (v)")
            async with db.transaction() as tx:
                await tx.execute("SAVEPOINT here")
                assert 2 == await tx.execute("INSERT INTO t VALUES (1), (2)")
                await tx.execute("ROLLBACK TO here")
                await tx.execute("INSERT INTO t VALUES (3)")
            assert [(3,)] == await db.query("SELECT v FROM t", type=tuple)

    run(main())


class Stops:
    def __conform__(self, _: object) -> object:
        raise StopIteration


def test_a_parameter_that_raises_stop_iteration() -> None:
    """No future takes a ``StopIteration``; the caller gets an error all the same, and does not wait for ever."""

    async def main() -> None:
        async with database() as db:
            with pytest.raises(RuntimeError, match="StopIteration"):
                await db.query("SELECT ?", (Stops(),))
            assert {"total_calls": 1, "ignored_calls": 1} == counted(db.breaker)

    run(main())
