"""A library's verdict on exceptions, put into a configuration so that it stays there: a service's, or a transport's."""

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from switchgear.state import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from switchgear.config import CircuitBreakerConfig

Classify: TypeAlias = "Callable[[Exception], Outcome | None]"


class FirstThen(NamedTuple):
    """Ask the user's configuration first, the verdict where that says nothing; comparable, as a config must be.

    ``CircuitBreaker.reconfigure`` looks for one in the configuration that it replaces, and puts its verdict into the
    new one: so a breaker that was made with a verdict never runs without, whoever reconfigures it.
    """

    classify: "Classify | None"
    ignore: tuple[type[BaseException], ...]
    record_only: tuple[type[BaseException], ...] | None
    then: Classify

    def __call__(self, error: Exception) -> Outcome | None:
        outcome = None if self.classify is None else self.classify(error)
        if outcome is not None:
            return outcome
        if isinstance(error, self.ignore):
            return None
        verdict = self.then(error)
        # `record_only` narrows what is a failure; what is neutral to the service stays so.
        return None if verdict is Outcome.FAILURE and self.record_only is not None else verdict


def with_verdict(config: "CircuitBreakerConfig", verdict: Classify) -> "CircuitBreakerConfig":
    """Return the configuration with a verdict behind its own words.

    Args:
        config: The user's; one that has a verdict already, as a copy of a service's has, changes it for this one.
        verdict: What to ask about an exception of which ``classify`` and ``ignore`` say nothing.
    """
    users = config.classify
    if isinstance(users, FirstThen):
        # Its `ignore` and `record_only` are those of the configuration that it was made for.
        users = users.classify
    return config.replace(classify=FirstThen(users, config.ignore, config.record_only, verdict))


def has_verdict(config: "CircuitBreakerConfig", verdict: Classify) -> bool:
    """Tell whether a configuration asks this verdict."""
    return isinstance(config.classify, FirstThen) and config.classify.then is verdict
