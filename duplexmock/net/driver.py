"""A driver: one connection of ours, an endpoint (wire/endpoint.py) behind a socket, and the live ends of its calls.

Bytes are read into the endpoint and the rows it gives are put before whoever plays the call; what is said on all calls
in one turn of the loop goes out in one write. While the socket does not take what we write, it is read all the same:
two ends that both wait for the other to read would wait for ever, and Limits bound what a peer costs that only asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duplexmock.core.connection import Connection, GoAway, Settings, told
from duplexmock.core.events import ClientHeader, Reset, Side
from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import ErrorCode
from duplexmock.net.clock import MonotonicClock
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.happenings import Drained, Failed, GoAwayReceived, Happening, SettingsReceived
from duplexmock.wire.limits import Config

if TYPE_CHECKING:
    from duplexmock.core.acts import Wrong

MAX_UNSENT_BYTES = 256 * 1024
"""What may wait for the peer's windows on one call before who asks `drained` waits: some windows of gRPC's default."""

MAX_UNREAD_RUNS = 64
"""Reads of one call that may wait to be played; then the peer gets no more window on it."""

LINGER_S = 0.5
"""How long a client may be silent, behind our last byte, before its connection is closed without its closing it."""


class Driver(asyncio.Protocol):
    """One connection, in either role.

    `accept` is called with the live end of each call that comes in (the server's role); `over` when the connection is.
    """

    def __init__(
        self,
        role: Side,
        clock: MonotonicClock,
        number: int,
        *,
        config: Config | None = None,
        accept: Callable[[LiveStream], None] | None = None,
        over: Callable[[Driver], None] = lambda driver: None,
    ) -> None:
        self.endpoint = Endpoint(role, config)
        self.connection = Connection(number, "", "", 0)
        self.lost: str | None = None
        self.was_connected = False
        self.context = contextvars.copy_context()  # of the timers of all calls, which would make one each
        self._role = role
        self.clock = clock
        self._accept = accept
        self._over = over
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, LiveStream] = {}
        self._leaving: set[int] = set()
        self._has_left = asyncio.Event()
        self._has_left.set()
        self._gone = asyncio.Event()
        self._is_flushing = False
        self._is_full = False
        self._lingering: asyncio.TimerHandle | None = None

    @property
    def is_leaving(self) -> bool:
        """Tell whether no more calls can be opened here: the peer goes away, or the connection is lost."""
        return self.lost is not None or any(goaway.side is not self._role for goaway in self.connection.goaways)

    @property
    def is_idle(self) -> bool:
        """Tell whether there is no call on it."""
        return not self._streams

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.was_connected = True
        own, peer = (_name(transport.get_extra_info(key)) for key in ("sockname", "peername"))
        client, server = (own, peer) if self._role is Side.CLIENT else (peer, own)
        self.connection = replace(self.connection, client=client, server=server, opened_at_ns=self.clock.now_ns())
        self.flush()

    def data_received(self, chunk: bytes) -> None:
        """Read."""
        if self._lingering is not None:
            self._linger()
            return
        streams = self._streams
        groups: Sequence[tuple[int, Any]] = self.endpoint.receive(chunk)
        for stream_id, rows in groups:
            stream = streams.get(stream_id)
            if stream is not None:
                stream.deliver(rows)
            elif not stream_id:
                for happening in rows:
                    self._happened(happening)
            elif self._accept is not None and rows[0][0] == RowKind.CLIENT_HEADER:
                stream = streams[stream_id] = LiveStream(self, stream_id)
                stream.deliver(rows)
                self._accept(stream)
        self.flush()
        if self.endpoint.failed and self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The socket is full."""
        self._is_full = True

    def resume_writing(self) -> None:
        """The socket takes more."""
        self._is_full = False
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._transport = None
        if self._lingering is not None:
            self._lingering.cancel()
        if self.lost is None:
            failed = self.endpoint.failed
            self.lost = failed.reason if failed else "reset" if exc is not None else "closed"
        self._wake()
        self._has_left.set()
        self._gone.set()
        self._over(self)

    def flush(self) -> None:
        """Write what there is."""
        self._is_flushing = False
        if self._transport is None or self._is_full or self._lingering is not None:
            return
        if self.endpoint.wants_write:
            self._transport.write(self.endpoint.take())

    def flush_soon(self) -> None:
        """Write at the end of this turn of the loop, together with what is said on other calls."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self.flush)

    def opened(self, stream: LiveStream, header: ClientHeader) -> int:
        """Open a call; return its stream."""
        stream_id = self.endpoint.open(header)
        self._streams[stream_id] = stream
        return stream_id

    def forget(self, stream_id: int) -> None:
        """Give up a call that has been played, behind all that was said on it."""
        if self._streams.pop(stream_id, None) is None or self.lost is not None:
            return
        if not self.endpoint.is_open(stream_id):
            return
        if self.endpoint.unsent_bytes(stream_id):
            self._leaving.add(stream_id)
            self._has_left.clear()
        else:
            self._leave(stream_id)

    def fail(self, stream_id: int) -> None:
        """Reset a call that cannot be played, by our fault."""
        if self._streams.pop(stream_id, None) is not None and self.endpoint.is_open(stream_id):
            self.endpoint.reset(stream_id, ErrorCode.INTERNAL_ERROR)
            self.flush_soon()

    def refuse_all(self, reason: str) -> None:
        """Take no calls: the server cannot be reached."""
        self.lost = reason

    def part(self, code: int, debug: bytes, last_stream_id: int | None = None) -> None:
        """Say GOAWAY; calls above `last_stream_id` are not answered, None is the newest one."""
        last_stream_id = self.endpoint.goaway(code, debug, last_stream_id)
        self._note(GoAway(self.clock.now_ns(), self._role, last_stream_id, code, debug))
        self.flush_soon()

    def lose(self, by_reset: bool, reason: str = "as recorded") -> None:
        """Lose the connection, behind all that was written; `reason` is what `lost` says."""
        self.flush()
        self.lost = reason
        transport = self._transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if by_reset and sock.family != getattr(socket, "AF_UNIX", None) and not transport.get_write_buffer_size():
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()

    async def finished(self) -> None:
        """Wait until all that was said on calls that have been played is written, or the connection gone."""
        await self._has_left.wait()

    async def gone(self) -> None:
        """Wait until the connection is closed, behind all that was written."""
        await self._gone.wait()

    def close(self, reason: str = "the replay was ended") -> None:
        """Say goodbye and close; calls that are open are lost, for this reason."""
        if self._transport is not None:
            if self._role is Side.SERVER and not self.endpoint.failed:
                self.endpoint.goaway()
            self._is_full = False  # the transport keeps what the socket does not take
            self.flush()
            try:
                if self._role is Side.SERVER:
                    self._transport.write_eof()
                    self._linger()
                else:
                    self._transport.close()
            except OSError:  # the client has gone
                self._transport.close()
            if self.lost is None:
                self.lost = reason
            self._wake()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _linger(self) -> None:
        """Close when the client does, or has said nothing for LINGER_S.

        What is not read when a socket is closed, or comes later, is answered by a TCP reset, and that takes what the
        client has not received yet away from it; one that reads a large message says WINDOW_UPDATE all the time.
        """
        if self._lingering is not None:
            self._lingering.cancel()
        if self._transport is not None:
            self._lingering = self._loop.call_later(LINGER_S, self._transport.close)

    def _leave(self, stream_id: int) -> None:
        """Reset what is still open of a call: the server need not wait for the client's half-close (RFC 9113, 8.1)."""
        self._leaving.discard(stream_id)
        if not self._leaving:
            self._has_left.set()
        self.endpoint.reset(stream_id, ErrorCode.CANCEL if self._role is Side.CLIENT else ErrorCode.NO_ERROR)
        self.flush_soon()

    def _happened(self, happening: Happening) -> None:
        now_ns = self.clock.now_ns()
        match happening:
            case SettingsReceived(values):
                self._note(Settings(now_ns, self._role.other, values))
            case GoAwayReceived(last_stream_id, code, debug, unprocessed):
                self._note(GoAway(now_ns, self._role.other, last_stream_id, code, debug))
                for stream_id in unprocessed:
                    if stream := self._streams.get(stream_id):
                        stream.refused()
            case Drained(stream_id):
                if stream_id in self._leaving:
                    self._leave(stream_id)
                elif stream := self._streams.get(stream_id):
                    stream.has_room()
            case Failed(_, reason):
                self.lost = reason
                for stream_id, stream in tuple(self._streams.items()):
                    if self.endpoint.is_open(stream_id):
                        stream.deliver([(RowKind.DAMAGED, stream_id, reason)])
                self._wake()

    def _wake(self) -> None:
        for stream in tuple(self._streams.values()):
            stream.wake()

    def _note(self, what: Settings | GoAway) -> None:
        self.connection = told(self.connection, what)


class LiveStream:
    """The live end of one call, as play/stream.py has it; `stream_id` is 0 until the client's header has been said."""

    __slots__ = (
        "_at_s",
        "_driver",
        "_is_first",
        "_is_held",
        "_room",
        "_rows",
        "_timer",
        "_unread",
        "_until_s",
        "_waiter",
        "_woken",
        "is_refused",
        "stream_id",
    )

    def __init__(self, driver: Driver, stream_id: int = 0) -> None:
        self.stream_id = stream_id
        self.is_refused = False
        self._is_first = True
        self._is_held = False
        self._driver = driver
        self._rows: Sequence[Row] = ()
        self._unread = 0
        self._woken = False
        self._room: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[Sequence[Row]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = self._until_s = 0.0

    @property
    def lost(self) -> str | None:
        """Say why the connection went away, once there are no more rows to be received."""
        return None if self._rows else self._driver.lost

    @property
    def connection(self) -> Connection:
        """Return the connection as it is known by now."""
        return self._driver.connection

    def deliver(self, rows: Sequence[Row]) -> None:
        """Put rows before whoever receives."""
        first, self._is_first = self._is_first, False
        if first and rows[0][0] == RowKind.RESET and rows[0][2].code == ErrorCode.REFUSED_STREAM:
            self.is_refused = True
        if self._rows:
            self._rows = [*self._rows, *rows]
            self._unread += 1
            if self._unread == MAX_UNREAD_RUNS:
                self._driver.endpoint.hold(self.stream_id)
        else:
            self._rows = rows
        if self._room is not None:
            self.has_room()  # what came may be the end of the call
        self._let_go()

    def refused(self) -> None:
        """Take note that the server has not processed the call, which it said by GOAWAY, or cannot have."""
        self.deliver([(RowKind.RESET, self.stream_id, Reset(ErrorCode.REFUSED_STREAM))])

    def wake(self) -> None:
        """Let `receive` return."""
        self._woken = True
        if self._room is not None:
            self.has_room()
        self._let_go()

    async def drained(self) -> None:
        """Wait until little of what was said waits for the peer's windows."""
        driver = self._driver
        while driver.lost is None and driver.endpoint.is_open(self.stream_id):
            if driver.endpoint.unsent_bytes(self.stream_id) <= MAX_UNSENT_BYTES:
                return
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def has_room(self) -> None:
        """Let `drained` look again."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def hold(self) -> None:
        """Give the peer no more window on this call."""
        self._is_held = True
        if self._driver.endpoint.is_open(self.stream_id):
            self._driver.endpoint.hold(self.stream_id)

    def release(self) -> None:
        """Give the peer window again."""
        self._is_held = False
        if self._driver.endpoint.is_open(self.stream_id):
            self._driver.endpoint.release(self.stream_id)
            self._driver.flush_soon()

    async def send(self, events: Sequence[Any]) -> None:
        """Say these."""
        driver = self._driver
        if not self.stream_id:
            header, *events = events
            if self._missed_it() or not isinstance(header, ClientHeader):
                return  # a call that was given up before it was opened needs no cancel
            self.stream_id = driver.opened(self, header)
        if driver.lost is not None:
            return
        if events and driver.endpoint.is_open(self.stream_id):
            driver.endpoint.send(self.stream_id, events)
        driver.flush_soon()

    async def do(self, what: Loss | Parting | Wrong) -> None:
        """Lose the connection, say GOAWAY, or do what a fault has done."""
        match what:
            case Loss(_, by_reset):
                self._driver.lose(by_reset)
            case Parting():
                self._driver.part(what.code, what.debug)
            case _:
                from duplexmock.net.wrongs import do  # here: without faults nobody needs it

                do(what, self._driver, self.stream_id)

    def receive(self, until_ns: int) -> Awaitable[Sequence[Row]]:
        """Return what has come."""
        # A future, not a coroutine around one: an idle call would keep both (bench: `an idle call of 1,000`).
        self._missed_it()
        if self._rows or self._woken or self._driver.lost is not None:
            came: asyncio.Future[Sequence[Row]] = asyncio.get_running_loop().create_future()
            came.set_result(self._taken())
            return came
        self._waiter = self._wait(until_ns)
        return self._waiter

    def close(self) -> None:
        """Give up what is still open of the call."""
        if self._timer is not None:
            self._timer.cancel()
        if self.stream_id:
            self._driver.forget(self.stream_id)

    def fail(self) -> None:
        """Give up a call that cannot be played, by our fault."""
        self._driver.fail(self.stream_id)

    def _missed_it(self) -> bool:
        """Tell whether the server went away before the call was opened: not processed then, and opened elsewhere."""
        driver = self._driver
        if self.stream_id or not driver.is_leaving:
            return False
        if driver.was_connected and not self.is_refused:
            self.refused()
        return True

    def _taken(self) -> Sequence[Row]:
        rows, self._rows, self._woken = self._rows, (), False
        if self._unread >= MAX_UNREAD_RUNS and not self._is_held:
            self._driver.endpoint.release(self.stream_id)
            self._driver.flush_soon()
        self._unread = 0
        return rows

    def _wait(self, until_ns: int) -> asyncio.Future[Sequence[Row]]:
        """Return what is done when something has come, or at this time."""
        loop = asyncio.get_running_loop()
        at_s = loop.time() + max(until_ns - self._driver.clock.now_ns(), 0) / 1e9
        # A timer that goes off too early costs less than a new one for each read: it is looked at again then.
        if self._timer is None or self._at_s > at_s:
            self._arm(loop, at_s)
        self._until_s = at_s
        return loop.create_future()

    def _arm(self, loop: asyncio.AbstractEventLoop, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = at_s
        self._timer = loop.call_at(at_s, self._rang, context=self._driver.context)

    def _rang(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        loop = asyncio.get_running_loop()
        if self._until_s > loop.time():
            self._arm(loop, self._until_s)
        else:
            # Where the loop was busy, what came in time may still lie in the socket: it is read before this is called.
            loop.call_soon(loop.call_soon, self._let_go)

    def _let_go(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            self._missed_it()
            waiter.set_result(self._taken())


def _name(address: object) -> str:
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case str(path) if path:
            return f"unix:{path}"
        case _:
            return "unix:"
