"""The configuration: what it accepts, what it refuses, and that it never changes."""

import copy
import math
import pickle
from datetime import timedelta
from decimal import Decimal

import pytest

from switchgear import CircuitBreakerConfig

NOT_A_THRESHOLD = [0, -1, True, False, 1.0, "5", None, 1_000_000_001, math.nan, [5]]
NOT_A_DURATION = [0, 0.0, -1, -0.5, True, "30", math.nan, math.inf, -math.inf, 315_360_001, 10**400, Decimal(1), [1]]


def test_the_defaults_are_the_documented_ones():
    config = CircuitBreakerConfig()
    assert (config.failure_threshold, config.success_threshold) == (5, 2)
    assert (config.timeout, config.reset_timeout) == (30.0, 60.0)
    assert (config.half_open_max_calls, config.ignore, config.record_only, config.is_failure) == (None, (), None, None)


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        (CircuitBreakerConfig.balanced, (5, 2, 30.0, 60.0)),
        (CircuitBreakerConfig.conservative, (10, 3, 60.0, 30.0)),
        (CircuitBreakerConfig.aggressive, (3, 2, 5.0, 120.0)),
    ],
)
def test_presets_are_named_configurations(preset, values):
    assert preset() == CircuitBreakerConfig(*values)


@pytest.mark.parametrize("field", ["failure_threshold", "success_threshold"])
@pytest.mark.parametrize("value", NOT_A_THRESHOLD, ids=repr)
def test_a_wrong_threshold_is_a_value_error_that_names_field_value_and_range(field, value):
    with pytest.raises(ValueError) as caught:
        CircuitBreakerConfig(**{field: value})
    assert field in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "from 1 to 1,000,000,000" in str(caught.value)


@pytest.mark.parametrize("field", ["failure_threshold", "success_threshold"])
@pytest.mark.parametrize("value", [1, 2, 999_999_999, 1_000_000_000])
def test_every_threshold_up_to_a_billion_is_valid(field, value):
    assert getattr(CircuitBreakerConfig(**{field: value}), field) == value


@pytest.mark.parametrize("value", [0, -1, 17, True, 1.0, "1", math.nan], ids=repr)
def test_half_open_max_calls_is_none_or_1_to_16(value):
    with pytest.raises(ValueError, match=r"half_open_max_calls must be None or an int from 1 to 16, not"):
        CircuitBreakerConfig(half_open_max_calls=value)
    assert CircuitBreakerConfig(half_open_max_calls=1).half_open_max_calls == 1
    assert CircuitBreakerConfig(half_open_max_calls=16).half_open_max_calls == 16


@pytest.mark.parametrize("field", ["timeout", "reset_timeout"])
@pytest.mark.parametrize("value", [*NOT_A_DURATION, timedelta(0), timedelta(seconds=-1), timedelta(days=3651)], ids=str)
def test_a_wrong_duration_is_a_value_error_that_names_field_value_and_range(field, value):
    with pytest.raises(ValueError) as caught:
        CircuitBreakerConfig(**{field: value})
    assert field in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "above 0 and at most 315,360,000" in str(caught.value)


def test_only_the_timeout_may_be_none():
    assert CircuitBreakerConfig(timeout=None).timeout is None
    with pytest.raises(ValueError, match="reset_timeout"):
        CircuitBreakerConfig(reset_timeout=None)


@pytest.mark.parametrize("field", ["timeout", "reset_timeout"])
@pytest.mark.parametrize(
    ("given", "stored"),
    [(1, 1.0), (0.25, 0.25), (timedelta(milliseconds=1500), 1.5), (315_360_000, 315_360_000.0), (1e-9, 1e-9)],
)
def test_durations_are_stored_as_float_seconds(field, given, stored):
    value = getattr(CircuitBreakerConfig(**{field: given}), field)
    assert value == stored
    assert type(value) is float


@pytest.mark.parametrize("field", ["ignore", "record_only"])
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (KeyError, (KeyError,)),
        ([KeyError, OSError], (KeyError, OSError)),
        ((), ()),
        (KeyboardInterrupt, (KeyboardInterrupt,)),
    ],
)
def test_exception_filters_are_a_class_or_an_iterable_of_them(field, given, stored):
    assert getattr(CircuitBreakerConfig(**{field: given}), field) == stored


@pytest.mark.parametrize("field", ["ignore", "record_only"])
@pytest.mark.parametrize("value", [1, "KeyError", int, [KeyError, 1], KeyError(), [int]], ids=repr)
def test_a_filter_that_is_no_exception_class_is_a_value_error(field, value):
    with pytest.raises(ValueError, match=field):
        CircuitBreakerConfig(**{field: value})


def test_ignore_may_not_be_none():
    with pytest.raises(ValueError, match="ignore"):
        CircuitBreakerConfig(ignore=None)


def test_is_failure_must_be_callable():
    with pytest.raises(ValueError, match="is_failure must be None or a callable"):
        CircuitBreakerConfig(is_failure=1)
    assert CircuitBreakerConfig(is_failure=bool).is_failure is bool


def test_a_configuration_is_frozen():
    config = CircuitBreakerConfig()
    with pytest.raises(AttributeError):
        config.timeout = 1.0
    with pytest.raises(AttributeError):
        del config.timeout
    with pytest.raises(AttributeError):
        config.brand_new = 1
    assert config == CircuitBreakerConfig()


def test_equal_configurations_compare_and_hash_alike():
    one, other = CircuitBreakerConfig(7, timeout=timedelta(seconds=2)), CircuitBreakerConfig(7, timeout=2)
    assert one == other
    assert hash(one) == hash(other)
    assert one != CircuitBreakerConfig(8, timeout=2)
    assert one != "something else"


def test_replace_changes_a_copy_and_validates_it():
    config = CircuitBreakerConfig(ignore=KeyError)
    changed = config.replace(failure_threshold=9, timeout=timedelta(minutes=1))
    assert changed == CircuitBreakerConfig(9, timeout=60.0, ignore=(KeyError,))
    assert config.failure_threshold == 5
    with pytest.raises(ValueError, match="failure_threshold"):
        config.replace(failure_threshold=0)
    with pytest.raises(TypeError):
        config.replace(unknown=1)


def test_a_configuration_copies_and_pickles():
    config = CircuitBreakerConfig(7, half_open_max_calls=3, ignore=KeyError, record_only=[OSError], is_failure=bool)
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config


def test_only_the_four_main_fields_are_positional():
    with pytest.raises(TypeError):
        CircuitBreakerConfig(5, 2, 30.0, 60.0, 3)


def test_the_repr_shows_every_field():
    assert repr(CircuitBreakerConfig(3)) == (
        "CircuitBreakerConfig(failure_threshold=3, success_threshold=2, timeout=30.0, reset_timeout=60.0,"
        " half_open_max_calls=None, ignore=(), record_only=None, is_failure=None, classify=None, trip=None,"
        " half_open_max_wait=None, backoff=None, max_reset_timeout=None, ramp=None, max_concurrent=None, throttle=None,"
        " mode='enforce')"
    )
