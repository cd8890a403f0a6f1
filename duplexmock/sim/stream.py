"""The live end of a simulated call, for one that plays: play/stream.Stream, in either seat, and the clock with it.

    server seat   a Troupe stands where a server does, and gives each call that comes in to `Play.answer`
    client seat   `opener` opens streams to a server of the simulation, for `Play.perform`

One that plays has no program of its own that an order could surprise. So what its peer sends arrives at once, and its
own writes return at once; what is left to be chosen is the other end: when our events are delivered to it, and when its
writes return.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from grpc._cython.cygrpc import ExecuteBatchError

from duplexmock.core.connection import Connection
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import Code, ErrorCode
from duplexmock.schema.payload import encoding, plain
from duplexmock.sim.lanes import CONNECTION, Lane, Line
from duplexmock.sim.log import event
from duplexmock.sim.parts import HeaderParts, Pairs, header_parts, said, trailer_parts

if TYPE_CHECKING:
    from duplexmock.sim.channel import Dialer
    from duplexmock.sim.engine import Engine


class VirtualClock:
    """Tells the virtual time."""

    def __init__(self, engine: Engine) -> None:
        self._loop = engine.loop

    def now_ns(self) -> int:
        """Return nanoseconds from the simulation's beginning."""
        return round(self._loop.now_s * 1e9)


