"""Threads that take turns: synchronous code in a simulation, one thread at a time, handed over like a baton.

A thread runs until it has to wait for something of the simulation. Then it hands the baton to the loop, with what it
waits for as an awaitable, and sleeps until the loop hands it back with the result. The loop in turn sleeps while the
thread runs. So nothing ever runs beside anything else, and the same choices lead to the same run.

The thread that holds the simulation, a test's own, has no loop to hand the baton to: where it waits, it runs the loop
itself until it can go on. A thread only gives way inside of the channel, the server and their calls. Whatever else
blocks, `time.sleep`, a lock or a queue, blocks all of it, in real time; after BLOCKED_S that is an error.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from types import FrameType
from typing import Any

from duplexmock.errors import ScriptError
from duplexmock.sim.deadlock import is_library, place
from duplexmock.sim.loop import VirtualLoop
from duplexmock.sim.task import SimTask


class Blocked(Exception):
    """A thread does not give way."""


class Turns:
    """All threads of one simulation."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._owner = threading.get_ident()
        self._workers: dict[int, Worker] = {}
        self._idle: list[Worker] = []

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Block the calling thread until the awaitable has come to its end; return or raise what it does.

        ScriptError in a thread that the simulation does not know, and in a coroutine, which would block its own loop.
        """
        caller = sys._getframe(1)
        ident = threading.get_ident()
        worker = self._workers.get(ident)
        if worker is not None and worker.has_baton:
            return worker.wait(awaitable, caller)
        if ident != self._owner:
            _drop(awaitable)
            raise ScriptError(
                "a thread that the simulation did not start waits for one of its calls; start it by sim.thread()"
            )
        if self._loop.is_running():
            _drop(awaitable)
            raise ScriptError(
                "a synchronous call in a coroutine blocks the loop that it waits for; use sim.aio_channel() there"
            )
        task = self._loop.create_task(_awaited(awaitable), name="the main thread")
        task.caller = caller
        return self._loop.run_until_complete(task)

    async def run(self, function: Callable[[], Any], context: Context | None = None) -> Any:
        """Run a function in a thread of its own, in turns with all others; return or raise what it does."""
        task = asyncio.current_task()
        assert isinstance(task, SimTask)
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = Worker()
            self._workers[worker.ident] = worker
        run = (context or copy_context()).run
        try:
            return await self._take_turns(worker, task, lambda: run(function))
        except Blocked as blocked:
            self._loop.failure = ScriptError(str(blocked))
            task.add_done_callback(_retrieved)
            raise

    async def _take_turns(self, worker: Worker, task: SimTask, function: Callable[[], Any]) -> Any:
        awaitable = worker.begin(function)
        while awaitable is not None:
            task.caller = worker.caller
            try:
                result = await awaitable
            except BaseException as error:
                awaitable = worker.go_on(None, error)
            else:
                awaitable = worker.go_on(result, None)
        task.caller = None
        self._idle.append(worker)
        return worker.outcome()

    def close(self) -> None:
        """End the threads that are idle; those that wait are ended by cancelling their tasks before."""
        for worker in self._idle:
            worker.end()
        self._idle.clear()


class Worker:
    """One thread, and the baton between it and the loop's thread: each waits for its own lock."""

    def __init__(self) -> None:
        self.has_baton = False
        self.caller: FrameType | None = None
        """Where it waits."""
        self._mine = threading.Lock()
        self._loops = threading.Lock()
        self._mine.acquire()
        self._loops.acquire()
        self._function: Callable[[], Any] | None = None
        self._wanted: Awaitable[Any] | None = None
        self._given: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="duplexmock-sim", daemon=True)
        self._thread.start()
        assert self._thread.ident is not None
        self.ident = self._thread.ident

    # In the loop's thread

    def begin(self, function: Callable[[], Any]) -> Awaitable[Any] | None:
        """Run a function until it waits; return what for, or None at its end."""
        self._function = function
        return self._hand_over()

    def go_on(self, given: Any, error: BaseException | None) -> Awaitable[Any] | None:
        """Give it what it waited for; return what it waits for next, or None at its end."""
        self._given, self._error = given, error
        return self._hand_over()

    def outcome(self) -> Any:
        """Return or raise what the function did."""
        given, error = self._given, self._error
        self._given = self._error = None
        if error is not None:
            raise error
        return given

    def end(self) -> None:
        """Let the thread end, which is idle."""
        self._function = None
        self._mine.release()
        self._thread.join()

    def _hand_over(self) -> Awaitable[Any] | None:
        self.has_baton = True
        self._mine.release()
        if not self._loops.acquire(timeout=BLOCKED_S):
            raise Blocked(f"a thread of the simulation blocks, {self._where()}; {_BLOCKED}")
        self.has_baton = False
        return self._wanted

    def _where(self) -> str:
        innermost = frame = sys._current_frames().get(self.ident)
        while frame is not None and is_library(frame):
            frame = frame.f_back
        frame = frame or innermost
        return "nowhere" if frame is None else f"at {place(frame)}"

    # In the thread

    def wait(self, awaitable: Awaitable[Any], caller: FrameType) -> Any:
        """Hand the baton over, and take it again with what was waited for."""
        self._wanted, self.caller = awaitable, caller
        self._loops.release()
        self._mine.acquire()
        self.caller = None
        return self.outcome()

    def _work(self) -> None:
        while True:
            self._mine.acquire()
            function = self._function
            if function is None:
                return
            try:
                self._given, self._error = function(), None
            except BaseException as error:  # whatever it is, it is raised where the function was asked for
                self._given, self._error = None, error
            self._function = self._wanted = function = None
            self._loops.release()


class SimThread:
    """A thread of a simulation, which `sim.thread(function)` has started."""

    def __init__(self, turns: Turns, task: SimTask) -> None:
        self._turns = turns
        self._task = task

    def join(self) -> Any:
        """Wait for its end, and return or raise what its function did."""
        return self._turns.wait(self._task)


BLOCKED_S = 10.0
"""Real seconds after which a thread that has not given way is taken for one that never will."""

_BLOCKED = (
    f"it has not given way for {BLOCKED_S:g} s: locks, queues and time.sleep stop everything else, and nothing is left "
    "that could wake it; wait by the channel and its calls only"
)


def _retrieved(task: Any) -> None:
    """Let asyncio not complain of an error that is raised elsewhere."""
    if not task.cancelled():
        task.exception()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _drop(awaitable: Awaitable[Any]) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
