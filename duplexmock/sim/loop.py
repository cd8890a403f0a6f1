"""The virtual loop: an asyncio event loop that never waits. Its time moves when all tasks are waiting, and only then.

`run_until_complete` and all that stands on it work as in any loop. What can be run is run, in the order in which it
became ready, until nothing is left; then `idle` is called, which makes the next thing happen (engine.py), or raises.

What would reach outside of the program raises ScriptError with what to do instead: sockets, executors, subprocesses,
signal handlers, calls from other threads. Clocks of the machine (`time.time()`) can be read, and are not virtual.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any, NoReturn

from duplexmock.errors import ScriptError
from duplexmock.sim.task import SimTask


class Soon(asyncio.Handle):
    """What is to be called soon. It is made for each step of each task, and carries no more than that needs."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False

    def cancel(self) -> None:
        """Do not call it."""
        self._cancelled = True

    def __repr__(self) -> str:
        return f"<Soon {self._callback!r}{self._args!r}>"


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one simulation; `idle` makes the next thing happen whenever no task can go on."""

    def __init__(self, idle: Callable[[], None]) -> None:
        super().__init__()
        self.now_s = 0.0
        self.ready: deque[Any] = deque()
        self.timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self.tasks: list[SimTask] = []
        """Those that were made, less those that were found to be done (`open_tasks`)."""
        self.failure: BaseException | None = None
        """What is raised out of the loop when nothing is left to do: a thread that does not give way (turns.py)."""
        self._idle = idle
        self._counted = 0
        self._made = 0

    # What asyncio asks of a loop

    def time(self) -> float:
        """Return the virtual time, in seconds from the loop's making."""
        return self.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it when what is ready has been run."""
        handle = Soon(callback, args, copy_context() if context is None else context)
        self.ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it after so many virtual seconds."""
        return self.call_at(self.now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at this virtual time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._counted += 1
        heappush(self.timers, (when, self._counted, handle))
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it soon, where this is the loop's own thread; ScriptError from any other."""
        runner = getattr(self, "_thread_id", None)
        if runner is not None and runner != threading.get_ident():
            _refuse("call_soon_threadsafe from another thread", "a coroutine on the loop: threads have no virtual time")
        return self.call_soon(callback, *args, context=context)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> SimTask:
        """Make a task of a coroutine, with the next number."""
        self._made += 1
        task = SimTask(coro, self, self._made, name, context)
        self.tasks.append(task)
        if self._made % _SWEEP == 0:
            self.tasks = self.open_tasks()
        return task

    def _run_once(self) -> None:
        """Run what is ready until nothing is, and let the next thing happen; again and again, until the loop stops."""
        ready = self.ready
        while True:
            left = SPIN
            while ready:
                handle = ready.popleft()
                if handle._cancelled:
                    continue
                try:
                    handle._context.run(handle._callback, *handle._args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as exc:
                    self._failed(handle, exc)
                if self._stopping:  # type: ignore[attr-defined]
                    return
                left -= 1
                if not left:
                    break
            self._idle()

    def _failed(self, handle: Any, exc: BaseException) -> None:
        self.call_exception_handler({"message": f"Exception in callback {handle!r}", "exception": exc})

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing is to be done: a cancelled timer is passed over when its time comes."""

    # What the engine asks of it

    def next_timer(self) -> asyncio.TimerHandle | None:
        """Return the earliest timer, of those that have not been cancelled."""
        timers = self.timers
        while timers:
            handle = timers[0][2]
            if not handle._cancelled:
                return handle
            heappop(timers)
        return None

    def fire(self) -> None:
        """Let the time be that of the earliest timer, and let that go off."""
        when, _, handle = heappop(self.timers)
        self.now_s = max(self.now_s, when)
        self.ready.append(handle)

    def open_tasks(self) -> list[SimTask]:
        """Return the tasks that are not done, in the order of their making."""
        return [task for task in self.tasks if not task.done()]

    def open_timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that have not gone off, in the order of their times."""
        return [handle for _, _, handle in sorted(self.timers, key=lambda timer: timer[:2]) if not handle.cancelled()]

    def close(self) -> None:
        """Close the loop; what is ready is forgotten."""
        self.ready.clear()
        self.timers.clear()
        super().close()


def _refuse(what: str, instead: str) -> NoReturn:
    raise ScriptError(f"{what} reaches outside of the simulation, where time is not virtual; {instead}")


def _refusal(name: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualLoop, *args: object, **options: object) -> NoReturn:
        _refuse(name, instead)

    return refuse


SPIN = 20_000
"""After so many steps the next thing happens although tasks are ready: one that polls with sleep(0) is never done."""

_SWEEP = 64

_DIAL = "use sim.aio_channel() and sim.aio_server(), and a stand-in for what is no gRPC"
_PROCESS = "use a stand-in for what the process does"
_CALL = "call what the handler would have called"
_THREAD = "call the function itself, or make it a coroutine"

_OUTSIDE = {
    "run_in_executor": _THREAD,
    "set_default_executor": _THREAD,
    "add_signal_handler": _CALL,
    "remove_signal_handler": _CALL,
    "subprocess_exec": _PROCESS,
    "subprocess_shell": _PROCESS,
    "connect_read_pipe": _PROCESS,
    "connect_write_pipe": _PROCESS,
    "getaddrinfo": _DIAL,
    "getnameinfo": _DIAL,
    "create_connection": _DIAL,
    "create_datagram_endpoint": _DIAL,
    "create_server": _DIAL,
    "create_unix_connection": _DIAL,
    "create_unix_server": _DIAL,
    "connect_accepted_socket": _DIAL,
    "start_tls": _DIAL,
    "sendfile": _DIAL,
    "add_reader": _DIAL,
    "remove_reader": _DIAL,
    "add_writer": _DIAL,
    "remove_writer": _DIAL,
    "sock_recv": _DIAL,
    "sock_recv_into": _DIAL,
    "sock_recvfrom": _DIAL,
    "sock_recvfrom_into": _DIAL,
    "sock_sendall": _DIAL,
    "sock_sendto": _DIAL,
    "sock_sendfile": _DIAL,
    "sock_connect": _DIAL,
    "sock_accept": _DIAL,
}
"""What of a loop reaches outside, and what to do instead."""

for _name, _instead in _OUTSIDE.items():
    setattr(VirtualLoop, _name, _refusal(_name, _instead))
