"""State changes for asyncio: streams of events, and waiting for a state."""

import asyncio
import datetime as dt
import gc
import logging
import math
import threading

import pytest

from helpers import run, trip
from switchgear import CircuitBreaker, CircuitBreakerConfig, CircuitBreakerRegistry, State
from switchgear.testing import ManualClock
from virtual_time import VirtualLoop


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def registry(clock):
    return CircuitBreakerRegistry(clock=clock)


@pytest.fixture
def breaker(registry):
    return registry.register("quotes", CircuitBreakerConfig(3, 2, 30.0, 60.0))


def listening(source):
    """How many listeners a breaker or a registry has."""
    return len(source._listeners._members) if source._listeners is not None else 0


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def in_a_thread(*commands):
    def act():
        for command in commands:
            command()

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


# Streams


def test_a_stream_gives_every_change_since_it_was_made(registry, breaker):
    async def main():
        trip(breaker)
        stream = registry.events()
        breaker.force_close()
        registry.register("orders").force_open()
        return [(event.name, event.to_state) for event in [await anext(stream), await anext(stream)]]

    assert [("quotes", State.CLOSED), ("orders", State.OPEN)] == run(main())


def test_a_breaker_has_a_stream_of_its_own(registry, breaker):
    async def main():
        stream = breaker.events()
        registry.register("orders").force_open()
        breaker.disable()
        return (await anext(stream)).name

    assert "quotes" == run(main())


def test_a_reader_that_waits_is_woken_by_any_thread(registry, breaker):
    async def main():
        heard = []

        async def read():
            async for event in registry.events():
                heard.append(event.to_state)
                if len(heard) == 3:
                    return

        reader = asyncio.create_task(read())
        await turns()
        in_a_thread(breaker.force_open, breaker.force_close)
        await turns()
        assert 2 == len(heard)
        in_a_thread(breaker.disable)
        await reader
        return heard

    assert [State.OPEN, State.CLOSED, State.DISABLED] == run(main())


def test_threads_lose_no_event_and_no_wake_up(registry):
    """Whatever the readers and the threads do at the same time, every change arrives once."""
    breakers = [registry.register(str(number)) for number in range(4)]

    def flap(breaker):
        for _ in range(250):
            breaker.force_open()
            breaker.force_close()

    async def main():
        stream = registry.events(maxlen=10_000)
        threads = [threading.Thread(target=flap, args=(breaker,)) for breaker in breakers]
        for thread in threads:
            thread.start()
        heard = [await anext(stream) for _ in range(2000)]
        for thread in threads:
            thread.join()
        return {(event.name, event.generation) for event in heard}

    assert {(str(name), number) for name in range(4) for number in range(1, 501)} == run(main())


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(registry, breaker, caplog):
    async def main():
        stream = registry.events(maxlen=3)
        for _ in range(5):
            breaker.force_open()
            breaker.force_close()
        assert 7 == stream.lost
        heard = [(await anext(stream)).generation for _ in range(3)]
        breaker.disable()
        heard.append((await anext(stream)).generation)
        assert 7 == stream.lost
        return heard

    with caplog.at_level(logging.WARNING, "switchgear"):
        assert [8, 9, 10, 11] == run(main())
    (record,) = [record for record in caplog.records if "lost" in record.getMessage()]
    assert ("WARNING", "a slow reader of state changes lost the oldest 7 of them") == (
        record.levelname,
        record.getMessage(),
    )


def test_a_loop_that_is_stuck_queues_one_wake_up(registry, breaker):
    """A slow reader costs its buffer, however many events come."""

    async def main():
        stream = registry.events(maxlen=2)
        reader = asyncio.create_task(anext(stream))
        await turns()
        loop = asyncio.get_running_loop()
        before = len(loop._ready)
        for _ in range(50):
            breaker.force_open()
            breaker.force_close()
        assert 1 == len(loop._ready) - before
        return (await reader).generation, stream.lost

    assert (99, 98) == run(main())


def test_aclose_ends_the_stream(registry, breaker):
    async def main():
        stream = registry.events()
        breaker.force_open()
        await stream.aclose()
        await stream.aclose()
        assert 0 == listening(registry)
        breaker.force_close()
        return [event async for event in stream]

    assert [] == run(main())


