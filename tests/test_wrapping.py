"""What frameworks and the standard library do with a decorated function: as with the function itself."""

import abc
import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import inspect
import multiprocessing
import operator
import threading
import types
import unittest.mock
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from helpers import counted
from switchgear import CircuitBreaker, CircuitBreakerConfig

quotes = CircuitBreaker("quotes of the module")


@quotes
def load(symbol: str, depth: int = 5) -> str:
    """Load a quote."""
    return f"{symbol}/{depth}"


@quotes
async def fetch(symbol: str, *, depth: int = 5) -> str:
    """Fetch a quote."""
    await asyncio.sleep(0)
    return f"{symbol}/{depth}"


class Service:
    @quotes
    def load(self, symbol: str) -> str:
        """Load a quote."""
        return f"{type(self).__name__} {symbol}"

    @quotes
    async def fetch(self, symbol: str) -> str:
        await asyncio.sleep(0)
        return f"{type(self).__name__} {symbol}"


# inspect


def test_coroutine_functions_through_partials_and_methods() -> None:
    """Partials and bound methods of a decorated coroutine function are coroutine functions, as undecorated."""
    assert inspect.iscoroutinefunction(functools.partial(fetch, "AAPL"))
    assert inspect.iscoroutinefunction(Service().fetch)
    assert inspect.iscoroutinefunction(functools.partial(Service().fetch, "AAPL"))
    assert not inspect.iscoroutinefunction(functools.partial(load, "AAPL"))
    assert not inspect.iscoroutinefunction(Service().load)


def test_asyncio_recognises_coroutine_functions() -> None:
    """The question that older frameworks ask of asyncio has the same answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.14 on
        recognised = [asyncio.iscoroutinefunction(function) for function in (fetch, Service().fetch, load)]
    assert recognised == [True, True, False]


def test_signatures_of_methods_and_partials() -> None:
    """inspect.signature sees what a caller has to give."""
    assert str(inspect.signature(Service.load)) == "(self, symbol: str) -> str"
    assert str(inspect.signature(Service().load)) == "(symbol: str) -> str"
    assert str(inspect.signature(functools.partial(load, depth=1))) == "(symbol: str, *, depth: int = 1) -> str"
    bound = inspect.signature(fetch).bind("AAPL", depth=3)
    assert bound.arguments == {"symbol": "AAPL", "depth": 3}


def test_the_source_is_the_functions() -> None:
    """What looks for the source of a decorated function finds the function's own."""
    assert "Load a quote." in inspect.getsource(load)
    assert inspect.getdoc(Service().load) == "Load a quote."
    assert inspect.getmodule(load) is inspect.getmodule(load.__wrapped__)
    assert inspect.unwrap(load) is load.__wrapped__
    assert load.__code__ is load.__wrapped__.__code__


def test_generator_kinds_through_methods() -> None:
    """Decorated generator methods keep their kind."""

    class Streams:
        @quotes
        def ticks(self) -> Iterator[int]:
            yield 1

        @quotes
        async def ticks_async(self) -> AsyncIterator[int]:
            yield 1

        @quotes
        @contextlib.contextmanager
        def session(self) -> Iterator[int]:
            yield 1

    assert inspect.isgeneratorfunction(Streams().ticks)
    assert inspect.isgenerator(Streams().ticks())
    assert inspect.isasyncgenfunction(Streams().ticks_async)
    assert not inspect.isgeneratorfunction(Streams.session)
    assert str(inspect.signature(Streams().ticks)).startswith("() -> ")


# functools and friends


def test_wrapping_a_decorated_function() -> None:
    """functools.wraps over a decorated function takes over name, docstring and signature."""

    @functools.wraps(load)
    def outer(*args: Any, **kwargs: Any) -> str:
        return f"outer {load(*args, **kwargs)}"

    assert (outer.__name__, outer.__doc__) == ("load", "Load a quote.")
    assert inspect.signature(outer) == inspect.signature(load)
    assert outer("AAPL") == "outer AAPL/5"


def test_partials() -> None:
    """functools.partial and partialmethod call through the breaker."""
    breaker = CircuitBreaker("partial")

    @breaker
    def add(a: int, b: int, *, c: int = 0) -> int:
        return a + b + c

    class Adder:
        @breaker
        def add(self, a: int, b: int) -> int:
            return a + b

        add_one = functools.partialmethod(add, 1)

    assert functools.partial(add, 1, c=3)(2) == 6
    assert Adder().add_one(2) == 3
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 2}


def test_caches_over_the_decorator() -> None:
    """A cache over a decorated function calls it once; the breaker sees that one call."""
    breaker = CircuitBreaker("cached")

    @functools.lru_cache
    @breaker
    def square(x: int) -> int:
        return x * x

    class Lazy:
        @functools.cached_property
        @breaker
        def value(self) -> int:
            return 7

    lazy = Lazy()
    assert (square(3), square(3), lazy.value, lazy.value) == (9, 9, 7, 7)
    assert breaker.get_metrics().successful_calls == 2


