"""A loop on a thread of its own: what runs there, what it raises, and that nothing of it is left."""

import asyncio
import os
import threading

import pytest

from duplexmock.errors import ScriptError
from duplexmock.net.background import Background, check_may_block


@pytest.fixture
def background():
    made = Background("test-loop")
    yield made
    made.close()


async def name():
    return threading.current_thread().name


def test_a_coroutine_runs_there_and_its_value_comes_back(background):
    assert background.run(name()) == "test-loop"


def test_what_a_coroutine_raises_is_raised_here(background):
    async def fail():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        background.run(fail())
    assert background.run(name()) == "test-loop"


def test_start_does_not_wait(background):
    go = threading.Event()

    async def wait():
        await asyncio.to_thread(go.wait)
        return 7

    future = background.start(wait())
    assert not future.done()
    go.set()
    assert future.result() == 7


def test_what_is_started_can_be_awaited_on_another_loop(background):
    async def here():
        return await asyncio.wrap_future(background.start(name())), threading.current_thread().name

    assert asyncio.run(here()) == ("test-loop", threading.current_thread().name)


def test_close_cancels_what_still_runs_and_leaves_no_thread():
    before = threading.active_count()
    open_files = len(os.listdir("/proc/self/fd"))
    background = Background("test-loop")
    cancelled, waiting = threading.Event(), threading.Event()

    async def wait():
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cancelled.set()

    future = background.start(wait())
    waiting.wait()
    background.run(asyncio.to_thread(threading.get_ident))
    background.close()
    background.close()
    assert cancelled.is_set()
    assert future.cancelled()
    assert threading.active_count() == before
    assert len(os.listdir("/proc/self/fd")) <= open_files  # gRPC may be closing some of its own


def test_what_was_cancelled_before_the_close_ends_in_its_own_way(background):
    waiting, ended = threading.Event(), threading.Event()

    async def tidy():
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(threading.get_ident)
            ended.set()

    future = background.start(tidy())
    waiting.wait()
    future.cancel()
    background.close()
    assert ended.is_set()


def test_an_interrupt_here_cancels_what_runs_there(background):
    began, ended = threading.Event(), threading.Event()

    async def wait():
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    class Interrupted(BaseException):
        pass

    class Future:
        def __init__(self, real):
            self._real = real

        def result(self):
            began.wait()
            raise Interrupted

        def cancel(self):
            self._real.cancel()

    start = background.start
    background.start = lambda coroutine: Future(start(coroutine))
    with pytest.raises(Interrupted):
        background.run(wait())
    assert ended.wait(10)


def test_its_thread_does_not_keep_the_process_alive(background):
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "test-loop")


def test_what_blocks_is_refused_where_a_loop_runs(background):
    async def here():
        check_may_block("play", "play_async(...)")

    check_may_block("play", "play_async(...)")
    for run in (asyncio.run, background.run):
        with pytest.raises(ScriptError) as caught:
            run(here())
        assert str(caught.value) == (
            "play would block the event loop that runs here, and a server on it could never answer; "
            "there, await play_async(...)"
        )


def test_close_does_not_wait_for_ever_for_what_does_not_let_itself_be_cancelled(monkeypatch):
    monkeypatch.setattr("duplexmock.net.background.LAST_S", 0.01)
    was_cancelled = threading.Event()

    async def stubborn():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                was_cancelled.set()

    background = Background("test-loop")
    future = background.start(stubborn())
    background.run(name())
    background.close()
    assert was_cancelled.is_set()
    assert not future.done()
    assert "test-loop" not in [thread.name for thread in threading.enumerate()]