def test_aclose_wakes_the_reader(registry):
    async def main():
        stream = registry.events()

        async def read():
            return [event async for event in stream]

        reader = asyncio.create_task(read())
        await turns()
        await stream.aclose()
        return await reader

    assert [] == run(main())


def test_async_with_closes_the_stream(registry):
    async def main():
        with pytest.raises(ZeroDivisionError):
            async with registry.events() as stream:
                assert 1 == listening(registry)
                1 / 0
        assert 0 == listening(registry)
        return [event async for event in stream]

    assert [] == run(main())


def test_a_stream_that_nobody_holds_stops_listening(registry):
    async def main():
        stream = registry.events()
        assert 1 == listening(registry)
        del stream
        gc.collect()
        return listening(registry)

    assert 0 == run(main())


def test_a_reader_that_was_cancelled_may_read_on(registry, breaker):
    async def main():
        stream = registry.events()
        reader = asyncio.create_task(anext(stream))
        await turns()
        reader.cancel()
        await asyncio.wait([reader])
        breaker.force_open()
        return (await anext(stream)).to_state

    assert State.OPEN == run(main())


def test_a_stream_has_one_reader(registry, breaker):
    async def main():
        stream = registry.events()
        reader = asyncio.create_task(anext(stream))
        await turns()
        with pytest.raises(RuntimeError, match="one reader"):
            await anext(stream)
        breaker.force_open()
        return (await reader).to_state

    assert State.OPEN == run(main())


@pytest.mark.parametrize("waiting", [False, True])
def test_a_loop_that_was_closed_hurts_no_call(registry, breaker, caplog, waiting):
    """The first event after the end of the loop takes the stream off the list, silently."""
    loop = asyncio.new_event_loop()

    async def begin():
        stream = registry.events()
        reader = asyncio.create_task(anext(stream))
        if waiting:
            await turns()
        return stream, reader

    stream, reader = loop.run_until_complete(begin())
    loop.close()
    assert 1 == listening(registry)
    trip(breaker)
    assert 0 == listening(registry)
    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]
    # It can run no more; asyncio would complain of that when it is collected.
    reader._log_destroy_pending = False
    reader.get_coro().close()
    assert "closed" in repr(stream)


@pytest.mark.parametrize("maxlen", [0, -1, 1_000_001, 2.0, None, True])
def test_a_bound_out_of_range_is_refused(registry, maxlen):
    async def main():
        with pytest.raises(ValueError, match="maxlen must be an int from 1 to 1,000,000, not"):
            registry.events(maxlen=maxlen)

    run(main())
    assert 0 == listening(registry)


def test_a_stream_needs_a_loop(registry):
    with pytest.raises(RuntimeError, match="no running event loop"):
        registry.events()
    assert 0 == listening(registry)


# Waiting for a state


def test_waiting_for_the_present_state_returns_at_once(breaker):
    coroutine = breaker.wait_for(State.CLOSED, timeout=0)

    async def main():
        return await coroutine

    assert State.CLOSED is run(main())
    assert 0 == listening(breaker)


@pytest.mark.parametrize("states", [State.OPEN, "OPEN", (State.OPEN, State.DISABLED), iter([State.OPEN])])
def test_waiting_ends_with_the_first_of_the_states(breaker, states):
    async def main():
        waiter = asyncio.create_task(breaker.wait_for(states))
        await turns()
        assert not waiter.done()
        in_a_thread(breaker.force_open, breaker.force_close)
        return await waiter

    assert State.OPEN is run(main())
    assert 0 == listening(breaker)


def test_waiting_through_a_recovery(breaker, clock):
    """OPEN becomes HALF_OPEN with a call after the reset timeout, not with the time."""

    async def main():
        trip(breaker)
        half_open = asyncio.create_task(breaker.wait_for(State.HALF_OPEN))
        closed = asyncio.create_task(breaker.wait_for(State.CLOSED))
        clock.advance(60)
        await turns()
        assert (False, False) == (half_open.done(), closed.done())
        breaker.acquire().success()
        assert State.HALF_OPEN is await half_open
        breaker.acquire().success()
        return await closed

    assert State.CLOSED is run(main())


