"""What ``import switchgear`` adds to an interpreter that has asyncio, in processes of their own."""

import os
import subprocess
import sys
import tempfile
from statistics import median
from typing import Final

REPEATS: Final = 21

TIMED: Final = "import time; start = time.process_time_ns(); import {}; print(time.process_time_ns() - start)"
ASYNCIO: Final = TIMED.format("asyncio")
SWITCHGEAR: Final = f"import asyncio; {TIMED.format('switchgear')}"

SUBJECTS: Final = {"asyncio": ("native", ASYNCIO), "native": ("native", SWITCHGEAR), "pure": ("pure", SWITCHGEAR)}


def milliseconds() -> dict[str, list[float]]:
    """Return the processor time of importing asyncio, and switchgear with each backend: milliseconds, interleaved."""
    times: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    # Bytecode of our own: an installed package has it; a source tree may not, and may not be allowed to.
    with tempfile.TemporaryDirectory() as bytecode:
        for number in range(REPEATS + 1):
            for name, (backend, code) in SUBJECTS.items():
                elapsed = _run(backend, code, bytecode)
                # The first round is the one that compiles.
                if number:
                    times[name].append(elapsed)
    return times


def _run(backend: str, code: str, bytecode: str) -> float:
    environment = {**os.environ, "SWITCHGEAR_BACKEND": backend, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    return int(run.stdout) / 1e6


if __name__ == "__main__":
    for subject, each in milliseconds().items():
        print(f"{subject}: {median(each):.1f} ms")
