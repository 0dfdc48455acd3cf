"""`python -m switchgear demo`: a trading system on five breakers, while faults strike each of its parts in turn.

Its parts are real: market data and a venue behind HTTP in a process of their own, SQLite on disk, a model that is
trained at the start, a sandbox that runs the strategy's code. The breakers are told of no fault. The exit code is 0
only if every fault was contained and healed, and if at the end the venue's journal and the database agree.

Everything is imported when it runs: the server's process starts here too, and needs none of the client's side.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

NEEDED = ("httpx2", "msgspec", "numpy", "pydantic_monty", "sklearn")
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
        if error.name not in NEEDED:
            raise
        print(f"the demo needs {error.name}: pip install 'switchgear[demo]'", file=sys.stderr)
    except DemoError as error:
        print(f"the demo could not run: {error}", file=sys.stderr)
    except BrokenPipeError:  # nobody reads on; and the interpreter's last flush must not meet the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    return COULD_NOT_RUN
