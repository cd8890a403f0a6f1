"""The two lanes of a simulated call, and what gRPC's C core does at their ends.

A lane carries items, (kind of row, what), in parcels: what was said in one go arrives in one go (a unary request is one
parcel, and so are a first message and the ServerHeader before it). Of grpcio's core it has these habits, each seen in
grpcio 1.85 over loopback:

- one read and one write of a lane at a time: a second read ends at once as though at the end of the lane, and a second
  write fails, whatever became of the first. A read that was given up goes on in the core, and swallows a message.
- a write returns when it is under way, not when it has arrived; it waits where the window is full of unread messages.
- the status is known when all messages before it have been read; writes fail from the moment it has arrived.
- a call that is over by a cancel, a deadline or a reset forgets what had arrived and was not read.
"""

from __future__ import annotations

import types
from asyncio import Future
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from grpc._cython.cygrpc import EOF, ExecuteBatchError

from duplexmock.core.connection import Connection
from duplexmock.core.events import Side
from duplexmock.core.rows import RowKind
from duplexmock.core.schedule import Kind, Step
from duplexmock.core.status import Code
from duplexmock.sim.log import Point
from duplexmock.sim.parts import TrailerParts

if TYPE_CHECKING:
    from duplexmock.sim.engine import Engine

Item = tuple[int, Any]
Parcel = tuple[Item, ...]


