from collections.abc import Iterator

import pytest

from services.neural_parts import Hanging


@pytest.fixture
def model() -> Iterator[Hanging]:
    """A model that hangs on what is below 0, and is let go at the end of the test."""
    model = Hanging()
    yield model
    model.release.set()