def test_a_change_between_looking_and_listening_is_seen(breaker, monkeypatch):
    """It listens first and looks then, so that there is no such moment."""
    listen = type(breaker).on_transition

    def listen_then_change(self, listener):
        breaker.force_open()
        listen(self, listener)

    monkeypatch.setattr(type(breaker), "on_transition", listen_then_change)
    assert State.OPEN is run(breaker.wait_for(State.OPEN))


@pytest.mark.parametrize("timeout", [0, 5, 0.25, dt.timedelta(seconds=3)])
def test_waiting_too_long_is_a_timeout(breaker, timeout):
    async def main():
        begun = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError, match="'quotes' is CLOSED, and was not DISABLED or OPEN within"):
            await breaker.wait_for((State.OPEN, State.DISABLED), timeout)
        return asyncio.get_running_loop().time() - begun

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        elapsed = runner.run(main())
    seconds = timeout.total_seconds() if isinstance(timeout, dt.timedelta) else timeout
    assert seconds == pytest.approx(elapsed)
    assert 0 == listening(breaker)


@pytest.mark.parametrize("timeout", [None, math.inf])
def test_no_limit_sets_no_timer(breaker, timeout):
    async def main():
        waiter = asyncio.create_task(breaker.wait_for(State.OPEN, timeout))
        await turns()
        breaker.force_open()
        await waiter
        return asyncio.get_running_loop().timers

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert [] == runner.run(main())


def test_a_cancelled_wait_leaves_no_listener(breaker):
    async def main():
        waiter = asyncio.create_task(breaker.wait_for(State.OPEN, timeout=60))
        await turns()
        assert 1 == listening(breaker)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert waiter.cancelled()
        breaker.force_open()

    run(main())
    assert 0 == listening(breaker)


def test_a_wait_that_is_cancelled_as_its_state_comes_is_cancelled(breaker):
    async def main():
        waiter = asyncio.create_task(breaker.wait_for(State.OPEN))
        await turns()
        breaker.force_open()
        waiter.cancel()
        await asyncio.wait([waiter])
        return waiter.cancelled()

    assert run(main())


def test_a_wait_on_a_loop_that_was_closed_hurts_no_call(breaker, caplog):
    loop = asyncio.new_event_loop()

    async def begin():
        waiter = asyncio.create_task(breaker.wait_for(State.OPEN))
        await turns()
        return waiter

    waiter = loop.run_until_complete(begin())
    loop.close()
    breaker.disable()
    assert 0 == listening(breaker)
    assert [] == [record for record in caplog.records if record.levelname == "ERROR"]
    waiter._log_destroy_pending = False
    waiter.get_coro().close()


@pytest.mark.parametrize(("states", "text"), [((), "not none"), ("open", "'open'"), ([State.OPEN, 3], "3")])
def test_what_is_no_state_is_refused(breaker, states, text):
    with pytest.raises(ValueError, match=text):
        run(breaker.wait_for(states))
    assert 0 == listening(breaker)


@pytest.mark.parametrize("timeout", [-1, math.nan, "3", True])
def test_what_is_no_duration_is_refused(breaker, timeout):
    with pytest.raises(ValueError, match="timeout must be None or a number of seconds"):
        run(breaker.wait_for(State.OPEN, timeout))
    assert 0 == listening(breaker)


def test_many_waiters_on_many_threads(clock):
    """Each of them hears of it, on its own loop."""
    breaker = CircuitBreaker("shared", clock=clock)
    ready = threading.Barrier(5)
    got = []

    def wait():
        async def main():
            waiters = [asyncio.create_task(breaker.wait_for(State.OPEN)) for _ in range(10)]
            await turns()
            ready.wait()
            return await asyncio.gather(*waiters)

        got.extend(asyncio.run(main()))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    breaker.force_open()
    for thread in threads:
        thread.join()
    assert [State.OPEN] * 40 == got
    assert 0 == listening(breaker)