class Lane:
    """One direction of a call: what is under way, what has arrived, and who waits at either end."""

    __slots__ = (
        "accept_step",
        "deliver_step",
        "engine",
        "has_ended",
        "held",
        "inbox",
        "is_closed",
        "is_dead",
        "is_direct",
        "is_prompt",
        "message_kind",
        "number",
        "reader",
        "sink",
        "taker",
        "unread",
        "unread_bytes",
        "writer",
    )

    def __init__(
        self, engine: Engine, number: int, message_kind: int, steps: tuple[Step, Step], sink: Callable[[int, Any], None]
    ) -> None:
        self.engine = engine
        self.number = number
        self.sink = sink
        self.message_kind = message_kind
        self.deliver_step, self.accept_step = steps
        self.inbox: deque[bytes] = deque()
        self.held: list[Parcel] | None = None
        """What waits for room, and all that was said behind it."""
        self.unread = 0
        self.unread_bytes = 0
        self.reader: Any = None
        """The future that a read waits for; _TURNING while one that has its message comes to its end."""
        self.writer: Future[None] | None = None
        self.is_closed = False
        """Nothing can be written any more."""
        self.has_ended = False
        """Nothing will arrive any more."""
        self.is_dead = False
        """What is still under way is of no interest to anybody."""
        self.is_direct = False
        """What is sent arrives at once, and no choice is made of it: one that plays is at the other end (stream.py)."""
        self.is_prompt = False
        """A write returns at once where there is room."""
        self.taker: Callable[[int, Any], None] | None = None
        """Takes messages as well as all else, in the place of `read`."""

    # The end that writes

    def write(self, payload: bytes, before: Parcel = ()) -> Awaitable[None]:
        """Send a message, and items before it in the same parcel; ExecuteBatchError where that cannot be."""
        if self.writer is not None:
            raise ExecuteBatchError(TWICE)
        if self.is_closed:
            return _refused()
        writer: Future[None] = Future(loop=self.engine.loop)
        self.writer = writer
        parcel = (*before, (self.message_kind, payload))
        if self._has_room(len(payload)):
            self._put_message(parcel, len(payload))
        else:
            self.held = [parcel]
        return writer

    def send(self, parcel: Parcel) -> None:
        """Send items that need no room, behind all that was sent before."""
        if self.held is not None:
            self.held.append(parcel)
        else:
            self._put(parcel)

    def close(self) -> None:
        """Let nothing more be written: a write that waits for room fails."""
        self.is_closed = True
        if self.held is not None:
            self.held = None
            self._fail()

    def kill(self) -> None:
        """Forget what is under way: there is nobody who would take it."""
        self.is_dead = True
        self.engine.forget(self.deliver_step)

    def refuse(self) -> None:
        """Let the write that has not returned fail."""
        self.engine.forget(self.accept_step)
        self._fail()

    def _fail(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None and not writer.done():
            writer.set_exception(ExecuteBatchError(CLOSED))

    def _has_room(self, size: int) -> bool:
        window = self.engine.bounds.window
        if window is not None and self.unread >= window:
            return False
        return self.unread_bytes + size <= WINDOW_BYTES or (not self.unread and self.reader is not None)

    def _put_message(self, parcel: Parcel, size: int) -> None:
        self.unread += 1
        self.unread_bytes += size
        if self.is_prompt:
            self._accepted(None)
        else:
            self.engine.put(self.accept_step, self._accepted, None)
        self._put(parcel)

    def _put(self, parcel: Parcel) -> None:
        engine = self.engine
        at_s, number = engine.loop.now_s, self.number
        for kind, what in parcel:
            engine.log.append((at_s, number, _SENT, kind, what))
        if self.is_direct:
            self._arrived(parcel)
        elif not self.is_dead:
            engine.put(self.deliver_step, self._arrived, parcel)

    def _accepted(self, _: None) -> None:
        writer, self.writer = self.writer, None
        if writer is not None and not writer.done():
            writer.set_result(None)

    # The end that reads

    def read(self) -> Awaitable[Any]:
        """Return the next message, or EOF at the end of the lane, or where another read has not come to its end."""
        if self.reader is not None:
            return _nothing()
        if self.inbox:
            return self._read_at_once()
        if self.has_ended:
            return _ended()
        reader: Future[Any] = Future(loop=self.engine.loop)
        self.reader = reader
        if self.held is not None:
            self._release()
        return reader

    async def _read_at_once(self) -> bytes:
        payload = self.inbox.popleft()
        self._was_read(payload)
        self.reader = _TURNING
        try:
            await turn()
        finally:
            self.reader = None
        return payload

    def end(self) -> None:
        """Say that nothing will arrive any more: a read that waits comes to its end."""
        self.has_ended = True
        reader = self.reader
        if reader is not None and reader is not _TURNING:
            self.reader = None
            if not reader.done():
                reader.set_result(EOF)

    def forget(self) -> None:
        """End, and forget what has arrived and was not read."""
        self.inbox.clear()
        self.end()

    def _arrived(self, parcel: Parcel) -> None:
        engine = self.engine
        at_s, number = engine.loop.now_s, self.number
        for kind, what in parcel:
            engine.log.append((at_s, number, _ARRIVED, kind, what))
            if self.taker is not None:
                self.taker(kind, what)
                continue
            if kind != self.message_kind:
                self.sink(kind, what)
                continue
            reader = self.reader
            if reader is None or reader is _TURNING:
                self.inbox.append(what)
                continue
            self.reader = None
            if reader.done():
                self._make_room(len(what))  # the read was given up, and swallows it
                continue
            self._was_read(what)
            reader.set_result(what)

    def was_taken(self, payload: bytes) -> None:
        """Count a message that a taker was given as read."""
        engine = self.engine
        engine.log.append((engine.loop.now_s, self.number, _READ, self.message_kind, payload))
        self._make_room(len(payload))

    def _was_read(self, payload: bytes) -> None:
        engine = self.engine
        engine.log.append((engine.loop.now_s, self.number, _READ, self.message_kind, payload))
        self._make_room(len(payload))
        if not self.inbox and self.has_ended:
            self.sink(ALL_READ, None)

    def _make_room(self, size: int) -> None:
        self.unread -= 1
        self.unread_bytes -= size
        if self.held is not None:
            self._release()

    def _release(self) -> None:
        """Send what waited for room, where there is some now."""
        held = self.held
        assert held is not None
        size = len(held[0][-1][1])
        if self._has_room(size):
            self.held = None
            self._put_message(held[0], size)
            for parcel in held[1:]:
                self._put(parcel)


class AtClient(Protocol):
    """The client's end of a call."""

    deadline_s: float | None

    def took(self, kind: int, what: Any) -> None:
        """Take what the server's lane has brought, or ALL_READ."""

    def done(self) -> bool:
        """Tell whether it knows how the call ends."""

    def cancel_by_owner(self) -> None:
        """Cancel the call, as its application would."""

    def deadline_is_up(self) -> None:
        """End the call by its deadline."""

    def fail(self, code: Code, text: str) -> None:
        """End the call by what the client's own core says of it."""

    def waits_for(self, future: Any) -> str | None:
        """Say what it is that completes a future; None where it is not of this end."""


class AtServer(Protocol):
    """The server's end of a call."""

    def took(self, kind: int, what: Any) -> None:
        """Take what the client's lane has brought."""

    def gone(self) -> None:
        """Take it that the client is gone."""

    def done(self) -> bool:
        """Tell whether its program has come to its end."""


class Line:
    """One call: its two lanes, and the ends at which they are read and written.

    An end is told of items by `took(kind, what)`, and of what befalls the call by the methods named below.
    """

    __slots__ = ("client", "client_lane", "engine", "method", "number", "refuse_step", "server", "server_lane")

    def __init__(self, engine: Engine, method: str, client: AtClient) -> None:
        self.engine = engine
        self.method = method
        self.client = client
        self.server: AtServer | None = None
        number = self.number = engine.calls = engine.calls + 1
        engine.lines[number] = self
        of_client, of_server, self.refuse_step = _steps(number)
        self.client_lane = Lane(engine, number, _CLIENT_MESSAGE, of_client, self._to_server)
        self.server_lane = Lane(engine, number, _SERVER_MESSAGE, of_server, client.took)

    def _to_server(self, kind: int, what: Any) -> None:
        if self.server is not None:
            self.server.took(kind, what)

    def ended(self) -> None:
        """Look, when one end has come to its end, whether that was the last one."""
        if self.client.done() and (self.server is None or self.server.done()):
            writer = self.client_lane.writer
            if writer is None:
                self._forget()
            else:  # it may still be refused
                writer.add_done_callback(self._forget)

    def _forget(self, _: object = None) -> None:
        self.engine.lines.pop(self.number, None)

    # The client's doing

    def give_up(self, code: int) -> None:
        """Let the client end the call by a reset: nothing arrives any more, and the server will hear of it."""
        client_lane, server_lane = self.client_lane, self.server_lane
        server_lane.kill()
        server_lane.forget()
        client_lane.close()
        if not client_lane.is_dead:
            client_lane.send(((_CANCEL, code),))

    # The server's doing

    def finish(self, parcel: Parcel) -> None:
        """Let the server end the call: what the client says from now on reaches nobody."""
        self.server_lane.send(parcel)
        self.server_lane.is_closed = True
        self.client_lane.kill()
        self.client_lane.end()

    # What befalls a call

    @property
    def is_open(self) -> bool:
        """Tell whether the client does not know how the call ends."""
        return not self.client.done()

    @property
    def can_refuse(self) -> bool:
        """Tell whether a write has not returned, of which the core knows that the call has ended."""
        return (self.client_lane.is_closed or self.server_lane.is_closed) and self.client_lane.writer is not None

    def refuse(self) -> None:
        """Let that write fail."""
        self.client_lane.refuse()

    def cancel(self) -> None:
        """Let the client cancel the call, as its application would."""
        self.client.cancel_by_owner()

    def deadline_is_up(self) -> None:
        """Let the deadline of the call be now."""
        self.client.deadline_is_up()

    def reset(self) -> None:
        """Let the network reset the stream: both ends learn of it, each in its time."""
        self.engine.forget(self.server_lane.deliver_step)
        self.server_lane.held = None
        self.server_lane.send(((_RESET, _RESET_CODE),))
        self.server_lane.close()
        self.client_lane.kill()
        if self.server is not None:
            self.server.gone()


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let all others that can run do so first, as a call into the core does."""
    yield


@lru_cache(maxsize=4096)
def _steps(number: int) -> tuple[tuple[Step, Step], tuple[Step, Step], Step]:
    """Return the steps of a call: a delivery and a write's return of each lane, and a write that fails."""
    client, server = Side.CLIENT, Side.SERVER
    return (
        (Step(Kind.DELIVER, number, client), Step(Kind.ACCEPT, number, client)),
        (Step(Kind.DELIVER, number, server), Step(Kind.ACCEPT, number, server)),
        Step(Kind.REFUSE, number, client),
    )


async def _refused() -> None:
    await turn()
    raise ExecuteBatchError(CLOSED)


async def _ended() -> Any:
    await turn()
    return EOF


async def _nothing() -> Any:
    return EOF


def trailers_only(code: int, message: str, metadata: tuple[Any, ...] = ()) -> Item:
    """Return the trailer of a call that has no ServerHeader."""
    return _TRAILER, TrailerParts(code, message, metadata, True)


WINDOW_BYTES = 65_535
"""HTTP/2's first window (RFC 9113 section 6.9.2). A larger message waits for a read, which makes room for it."""

CONNECTION = Connection(1, "sim:client", "sim:server", 0)
"""The connection of all simulated calls."""

ALL_READ = -1
"""The kind of what an end is told when the last message before the end has been read."""

TWICE = "Failed grpc_call_start_batch: 8 with grpc_call_error value: 'GRPC_CALL_ERROR_TOO_MANY_OPERATIONS'"
CLOSED = 'Failed "execute_batch": (SendMessageOperation,)'

_SENT, _ARRIVED, _READ = int(Point.SENT), int(Point.ARRIVED), int(Point.READ)
_CLIENT_MESSAGE, _SERVER_MESSAGE = int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)
_CANCEL, _RESET, _TRAILER = int(RowKind.CANCEL), int(RowKind.RESET), int(RowKind.SERVER_TRAILER)
_RESET_CODE = 2
_TURNING = object()
