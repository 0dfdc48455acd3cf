"""The twin: the same answers as the core, in plain Python, where there is no wheel."""

from switchgear._pure.breaker import Breaker
from switchgear._pure.call import arm
from switchgear._pure.clock import ManualClock
from switchgear._pure.guarded import GuardedFunction
from switchgear._pure.permit import Permit

__all__ = ["Breaker", "GuardedFunction", "ManualClock", "Permit", "arm"]
