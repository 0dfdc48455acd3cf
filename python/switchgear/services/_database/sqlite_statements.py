"""What is done with sqlite3 itself, one statement at a time."""

import sqlite3
from typing import Final

from switchgear.services._database.rows import Answer
from switchgear.services._database.sqlite_jobs import Job

_PAUSES: Final = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.05)
"""Seconds between the tries for a lock that another process holds: about SQLite's own."""


def prepare(connection: sqlite3.Connection) -> None:
    """Put a file into WAL mode."""
    try:
        connection.execute("PRAGMA journal_mode=WAL").close()
    except sqlite3.OperationalError as error:
        # A file that may only be read stays as it is.
        if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
            raise


def run(connection: sqlite3.Connection, job: Job) -> Answer:
    """Execute a statement to its end."""
    try:
        cursor = connection.execute(job.sql, () if job.params is None else job.params)
    except (sqlite3.Warning, sqlite3.ProgrammingError) as error:
        if "one statement" not in str(error):
            raise
        raise ValueError("sql must hold one statement, and holds several: run them one by one") from error
    try:
        return Answer(cursor.description or (), cursor.fetchall(), cursor.rowcount)
    except BaseException:
        # The traceback holds the cursor, and as long as a statement is active, an interrupt would last beyond it.
        cursor.close()
        raise


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Tell whether another connection holds the lock."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def pause(attempt: int) -> float:
    """Return how many seconds to wait for the lock after so many tries, counted from 0."""
    return _PAUSES[min(attempt, len(_PAUSES) - 1)]
