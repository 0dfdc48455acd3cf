"""One run of the demo: everything started, run side by side, stopped, judged."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

from switchgear import CircuitBreaker, CircuitBreakerConfig
from switchgear.demo import report
from switchgear.demo.errors import DemoError
from switchgear.demo.faults import Saboteur, Schedule
from switchgear.demo.feed import Feed
from switchgear.demo.loop import TradingLoop
from switchgear.demo.record import Record
from switchgear.demo.rules import RULES
from switchgear.demo.screen import FRAME_LINES, Screen
from switchgear.demo.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from switchgear.demo.options import Options

CONFIG: Final = CircuitBreakerConfig(failure_threshold=3, success_threshold=2, timeout=0.25, reset_timeout=0.6)
LAST_CALL_SECONDS: Final = 28.0  # since the begin, whatever is left to do; then stopping has two


def run(options: Options) -> int:
    """Run the demo, print its report, and return 0 if everything held and 1 if not.

    Raises:
        DemoError: It could not be run to its end.
        KeyboardInterrupt: It was interrupted; the server is gone.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a failure's text, or our own µ, may be beyond its encoding
    with _quiet(logging.getLogger("switchgear")):
        try:
            result = asyncio.run(_run(options.seconds, options.rule, plain=options.plain or not _redrawable()))
        except ExceptionGroup as group:
            raise _expected(group) from None
    print("\n".join(result.lines()))
    if options.json is not None:
        try:
            options.json.write_text(result.as_json(), encoding="utf-8")
        except OSError as error:
            raise DemoError(f"the report cannot be written: {error}") from error
    return 1 if result.problems else 0


async def _run(seconds: float, rule: str, *, plain: bool) -> report.Report:
    end = asyncio.get_running_loop().time() + LAST_CALL_SECONDS
    breaker = CircuitBreaker("market-data", CONFIG.replace(trip=RULES[rule]))
    async with Supervisor() as supervisor, Feed(supervisor.url) as feed:
        record = Record()
        breaker.on_transition(record.note)
        loop = TradingLoop(breaker, feed, record)
        screen = Screen(breaker, loop, record, supervisor)
        with contextlib.suppress(TimeoutError):  # what did not come to pass is then missing from the record
            async with asyncio.timeout_at(end), _meanwhile(loop.run(), screen.run(plain=plain)):
                await Saboteur(supervisor, feed, record).run(Schedule.of(seconds))
    record.turn()
    return report.make(record, breaker.get_metrics(), supervisor.pids)


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
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep the breaker's warnings, which the timeline repeats, out of the live view."""
    handler, propagate = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
