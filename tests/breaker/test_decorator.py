"""The decorator: everything is protected for its whole life, or refused."""

import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import typing
import weakref
from unittest import mock

import pytest

from helpers import Boom, counted, drop, fail, ok, ok_later, run
from switchgear import CallTimeoutError, CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, State

shared = CircuitBreaker("module level")


@shared
def plain(symbol: str, depth: int = 5) -> str:
    """Load a quote."""
    return f"{symbol} {depth}"


@shared
async def coroutine(symbol: str, depth: int = 5) -> str:
    """Load a quote."""
    await asyncio.sleep(0)
    return f"{symbol} {depth}"


@shared
def generator(count: int):
    """Count."""
    yield from range(count)
    return "returned"


@shared
async def async_generator(count: int):
    """Count."""
    for value in range(count):
        await asyncio.sleep(0)
        yield value


class Client:
    """Every kind of method."""

    def __init__(self, prefix="client"):
        self.prefix = prefix

    @shared
    def method(self, value):
        return f"{self.prefix} {value}"

    @shared
    async def async_method(self, value):
        await asyncio.sleep(0)
        return f"{self.prefix} {value}"

    @shared
    def generator_method(self):
        yield self.prefix

    @shared
    @classmethod
    def outside_classmethod(cls, value):
        return f"{cls.__name__} {value}"

    @classmethod
    @shared
    def inside_classmethod(cls, value):
        return f"{cls.__name__} {value}"

    @shared
    @staticmethod
    async def outside_staticmethod(value):
        return value

    @staticmethod
    @shared
    def inside_staticmethod(value):
        return value


class Callable:
    """A callable object with state."""

    def __init__(self):
        self.calls = 0

    def __call__(self, value):
        self.calls += 1
        return value


class AsyncCallable:
    async def __call__(self, value):
        await asyncio.sleep(0)
        return value


class GeneratorCallable:
    def __call__(self, count):
        yield from range(count)


DECORATED = [plain, coroutine, generator, async_generator]


@pytest.fixture(autouse=True)
def clean():
    shared.reset()
    shared.reset_metrics()


def the_call_counts_once(breaker):
    return counted(breaker) == {"total_calls": 1, "successful_calls": 1}


# Functions and coroutine functions


def test_a_function_is_protected():
    assert plain("AAPL") == plain(symbol="AAPL", depth=5) == "AAPL 5"
    assert counted(shared) == {"total_calls": 2, "successful_calls": 2}


def test_a_coroutine_function_is_protected():
    assert run(coroutine("AAPL", depth=1)) == "AAPL 1"
    assert the_call_counts_once(shared)


def test_nothing_happens_before_the_await(breaker):
    called = []

    @breaker
    async def function():
        called.append(1)

    call = function()
    assert called == []
    call.close()
    assert counted(breaker) == {}


@pytest.mark.parametrize("is_async", [False, True])
def test_failures_trip_and_rejections_follow(breaker, is_async):
    @breaker
    def function():
        raise Boom

    @breaker
    async def coroutine_function():
        raise Boom

    def call():
        return run(coroutine_function()) if is_async else function()

    for _ in range(3):
        with pytest.raises(Boom):
            call()
    with pytest.raises(CircuitOpenError):
        call()


def test_a_plain_function_that_returns_an_awaitable_is_protected_until_that_has_ended(breaker):
    async def later(fails):
        await asyncio.sleep(0)
        if fails:
            raise Boom
        return "ok"

    decorated = breaker(lambda fails: later(fails))

    async def main():
        pending = decorated(False)
        assert counted(breaker) == {}
        assert await pending == "ok"
        with pytest.raises(Boom):
            await decorated(True)

    run(main())
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 1, "failed_calls": 1}


def test_an_awaitable_that_is_never_awaited_gives_its_permit_back(half_opened):
    class Awaitable:
        def __await__(self):
            yield

    decorated = half_opened(lambda: Awaitable())
    for _ in range(5):
        with pytest.warns(RuntimeWarning, match="never awaited"):
            drop(decorated())
    assert counted(half_opened)["ignored_calls"] == 6


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_an_awaitable_that_ends_before_its_first_step_closes_the_functions_coroutine(breaker, end):
    """It never ran, and nobody is told that it was never awaited: warnings are errors here."""

    async def main():
        decorated = breaker(lambda: ok_later())
        if end == "close":
            decorated().close()
        else:
            task = asyncio.create_task(decorated())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())
    gc.collect()
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_a_function_may_return_a_future(breaker):
    async def main():
        future = asyncio.get_running_loop().create_future()
        decorated = breaker(lambda: future)
        pending = decorated()
        future.set_result("set")
        return await pending

    assert run(main()) == "set"
    assert the_call_counts_once(breaker)


