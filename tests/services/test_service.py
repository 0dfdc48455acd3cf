"""What all services have in common."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from switchgear import CircuitBreakerConfig, CircuitBreakerRegistry
from switchgear.services import ApiCircuitBreaker
from switchgear.services._service import Service
from switchgear.state import Outcome

DEFAULTS = CircuitBreakerConfig(failure_threshold=7)


def verdict(error: Exception) -> Outcome:
    return {LookupError: Outcome.SUCCESS, BlockingIOError: Outcome.IGNORED}.get(type(error), Outcome.FAILURE)


def service(name: Any = "x", **arguments: Any) -> Service:
    arguments = {"config": None, "registry": CircuitBreakerRegistry(), **arguments}
    return Service("kind", name, defaults=DEFAULTS, classify=verdict, **arguments)


def outcome(service: Service, error: Exception) -> str:
    def raises() -> None:
        raise error

    with pytest.raises(type(error)):
        service.breaker.call_sync(raises)
    metrics = service.get_metrics()._asdict()
    return next(name for name in ("successful_calls", "failed_calls", "ignored_calls") if metrics[name])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, ["successful_calls", "ignored_calls", "failed_calls", "failed_calls"]),
        (CircuitBreakerConfig(ignore=OSError), ["successful_calls", "ignored_calls", "ignored_calls", "failed_calls"]),
        (
            CircuitBreakerConfig(record_only=OSError),
            ["successful_calls", "ignored_calls", "failed_calls", "successful_calls"],
        ),
        (
            CircuitBreakerConfig(classify=lambda error: Outcome.IGNORED if isinstance(error, LookupError) else None),
            ["ignored_calls", "ignored_calls", "failed_calls", "failed_calls"],
        ),
    ],
)
def test_the_users_configuration_is_asked_before_the_service(
    config: CircuitBreakerConfig | None, expected: list[str]
) -> None:
    """``classify`` and ``ignore`` come first, and ``record_only`` narrows what the service takes for a failure."""
    errors = [LookupError(), BlockingIOError(), OSError(), ValueError()]
    assert expected == [outcome(service(config=config), error) for error in errors]


def through_the_service(service: Service, config: CircuitBreakerConfig) -> None:
    service.reconfigure(config)


def through_its_breaker(service: Service, config: CircuitBreakerConfig) -> None:
    service.breaker.reconfigure(config)


@pytest.mark.parametrize("before", [None, CircuitBreakerConfig(ignore=ValueError, classify=lambda error: None)])
@pytest.mark.parametrize("reconfigure", [through_the_service, through_its_breaker])
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CircuitBreakerConfig(), ["successful_calls", "ignored_calls", "failed_calls", "failed_calls"]),
        (
            CircuitBreakerConfig(record_only=OSError, ignore=LookupError),
            ["ignored_calls", "ignored_calls", "failed_calls", "successful_calls"],
        ),
        (
            CircuitBreakerConfig(classify=lambda error: Outcome.FAILURE if isinstance(error, LookupError) else None),
            ["failed_calls", "ignored_calls", "failed_calls", "failed_calls"],
        ),
    ],
)
def test_the_verdict_outlives_the_configuration(
    config: CircuitBreakerConfig,
    expected: list[str],
    reconfigure: Callable[[Service, CircuitBreakerConfig], None],
    before: CircuitBreakerConfig | None,
) -> None:
    """A new configuration is composed with it as the first one was, and nothing of the first one's words is left."""
    services = [service(config=before) for _ in expected]
    for each in services:
        reconfigure(each, config)
    errors = [LookupError(), BlockingIOError(), OSError(), ValueError()]
    assert expected == [outcome(each, error) for each, error in zip(services, errors, strict=True)]


def test_a_changed_copy_of_the_configuration_keeps_the_users_words() -> None:
    """``config.replace`` of what is there changes that one thing; however often, the verdict is in it once."""
    users = CircuitBreakerConfig(classify=lambda error: Outcome.IGNORED if isinstance(error, LookupError) else None)
    changed = service(config=users)
    for _ in range(3):
        changed.reconfigure(changed.breaker.config.replace(record_only=OSError, failure_threshold=9))
    assert (
        changed.breaker.config == service(config=users.replace(record_only=OSError, failure_threshold=9)).breaker.config
    )
    assert "ignored_calls" == outcome(changed, LookupError())


def test_the_configuration_of_one_service_is_good_for_another() -> None:
    """The words of the user go along, the verdict of the other service does not."""
    other = ApiCircuitBreaker("x", config=CircuitBreakerConfig(3), registry=CircuitBreakerRegistry())
    assert service(config=other.breaker.config).breaker.config == service(config=CircuitBreakerConfig(3)).breaker.config


def test_what_is_no_configuration_changes_nothing() -> None:
    before = service()
    with pytest.raises(TypeError, match="config must be a CircuitBreakerConfig, not dict"):
        before.reconfigure({})  # type: ignore[arg-type]
    assert DEFAULTS.failure_threshold == before.breaker.config.failure_threshold


def test_a_service_of_the_same_name_shares_the_breaker_and_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Two services of one name and configuration are two doors to one breaker."""
    registry, config = CircuitBreakerRegistry(), CircuitBreakerConfig(ignore=OSError)
    first, second = (service(registry=registry, config=config) for _ in range(2))
    assert first.breaker is second.breaker is registry["kind:x"]
    assert first.name == "kind:x"
    assert service(registry=registry).breaker is first.breaker
    assert not caplog.records


def test_another_configuration_is_not_used_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """The breaker keeps what it has, for those who share it already."""
    registry = CircuitBreakerRegistry()
    first = service(registry=registry, config=CircuitBreakerConfig(3))
    assert service(registry=registry, config=CircuitBreakerConfig(4)).breaker is first.breaker
    assert 3 == first.breaker.config.failure_threshold
    [message] = caplog.messages
    assert message.startswith("breaker 'kind:x' keeps its configuration")


@pytest.mark.parametrize("config", [None, CircuitBreakerConfig(3)])
@pytest.mark.parametrize("registered", [CircuitBreakerConfig(3), CircuitBreakerConfig(3, classify=verdict)])
def test_a_breaker_that_no_service_has_made_is_refused(
    registered: CircuitBreakerConfig, config: CircuitBreakerConfig | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A service never runs without its verdict: the error says what to do, and nothing has changed."""
    registry = CircuitBreakerRegistry()
    breaker = registry.register("kind:x", registered)
    with pytest.raises(
        ValueError, match=r"'kind:x' is registered already .* let the service make it, config= says how"
    ):
        service(registry=registry, config=config)
    assert {"kind:x": breaker} == dict(registry)
    assert registered == breaker.config
    assert not caplog.records


def test_threads_that_make_a_service_share_its_breaker() -> None:
    """However many come at once, with a configuration and without, there is one breaker, with the verdict."""
    registry = CircuitBreakerRegistry()
    with ThreadPoolExecutor(8) as pool:
        configs = [None, DEFAULTS] * 20
        made = list(pool.map(lambda config: service(registry=registry, config=config), configs))
    assert {registry["kind:x"]} == {each.breaker for each in made}
    assert "successful_calls" == outcome(made[0], LookupError())


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"name": 7}, TypeError, "the name of the kind service must be a str, not int"),
        ({"name": ""}, ValueError, "the name of the kind service must not be empty"),
        ({"config": 3}, TypeError, "config must be a CircuitBreakerConfig or None, not int"),
        ({"registry": {}}, TypeError, "registry must be a CircuitBreakerRegistry or None, not dict"),
    ],
)
def test_what_is_wrong_is_told_at_once(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        service(**arguments)
