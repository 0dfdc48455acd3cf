"""Run a coroutine up to its first suspension, cheaply.

The timeout is armed when a call first suspends, so somebody has to see that suspension. Calling ``coroutine.send`` and
catching ``StopIteration`` shows it, but costs more than everything else in a call: the exception, its traceback, a
frame object for that. ``await`` costs nothing and hides it. A stepper is a generator that awaits one coroutine after
another and *yields* their results, so it neither raises nor hides. It is kept for the next call; one that an exception
has ended, or that a suspended call took along, is replaced.
"""

import types
from collections.abc import Callable, Generator
from typing import Any, Final, TypeAlias

_POOL_LIMIT: Final = 64


class Finished:
    """What a stepper yields when the coroutine has ended; one per stepper, compared by identity."""

    __slots__ = ("result",)

    result: Any


Stepper: TypeAlias = tuple[Callable[[Any], Any], Finished, Generator[Any, Any, None]]
"""``send``, ``finished`` and the generator that both belong to.

``send`` starts a coroutine or an iterator, or resumes it, and gives ``finished`` or what it suspended with. A plain
tuple: unpacking a named one takes the interpreter's slow way, and costs as much as an ``await``.
"""


@types.coroutine
def _steps(finished: Finished) -> Generator[Any, Any, None]:
    while True:
        # In no variable: a stepper in the pool must not keep the last call's coroutine alive.
        finished.result = yield from (yield finished)


_STEPS_CODE: Final = _steps.__code__


def new_stepper() -> Stepper:
    """Return a stepper that waits for its first coroutine."""
    finished = Finished()
    generator: Any = _steps(finished)
    next(generator)
    return generator.send, finished, generator


# Taking from it and giving back are single list operations, so threads share it without a lock. A race past the limit
# costs a little memory.
pool: Final[list[Stepper]] = []


def take() -> Stepper:
    """Return a stepper from the pool, or a new one."""
    try:
        return pool.pop()
    except IndexError:
        return new_stepper()


def give_back(stepper: Stepper) -> None:
    """Keep a stepper whose coroutine has ended for the next call."""
    if len(pool) < _POOL_LIMIT:
        pool.append(stepper)


@types.coroutine
def resume(stepper: Stepper, yielded: Any) -> Generator[Any, Any, Any]:
    """Await the rest of a coroutine that has suspended with ``yielded``."""
    send, finished, generator = stepper
    while yielded is not finished:
        try:
            value = yield yielded
        except GeneratorExit:
            generator.close()
            raise
        except BaseException as error:
            yielded = generator.throw(error)
        else:
            yielded = send(value)
    result, finished.result = finished.result, None
    give_back(stepper)
    return result


def refused(error: BaseException) -> bool:
    """Tell whether a coroutine that a stepper was given had ended before: the error is the stepper's, not its own."""
    if type(error) is not RuntimeError or error.__cause__ is not None:
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code is _STEPS_CODE
