"""Breaks the parts of the system, each as it breaks in real life, and mends them."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from switchgear.demo.modes import Mode
from switchgear.demo.trader import GREEDY, LOOPING, STRATEGY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switchgear.demo.control import Control
    from switchgear.demo.predictor import Switch
    from switchgear.demo.supervisor import Supervisor
    from switchgear.demo.trader import Trader

BETWEEN_KILLS_SECONDS: Final = 0.002


class Saboteur:
    """Knows how each fault is done and undone; whether a breaker notices is not its business."""

    def __init__(
        self, *, supervisor: Supervisor, control: Control, switch: Switch, trader: Trader, database: Path
    ) -> None:
        self._supervisor = supervisor
        self._control = control
        self._switch = switch
        self._trader = trader
        self._database = database
        self._lock: sqlite3.Connection | None = None
        self._killing: asyncio.Task[None] | None = None

    async def strike(self, fault: str) -> None:
        """Break what the fault of this name breaks."""
        match fault:
            case "quotes-errors":
                await self._control.set_mode("quotes", Mode.ERRORS)
            case "quotes-hang":
                await self._control.set_mode("quotes", Mode.HANG)
            case "orders-hang":
                await self._control.set_mode("orders", Mode.HANG)
            case "orders-cut":
                await self._control.set_mode("orders", Mode.CUT)
            case "server-kill":
                await self._supervisor.kill()
            case "database-lock":
                await self._take_lock()
            case "model-raises":
                self._switch.raises = True
            case "model-hangs":
                self._switch.hang()
            case "code-loops":
                self._trader.strategy = LOOPING
            case "code-hoards":
                self._trader.strategy = GREEDY
            case "sandbox-kill":
                self._killing = asyncio.create_task(self._kill_workers())
            case _:
                raise ValueError(f"there is no fault {fault!r}")

    async def mend(self, fault: str) -> None:
        """Make it well again; where nothing is broken, nothing is done."""
        if fault == "server-kill":
            await self._supervisor.start()
        elif fault.startswith(("quotes-", "orders-")):
            await self._control.set_mode(fault.partition("-")[0], Mode.HEALTHY)
        self._switch.mend()
        self._trader.strategy = STRATEGY
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._killing is not None:
            self._killing.cancel()
            with suppress(asyncio.CancelledError):
                await self._killing
            self._killing = None

    async def _take_lock(self) -> None:
        # One writer at a time is SQLite's own rule; this one does not come to an end.
        self._lock = sqlite3.connect(self._database, timeout=5.0, isolation_level=None, check_same_thread=False)
        await asyncio.to_thread(self._lock.execute, "BEGIN IMMEDIATE")

    async def _kill_workers(self) -> None:
        while True:
            for pid in _workers():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(BETWEEN_KILLS_SECONDS)


def can_see_workers() -> bool:
    """Tell whether the processes of the sandbox can be found here: by Linux's way of listing children."""
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def _workers() -> Iterator[int]:
    """Return the processes that the sandbox has started: children of any thread of ours that run monty."""
    for listed in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            for pid in map(int, listed.read_text().split()):
                with suppress(OSError):
                    if b"monty" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        yield pid
