"""What criterion measured of the core alone, read from where it leaves its estimates."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from host import ROOT
from rows import Row

ONE_THREAD: Final = "1 thread/acquire + success"
TWO_THREADS: Final = "2 threads/acquire + success"
ONE_OF_THE_SAME: Final = "1 thread, harness of 2/acquire + success"
"""One thread measured as two are: what two cost is compared with this."""


def run_criterion() -> None:
    """Run the benches of the core; they take a minute, and cargo may have to compile them."""
    subprocess.run(["cargo", "bench", "--bench", "core"], cwd=ROOT, check=True)


def rows() -> Iterator[Row]:
    """Return the rows of the core, where criterion has run."""
    found = {name: value for name, (value, _) in estimates().items()}
    if ONE_THREAD in found:
        one = found[ONE_THREAD]
        yield Row("core", "core: acquire + success, 1 thread", one, (one, one), 10, "ns", None)
    if TWO_THREADS in found and ONE_OF_THE_SAME in found:
        ratio = found[TWO_THREADS] / found[ONE_OF_THE_SAME]
        title = f"  2 threads on one breaker ({found[TWO_THREADS]:.1f} ns a call)"
        yield Row("core", title, ratio, (ratio, ratio), 2, "", None)


def note() -> str:
    """Say when criterion ran."""
    found = estimates()
    if not found:
        return "the rows of the core are not measured: --core runs criterion first"
    when = datetime.fromtimestamp(max(when for _, when in found.values()), UTC)
    return f"the rows of the core are criterion's, of {when:%Y-%m-%d %H:%M} UTC: --core runs it again"


def estimates() -> dict[str, tuple[float, float]]:
    """Return the median nanoseconds of every bench of the core, by its name, and the time when it ran."""
    found = {}
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for benchmark in sorted(target.glob("criterion/**/new/benchmark.json")):
        name = json.loads(benchmark.read_text())["full_id"]
        numbers = benchmark.parent / "estimates.json"
        found[name] = json.loads(numbers.read_text())["median"]["point_estimate"], numbers.stat().st_mtime
    return found
