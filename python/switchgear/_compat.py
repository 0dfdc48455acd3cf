"""The one place that chooses a backend.

``SWITCHGEAR_BACKEND=native`` or ``pure`` forces one; unset, the native one runs where it can be imported.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # For type checkers the backends are one: a test compares the stub of the native module with the twin.
    from switchgear._pure import Breaker, GuardedFunction, ManualClock, Permit, arm
    from switchgear._pure.timer import Deadline as Deadline

    BACKEND: str
    BACKEND_REASON: str | None
else:
    # Named, an import error of the package ends `python -m switchgear` in one line and code 1, without a traceback.
    _PACKAGE = "switchgear"

    _wanted = os.environ.get("SWITCHGEAR_BACKEND", "")
    if _wanted not in ("", "native", "pure"):
        raise ImportError(f"SWITCHGEAR_BACKEND must be 'native' or 'pure', not {_wanted!r}", name=_PACKAGE)

    if _wanted == "pure":
        _reason = "SWITCHGEAR_BACKEND=pure"
    else:
        try:
            from switchgear._native import Breaker, GuardedFunction, ManualClock, Permit, arm

            _reason = None
        except ImportError as error:
            if _wanted == "native":
                text = f"SWITCHGEAR_BACKEND=native, but the native module is not usable: {error}"
                raise ImportError(text, name=_PACKAGE) from error
            _reason = str(error)
    if _reason is not None:
        from switchgear._pure import Breaker, GuardedFunction, ManualClock, Permit, arm

    BACKEND = "native" if _reason is None else "pure"
    BACKEND_REASON = _reason

__all__ = ["BACKEND", "BACKEND_REASON", "Breaker", "GuardedFunction", "ManualClock", "Permit", "arm"]
