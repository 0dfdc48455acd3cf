import gc
from pathlib import Path

import pytest

SERVICES = [Path(__file__).parent / folder for folder in ("integrations", "services")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in the folders of the services and integrations."""
    for item in items:
        if any(folder in item.path.parents for folder in SERVICES):
            item.add_marker("service")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Hide pytest and the tests from the collector: many tests call it, and each time it would go through them.

    Before the first test and never again: a stepper that is kept for the next call would be hidden like that, too, and
    with it whatever call takes it.
    """
    # Before, and whether a test needs it or not: pytest's summary imports it, and it asks the collector who holds what.
    import hypothesis  # noqa: F401

    gc.collect()
    gc.freeze()
