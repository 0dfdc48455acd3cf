"""What an exception says of the database: one pure function, in the order of the table in docs/services/database.md.

The class of an exception alone lies: SQLAlchemy calls a refused parameter and a lost connection ``InterfaceError``
alike, sqlite3 a typing error and a broken disk ``OperationalError``. So the connection is asked first, then the code.
"""

from typing import Final

from switchgear.services._database.errors import PoolExhaustedError, RowDecodeError
from switchgear.state import Outcome

FAILED_SQLSTATES: Final = ("08", "53", "57P0", "58", "XX", "57014")
"""Connection, resources, shutdown, system, internal error, query cancelled (by a statement timeout): by prefix."""

NEUTRAL_SQLSTATES: Final = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, lock not available: who else was there, and worth a retry."""

FAILED_SQLITE: Final = frozenset({"BUSY", "LOCKED", "CANTOPEN", "IOERR", "FULL", "CORRUPT", "NOTADB"})
"""By the first word behind ``SQLITE_``: the extended codes, ``SQLITE_IOERR_READ``, say the same with details."""

_CODELESS_FAILURES: Final = frozenset({"OperationalError", "InterfaceError"})


def verdict(error: Exception) -> Outcome:
    """Tell what an exception of a call says of the database."""
    if getattr(error, "connection_invalidated", False) is True:
        return Outcome.FAILURE
    if isinstance(error, OSError):  # TimeoutError is one
        return Outcome.FAILURE
    sqlstate = sqlstate_of(error)
    if sqlstate is not None:
        return of_sqlstate(sqlstate)
    name = getattr(error, "sqlite_errorname", None)
    if isinstance(name, str):
        return of_sqlite(name)
    if isinstance(error, RowDecodeError):
        return Outcome.SUCCESS
    if isinstance(error, PoolExhaustedError) or _is_our_mistake(error):
        return Outcome.IGNORED
    if any(cls.__name__ in _CODELESS_FAILURES for cls in type(error).__mro__):
        return Outcome.FAILURE
    return Outcome.IGNORED


def of_sqlstate(code: str) -> Outcome:
    """Tell what a SQLSTATE says: whatever is on neither list is an answer, so a success."""
    if code.startswith(FAILED_SQLSTATES):
        return Outcome.FAILURE
    return Outcome.IGNORED if code in NEUTRAL_SQLSTATES else Outcome.SUCCESS


def of_sqlite(name: str) -> Outcome:
    """Tell what a ``sqlite_errorname`` says: whatever is not on the list is an answer, so a success."""
    return Outcome.FAILURE if name.removeprefix("SQLITE_").partition("_")[0] in FAILED_SQLITE else Outcome.SUCCESS


def sqlstate_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of a driver's error, also of one in SQLAlchemy's wrapping; None where there is none."""
    for each in (error, getattr(error, "orig", None)):
        code = getattr(each, "sqlstate", None)
        if isinstance(code, str):
            return code
    return None


def _is_our_mistake(error: Exception) -> bool:
    """Tell whether the driver refused what it was given: no byte of it went to the server."""
    orig = getattr(error, "orig", None)
    drivers = orig.__cause__ if isinstance(orig, BaseException) else None
    # The wrong number of values is told by its text alone. A value of the wrong type does not come here: asyncpg's
    # DataError has the SQLSTATE 22000, and so counts as an answer.
    return isinstance(drivers, (ValueError, TypeError)) or "the server expects" in str(orig)
