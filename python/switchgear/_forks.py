"""What has to be whole before a ``fork()``.

Modules that only some programs need are imported by their first use, which may be a call's. A child that is forked
while another thread is at it would find such a module half imported, and wait for that thread, which it does not have.
"""

import os

from switchgear._compat import BACKEND


def _before() -> None:
    from switchgear import _verdict, family, history, recovery, rules, streams, throttling  # noqa: F401

    if BACKEND == "pure":
        from switchgear._pure import gates, meters  # noqa: F401

    # Not by the module itself: hooks that are registered inside a fork() miss its beginning, and take part in its end.
    family.LOCK.acquire()


def _after() -> None:
    from switchgear.family import LOCK

    LOCK.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
