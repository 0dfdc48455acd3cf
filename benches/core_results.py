"""What criterion measured of the core alone, read from where it leaves its estimates."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from machine import ROOT
from rows import Row

ONE_THREAD: Final = "acquire + success"
TWO_THREADS: Final = "acquire + success, 2 threads, one breaker"


def rows(*, run: bool) -> Iterator[Row]:
    """Return the rows of the core, where criterion has run; ``run`` runs it first."""
    if run:
        subprocess.run(["cargo", "bench", "--bench", "core"], cwd=ROOT, check=True)
    found = estimates()
    one, two = found.get(ONE_THREAD), found.get(TWO_THREADS)
    if one is not None:
        yield Row("core", "core: acquire + success, 1 thread", one, (one, one), 10, "ns", None)
    if one is not None and two is not None:
        yield Row("core", "  2 threads on one breaker, per call", two / one, (two / one,) * 2, 2, "", None)


def estimates() -> dict[str, float]:
    """Return the median nanoseconds of every bench of the core that has been run, by its name."""
    found = {}
    for benchmark in sorted(_target().glob("criterion/**/new/benchmark.json")):
        name = json.loads(benchmark.read_text())["full_id"]
        found[name] = json.loads((benchmark.parent / "estimates.json").read_text())["median"]["point_estimate"]
    return found


def _target() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
