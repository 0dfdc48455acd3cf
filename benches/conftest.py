"""The pytest-benchmark files: ``python -m pytest benches`` (a plain ``pytest`` run does not collect them).

Each compares the subjects of a scenario as a group. One run of a subject is 1,000 calls, so that the microseconds which
pytest-benchmark prints are the nanoseconds of a call, the loop around it included.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from backends import refuse_debug_build
from measure import compiled
from scenarios import Scenario

CALLS = 1_000

Compare = Callable[[Scenario, str], None]


@pytest.fixture
def compare(benchmark: Any) -> Iterator[Compare]:
    """Benchmark one subject of a scenario."""
    refuse_debug_build()
    with asyncio.Runner() as runner:

        def run(scenario: Scenario, subject: str) -> None:
            benchmark.group = f"{scenario.title} ({CALLS:,} calls)"
            loop = compiled(scenario.subjects[subject], scenario.kind, scenario.tasks)
            benchmark(lambda: loop(runner, CALLS // scenario.tasks))

        yield run
