"""The table of budgets: every row as a ratio to the bare floor of the same interleaved rounds.

``make bench`` runs it, ``make bench-peers`` with ``--peers``; ``--help`` lists the other options.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

import core_results
import gates
import host
import memory
import peers
import startup
import trip_rules
from backends import refuse_debug_build
from measure import Samples, measure
from rows import Row, quartiles, render, render_misses
from scenarios import Budget, Scenario, scenarios

PASSES: Final = 10
"""The rounds are spread over so many passes through all scenarios: a disturbance of seconds meets few of each."""
CROWD_SHARE: Final = 5
"""A round of a thousand tasks takes longer: it is done so many times less often."""


def main() -> int:
    """Measure, print, and say which rows miss."""
    options = _options()
    refuse_debug_build()
    logging.getLogger("switchgear").addHandler(logging.NullHandler())
    about = host.describe()
    for key, value in about.items():
        print(f"{key:12} {value}")
    print(
        f"{'rounds':12} {options.rounds}, interleaved, in {PASSES} passes; medians; the empty loop is taken off\n",
        flush=True,
    )
    if options.core:
        core_results.run_criterion()
    rows = list(_rows(options))
    if rows:
        print(f"{render(rows)}\n\n{render_misses(rows)}")
        print(core_results.note())
    others: dict[str, Samples] = {}
    if options.peers:
        others = peers.measured(options.rounds)
        print("\n" + peers.render(others))
    if options.json:
        _write(options.json, about, rows, others)
    return 1 if options.strict and not all(row.met for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure switchgear against its budgets.")
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="rounds per scenario (default 200)")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="only rows whose key contains it")
    parser.add_argument("--core", action="store_true", help="run the criterion benches of the core first")
    parser.add_argument("--peers", action="store_true", help="compare with the other libraries that are installed")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a row misses its budget")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there")
    options = parser.parse_args()
    if options.rounds < PASSES:
        parser.error(f"--rounds must be {PASSES} or more")
    return options


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    def wanted(key: str) -> bool:
        return not options.only or any(word in key for word in options.only)

    measured = {
        scenario: Samples()
        for scenario in [*scenarios(), *trip_rules.scenarios(), *gates.scenarios()]
        if wanted(scenario.key)
    }
    for _ in range(PASSES):
        for scenario, samples in measured.items():
            rounds = options.rounds // PASSES
            if scenario.tasks > 1:
                rounds = max(1, rounds // CROWD_SHARE)
            samples.extend(measure(scenario.subjects, scenario.kind, rounds=rounds, tasks=scenario.tasks))
    for scenario, samples in measured.items():
        yield from _of_scenario(scenario, samples)
    parts: tuple[tuple[str, Callable[[], Iterator[Row]]], ...] = (
        ("core", core_results.rows),
        ("memory", _of_memory),
        ("import", _of_import),
    )
    for key, part in parts:
        if wanted(key):
            yield from part()


def _of_scenario(scenario: Scenario, samples: Samples) -> Iterator[Row]:
    for number, budget in enumerate(scenario.budgets):
        values, twins = budget.values(samples), budget.values(samples, "twin")
        shown = number == 0 or budget.subject == "twin"
        yield Row(
            key=scenario.key,
            title=scenario.title if number == 0 else _aspect(scenario, budget, samples),
            value=median(values),
            quartiles=quartiles(values),
            limit=budget.limit,
            unit="+ns" if budget.sense == "added" else "",
            twin=median(twins),
            floor=samples.cost("floor") if shown else None,
            wrapper=samples.cost("wrapper") if shown else None,
            native=samples.cost(budget.subject) if shown else None,
        )


def _aspect(scenario: Scenario, budget: Budget, samples: Samples) -> str:
    if budget.subject == "twin":
        return f"twin: {scenario.title}"
    if budget.sense == "wrapper":
        return "  against the empty wrapper"
    return f"  against asyncio.timeout ({samples.cost('timeout'):,.0f} ns)"


def _of_memory() -> Iterator[Row]:
    for way, (title, limit) in memory.WAYS.items():
        native, twin = memory.bytes_each("native", way), memory.bytes_each("pure", way)
        yield Row("memory", title, median(native), quartiles(native), limit, "B", median(twin))


def _of_import() -> Iterator[Row]:
    times = startup.milliseconds()
    title = f"import switchgear (asyncio itself: {median(times['asyncio']):.0f} ms)"
    yield Row("import", title, median(times["native"]), quartiles(times["native"]), 5, "ms", median(times["pure"]))


def _write(path: Path, about: dict[str, str], rows: list[Row], others: dict[str, Samples]) -> None:
    document: dict[str, Any] = {"about": about, "rows": [row.as_dict() for row in rows]}
    document["peers"] = {
        title: {name: {"ns": samples.cost(name), "ratio": median(samples.ratios(name, "floor"))} for name in samples.ns}
        for title, samples in others.items()
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
