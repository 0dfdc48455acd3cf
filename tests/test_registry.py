"""Breakers by name."""

import logging
import threading

import pytest

import switchgear
from helpers import Boom, fail, trip
from switchgear import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerMetrics,
    CircuitBreakerRegistry,
    State,
    breaker,
    default_registry,
)
from switchgear.testing import ManualClock


@pytest.fixture
def registry():
    return CircuitBreakerRegistry()


def test_register_makes_a_breaker_and_get_finds_it(registry):
    config = CircuitBreakerConfig(3)
    made = registry.register("quotes", config)
    assert isinstance(made, CircuitBreaker)
    assert (made.name, made.config) == ("quotes", config)
    assert registry.get("quotes") is registry["quotes"] is made


def test_a_name_is_registered_once(registry):
    first = registry.register("quotes")
    with pytest.raises(ValueError, match="'quotes' is registered already"):
        registry.register("quotes", CircuitBreakerConfig(3))
    assert registry["quotes"] is first


def test_an_unknown_name_is_none_for_get_and_a_key_error_for_the_mapping(registry):
    assert registry.get("nobody") is None
    with pytest.raises(KeyError):
        registry["nobody"]


def test_get_or_create_returns_the_same_breaker(registry):
    config = CircuitBreakerConfig(3)
    first = registry.get_or_create("quotes", config)
    assert first.config is config
    assert registry.get_or_create("quotes") is first
    assert registry.get_or_create("quotes", CircuitBreakerConfig(3)) is first


