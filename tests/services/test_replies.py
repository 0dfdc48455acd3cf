"""Where a thread's answer meets the task that waits for it: each is brought once, to the right task, in its turn."""

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from helpers import run
from switchgear import BulkheadFullError, CircuitBreakerRegistry
from switchgear.services._threads.inbox import Inbox
from switchgear.services._threads.mailbox import BellMailbox, LoopMailbox, mailbox
from switchgear.services._threads.reply import Reply
from switchgear.services.neural import NeuralCircuitBreaker


class Blind(asyncio.SelectorEventLoop):
    """A loop that watches no files for others, such as the usual one of Windows."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        raise NotImplementedError


LOOPS = {"watching": asyncio.new_event_loop, "blind": Blind}


@pytest.fixture(params=LOOPS)
def new_loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return LOOPS[request.param]  # type: ignore[no-any-return]


class Echo:
    """A thread that answers with what it was sent, when it is let."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.inbox.open()
        self.let = threading.Event()
        self.let.set()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def ask(self, value: Any) -> Reply[Any]:
        reply: Reply[Any] = Reply()
        self.inbox.put((reply, value))
        return reply

    def _serve(self) -> None:
        while (item := self.inbox.get()) is not None:
            reply, value = item
            self.let.wait()
            reply.answer(*((None, value) if isinstance(value, Exception) else (value, None)))
            del item, reply, value


@pytest.fixture
def echo() -> Any:
    echo = Echo()
    yield echo
    echo.let.set()
    echo.inbox.put(None)
    echo.thread.join()


