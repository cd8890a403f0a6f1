"""A Simulation: channels, servers and a virtual loop, for one run. `duplexmock.simulate()` makes one.

    with duplexmock.simulate() as sim:
        add_ChatServiceServicer_to_server(Chat(), sim.aio_server())
        heard = sim.run(client(sim.aio_channel()))

Nothing in it knows the machine's clock, sockets or threads: the same program with the same schedule does the same, in
any process. A program is deterministic if it asks nothing else of the machine: `time.time()`, `random`, `id()` and the
order of a set of strings are its own.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import grpc

from duplexmock.core.events import Side
from duplexmock.core.schedule import Schedule
from duplexmock.core.session import Session
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.sim.bounds import Bounds
from duplexmock.sim.channel import Dialer, SimChannel
from duplexmock.sim.deadlock import waiting_line
from duplexmock.sim.engine import Chooser, Engine
from duplexmock.sim.lanes import CONNECTION
from duplexmock.sim.log import Entries, sessions
from duplexmock.sim.loop import VirtualLoop
from duplexmock.sim.server import Coroutines, SimServer
from duplexmock.sim.stream import SimStream, Troupe, VirtualClock
from duplexmock.sim.sync_channel import SyncChannel
from duplexmock.sim.sync_server import SyncServer
from duplexmock.sim.turns import SimThread, Turns

T = TypeVar("T")


class Leaks(Enum):
    """What is done at a simulation's end where tasks or timers are left."""

    WARN = "warn"
    FAIL = "fail"
    ALLOW = "allow"


class LeakWarning(UserWarning):
    """Tasks or timers were left at the end of a simulation."""


