"""What ``db.query`` on SQLite costs over the bare hop: the same statement, on a thread, without breaker and service.

Processor time of both threads: the wall clock of a hop is mostly the operating system's, and on a busy machine
everybody else's. The subjects take turns within each round, and what is compared is the same round's; "at ref." is what
is added as it would be where an empty ``await f()`` takes 69 ns, the speed that the budget was set for. ``--wall``
takes the wall clock all the same. ``python benches/services_database.py`` prints the table.
"""

import argparse
import asyncio
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import median
from typing import Any, Final, TypeAlias

from hop import Hop, speed
from switchgear import BACKEND, CircuitBreakerRegistry
from switchgear.services.database import DatabaseCircuitBreaker

CALLS: Final = 50
"""Calls of each subject in a round."""
BUDGET_US: Final = 15.0
BUDGET_PART: Final = 0.10

Query: TypeAlias = Callable[[str], Awaitable[Any]]
Clock: TypeAlias = Callable[[], int]

STATEMENTS: Final = {
    "SELECT 1": "SELECT 1 AS a",
    "a row by key": "SELECT id, symbol, price FROM ticks WHERE id = 500",
    "100 rows": "SELECT id, symbol, price FROM ticks LIMIT 100",
}


class Bare:
    """SQLite at the end of the bare hop."""

    def __init__(self) -> None:
        self.hop = Hop()
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

    async def tuples(self, sql: str) -> list[Any]:
        return await self.hop.call(self._rows, sql)  # type: ignore[no-any-return]

    async def dicts(self, sql: str) -> list[Any]:
        return await self.hop.call(self._dicts, sql)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.hop.close()
        self._connection.close()

    def _rows(self, sql: str) -> list[Any]:
        return self._connection.execute(sql).fetchall()

    def _dicts(self, sql: str) -> list[Any]:
        cursor = self._connection.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row)) for row in cursor.fetchall()]  # noqa: B905 -- a floor does no more than it must


async def filled(query: Query) -> None:
    await query("CREATE TABLE ticks (id INTEGER PRIMARY KEY, symbol TEXT, price REAL)")
    numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 1000)"
    await query(f"{numbers} INSERT INTO ticks SELECT n, 'SYM' || n, n * 1.5 FROM c")


async def microseconds(query: Query, sql: str, clock: Clock) -> float:
    start = clock()
    for _ in range(CALLS):
        await query(sql)
    return (clock() - start) / CALLS / 1000


async def measured(rounds: int, clock: Clock) -> dict[str, dict[str, list[float]]]:
    bare = Bare()
    async with DatabaseCircuitBreaker("bench", registry=CircuitBreakerRegistry()) as db:
        tuples = partial(db.query, type=tuple)
        subjects: dict[str, Query] = {
            "hop, tuples": bare.tuples,
            "hop, dicts": bare.dicts,
            "tuples": tuples,
            "dicts": db.query,
        }
        await filled(bare.tuples)
        await filled(db.query)
        result: dict[str, dict[str, list[float]]] = {
            title: {name: [] for name in ("speed", *subjects)} for title in STATEMENTS
        }
        for number in range(rounds):
            for title, sql in STATEMENTS.items():
                result[title]["speed"].append(await speed())
                for name in list(subjects)[:: -1 if number % 2 else 1]:
                    result[title][name].append(await microseconds(subjects[name], sql, clock))
    bare.close()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, metavar="N", help="rounds of 50 calls each (default 100)")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a row misses its budget")
    parser.add_argument("--wall", action="store_true", help="measure the wall clock instead of processor time")
    options = parser.parse_args()
    results = asyncio.run(measured(options.rounds, time.perf_counter_ns if options.wall else time.process_time_ns))
    clock = "wall clock" if options.wall else "processor time"
    print(
        f"db.query on SQLite in memory, backend {BACKEND}; medians of {options.rounds} rounds, {clock}, us per call\n"
    )
    print(
        f"{'statement':14} {'rows as':8} {'bare hop':>9} {'db.query':>9} {'added':>7} {'at ref.':>8} {'ratio':>6}"
        "  budget"
    )
    met = True
    for title, samples in results.items():
        for name in ("tuples", "dicts"):
            floor = samples[f"hop, {name}"]
            added = median(mine - its for mine, its in zip(samples[name], floor, strict=True))
            ratio = median(mine / its for mine, its in zip(samples[name], floor, strict=True))
            scaled = median(
                (mine - its) * each for mine, its, each in zip(samples[name], floor, samples["speed"], strict=True)
            )
            within = added <= max(BUDGET_US, BUDGET_PART * median(floor))
            met = met and within
            row = f"{title:14} {name:8} {median(floor):9.1f} {median(samples[name]):9.1f} {added:7.1f}"
            print(f"{row} {scaled:8.1f} {ratio:6.2f}  {'met' if within else 'MISSED'}: 15 us or 10 %")
    return 0 if met or not options.strict else 1


if __name__ == "__main__":
    sys.exit(main())
