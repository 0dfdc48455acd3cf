"""The faults and when they come: each stays for a while, is taken away, and leaves time to recover."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from switchgear.demo.modes import Mode

if TYPE_CHECKING:
    from switchgear.demo.feed import Feed
    from switchgear.demo.record import Record
    from switchgear.demo.supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which the server breaks."""

    name: str
    begins: str
    """What is done to the server, in words."""
    ends: str
    """What is done to make it well again, in words."""
    mode: Mode | None
    """How the server behaves; None: there is no server."""


FAULTS: Final = (
    Fault("errors", "every quote is answered with status 500", "quotes are answered again", Mode.ERRORS),
    Fault("hang", "connections are accepted and never answered", "quotes are answered again", Mode.HANG),
    Fault("cut", "connections are closed in the middle of an answer", "quotes are answered again", Mode.CUT),
    Fault("kill", "the server is killed with SIGKILL", "the server is started again on its port", None),
)

# How long a fault may take beyond its time until the breaker opens, and a recovery until it closes.
PATIENCE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long things take at least, in seconds."""

    quiet: float
    fault: float
    recovery: float

    @classmethod
    def of(cls, seconds: float) -> Schedule:
        """Divide a run: something quiet first, then every fault with its recovery."""
        cycle = 0.92 * seconds / len(FAULTS)
        return cls(quiet=0.08 * seconds, fault=0.6 * cycle, recovery=0.4 * cycle)


class Saboteur:
    """Breaks the server and mends it, and writes down when; whether the breaker noticed is not its business."""

    def __init__(self, supervisor: Supervisor, feed: Feed, record: Record) -> None:
        self._supervisor = supervisor
        self._feed = feed
        self._record = record

    async def run(self, schedule: Schedule) -> None:
        """Go through all faults.

        Where the breaker has not opened or closed in time it gets a little more, so that a slow machine is no failure;
        then the next fault comes.
        """
        await asyncio.sleep(schedule.quiet)
        for fault in FAULTS:
            phase = self._record.begin(fault)
            await self._break(fault)
            await _at_least(schedule.fault, phase.opened)
            phase.clear()
            await self._mend(fault)
            await _at_least(schedule.recovery, phase.closed)

    async def _break(self, fault: Fault) -> None:
        if fault.mode is None:
            await self._supervisor.kill()
        else:
            await self._feed.set_mode(fault.mode)

    async def _mend(self, fault: Fault) -> None:
        if fault.mode is None:
            await self._supervisor.start()
        else:
            await self._feed.set_mode(Mode.HEALTHY)


async def _at_least(seconds: float, event: asyncio.Event) -> None:
    await asyncio.sleep(seconds)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await event.wait()
