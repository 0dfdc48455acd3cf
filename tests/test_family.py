"""Breakers by key: made on demand, bounded, the least recently used forgotten first."""

import gc
import itertools
import logging
import random
import threading

import pytest

from helpers import trip
from switchgear import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerMetrics,
    CircuitBreakerRegistry,
    Family,
    State,
)
from switchgear.testing import ManualClock

CONFIG = CircuitBreakerConfig(1, 1)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def registry(clock):
    return CircuitBreakerRegistry(clock=clock)


def fill(family, keys):
    return [family[key] for key in keys]


def test_a_key_gets_a_breaker_of_its_own_on_demand(registry):
    family = registry.family("venue", CONFIG)
    nyse = family["NYSE"]
    assert isinstance(nyse, CircuitBreaker)
    assert ("venue:NYSE", CONFIG) == (nyse.name, nyse.config)
    assert nyse is family["NYSE"]
    assert nyse is not family["LSE"]


def test_one_key_that_trips_leaves_the_others_alone(registry):
    family = registry.family("venue", CONFIG)
    trip(family["NYSE"])
    assert (State.OPEN, State.CLOSED) == (family["NYSE"].state, family["LSE"].state)


def test_a_family_is_made_once(registry):
    family = registry.family("venue", CONFIG, max_keys=3)
    assert isinstance(family, Family)
    assert family is registry.family("venue") is registry.family("venue", CircuitBreakerConfig(1, 1), max_keys=3)
    assert ("venue", CONFIG, 3) == (family.name, family.config, family.max_keys)
    assert {"venue": family} == registry.families


def test_the_defaults(registry):
    family = registry.family("venue")
    assert (CircuitBreakerConfig(), 1000) == (family.config, family.max_keys)


def test_other_arguments_keep_the_first_and_warn(registry, caplog):
    family = registry.family("venue", CONFIG, max_keys=3)
    with caplog.at_level(logging.WARNING, "switchgear"):
        assert family is registry.family("venue", CircuitBreakerConfig(2), max_keys=4)
    assert (CONFIG, 3) == (family.config, family.max_keys)
    texts = [record.getMessage() for record in caplog.records]
    assert ["'venue' keeps its configuration", "'venue' keeps its bound of 3 keys; 4 is not used"] == [
        texts[0][len("family ") : len("family ") + 31],
        texts[1][len("family ") :],
    ]


def test_a_familys_breakers_are_not_in_the_registry(registry):
    registry.family("venue")["NYSE"]
    assert [] == registry.list_names()
    assert {} == registry.get_all_metrics()


def test_a_familys_breakers_share_the_registrys_listeners_and_clock(registry, clock):
    heard = []
    registry.on_transition(heard.append)
    breaker = registry.family("venue", CONFIG)["NYSE"]
    trip(breaker)
    clock.advance(60)
    breaker.acquire().success()
    assert [("venue:NYSE", state) for state in (State.OPEN, State.HALF_OPEN, State.CLOSED)] == [
        (event.name, event.to_state) for event in heard
    ]


def test_len_iteration_and_in(registry):
    family = registry.family("venue", max_keys=5)
    a, _ = fill(family, "ab")
    assert (2, ["a", "b"]) == (len(family), list(family))
    assert "a" in family
    assert "c" not in family
    assert 7 not in family
    assert (a, None) == (family.get("a"), family.get("c"))
    assert "<Family 'venue': 2 of 5 keys>" == repr(family)


def test_iteration_survives_changes(registry):
    family = registry.family("venue")
    fill(family, "ab")
    for key in family:
        family[key + "x"]
    assert ["a", "b", "ax", "bx"] == list(family)


def test_get_all_metrics_is_a_snapshot_by_key(registry):
    family = registry.family("venue")
    family["a"].acquire().success()
    family["b"]
    metrics = family.get_all_metrics()
    assert {"a": 1, "b": 0} == {key: each.total_calls for key, each in metrics.items()}
    assert all(isinstance(each, CircuitBreakerMetrics) for each in metrics.values())


@pytest.mark.parametrize("key", [7, None, b"NYSE", ("a",), ["a"]])
def test_a_key_is_a_str(registry, key):
    family = registry.family("venue")
    with pytest.raises(TypeError) as caught:
        family[key]
    assert caught.value.__context__ is None
    assert 0 == len(family)


def test_a_key_is_not_empty(registry):
    with pytest.raises(ValueError, match="key of a family must not be empty"):
        registry.family("venue")[""]


@pytest.mark.parametrize("max_keys", [0, -1, 1_000_001, 2.0, "3", True])
def test_a_bound_out_of_range_is_refused(registry, max_keys):
    with pytest.raises(ValueError, match="max_keys must be an int from 1 to 1,000,000, not"):
        registry.family("venue", max_keys=max_keys)
    assert {} == registry.families


@pytest.mark.parametrize(
    ("name", "config", "error"), [("", None, ValueError), (7, None, TypeError), ("venue", {"timeout": 3}, TypeError)]
)
def test_a_name_and_a_config_are_those_of_a_breaker(registry, name, config, error):
    with pytest.raises(error):
        registry.family(name, config)
    registry.family("venue")
    with pytest.raises(error):
        registry.family(name, config)


# Forgetting


