"""What has to be whole before a ``fork()``.

Modules that only some programs need are imported by their first use, which may be a call's. A child that is forked
while another thread is at it would find such a module half imported, and wait for that thread, which it does not have.
"""

import os

from switchgear._compat import BACKEND


def _import_late_modules() -> None:
    from switchgear import _verdict, family, history, recovery, rules, streams, throttling  # noqa: F401

    if BACKEND == "pure":
        from switchgear._pure import gates, meters  # noqa: F401


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_import_late_modules)
