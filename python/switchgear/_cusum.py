"""How long a Bernoulli CUSUM runs before it trips: exact, from its Markov chain, in linear time.

A failure, which comes with probability p, lifts the level by ``step``; a success lowers it by one, never below 0; the
chain ends at ``limit``. Downwards it passes through every level, so that all it needs to know of a level is how it
leaves it: by the next lower one, with probability ``down``, or by a trip, with probability ``trip``, after ``calls``
calls on average. Two such descents one after the other are a descent. A failure at level j begins one of ``step``
levels, which gives level j from those above it, and the top ones trip at once.

Nothing here subtracts, so nothing cancels: a trip in 10**12 calls is as exact as one in ten. Solving the linear system
would cost the cube of the limit, and its textbook recursions lose all digits where trips are rare.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

LEVEL_LIMIT: Final = 1_000_000
"""The highest limit that is looked for: a second of work."""

Descent: TypeAlias = tuple[float, float, float]
"""Of going down some levels: the probabilities to arrive and to trip on the way, and the calls until either."""


class Design(NamedTuple):
    """The integers of a CUSUM and its mean number of calls between false trips."""

    step: int
    limit: int
    calls_between: float


def step_for(healthy: float, failing: float) -> int:
    """Return m - 1 of Reynolds and Stoumbos: what a failure adds where a success takes one."""
    # The same two logarithms as in the paper, in a form that keeps its digits where the rates are close.
    success = math.log1p((failing - healthy) / (1.0 - failing))
    failure = math.log1p((failing - healthy) / healthy) + success
    return max(2, round(failure / success)) - 1


def balance(healthy: float, failing: float) -> float:
    """Return the rate of failures at which the level neither rises nor falls: between the two it tells them apart."""
    return 1.0 / (step_for(healthy, failing) + 1)


def nearest(healthy: float, failing: float) -> float | None:
    """Return the next higher rate, in thousandths, that can be told from ``healthy``; None: there is none."""
    rates = (thousandths / 1000 for thousandths in range(int(failing * 1000) + 1, 1000))
    return next((rate for rate in rates if healthy < balance(healthy, rate) < rate), None)


@lru_cache(maxsize=256)
def design(healthy: float, failing: float, calls_between: int) -> Design:
    """Return the smallest limit with so many calls between false trips; if none is small enough, the highest."""
    step = step_for(healthy, failing)
    if 1.0 / healthy >= calls_between:
        return Design(step, 1, 1.0 / healthy)
    mean = 1.0 / healthy
    for limit, mean in enumerate(islice(_means(healthy, step), max(0, LEVEL_LIMIT - step)), step + 1):
        if mean >= calls_between:
            return Design(step, limit, mean)
    return Design(step, LEVEL_LIMIT, mean)


@lru_cache(maxsize=256)
def mean_calls(rate: float, step: int, limit: int) -> float:
    """Return the mean number of calls from level 0 to a trip; infinite past the largest float."""
    if rate == 0.0:
        return math.inf
    if limit <= step:
        return 1.0 / rate
    return next(islice(_means(rate, step), limit - step - 1, None))


def _means(rate: float, step: int) -> Iterator[float]:
    """Yield the mean for each limit from ``step + 1`` up: a higher one only adds a level below all the others."""
    success = 1.0 - rate
    # From the upper `step` levels any failure trips.
    block: list[Descent] = [(success, rate, 1.0)] * step
    while True:
        # The last `step` levels are the tail of one block and the head of the next: each product is made once.
        tails = _tails(block)
        block = []
        head: Descent = (1.0, 0.0, 0.0)
        for tail in tails:
            _, trip, calls = _then(tail, head)
            yield (1.0 / rate + calls) / trip if trip else math.inf
            leave = success + rate * trip
            if not leave:
                return
            level = (success / leave, rate * trip / leave, (1.0 + rate * calls) / leave)
            block.append(level)
            head = _then(head, level)


def _tails(block: list[Descent]) -> list[Descent]:
    tails = []
    tail: Descent = (1.0, 0.0, 0.0)
    for level in reversed(block):
        tail = _then(level, tail)
        tails.append(tail)
    tails.reverse()
    return tails


def _then(upper: Descent, lower: Descent) -> Descent:
    down, trip, calls = upper
    return down * lower[0], trip + down * lower[1], calls + down * lower[2]
