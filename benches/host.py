"""What the numbers were measured on: without it they mean nothing."""

import os
import platform
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent


def describe() -> dict[str, str]:
    """Return the machine, the interpreter, the build and the moment, in words."""
    return {
        "machine": f"{_cpu_model()}, {_cores()} cores, {platform.system()} {platform.machine()}",
        "interpreter": _interpreter(),
        "build": _build(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "load": ", ".join(f"{each:.1f}" for each in os.getloadavg()) + " (1, 5, 15 minutes, at the start)",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _interpreter() -> str:
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    flags = f"{'' if optimised else 'not '}configured with --enable-optimizations"
    return f"{platform.python_implementation()} {platform.python_version()} ({platform.python_compiler()}, {flags})"


def _build() -> str:
    from switchgear import _native

    return ", ".join(f"{key} {value.removeprefix(key + ' ')}" for key, value in _native.BUILD_INFO.items())


def _commit() -> str:
    git = ["git", "-C", str(ROOT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", "src", "python", "Cargo.toml"],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + (" and changes to it" if changed.stdout.strip() else "")


if __name__ == "__main__":
    sys.stdout.writelines(f"{key}: {value}\n" for key, value in describe().items())
