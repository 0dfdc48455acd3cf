"""`python -m switchgear demo`: a trading loop on a breaker while its market-data server breaks in four ways.

The server is a process of its own and answers real HTTP on loopback; the faults happen in it, and the breaker is told
of none. What is printed at the end was measured: the exit code is 0 only if the breaker opened in every fault, rejected
in microseconds, and closed again after every recovery.

Everything is imported when it runs: the server's process starts here too, and needs none of the client's side.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COULD_NOT_RUN = 2
INTERRUPTED = 130  # what a shell reports for a program that SIGINT ended


def main(argv: Sequence[str]) -> int:
    """Run the demo and return its exit code.

    Args:
        argv: The arguments after `demo`.

    Returns:
        0 when everything held, 1 when something did not, 2 when the demo could not run, 130 after Ctrl-C.

    Raises:
        SystemExit: For `--help` (code 0), and for arguments that make no sense (code 2).
    """
    from switchgear.demo.errors import DemoError
    from switchgear.demo.options import parse

    options = parse(argv)
    try:
        from switchgear.demo.run import run

        return run(options)
    except ModuleNotFoundError as error:
        if error.name != "httpx2":
            raise
        print("the demo needs httpx2: pip install 'switchgear[demo]'", file=sys.stderr)
    except DemoError as error:
        print(f"the demo could not run: {error}", file=sys.stderr)
    except BrokenPipeError:  # nobody reads on; and the interpreter's last flush must not meet the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    return COULD_NOT_RUN