def test_singledispatch() -> None:
    """A decorated implementation can be registered for a type by its annotation."""
    breaker = CircuitBreaker("dispatch")

    @functools.singledispatch
    def show(value: object) -> str:
        return "object"

    @show.register
    @breaker
    def _(value: int) -> str:
        return "int"

    assert (show("x"), show(7)) == ("object", "int")
    assert breaker.get_metrics().successful_calls == 1


def test_abstract_methods() -> None:
    """An abstract method stays abstract under the decorator, and its implementation is protected."""
    breaker = CircuitBreaker("abstract")

    class Source(abc.ABC):
        @breaker
        @abc.abstractmethod
        def read(self) -> str: ...

    class File(Source):
        @breaker
        def read(self) -> str:
            return "text"

    with pytest.raises(TypeError, match="abstract"):
        Source()  # type: ignore[abstract]
    assert File().read() == "text"


def test_slots_dataclasses_and_super() -> None:
    """Decorated methods work in slotted dataclasses and call their base class's."""

    @dataclasses.dataclass(slots=True)
    class Base:
        name: str

        @quotes
        def greet(self) -> str:
            return f"hello {self.name}"

    @dataclasses.dataclass(slots=True)
    class Loud(Base):
        @quotes
        def greet(self) -> str:
            return Base.greet(self).upper()

    assert Loud("x").greet() == "HELLO X"


def test_operator_and_map() -> None:
    """A decorated function goes wherever a callable goes."""
    assert list(map(load, ["A", "B"])) == ["A/5", "B/5"]
    assert operator.methodcaller("load", "A")(Service()) == "Service A"
    assert sorted(["bb", "a"], key=quotes(len)) == ["a", "bb"]


def test_autospec() -> None:
    """unittest.mock makes a mock of a decorated function, an async one of an async one."""
    assert unittest.mock.create_autospec(load, return_value="mocked")("AAPL", depth=3) == "mocked"
    assert asyncio.run(unittest.mock.create_autospec(fetch, return_value="mocked")("AAPL")) == "mocked"


def test_patching_a_method() -> None:
    """unittest.mock.patch replaces a decorated method and puts it back."""
    original = Service.load
    with unittest.mock.patch.object(Service, "load", autospec=True, return_value="patched"):
        assert Service().load("A") == "patched"
    assert Service.load is original


# threads, executors, other processes


def test_threads_and_executors() -> None:
    """A decorated function runs in a thread, an executor and asyncio.to_thread."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(None, load, "A"), await asyncio.to_thread(load, "B", depth=1)]

    assert asyncio.run(main()) == ["A/5", "B/1"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, ["A", "B"])) == ["A/5", "B/5"]
    thread = threading.Thread(target=load, args=("A",))
    thread.start()
    thread.join()


def test_another_process() -> None:
    """A decorated function reaches another process by its name, where that process's own breaker protects it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(load, ("AAPL", 3)) == "AAPL/3"
        assert pool.map(Service().load, ["AAPL"]) == ["Service AAPL"]


def test_create_task_and_gather() -> None:
    """What a decorated coroutine function returns is taken by everything that takes a coroutine."""

    async def main() -> list[str]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(fetch("A"), name="named")
        waited = await asyncio.wait_for(fetch("B"), 10)
        gathered = await asyncio.gather(fetch("C"), Service().fetch("D"))
        ensured = await asyncio.ensure_future(fetch("E"))
        shielded = await asyncio.shield(fetch("F"))
        done, _ = await asyncio.wait([asyncio.create_task(fetch("G"))])
        return [task.result(), waited, *gathered, ensured, shielded, done.pop().result()]

    assert asyncio.run(main()) == ["A/5", "B/5", "C/5", "Service D", "E/5", "F/5", "G/5"]
    assert asyncio.run(fetch("H")) == "H/5"
    future = asyncio.run_coroutine_threadsafe
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert future(fetch("I"), loop).result(10) == "I/5"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_async_context_stacks() -> None:
    """Decorated context manager functions go into exit stacks."""
    breaker = CircuitBreaker("stack")
    steps: list[str] = []

    @breaker
    @contextlib.asynccontextmanager
    async def session() -> AsyncIterator[str]:
        steps.append("in")
        yield "session"
        steps.append("out")

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            assert await stack.enter_async_context(session()) == "session"
            stack.push_async_callback(fetch, "A")

    asyncio.run(main())
    assert steps == ["in", "out"]
    assert breaker.get_metrics().successful_calls == 1


def test_a_types_coroutine_function() -> None:
    """A generator-based coroutine function is protected until what it returns has been awaited."""
    breaker = CircuitBreaker("old style", CircuitBreakerConfig(timeout=None))

    @types.coroutine
    def suspend() -> Iterator[str]:
        yield "suspended"

    call = breaker.call(suspend)
    assert call.send(None) == "suspended"
    with pytest.raises(StopIteration):
        call.send(None)
    assert breaker.get_metrics().successful_calls == 1