def test_get_or_create_is_atomic(registry):
    barrier = threading.Barrier(16)
    got = []

    def get():
        barrier.wait()
        got.append(registry.get_or_create("quotes"))

    threads = [threading.Thread(target=get) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 16
    assert {id(each) for each in got} == {id(registry["quotes"])}


def test_another_configuration_keeps_the_first_and_warns(registry, caplog):
    first = registry.get_or_create("quotes", CircuitBreakerConfig(3))
    with caplog.at_level(logging.WARNING, "switchgear"):
        assert registry.get_or_create("quotes", CircuitBreakerConfig(4)) is first
    assert first.config.failure_threshold == 3
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("switchgear", "WARNING")
    assert "'quotes' keeps its configuration" in record.getMessage()


def test_the_same_configuration_warns_of_nothing(registry, caplog):
    registry.get_or_create("quotes", CircuitBreakerConfig(3))
    registry.get_or_create("quotes", CircuitBreakerConfig(3))
    registry.get_or_create("quotes")
    assert caplog.records == []


@pytest.mark.parametrize("make", ["register", "get_or_create"])
@pytest.mark.parametrize(
    ("name", "config", "error"),
    [("", None, ValueError), (3, None, TypeError), (None, None, TypeError), ("q", {}, TypeError)],
)
def test_bad_names_and_configs_are_refused_and_leave_nothing(registry, make, name, config, error):
    with pytest.raises(error):
        getattr(registry, make)(name, config)
    assert len(registry) == 0


def test_a_config_that_is_not_one_is_refused_on_a_hit_too(registry):
    registry.get_or_create("quotes")
    with pytest.raises(TypeError, match="config"):
        registry.get_or_create("quotes", {"failure_threshold": 3})


def test_remove_forgets_a_breaker_and_returns_it(registry):
    made = registry.register("quotes")
    assert registry.remove("quotes") is made
    assert registry.remove("quotes") is None
    assert "quotes" not in registry
    assert registry.get_or_create("quotes") is not made


def test_clear_forgets_everything(registry):
    registry.register("a")
    registry.register("b")
    registry.clear()
    assert (len(registry), registry.list_names()) == (0, [])


def test_the_mapping_protocol(registry):
    a, b = registry.register("a"), registry.register("b")
    assert registry.list_names() == list(registry) == ["a", "b"]
    assert len(registry) == 2
    assert "a" in registry
    assert "c" not in registry
    assert dict(registry.items()) == {"a": a, "b": b}
    assert registry != CircuitBreakerRegistry()
    assert {registry: 1}[registry] == 1


def test_iteration_survives_changes(registry):
    registry.register("a")
    for name in registry:
        registry.register(name + "x") if len(name) < 4 else None
    assert registry.list_names() == ["a", "ax"]


def test_get_all_metrics_is_a_snapshot_by_name(registry):
    registry.register("a")
    registry.register("b").acquire().success()
    metrics = registry.get_all_metrics()
    assert set(metrics) == {"a", "b"}
    assert all(isinstance(each, CircuitBreakerMetrics) for each in metrics.values())
    assert (metrics["a"].total_calls, metrics["b"].total_calls) == (0, 1)


def test_listeners_of_a_registry_hear_of_present_and_future_breakers(registry):
    present = registry.register("present")
    heard = []
    assert registry.on_transition(heard.append) == heard.append
    future = registry.register("future")
    trip(present)
    trip(future)
    assert [(event.name, event.to_state) for event in heard] == [("present", State.OPEN), ("future", State.OPEN)]
    registry.off_transition(heard.append)
    present.reset()
    assert len(heard) == 2


def test_listeners_of_a_registry_do_not_hear_of_a_removed_breaker(registry):
    heard = []
    registry.on_transition(heard.append)
    made = registry.register("quotes")
    registry.remove("quotes")
    trip(made)
    assert heard == []


def test_a_registry_may_have_a_clock_of_its_own():
    clock = ManualClock()
    made = CircuitBreakerRegistry(clock=clock).get_or_create("quotes")
    trip(made)
    clock.advance(1.25)
    assert made.get_state() == "OPEN (elapsed: 1.250s)"


def test_a_registry_lists_its_families_apart_from_its_breakers(registry):
    """A family may have the name of a breaker; what families() returns is the caller's own."""
    made, family = registry.register("venue"), registry.family("venue")
    assert {"venue": made} == dict(registry)
    assert {"venue": family} == registry.families
    registry.families.clear()
    assert {"venue": family} == registry.families


@pytest.fixture
def fresh_default_registry():
    default_registry().clear()
    yield default_registry()
    default_registry().clear()


def test_there_is_one_default_registry(fresh_default_registry):
    assert default_registry() is default_registry() is fresh_default_registry
    assert isinstance(default_registry(), CircuitBreakerRegistry)


def test_breaker_is_a_decorator_over_the_default_registry(fresh_default_registry):
    @breaker("quotes", failure_threshold=1)
    def load():
        fail()

    assert fresh_default_registry["quotes"].config == CircuitBreakerConfig(failure_threshold=1)
    with pytest.raises(Boom):
        load()
    with pytest.raises(switchgear.CircuitOpenError):
        load()


def test_breaker_shares_one_breaker_per_name(fresh_default_registry):
    assert breaker("quotes") is breaker("quotes") is fresh_default_registry["quotes"]
    assert breaker("orders") is not breaker("quotes")


def test_breaker_takes_a_registry_a_config_and_changes(registry):
    made = breaker("quotes", CircuitBreakerConfig.aggressive(), registry=registry, timeout=1.0)
    assert registry["quotes"] is made
    assert made.config == CircuitBreakerConfig.aggressive().replace(timeout=1.0)


@pytest.mark.parametrize("changes", [{}, {"timeout": 3}])
def test_breaker_names_a_config_of_the_wrong_type(registry, changes):
    with pytest.raises(TypeError, match="config must be a CircuitBreakerConfig or None, not dict"):
        breaker("quotes", {"timeout": 1}, registry=registry, **changes)
    assert len(registry) == 0


def test_breaker_without_a_name_is_refused(registry):
    with pytest.raises(TypeError):
        breaker(fail, registry=registry)
    with pytest.raises(TypeError):
        breaker("quotes", registry=registry, no_such_field=1)
    assert len(registry) == 0
