"""What came of code that ran in a sandbox, bounded, and the words for sandboxes that cannot be had."""

from dataclasses import dataclass
from typing import Final

_MARK: Final = "… [truncated]"


@dataclass(frozen=True, slots=True)
class ExecutionError:
    """How the code in the sandbox failed: the code's own business, no failure of the sandbox."""

    name: str
    """The exception's class: ``"ZeroDivisionError"``."""

    value: str
    """Its text: ``"division by zero"``."""

    traceback: str
    """The traceback as the sandbox writes it; may be empty."""

    def __str__(self) -> str:
        return f"{self.name}: {self.value}" if self.value else self.name


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What one ``execute_code`` brought. Code that raised is a result, too: look at ``error``."""

    text: str | None
    """The value of the last expression, as its ``repr``; None where there was none, or it was None."""

    stdout: str
    """What the code wrote to standard output, at most ``max_output`` characters and the mark of a cut."""

    stderr: str
    """What the code wrote to standard error, at most ``max_output`` characters and the mark of a cut."""

    error: ExecutionError | None = None
    """What the code raised, or the limit that it ran into."""

    truncated: bool = False
    """Whether a text was longer than ``max_output``; one that was ends in ``… [truncated]``."""

    restarted: bool = False
    """Whether the sandbox had to begin anew before this code, because an earlier one had cost it its variables."""


class UnknownSandboxError(ValueError):
    """There is no sandbox of this id here: it was stopped, or never made by this service."""


class SandboxStoppedError(Exception):
    """The sandbox was stopped while code ran in it; says nothing of the service."""


class SandboxLimitError(Exception):
    """As many sandboxes as ``max_sandboxes`` allows are there already; the service was not asked."""


class Output:
    """Collect what code writes, up to a limit a stream; called from whatever thread the text arrives in.

    Args:
        limit: Characters kept of each stream, and of each other text.
    """

    __slots__ = ("_kept", "_limit", "_room", "seen", "truncated")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._room = {"stdout": limit, "stderr": limit}
        self.seen = 0
        self.truncated = False

    def write(self, stream: str, text: str) -> None:
        """Take a piece of ``stdout`` or ``stderr``; what is over the limit is counted and dropped."""
        self.seen += len(text)
        room = self._room[stream]
        if room >= len(text):
            self._room[stream] = room - len(text)
            self._kept[stream].append(text)
        elif room >= 0:
            self._kept[stream] += text[:room], _MARK
            self._room[stream] = -1
            self.truncated = True

    def cut(self, text: str) -> str:
        """Return a text that is no stream, bounded as they are."""
        if len(text) <= self._limit:
            return text
        self.truncated = True
        return text[: self._limit] + _MARK

    def result(self, text: str | None, error: ExecutionError | None, *, restarted: bool = False) -> ExecutionResult:
        """Return the result with what was collected."""
        text = None if text is None else self.cut(text)
        if error is not None:
            error = ExecutionError(self.cut(error.name), self.cut(error.value), self.cut(error.traceback))
        return ExecutionResult(
            text,
            "".join(self._kept["stdout"]),
            "".join(self._kept["stderr"]),
            error,
            truncated=self.truncated,
            restarted=restarted,
        )
