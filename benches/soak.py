"""Twenty million mixed calls: resident memory stays flat, and every counter is exact.

``make soak`` runs it; ``SWITCHGEAR_BACKEND=pure`` soaks the twin.
"""

import argparse
import asyncio
import gc
import logging
import sys
import time
from typing import Final

from load import Load
from memory import resident_bytes
from switchgear import BACKEND

MIB: Final = 1024 * 1024
SAMPLES: Final = 25
WARM_UP: Final = 4
"""Samples before the first that counts: caches, freelists and the allocator's arenas fill first."""
BOUND: Final = 1.0
"""MiB by which the memory may have grown after that."""


def main() -> int:
    """Soak, and say whether memory stayed flat. A counter that is wrong raises."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000_000, metavar="N", help="how many (default 20 million)")
    calls = parser.parse_args().calls
    # Transitions are logged as in life, up to the handler.
    logging.getLogger("switchgear").addHandler(logging.NullHandler())
    print(f"{calls:,} calls, {BACKEND} backend, Python {sys.version.split()[0]}")
    load = Load()
    start = time.perf_counter()
    samples = asyncio.run(_soak(load, calls))
    seconds = time.perf_counter() - start
    for ledger in load.ledgers:
        print(f"{ledger.breaker.name:9} {ledger.breaker.get_metrics()}")
    grown = (samples[-1] - samples[WARM_UP]) / MIB
    verdict = "flat" if grown <= BOUND else "NOT FLAT"
    print(
        f"{load.calls:,} calls in {seconds:.0f} s, every counter exact; memory {verdict}: {grown:+.2f} MiB after the"
        f" warm-up (bound {BOUND:+.2f})"
    )
    return 0 if grown <= BOUND else 1


async def _soak(load: Load, calls: int) -> list[int]:
    samples: list[int] = []
    while load.calls < calls or len(samples) <= WARM_UP + 1:
        await load.batch()
        if load.calls >= calls * len(samples) / SAMPLES:
            gc.collect()
            samples.append(resident_bytes())
            print(f"{load.calls:12,} calls  {samples[-1] / MIB:7.2f} MiB", flush=True)
    return samples


if __name__ == "__main__":
    sys.exit(main())
