"""Who waits for what: a deadlock is exact here, because nothing but the program can make it go on."""

from __future__ import annotations

import asyncio
import os
import sysconfig
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import grpc

from duplexmock.errors import MismatchError

if TYPE_CHECKING:
    from duplexmock.sim.lanes import Line
    from duplexmock.sim.loop import VirtualLoop
    from duplexmock.sim.task import SimTask


class Deadlock(MismatchError):
    """Nothing is under way, no timer is set, and every task waits; `waiting` has a line for each."""

    def __init__(self, waiting: Sequence[str]) -> None:
        self.waiting = tuple(waiting)
        super().__init__("\n".join(("deadlock: nothing is under way, and every task waits", *waiting)))


def waiting_lines(loop: VirtualLoop, lines: Sequence[Line]) -> list[str]:
    """Return a line for each task that is not done: its name, what it waits for, and at which line of the user's code.

    Tasks that grpcio makes for itself are left out: what those wait for is said where the user's code waits for them.
    """
    tasks = loop.open_tasks()
    of_user = [task for task in tasks if not _is_grpcios(task)]
    return [waiting_line(task, lines) for task in of_user or tasks]


def waiting_line(task: SimTask, lines: Sequence[Line]) -> str:
    """Say what a task waits for, and where."""
    frames = [*reversed(list(_callers(task.caller))), *_frames(task.get_coro())]
    of_user = [frame for frame in frames if not is_library(frame)]
    where = f"   at {place(of_user[-1])}" if of_user else ""
    return f"  {task.get_name()} waits for {_what(_awaited(task), lines, frames)}{where}"


def _awaited(task: asyncio.Task[Any]) -> Any:
    """Return the future that a task waits for, through tasks of grpcio's."""
    future = getattr(task, "_fut_waiter", None)
    while isinstance(future, asyncio.Task) and _is_grpcios(future):
        future = getattr(future, "_fut_waiter", None)
    return future


def _is_grpcios(task: asyncio.Task[Any]) -> bool:
    frame = next(_frames(task.get_coro()), None)
    return frame is not None and frame.f_code.co_filename.startswith(_GRPCIO)


def _what(future: Any, lines: Sequence[Line], frames: Sequence[FrameType]) -> str:
    for line in lines:
        of_call = f"of call {line.number} ({line.method})"
        if future is None:
            break
        if future is line.server_lane.reader:
            return f"the server's next event {of_call}"
        if future is line.client_lane.reader:
            return f"the client's next event {of_call}"
        if future is line.server_lane.writer:
            return f"room for its write to the client {of_call}"
        if future is line.client_lane.writer:
            return f"room for its write to the server {of_call}"
        if (what := line.client.waits_for(future)) is not None:
            return f"{what} {of_call}"
    if isinstance(future, asyncio.Task):
        return f"the end of {future.get_name()}"
    inner = frames[-1] if frames else None
    if inner is not None and is_library(inner):
        return getattr(inner.f_code, "co_qualname", inner.f_code.co_name)
    return "a future that nobody has completed"


def _frames(coro: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine that waits, the outermost first."""
    seen = 0
    while coro is not None and seen < _DEEPEST:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "ag_frame", None) or getattr(coro, "gi_frame", None)
        if isinstance(frame, FrameType):
            yield frame
        coro = getattr(coro, "cr_await", None) or getattr(coro, "ag_await", None) or getattr(coro, "gi_yieldfrom", None)
        seen += 1


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of a thread that waits, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_library(frame: FrameType) -> bool:
    """Tell whether a frame is of asyncio, grpcio or the simulation itself."""
    path = frame.f_code.co_filename
    return path.startswith(_LIBRARIES) or path.startswith("<")


def place(frame: FrameType) -> str:
    """Return the file, the line and the function of a frame."""
    path = frame.f_code.co_filename
    near = os.path.relpath(path)
    shown = path if near.startswith("..") else near
    return f"{shown}:{frame.f_lineno} in {getattr(frame.f_code, 'co_qualname', frame.f_code.co_name)}"


_GRPCIO = os.path.dirname(grpc.__file__) + os.sep
_LIBRARIES = (
    os.path.join(sysconfig.get_paths()["stdlib"], "asyncio"),
    os.path.join(sysconfig.get_paths()["stdlib"], "contextlib"),
    os.path.join(sysconfig.get_paths()["stdlib"], "threading"),
    os.path.join(sysconfig.get_paths()["stdlib"], "queue"),
    _GRPCIO,
    os.path.dirname(__file__) + os.sep,
)
_DEEPEST = 100