# Methods


def test_methods_of_every_kind_are_protected():
    client = Client()
    assert client.method(1) == Client.method(client, 1) == "client 1"
    assert run(client.async_method(2)) == "client 2"
    assert list(client.generator_method()) == ["client"]
    assert client.outside_classmethod(3) == Client.outside_classmethod(3) == "Client 3"
    assert client.inside_classmethod(4) == Client.inside_classmethod(4) == "Client 4"
    assert run(client.outside_staticmethod(5)) == run(Client.outside_staticmethod(5)) == 5
    assert client.inside_staticmethod(6) == 6
    assert counted(shared) == {"total_calls": 11, "successful_calls": 11}


def test_a_bound_method_is_protected_and_stays_bound(breaker):
    class Holder:
        method = breaker(Client("bound").method)

    assert breaker(Client("direct").method)(1) == "direct 1"
    assert Holder().method(2) == "bound 2"


def test_a_callable_object_as_a_class_attribute_is_not_bound(breaker):
    """Nor is the object itself."""

    class Holder:
        callable = breaker(Callable())

    assert Holder().callable("value") == "value"


def test_subclasses_and_super_work(breaker):
    class Child(Client):
        @breaker
        def method(self, value):
            return "child of " + super().method(value)

    assert Child().method(1) == "child of client 1"
    assert the_call_counts_once(breaker)
    assert the_call_counts_once(shared)


def test_a_property_over_a_protected_function_works(breaker):
    class Holder:
        @property
        @breaker
        def value(self):
            return "value"

    assert Holder().value == "value"
    assert the_call_counts_once(breaker)


# Callable objects, partials, builtins


def test_a_callable_object_is_protected(breaker):
    target = Callable()
    decorated = breaker(target)
    assert decorated("value") == "value"
    assert decorated.calls == target.calls == 1
    assert the_call_counts_once(breaker)


def test_an_object_with_an_async_call_is_protected(breaker):
    decorated = breaker(AsyncCallable())
    assert run(decorated("value")) == "value"
    assert the_call_counts_once(breaker)


def test_an_object_whose_call_generates_is_protected(breaker):
    assert list(breaker(GeneratorCallable())(3)) == [0, 1, 2]
    assert the_call_counts_once(breaker)


def test_a_partial_is_protected(breaker):
    async def later(first, second):
        await asyncio.sleep(0)
        return first + second

    assert breaker(functools.partial(divmod, 7))(2) == (3, 1)
    assert run(breaker(functools.partial(later, 1))(2)) == 3
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 2}


def test_a_builtin_is_protected(breaker):
    assert breaker(len)("four") == 4
    assert the_call_counts_once(breaker)


def test_mocks_are_protected(breaker):
    assert breaker(mock.Mock(return_value=1))() == 1
    assert run(breaker(mock.AsyncMock(return_value=2))()) == 2
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 2}


def test_a_function_with_a_cache_keeps_its_methods(breaker):
    decorated = breaker(functools.lru_cache(ok))
    assert decorated() == decorated() == "ok"
    assert decorated.cache_info().hits == 1


# Generators


def test_a_generator_is_one_call_from_its_first_step_to_its_end(breaker):
    @breaker
    def numbers():
        yield 1
        yield 2

    values = numbers()
    assert counted(breaker) == {}
    assert next(values) == 1
    assert counted(breaker) == {}
    assert list(values) == [2]
    assert the_call_counts_once(breaker)


def test_a_generator_is_rejected_at_its_first_step(opened):
    values = opened(generate)()
    with pytest.raises(CircuitOpenError):
        next(values)


def generate():
    yield 1


def test_a_generator_stopped_early_is_ignored(breaker):
    values = breaker(generate)()
    next(values)
    values.close()
    dropped = breaker(generate)()
    next(dropped)
    del dropped
    gc.collect()
    assert counted(breaker) == {"total_calls": 2, "ignored_calls": 2}


def test_a_generator_keeps_send_throw_and_its_return_value(breaker):
    @breaker
    def conversation():
        heard = yield "first"
        try:
            yield heard
        except Boom:
            yield "caught"
        return "returned"

    talk = conversation()
    assert next(talk) == "first"
    assert talk.send("echo") == "echo"
    assert talk.throw(Boom()) == "caught"
    with pytest.raises(StopIteration) as stopped:
        next(talk)
    assert stopped.value.value == "returned"
    assert the_call_counts_once(breaker)


def test_a_generator_that_fails_midway_has_failed(breaker):
    @breaker
    def numbers():
        yield 1
        raise Boom

    with pytest.raises(Boom):
        list(numbers())
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1}


# Async generators