class SimStream:
    """A Stream. It is an end of its call's Line as well, of the seat that plays."""

    def __init__(self, engine: Engine, side: Side, dialer: Dialer | None = None) -> None:
        self.deadline_s: float | None = None
        self.lost: str | None = None
        self.is_refused = False
        self.line: Line
        self._engine = engine
        self._side = side
        self._dialer = dialer
        self._rows: list[Row] = []
        self._waiting: Future[None] | None = None
        self._is_woken = False
        self._is_opened = self._is_over = False
        self._encoding = ""
        self._has_header = False
        self._lane_in: Lane
        self._lane_out: Lane

    def joins(self, line: Line) -> None:
        """Take the seat at one end of a call."""
        self.line = line
        self._is_opened = True
        lanes = line.client_lane, line.server_lane
        self._lane_in, self._lane_out = lanes if self._side is Side.SERVER else reversed(lanes)
        self._lane_in.is_direct = self._lane_out.is_prompt = True
        self._lane_in.taker = self.took

    # What a Play asks

    @property
    def connection(self) -> Connection:
        """Return the one connection that there is."""
        return CONNECTION

    @property
    def stream_id(self) -> int:
        """Return the stream that a client would have taken."""
        return 2 * self.line.number - 1 if self._is_opened else 0

    async def send(self, events: Sequence[Any]) -> None:
        """Say these, in their order; what cannot be said any more is dropped. A message waits for room."""
        for each in events:
            if self._is_over:
                return
            match each:
                case ClientMessage(payload, flags):
                    await self._write(plain(payload, flags, self._encoding))
                case ServerMessage(payload, flags):
                    if not self._has_header:
                        self._header(())
                    await self._write(plain(payload, flags, self._encoding))
                case ClientHeader():
                    self._encoding = encoding(each.metadata)
                    self._open(each)
                case ServerHeader():
                    self._encoding = encoding(each.metadata)
                    self._header(said(each.metadata))
                case ClientHalfClose():
                    self._lane_out.send(((int(RowKind.CLIENT_HALF_CLOSE), None),))
                case Cancel(code):
                    self._is_over = True
                    self.line.give_up(code)
                case ServerTrailer():
                    self._is_over = True
                    self.line.finish(((int(RowKind.SERVER_TRAILER), trailer_parts(each)),))
                case Reset(code):
                    self._is_over = True
                    self.line.finish(((int(RowKind.RESET), code),))
                case _:
                    raise TypeError(f"{each!r} is not said on a call")

    async def do(self, what: Loss | Parting) -> None:
        """Lose the connection: the peer learns of it. A GOAWAY is said to nobody: no later call goes by it."""
        if isinstance(what, Loss):
            self._is_over = True
            if self._side is Side.SERVER:
                self.line.client.fail(Code.UNAVAILABLE, "Socket closed")
            elif self.line.server is not None:
                self.line.server.gone()

    async def receive(self, until_ns: int) -> Sequence[Row]:
        """Return what has come, as soon as something has; or an empty run, at this time, or when woken."""
        loop = self._engine.loop
        if not self._rows and not self._is_woken and self.lost is None and until_ns > loop.now_s * 1e9:
            waiting = self._waiting = loop.create_future()
            timer = loop.call_at(until_ns / 1e9, self._let_go)
            try:
                await waiting
            finally:
                timer.cancel()
                self._waiting = None
        self._is_woken = False
        rows, self._rows = self._rows, []
        for row in rows:
            if row[0] in _MESSAGES:
                self._lane_in.was_taken(row[3])
        return rows

    def wake(self) -> None:
        """Let `receive` return."""
        self._is_woken = True
        self._let_go()

    def close(self) -> None:
        """Give up what is open of the call."""
        if not self._is_over and self._is_opened:
            self._is_over = True
            if self._side is Side.CLIENT:
                self.line.give_up(ErrorCode.CANCEL)
            else:
                self.line.finish(((int(RowKind.RESET), int(ErrorCode.CANCEL)),))

    # What the line tells

    def took(self, kind: int, what: Any) -> None:
        """Take what has arrived, or that all was read."""
        number = self.line.number
        if kind in _MESSAGES:
            self._rows.append((kind, number, 0, what))
        elif kind == RowKind.CLIENT_HEADER:
            assert isinstance(what, HeaderParts)
            self._rows.append((kind, number, event(kind, what), CONNECTION.number, self.stream_id))
        elif kind >= 0:
            self._rows.append((kind, number, event(kind, what)))
            if kind in _LAST:
                self.is_refused = kind == RowKind.RESET and what == ErrorCode.REFUSED_STREAM
                self._is_over = True
                self._lane_out.close()
        self._let_go()

    def done(self) -> bool:
        """Tell whether the call has ended."""
        return self._is_over

    def deadline_is_up(self) -> None:
        """Cancel, as a deadline does."""
        self.cancel_by_owner()

    def cancel_by_owner(self) -> None:
        """Cancel the call from outside of the play."""
        if not self._is_over:
            self._is_over = True
            self.line.give_up(ErrorCode.CANCEL)

    def fail(self, code: Code, text: str) -> None:
        """Take the loss of the connection."""
        self._lose(text)

    def gone(self) -> None:
        """Take the loss of the connection, as a server."""
        self._lose("the connection was lost")

    def waits_for(self, future: Any) -> str | None:
        """Say what a future stands for, for a deadlock's lines."""
        return "what its peer says" if future is self._waiting else None

    def _lose(self, text: str) -> None:
        self._is_over = True
        self.lost = text
        self._let_go()

    def _open(self, header: ClientHeader) -> None:
        parts = header_parts(header)
        assert self._dialer is not None
        if parts.timeout_s is not None:
            self.deadline_s = self._engine.loop.now_s + parts.timeout_s
        self.joins(Line(self._engine, parts.method, self))
        if not self._dialer.is_ready(self.line):
            self._lose(self._dialer.refusal)
            return
        self.line.client_lane.send(((int(RowKind.CLIENT_HEADER), parts),))

    def _header(self, pairs: Pairs) -> None:
        self._has_header = True
        self._lane_out.send(((int(RowKind.SERVER_HEADER), pairs),))

    async def _write(self, payload: bytes) -> None:
        """Write a message; one that cannot be said any more is dropped."""
        lane = self._lane_out
        if not lane.is_closed:
            with suppress(ExecuteBatchError):
                await lane.write(payload)

    def _let_go(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Troupe:
    """Stands where a server does, and plays it: `answer` is given each call that comes in, on a task of its own."""

    is_serving = True

    def __init__(self, engine: Engine, answer: Callable[[SimStream], Awaitable[object]]) -> None:
        self._engine = engine
        self._answer = answer

    def accept(self, line: Line) -> None:
        """Take a call."""
        stream = SimStream(self._engine, Side.SERVER)
        line.server = stream
        stream.joins(line)
        self._engine.loop.create_task(self._play(stream), name=f"the server of call {line.number} ({line.method})")

    async def changed(self, client: Any) -> None:
        """Never returns: it serves from the beginning to the end."""
        await self._engine.loop.create_future()

    async def _play(self, stream: SimStream) -> None:
        await self._answer(stream)


_MESSAGES = (RowKind.CLIENT_MESSAGE, RowKind.SERVER_MESSAGE)
_LAST = (RowKind.CANCEL, RowKind.SERVER_TRAILER, RowKind.RESET)
