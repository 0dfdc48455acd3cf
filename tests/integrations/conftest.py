from collections.abc import Iterator

import pytest

from integrations.faulty_server import FaultyServer, serving


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving() as server:
        yield server