async def collect(values):
    return [value async for value in values]


def test_an_async_generator_is_one_call_from_its_first_step_to_its_end():
    async def main():
        values = async_generator(3)
        assert counted(shared) == {}
        assert await anext(values) == 0
        assert counted(shared) == {}
        return await collect(values)

    assert run(main()) == [1, 2]
    assert the_call_counts_once(shared)


def test_an_async_generator_is_rejected_at_its_first_step(opened):
    async def main():
        @opened
        async def values():
            yield 1

        with pytest.raises(CircuitOpenError):
            await anext(values())

    run(main())


def test_an_async_generator_stopped_early_is_ignored_and_cleans_up(breaker):
    steps = []

    @breaker
    async def values():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async def main():
        generator = values()
        await anext(generator)
        await generator.aclose()

    run(main())
    assert steps == ["cleaned up"]
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_an_async_generator_left_open_is_closed_once_by_the_loop_at_its_end(breaker):
    steps, errors = [], []

    @breaker
    async def values():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    held = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        held.append(values())
        async for _ in held[0]:
            break

    run(main())
    assert (steps, errors) == (["cleaned up"], [])
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


def test_an_async_generator_keeps_asend_and_athrow(breaker):
    @breaker
    async def conversation():
        heard = yield "first"
        try:
            yield heard
        except Boom:
            yield "caught"

    async def main():
        talk = conversation()
        assert await anext(talk) == "first"
        assert await talk.asend("echo") == "echo"
        assert await talk.athrow(Boom()) == "caught"
        with pytest.raises(StopAsyncIteration):
            await anext(talk)

    run(main())
    assert the_call_counts_once(breaker)


def test_an_async_generator_that_fails_midway_has_failed(breaker):
    @breaker
    async def values():
        yield 1
        raise Boom

    with pytest.raises(Boom):
        run(collect(values()))
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1}


def test_the_timeout_governs_each_step_of_an_async_generator():
    breaker = CircuitBreaker("q", CircuitBreakerConfig(timeout=0.05))

    @breaker
    async def values():
        for _ in range(4):
            await asyncio.sleep(0.02)
            yield "in time"
        await asyncio.Event().wait()

    async def main():
        got = []
        with pytest.raises(CallTimeoutError):
            async for value in values():
                got.append(value)
        return got

    assert run(main()) == ["in time"] * 4
    assert counted(breaker) == {"total_calls": 1, "failed_calls": 1, "timed_out_calls": 1}


# Context managers made from generators


def test_a_contextmanager_function_is_one_call_from_entry_to_exit(breaker):
    @breaker
    @contextlib.contextmanager
    def session(name):
        yield name

    with session("s") as name:
        assert name == "s"
        assert counted(breaker) == {}
    assert the_call_counts_once(breaker)
    with pytest.raises(Boom), session("s"):
        raise Boom
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 1, "failed_calls": 1}
    breaker.force_open()
    with pytest.raises(CircuitOpenError), session("s"):
        pass


def test_an_asynccontextmanager_function_is_one_call_from_entry_to_exit(breaker):
    @breaker
    @contextlib.asynccontextmanager
    async def session(name):
        await asyncio.sleep(0)
        yield name

    async def main():
        async with session("s") as name:
            assert name == "s"
            assert counted(breaker) == {}
        assert the_call_counts_once(breaker)
        with pytest.raises(Boom):
            async with session("s"):
                raise Boom
        breaker.force_open()
        with pytest.raises(CircuitOpenError):
            async with session("s"):
                pass

    run(main())
    assert counted(breaker)["failed_calls"] == 1


def test_a_protected_contextmanager_is_still_a_decorator(breaker):
    @breaker
    @contextlib.contextmanager
    def session():
        yield

    @session()
    def work():
        return "done"

    assert [work(), work()] == ["done", "done"]
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 2}


def test_a_contextmanager_may_have_a_breaker_inside_and_outside(breaker, clock):
    other = CircuitBreaker("other", clock=clock)

    @contextlib.contextmanager
    @breaker
    def inside():
        yield "in"

    @other
    @breaker
    @contextlib.contextmanager
    def twice():
        yield "in"

    with inside() as value, twice() as again:
        assert value == again == "in"
    assert counted(breaker) == {"total_calls": 2, "successful_calls": 2}
    assert the_call_counts_once(other)


# Stacking


def test_two_breakers_protect_one_function(breaker, clock):
    inner = CircuitBreaker("inner", CircuitBreakerConfig(1), clock=clock)

    @breaker
    @inner
    async def function():
        raise Boom

    assert inspect.iscoroutinefunction(function)
    with pytest.raises(Boom):
        run(function())
    with pytest.raises(CircuitOpenError):
        run(function())
    assert counted(inner) == {"total_calls": 2, "failed_calls": 1, "rejected_calls": 1, "times_opened": 1}
    assert counted(breaker) == {"total_calls": 2, "failed_calls": 2}


