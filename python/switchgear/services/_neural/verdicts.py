"""What an exception says of a model."""

from switchgear.errors import UnprotectedError
from switchgear.services._neural.errors import NotTrainedError, VectorError
from switchgear.services._neural.workers import WorkersBusyError
from switchgear.state import Outcome

_NEUTRAL = (NotTrainedError, UnprotectedError, VectorError, WorkersBusyError)


def verdict(error: Exception) -> Outcome | None:
    """Return what an exception of a prediction or a training means.

    Args:
        error: What was raised.

    Returns:
        IGNORED for the caller's mistakes and for a lack of threads; None, which is a failure unless the configuration's
        ``ignore`` or ``record_only`` says otherwise, for whatever the model itself raised.
    """
    return Outcome.IGNORED if isinstance(error, _NEUTRAL) else None
