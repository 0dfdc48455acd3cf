import pytest

from switchgear import CircuitBreaker, CircuitBreakerConfig
from switchgear.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    """Trips after 3 failures, closes after 2 probes, 30 s a call, 60 s OPEN."""
    return CircuitBreaker("quotes", CircuitBreakerConfig(3, 2, 30.0, 60.0), clock=clock)


@pytest.fixture
def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    """The same, OPEN since now."""
    for _ in range(3):
        breaker.acquire().failure()
    return breaker


@pytest.fixture
def half_opened(opened: CircuitBreaker, clock: ManualClock) -> CircuitBreaker:
    """The same, HALF_OPEN with both probes free."""
    clock.advance(60)
    opened.acquire().release()
    return opened