def test_the_least_recently_used_is_forgotten(registry):
    """A look-up is a use, a glance with get() or in is none."""
    family = registry.family("venue", max_keys=3)
    fill(family, "abc")
    family["a"]
    family.get("b"), "b" in family, list(family), family.get_all_metrics()
    family["d"]
    assert ["a", "c", "d"] == list(family)
    family["c"]
    family["e"]
    assert ["c", "d", "e"] == list(family)


def test_of_keys_used_since_the_last_new_one_the_first_made_goes_first(registry):
    """That is how finely recency is told; whoever was used before the last new key goes before all of them."""
    family = registry.family("venue", max_keys=4)
    fill(family, "abcd")
    fill(family, "cba")
    family["e"]
    assert list("abce") == list(family)
    family["f"]
    assert list("bcef") == list(family)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_forgotten_is_what_the_rule_says(registry, seed):
    """Against a list that is sorted anew each time, with random uses, trips and recoveries."""
    random_ = random.Random(seed)
    bound = random_.randint(1, 8)
    family = registry.family("venue", CONFIG, max_keys=bound)
    used = {}
    tripped = set()
    epoch = 0
    for _ in range(400):
        key = str(random_.randint(0, 2 * bound))
        if key in used:
            used[key] = epoch
        else:
            while len(used) >= bound and (closed := [each for each in used if each not in tripped]):
                del used[min(closed, key=used.__getitem__)]
            used[key] = epoch + 1
            epoch += 2
        breaker = family[key]
        if random_.random() < 0.2:
            (breaker.force_close if key in tripped else breaker.force_open)()
            tripped ^= {key}
        assert list(used) == list(family)


def test_what_is_not_closed_is_never_forgotten(registry):
    family = registry.family("venue", CONFIG, max_keys=4)
    kept = fill(family, "abc")
    trip(kept[0])
    kept[1].disable()
    kept[2].force_open()
    for number in range(20):
        family[str(number)]
        assert 4 == len(family)
    assert kept == fill(family, "abc")


def test_where_nothing_is_closed_the_family_grows_and_shrinks_again(registry):
    family = registry.family("venue", max_keys=3)
    for breaker in fill(family, "abc"):
        breaker.force_open()
    family["d"].force_open()
    family["e"]
    assert list("abcde") == list(family)
    family["f"]
    assert list("abcdf") == list(family)
    for key in "abc":
        family[key].force_close()
    family["g"]
    assert list("cdg") == [key for key in family if key in "cdg"]
    assert 3 == len(family)


def test_one_that_trips_after_the_count_is_kept(registry):
    """Who may go is counted for many new keys at once, and looked at again before it goes."""
    family = registry.family("venue", max_keys=3)
    _, b, c = fill(family, "abc")
    family["d"]
    b.force_open()
    family["e"]
    assert list("bde") == list(family)
    assert c is not family["c"]
    assert b is family["b"]


def test_a_forgotten_breaker_goes_on_and_tells_the_registry_no_more(registry):
    heard = []
    registry.on_transition(heard.append)
    family = registry.family("venue", CONFIG, max_keys=1)
    forgotten = family["a"]
    family["b"]
    trip(forgotten)
    assert (State.OPEN, []) == (forgotten.state, heard)
    assert forgotten is not family["a"]


def test_forgotten_breakers_are_freed(registry):
    family = registry.family("venue", max_keys=10)

    def alive():
        gc.collect()
        return sum(isinstance(each, CircuitBreaker) for each in gc.get_objects())

    fill(family, map(str, range(100)))
    before = alive()
    fill(family, map(str, range(1000)))
    assert before == alive()


def test_remove_and_clear_forget_in_any_state(registry):
    heard = []
    registry.on_transition(heard.append)
    family = registry.family("venue", CONFIG)
    a, b = fill(family, "ab")
    trip(a)
    assert a is family.remove("a")
    assert family.remove("a") is None
    a.reset()
    family.clear()
    trip(b)
    assert (0, 1) == (len(family), len(heard))


def test_clearing_the_registry_forgets_its_families(registry):
    family = registry.family("venue")
    family["a"]
    registry.clear()
    assert ({}, 0) == (registry.families, len(family))
    assert family is not registry.family("venue")


# Threads


def together(count, act):
    """Run it in so many threads at once, and raise what any of them raised."""
    barrier = threading.Barrier(count)
    errors = []

    def one(number):
        try:
            barrier.wait()
            act(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == errors


def test_any_number_of_threads_get_the_same_breaker(registry):
    got = []
    together(16, lambda _: got.append([registry.family("venue")[str(key)] for key in range(50)]))
    assert 16 == len(got)
    assert all(each == got[0] for each in got)
    assert 50 == len(registry.family("venue"))


def test_threads_keep_the_bound_and_what_is_not_closed(registry):
    family = registry.family("venue", CONFIG, max_keys=20)
    kept = {key: family[key] for key in "abcde"}
    for breaker in kept.values():
        breaker.force_open()
    sizes = []

    def churn(number):
        random_ = random.Random(number)
        for _ in range(500):
            family[str(random_.randint(0, 60))].acquire().success()
            sizes.append(len(family))

    together(8, churn)
    assert max(sizes) <= 20
    assert kept == {key: family[key] for key in kept}


def test_a_finaliser_may_look_up_a_key(registry):
    """It may run inside the making of another key, in the same thread."""
    family = registry.family("venue", max_keys=4)
    names = itertools.count()

    class Late:
        def __del__(self):
            family[f"late {next(names)}"]

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(100):
            late = Late()
            late.itself = late
            del late
            family[str(number)]
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert len(family) <= 5
