import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """Let threads be switched a thousand times as often as usual: races that are rare become usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)