class Simulation:
    """One run. A context manager; leaving it lets what is under way arrive, and says what is left."""

    def __init__(self, bounds: Bounds, schedule: Schedule, choose: Chooser | None, leaks: Leaks) -> None:
        self.engine = Engine(bounds, schedule, choose)
        self.turns = Turns(self.engine.loop)
        self._leaks = leaks
        self._has_failed = False
        self._left: tuple[str, ...] | None = None
        self._servers: dict[int, SimServer] = {}
        self._first: SimServer | Troupe | None = None
        self._next_port = _FIRST_PORT
        self._channels: list[SimChannel] = []

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        try:
            left: tuple[str, ...] = ()
            if kind is None and not self._has_failed:
                self.settle()
                left = self.left()
        finally:
            self.close()
        if left and self._leaks is not Leaks.ALLOW:
            text = "\n".join(("left at the end of the simulation:", *left))
            if self._leaks is Leaks.FAIL:
                raise MismatchError(text)
            warnings.warn(text, LeakWarning, stacklevel=2)

    # What programs are given

    def aio_channel(self, target: str = "", *, interceptors: Sequence[Any] = ()) -> Any:
        """Return a grpc.aio.Channel to the server at `target`, HOST:PORT as it was added there, or to the first one.

        It takes no options, credentials or compression: there is nothing that they would change.
        """
        channel = SimChannel(self._dialer(target), interceptors)
        self._channels.append(channel)
        return channel

    def aio_server(self, *, interceptors: Sequence[Any] = (), maximum_concurrent_rpcs: int | None = None) -> Any:
        """Return a grpc.aio.Server. Without a port it serves at once; with one, from its `start` on."""
        server = SimServer(self.engine, interceptors, maximum_concurrent_rpcs, self._bind, Coroutines())
        if self._first is None:
            self._first = server
        return server

    def channel(self, target: str = "") -> Any:
        """Return a grpc.Channel, for synchronous stubs, to the server at `target` or to the first one.

        The server may be of either kind. Interceptors are put around it by `grpc.intercept_channel`, as everywhere.
        """
        port = _port(target) if target else None
        return SyncChannel(Dialer(self.engine, lambda: self._find(port), target or "sim"), self.turns)

    def server(
        self,
        *,
        handlers: Sequence[grpc.GenericRpcHandler] = (),
        interceptors: Sequence[grpc.ServerInterceptor] = (),
        maximum_concurrent_rpcs: int | None = None,
    ) -> Any:
        """Return a grpc.Server, for synchronous servicers (sync_server.py).

        Without a port it serves at once. It takes no thread pool: each call's handler has a thread of its own, and they
        take turns (turns.py).
        """
        server = SyncServer(self.engine, self.turns, interceptors, maximum_concurrent_rpcs, self._bind)
        server.add_generic_rpc_handlers(handlers)
        if self._first is None:
            self._first = server.core
        return server

    def thread(self, function: Callable[..., Any], *args: Any) -> SimThread:
        """Start a thread of synchronous code that takes turns with all others; `join()` returns what it returns."""
        task = self.engine.loop.create_task(self.turns.run(partial(function, *args)), name=f"thread {function!r}")
        return SimThread(self.turns, task)

    def answer(self, answer: Callable[[SimStream], Awaitable[object]]) -> None:
        """Let one that plays be the server of channels without a target: `Play.answer`, for one."""
        self._first = Troupe(self.engine, answer)

    def stream(self, target: str = "") -> SimStream:
        """Return the client's end of a call that one that plays will open: `Play.perform` asks for such."""
        return SimStream(self.engine, Side.CLIENT, self._dialer(target))

    @property
    def clock(self) -> VirtualClock:
        """Return the clock that a Play goes by."""
        return VirtualClock(self.engine)

    # Running

    @property
    def loop(self) -> VirtualLoop:
        """Return the loop, on which all of it runs."""
        return self.engine.loop

    @property
    def now_s(self) -> float:
        """Return the virtual time, in seconds from the beginning."""
        return self.engine.loop.now_s

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and return what it returns.

        Deadlock (a MismatchError) where it can never come to its end, with who waits for what. ScriptError where
        another loop runs in this thread: an async test has a loop of its own, on which no time is virtual.
        """
        if (running := asyncio._get_running_loop()) is not None:
            main.close()
            raise ScriptError("sim.run was called in a coroutine; await it" + _ELSEWHERE * (running is not self.loop))
        try:
            result: T = self.engine.loop.run_until_complete(main)
        except BaseException:
            self._has_failed = True
            raise
        return result

    def settle(self, horizon_s: float = 60.0) -> None:
        """Let what is under way arrive, and timers of the next `horizon_s` virtual seconds go off."""
        self.engine.settle(horizon_s)

    def close(self) -> None:
        """Cancel what is left, and close the loop."""
        loop = self.engine.loop
        if loop.is_closed():
            return
        self._left = self.left()
        kept = self.engine.trace, self.engine.log
        self.engine.improvise()
        for _ in range(_CANCELS):
            tasks = loop.open_tasks()
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.engine.settle(0.0)
        self.turns.close()
        if loop._asyncgens:  # type: ignore[attr-defined]
            loop.run_until_complete(loop.shutdown_asyncgens())
        for task in loop.open_tasks():
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        self.engine.trace, self.engine.log = kept

    # What came of it

    @property
    def schedule(self) -> Schedule:
        """Return all choices so far: everything that is needed to repeat the run."""
        return Schedule(tuple(self.engine.trace))

    @property
    def log(self) -> Entries:
        """Return what was sent, delivered and read (log.py)."""
        return self.engine.log

    @property
    def handler_errors(self) -> Sequence[tuple[int, BaseException]]:
        """Return what handlers raised, and the numbers of their calls: no aborts, and no cancellations."""
        return self.engine.handler_errors

    def sessions(self, side: Side = Side.SERVER) -> tuple[Session, ...]:
        """Return the calls as one side saw them, in the order in which they were opened."""
        return sessions(self.engine.log, side, CONNECTION, "the simulation stops before the call's end")

    def left(self) -> tuple[str, ...]:
        """Return a line for each task that is not done, and each timer that has not gone off, now or at the end."""
        if self._left is not None:
            return self._left
        loop, lines = self.engine.loop, [*self.engine.lines.values()]
        tasks = [waiting_line(task, lines) for task in loop.open_tasks()]
        timers = [f"  a timer at {timer.when():g} s: {timer!r}" for timer in loop.open_timers() if _is_bare(timer)]
        return (*tasks, *timers)

    def _dialer(self, target: str) -> Dialer:
        port = _port(target) if target else None
        return Dialer(self.engine, lambda: self._find(port), target or "sim")

    def _find(self, port: int | None) -> SimServer | Troupe | None:
        return self._first if port is None else self._servers.get(port)

    def _bind(self, server: SimServer, address: str) -> int:
        port = _port(address)
        if port == 0:
            port = self._next_port
            self._next_port += 1
        if port in self._servers:
            raise RuntimeError(f"Failed to bind to address {address}; a server of this simulation has it")
        self._servers[port] = server
        return port


def simulate(
    schedule: Schedule | str = "",
    *,
    bounds: Bounds | None = None,
    choose: Chooser | None = None,
    leaks: Leaks = Leaks.WARN,
) -> Simulation:
    """Make a simulation of grpc.aio programs, in memory and in virtual time.

    It follows `schedule` to its end; from there on `choose` is asked (sim/engine.py says what), and without one what a
    real run would do is done. `bounds` says what may be chosen at all. ScriptError for a schedule that cannot be read;
    one that does not fit the program raises it while it runs.
    """
    followed = schedule if isinstance(schedule, Schedule) else Schedule.parse(schedule) if schedule else _EMPTY
    return Simulation(bounds or Bounds(), followed, choose, leaks)


def _port(address: str) -> int:
    """Return the number behind the last colon; of a unix path, and where there is none, one made of its letters."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and host != "unix":
        return int(port)
    return 65536 + int.from_bytes(address.encode(), "big")


def _is_bare(timer: asyncio.TimerHandle) -> bool:
    """Tell whether no task waits for a timer: it is not one of asyncio's own."""
    callback = getattr(timer, "_callback", None)
    module = getattr(callback, "__module__", "") or ""
    return not module.startswith("asyncio")


_ELSEWHERE = ", on the simulation's loop: this one's time is not virtual (make the test a plain function)"
_EMPTY = Schedule()
_FIRST_PORT = 50051
_CANCELS = 10
