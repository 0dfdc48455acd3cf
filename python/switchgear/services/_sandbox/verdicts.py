"""What an exception says of the sandboxes: pure, and without importing the SDK whose exceptions it judges."""

import re
from typing import Final

from switchgear.services._sandbox.execution import SandboxStoppedError, UnknownSandboxError
from switchgear.state import Outcome

# The names are looked for with the distribution's module in front, through the whole family of the exception's class.
_NEUTRAL: Final = frozenset({
    "e2b.AuthenticationException",
    "e2b.InvalidArgumentException",
    "e2b.NotFoundException",
    "e2b.SandboxNotRunningException",
    "e2b.TemplateException",
    "httpx.InvalidURL",
    "httpx.UnsupportedProtocol",
})  # fmt: skip
# The code interpreter knows a killed sandbox by the text alone.
_KILLED: Final = ("was killed while the request was in progress", "was not found")
_STATUS: Final = re.compile(r"(\d{3})\b")


def judge(error: Exception) -> Outcome | None:
    """Return the verdict on what a sandbox's backend raised; None is a failure.

    Args:
        error: An exception of the e2b SDK, of pydantic-monty, or of ours.
    """
    if isinstance(error, (SandboxStoppedError, UnknownSandboxError)):
        return Outcome.IGNORED
    family = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    if family & _NEUTRAL:
        return Outcome.IGNORED
    if "e2b.TimeoutException" in family and any(words in str(error) for words in _KILLED):
        return Outcome.IGNORED
    if "e2b.SandboxException" in family and "e2b.TimeoutException" not in family:
        return _of_status(getattr(error, "status_code", None) or _status_in(str(error)))
    return None


def _status_in(text: str) -> int | None:
    # What the code interpreter raises has its status only here: "500 Internal Server Error: ...".
    match = _STATUS.match(text)
    return None if match is None else int(match[1])


def _of_status(status: int | None) -> Outcome | None:
    if status in (401, 403):
        return Outcome.IGNORED
    if status is not None and 400 <= status < 500 and status not in (408, 429):
        return Outcome.SUCCESS
    return None