def test_every_task_gets_its_own_answer(echo: Echo, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """However the answers bunch, none is lost and none is mixed up; errors come as errors."""

    async def ask(number: int) -> None:
        for each in range(20):
            assert (number, each) == await echo.ask((number, each))
        with pytest.raises(ValueError, match=f"^{number}$"):
            await echo.ask(ValueError(number))

    async def main() -> None:
        await asyncio.gather(*map(ask, range(200)))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_an_answer_that_is_there_before_anybody_waits(echo: Echo) -> None:
    """It is given, after a turn of the loop that others have, too."""

    async def main() -> None:
        turns: list[str] = []
        asyncio.get_running_loop().call_soon(turns.append, "other")
        reply = echo.ask(1)
        while not reply._answered:
            pass
        assert 1 == await reply
        assert ["other"] == turns

    run(main())


def test_a_quick_thread_starves_nobody(echo: Echo) -> None:
    """A task that asks without end lets the others of its loop run between two answers."""

    async def main() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        beside = asyncio.create_task(others())
        for _ in range(100):
            await echo.ask(None)
        assert turns >= 99  # the first begins the task
        beside.cancel()

    run(main())


def test_the_task_goes_on_in_its_own_context(echo: Echo) -> None:
    """The wake-up comes from another task's reader: variables and the current task are those of the one that waits."""
    variable: ContextVar[int] = ContextVar("variable")

    async def ask(number: int) -> None:
        variable.set(number)
        for _ in range(20):
            await echo.ask(None)
            assert number == variable.get()
            assert asyncio.current_task() in tasks

    async def main() -> None:
        tasks.extend(asyncio.create_task(ask(number)) for number in range(20))
        await asyncio.gather(*tasks)

    tasks: list[asyncio.Task[None]] = []
    run(main())


def test_a_task_that_ends_the_program_takes_no_answer_along(echo: Echo) -> None:
    """SystemExit leaves the loop from the middle of a bunch; whoever is behind it is woken when the loop goes on."""
    got: list[int] = []

    async def ask(number: int) -> None:
        await echo.ask(None)
        if number == 0:
            raise SystemExit
        got.append(number)

    async def main() -> None:
        echo.let.clear()
        tasks.extend(asyncio.create_task(ask(number)) for number in range(5))
        await asyncio.sleep(0.02)
        echo.let.set()
        await asyncio.wait(tasks[1:])

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    with pytest.raises(SystemExit):
        loop.run_until_complete(task)
    loop.run_until_complete(task)
    assert [1, 2, 3, 4] == got
    assert isinstance(tasks[0].exception(), SystemExit)
    loop.close()


def test_an_answer_for_a_closed_loop(echo: Echo, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The thread hears that nobody is there, and goes on."""
    loop = new_loop()

    async def main() -> Reply[Any]:
        return Reply()

    reply = loop.run_until_complete(main())
    loop.close()
    assert not reply.answer(1, None)
    mailbox_of_closed = LoopMailbox(loop)
    mailbox_of_closed.post(list)

    async def again() -> None:
        assert 2 == await echo.ask(2)

    run(again())


@pytest.mark.skipif(sys.platform == "win32", reason="SKIPPED: its loops have none")
def test_a_mailbox_ends_with_its_loop() -> None:
    """One for each loop, made when it is needed first; a closed loop takes it along, without waiting for the cycles."""
    held: list[weakref.ref[Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        box = mailbox(loop)
        assert isinstance(box, BellMailbox)
        assert box is mailbox(loop)
        held.extend((weakref.ref(box), weakref.ref(loop)))

    gc.collect()
    gc.disable()
    try:
        run(main())
        assert [None, None] == [each() for each in held]
    finally:
        gc.enable()


def _let_go(held: list[Any]) -> None:
    held.clear()
    gc.collect()


def test_a_loop_that_is_forgotten_open_is_garbage() -> None:
    """The mailbox does not keep it."""

    async def main() -> None:
        mailbox(asyncio.get_running_loop())

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    held = weakref.ref(loop)
    watched = [loop]
    del loop
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        _let_go(watched)
    assert held() is None


class Interrupted:
    """``os`` for a module, that behaves as if a signal's handler raised after the n-th call from the main thread."""

    def __init__(self, name: str, after: int) -> None:
        self._name = name
        self._after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name != self._name:
            return real

        def call(*args: Any) -> Any:
            answer = real(*args)
            if threading.current_thread() is threading.main_thread():
                self._after -= 1
                if self._after == 0:
                    raise KeyboardInterrupt
            return answer

        return call


@pytest.mark.parametrize("function", ["read", "write"])
@pytest.mark.parametrize("module", ["_threads.bell", "_neural.workers"])
def test_an_interrupt_costs_one_call(module: str, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is used again, as in a notebook, hears of the next answers, and no place and no turn is lost."""
    monkeypatch.setattr(f"switchgear.services.{module}.os", Interrupted(function, 1))
    neural = NeuralCircuitBreaker("m", slow_echo, registry=CircuitBreakerRegistry(), max_concurrent=1)
    loop = asyncio.new_event_loop()
    try:
        answers = [predicted(loop, neural) for _ in range(5)]
        loop.run_until_complete(neural.aclose())
    finally:
        loop.close()
    assert answers.count([2.0]) >= 4
    assert [2.0] == answers[-1]


def test_an_interrupt_before_there_is_a_thread_leaves_room_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that never was is not counted: the next call gets one."""
    neural = NeuralCircuitBreaker("m", slow_echo, registry=CircuitBreakerRegistry(), max_concurrent=1)
    loop = asyncio.new_event_loop()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupt)
            assert predicted(loop, neural) is None
        assert [2.0] == predicted(loop, neural)
        loop.run_until_complete(neural.aclose())
    finally:
        loop.close()


def interrupt(thread: threading.Thread) -> None:
    raise KeyboardInterrupt


def predicted(loop: asyncio.AbstractEventLoop, neural: NeuralCircuitBreaker) -> Any:
    async def predict() -> list[float]:
        # An interrupted call's thread may still be at it.
        while True:
            try:
                return await neural.predict([2.0])
            except BulkheadFullError:
                await asyncio.sleep(0.001)

    try:
        return loop.run_until_complete(predict())
    except KeyboardInterrupt:
        return None


def slow_echo(vector: list[float]) -> list[float]:
    time.sleep(0.005)  # so that the answer finds somebody waiting
    return vector


@pytest.mark.skipif(sys.platform == "win32", reason="no limit to set on Windows")
def test_a_process_without_files_to_spare_answers_all_the_same() -> None:
    """A loop that gets no pipe is woken in the way that needs none."""
    import resource

    neural = NeuralCircuitBreaker("m", slow_echo, registry=CircuitBreakerRegistry())
    run(neural.predict([1.0]))  # its thread is there

    async def main() -> list[float]:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            return await asyncio.wait_for(neural.predict([2.0]), 10)
        finally:
            for each in taken:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            await neural.aclose()

    assert [2.0] == run(main())


def test_a_second_cancellation_wakes_the_task_once(echo: Echo) -> None:
    """A signal's handler may cancel in the middle of the first cancellation."""

    async def main() -> None:
        echo.let.clear()
        reply = echo.ask(1)
        task = asyncio.ensure_future(_await(reply))
        await asyncio.sleep(0)
        real = type(reply)._leave
        reply_class = type("Twice", (Reply,), {"__slots__": (), "_leave": lambda self: (self.cancel(), real(self))})
        reply.__class__ = reply_class
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        echo.let.set()

    run(main())


def test_a_loop_keeps_no_context_of_its_first_caller(echo: Echo) -> None:
    """What a request carries is gone with the request, though its loop lives on."""

    class Request:
        pass

    variable: ContextVar[Request] = ContextVar("variable")

    async def ask() -> weakref.ref[Request]:
        request = Request()
        variable.set(request)
        echo.let.clear()
        reply = echo.ask(1)
        asyncio.get_running_loop().call_later(0.01, echo.let.set)
        await reply
        return weakref.ref(request)

    async def main() -> None:
        gone = await asyncio.create_task(ask())
        for _ in range(3):
            await asyncio.sleep(0)  # the task's own turn is over then
        gc.collect()
        assert gone() is None

    run(main())


async def _await(reply: Reply[Any]) -> Any:
    return await reply