# Refusals


@pytest.mark.parametrize(
    "target",
    # Its repr has an address, which would be another one in each process that the tests are spread over.
    [None, 42, "function", int, Client, CircuitBreaker, pytest.param(property(ok), id="property")],
    ids=repr,
)
def test_what_cannot_be_protected_is_refused_at_once(breaker, target):
    with pytest.raises(TypeError):
        breaker(target)


@pytest.mark.parametrize("hidden", [generate, contextlib.contextmanager(generate)])
def test_unfinished_work_that_only_shows_when_called_is_refused_then(breaker, hidden):
    decorated = breaker(lambda: hidden())
    with pytest.raises(TypeError, match="decorate"):
        decorated()
    assert counted(breaker) == {"total_calls": 1, "ignored_calls": 1}


# What the outside sees


@pytest.mark.parametrize("function", DECORATED)
def test_name_docstring_and_module_stay(function):
    assert function.__name__ in ("plain", "coroutine", "generator", "async_generator")
    assert function.__qualname__ == function.__name__
    assert function.__doc__ in ("Load a quote.", "Count.")
    assert function.__module__ == __name__
    assert function.__wrapped__.__name__ == function.__name__


def test_signature_and_annotations_stay():
    assert str(inspect.signature(plain)) == "(symbol: str, depth: int = 5) -> str"
    assert inspect.signature(coroutine) == inspect.signature(coroutine.__wrapped__)
    assert typing.get_type_hints(plain) == {"symbol": str, "depth": int, "return": str}
    assert plain.__annotations__ == plain.__wrapped__.__annotations__
    assert (plain.__defaults__, plain.__kwdefaults__) == ((5,), None)
    assert str(inspect.signature(Client().method)) == "(value)"


def test_inspect_and_asyncio_recognise_each_kind():
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.iscoroutinefunction(Client.async_method)
    assert inspect.iscoroutinefunction(Client().async_method)
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)
    assert not inspect.isgeneratorfunction(plain)


def test_an_object_with_an_async_call_is_recognised(breaker):
    decorated = breaker(AsyncCallable())
    if hasattr(inspect, "markcoroutinefunction"):
        assert inspect.iscoroutinefunction(decorated)
    else:
        assert asyncio.iscoroutinefunction(decorated)


@pytest.mark.parametrize("function", DECORATED)
def test_decorated_functions_pickle_by_name(function):
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function


def test_decorated_methods_pickle_by_name():
    assert pickle.loads(pickle.dumps(Client.method)) is Client.method
    assert pickle.loads(pickle.dumps(Client("pickled").method))(1) == "pickled 1"


def test_attributes_can_be_set_and_the_functions_own_are_there(breaker):
    def function():
        pass

    function.tag = "own"
    decorated = breaker(function)
    assert decorated.tag == "own"
    decorated.mark = "set"
    assert decorated.mark == "set"
    assert not hasattr(function, "mark")
    with pytest.raises(AttributeError):
        _ = decorated.missing


def test_a_wrapper_around_a_decorated_function_copies_no_internals():
    copied = functools.wraps(plain)(lambda: None).__dict__
    assert [name for name in copied if not name.startswith("__")] == []


def test_a_decorated_function_is_collected_with_its_breaker():
    breaker = CircuitBreaker("q")

    def function():
        pass

    decorated = breaker(function)
    gone = weakref.ref(decorated), weakref.ref(breaker), weakref.ref(function)
    del decorated, breaker, function
    gc.collect()
    assert [reference() for reference in gone] == [None, None, None]


def test_the_breaker_may_be_collected_while_a_call_is_in_flight():
    async def main():
        gate = asyncio.Event()
        task = asyncio.create_task(CircuitBreaker("short-lived").call(gate.wait))
        await asyncio.sleep(0)
        gc.collect()
        gate.set()
        return await task

    assert run(main()) is True


def test_a_breaker_neither_pickles_nor_copies(breaker):
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="pickle"):
            attempt(breaker)


def test_a_breaker_is_hashable_by_identity(breaker):
    assert {breaker: 1}[breaker] == 1
    assert breaker != CircuitBreaker("quotes", breaker.config)


def test_the_state_is_shared_by_everything_that_a_breaker_protects(breaker):
    first, second = breaker(fail), breaker(ok)
    for _ in range(3):
        with pytest.raises(Boom):
            first()
    with pytest.raises(CircuitOpenError):
        second()
    assert breaker.state is State.OPEN
