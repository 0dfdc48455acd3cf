"""The life of the server's process: start, SIGKILL, start again on the same port."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from switchgear.demo.errors import DemoError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

START_SECONDS: Final = 5.0
STOP_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.1


class Supervisor:
    """Runs one server at a time, which writes to a journal: `async with Supervisor(journal) as supervisor`.

    The server holds the reading end of a pipe and ends with it. Where this process is killed the kernel closes our
    end, so that a server is never left behind.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self.port = 0
        self.pids: list[int] = []
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where the server answers, before and after a restart."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server, on the port it had before if it had one, and return when it listens.

        Raises:
            DemoError: It does not come up.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while not await self._started():
                    if not self.port:
                        raise DemoError("the server does not start")
                    # Its port may be some client's for a moment: it comes from the range that theirs are taken from.
                    await asyncio.sleep(RETRY_SECONDS)
                return
        await self.kill()
        raise DemoError(f"the server did not start within {START_SECONDS:g} s")

    async def _started(self) -> bool:
        # In a session of its own: a Ctrl-C is for the demo, which then stops the server in order.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "switchgear.demo.server", "--port", str(self.port), "--journal", str(self._journal)),
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            self._process = None
            return False
        self.port = int(line)
        self.pids.append(self._process.pid)
        return True

    async def kill(self) -> None:
        """SIGKILL the server, and return when the kernel has buried it."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def stop(self) -> None:
        """Let the server end by itself; kill it if it does not."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
                self._process = None
        await self.kill()
