"""One run of the demo: everything started, run side by side, stopped, reconciled, judged."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import shutil
import sqlite3
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from switchgear.demo import chart, report
from switchgear.demo.control import Control
from switchgear.demo.errors import DemoError
from switchgear.demo.exchange import ACCEPTED, RECEIVED, entries
from switchgear.demo.faults import FAULTS
from switchgear.demo.ledger import Ledger, disagreements
from switchgear.demo.predictor import Switch
from switchgear.demo.record import Record
from switchgear.demo.saboteur import Saboteur, can_see_workers
from switchgear.demo.screen import FRAME_LINES, Screen
from switchgear.demo.server import HOST
from switchgear.demo.supervisor import Supervisor
from switchgear.demo.system import build
from switchgear.demo.trader import Trader
from switchgear.demo.verdict import unmet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from switchgear.demo.faults import Fault
    from switchgear.demo.options import Options, Pace
    from switchgear.demo.record import Phase

LAST_CALL_SECONDS: Final = 50.0  # since the begin, whatever is left to do; then stopping and reconciling have ten
PATIENCE_SECONDS: Final = 4.0
"""How long a fault may take beyond its time until it is noticed, and a recovery until it is complete."""
LOOK_SECONDS: Final = 0.02


def run(options: Options) -> int:
    """Run the demo, print its report, and return 0 if everything held and 1 if not.

    Raises:
        DemoError: It could not be run to its end.
        KeyboardInterrupt: It was interrupted; the server is gone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a failure's text may be beyond its encoding
    with (
        _quiet(logging.getLogger("switchgear")),
        _without_proxy(),
        tempfile.TemporaryDirectory(prefix="switchgear-demo-") as directory,
    ):
        try:
            result = asyncio.run(_run(options, Path(directory)))
        except ExceptionGroup as group:
            raise _expected(group) from None
    print("\n".join(result.lines()))
    if options.json is not None:
        _write(options.json, result.as_json())
    return 1 if result.problems else 0


async def _run(options: Options, directory: Path) -> report.Report:
    end = asyncio.get_running_loop().time() + LAST_CALL_SECONDS
    journal, database = directory / "venue.journal", directory / "trading.db"
    faults = [fault for fault in FAULTS if fault.name != "sandbox-kill" or can_see_workers()]
    ledger, switch = Ledger(), Switch()
    async with (
        Supervisor(journal) as supervisor,
        Control(supervisor.url) as control,
        build(supervisor.url, database, switch, options.rule) as system,
    ):
        trader = Trader(system, ledger)
        with warnings.catch_warnings():
            # The regression has not converged after a few rounds of learning, and is not meant to.
            warnings.simplefilter("ignore")
            loss = await trader.prepare()
        record = Record(system, trader)
        screen = Screen(system, trader, record, supervisor)
        saboteur = Saboteur(supervisor=supervisor, control=control, switch=switch, trader=trader, database=database)
        plain = options.plain or not _redrawable()
        with contextlib.suppress(TimeoutError):  # what did not come to pass is then missing from the record
            async with asyncio.timeout_at(end), _meanwhile(trader.run(), screen.run(plain=plain)):
                await _strike(saboteur, record, faults, options.pace)
        for _ in range(100):
            await trader.catch_up(1000)
            if not (ledger.unknown or ledger.unwritten):
                break
            await asyncio.sleep(LOOK_SECONDS)
        metrics = {name: service.get_metrics() for name, service in system.services().items()}
    record.sample()
    _write(options.chart, chart.svg(record.samples, record.phases))
    books = entries(journal)
    return report.Report(
        phases=record.phases,
        ledger=ledger,
        metrics=metrics,
        servers=supervisor.pids,
        rounds=trader.rounds,
        loss=loss,
        chart=options.chart,
        skipped=[
            f"{fault.name}: the sandbox's processes cannot be found here" for fault in FAULTS if fault not in faults
        ],
        problems=[
            *unmet(record.phases, faults, record.stray),
            *disagreements(ledger, received=books[RECEIVED], accepted=books[ACCEPTED], written=_written(database)),
        ],
    )


async def _strike(saboteur: Saboteur, record: Record, faults: list[Fault], pace: Pace) -> None:
    """Go through all faults; a slow machine gets a little more time for each."""
    await asyncio.sleep(pace.quiet)
    for fault in faults:
        phase = record.begin(fault)
        await saboteur.strike(fault.name)
        await _at_least(pace.fault, partial(_noticed, record, phase))
        phase.cleared = record.now()
        await saboteur.mend(fault.name)
        await _at_least(pace.recovery, lambda: set(record.states().values()) == {"CLOSED"})
        record.end()


def _noticed(record: Record, phase: Phase) -> bool:
    return set(phase.fault.trips) <= phase.opened() and record.fell_back_on(phase.fault.fallback)


async def _at_least(seconds: float, done: Callable[[], bool]) -> None:
    await asyncio.sleep(seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not done():  # noqa: ASYNC110  # what is looked at are states and counts, which tell nobody
                await asyncio.sleep(LOOK_SECONDS)


def _written(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM orders")]
    finally:
        connection.close()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DemoError(f"{path} cannot be written: {error}") from error


def _expected(group: ExceptionGroup) -> Exception:
    """Return what a user can be told of in a line, if the group holds nothing else; or else the group."""
    expected, unexpected = group.split((DemoError, BrokenPipeError))
    return group if expected is None or unexpected is not None else expected.exceptions[0]


@contextlib.asynccontextmanager
async def _meanwhile(*coroutines: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these while the body runs; the first error, wherever it is, ends them all."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        yield
        for task in tasks:
            task.cancel()


def _redrawable() -> bool:
    """Tell whether a few lines can be drawn over and over where the output goes."""
    dumb = os.name == "nt" or os.environ.get("TERM", "dumb") == "dumb"
    return sys.stdout.isatty() and not dumb and shutil.get_terminal_size().lines > FRAME_LINES


@contextlib.contextmanager
def _without_proxy() -> Iterator[None]:
    """Keep loopback off a proxy that the environment names: the services' clients heed it, as they should."""
    before = os.environ.get("no_proxy")  # it wins over NO_PROXY, which may be there alone
    exceptions = before or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{exceptions},{HOST}" if exceptions else HOST
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep the breakers' warnings, which the report repeats, out of the live view."""
    handler, propagate = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
