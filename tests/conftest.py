import gc

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Hide pytest and the tests from the collector: many tests call it, and each time it would go through them.

    Before the first test and never again: a stepper that is kept for the next call would be hidden like that, too, and
    with it whatever call takes it.
    """
    gc.collect()
    gc.freeze()
