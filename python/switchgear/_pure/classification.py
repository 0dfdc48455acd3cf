"""What an exception says of the dependency."""

from typing import Final

from switchgear._pure.word import FAILURE, IGNORED, SUCCESS
from switchgear.config import CircuitBreakerConfig
from switchgear.errors import report
from switchgear.state import Outcome

_OUTCOMES: Final = {Outcome.SUCCESS: SUCCESS, Outcome.FAILURE: FAILURE, Outcome.IGNORED: IGNORED}


def classify(config: CircuitBreakerConfig, error: BaseException) -> int:
    """Return the outcome that an exception means: ``config.classify`` is asked first, of what is an ``Exception``."""
    if not isinstance(error, Exception):
        return IGNORED
    if config.classify is not None:
        said = _ask(config, error)
        if said is not None:
            return _OUTCOMES[said]
    if isinstance(error, config.ignore):
        return IGNORED
    if config.record_only is not None and not isinstance(error, config.record_only):
        return SUCCESS
    return FAILURE


def _ask(config: CircuitBreakerConfig, error: Exception) -> Outcome | None:
    judge = config.classify
    try:
        said = None if judge is None else judge(error)
        if said is not None and not isinstance(said, Outcome):
            raise TypeError(f"classify must return an Outcome or None, not {said!r}")
    except Exception as mistake:
        report(mistake)
        return None
    return said
