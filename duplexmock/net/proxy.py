"""The proxy: a wire between client and server that the peers cannot feel.

    client ═══ End(CLIENT) ─── Link ─── End(SERVER) ═══ server

A chunk is stamped, written on and only then decoded. Nothing is answered, held back or changed: what one side says is
what the other hears, its end (FIN) and its reset (RST) included. Back-pressure is that of a direct connection: as soon
as one side does not take all that it is given, the other is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

from duplexmock.core.connection import Closing
from duplexmock.core.events import ServerTrailer, Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import Code
from duplexmock.errors import ScriptError
from duplexmock.net import address as addresses
from duplexmock.net.address import Address
from duplexmock.net.recording import Recording
from duplexmock.wire.tap import Tap

ASK_S = 5.0
"""For the upstream's reflection to answer."""


class Proxy:
    """Listens, and passes every connection on to `upstream`, recording it. On one loop: start, drain, stop.

    `ask`, if any, is awaited once, when the upstream has answered for the first time: it returns a serialized
    FileDescriptorSet for the fixture, or None.
    """

    def __init__(self, upstream: Address, ask: Callable[[], Awaitable[bytes | None]] | None = None) -> None:
        self._upstream = upstream
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._recording: Recording | None = None
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._listening = Address()
        self._change = asyncio.Event()
        self._refusing = False

    async def start(self, listen: Address, record: Callable[[], Recording]) -> Address:
        """Bind, begin the recording that `record` makes, and accept; return the address with its port.

        ScriptError where the address cannot be had: `record`, which makes the file, is not called then. What it raises
        is raised here, and the address is free again.
        """
        if listen == self._upstream:
            raise ScriptError(f"listen {listen}: it is the upstream's own address")
        self._server, self._listening = await addresses.listen(listen, self._accepted)
        try:
            if await addresses.is_ours(self._upstream, self._listening):
                raise ScriptError(f"listen {listen}: it is the upstream's own address")
            self._recording = record()
        except BaseException:
            self._refuse()
            raise
        await self._server.start_serving()
        return self._listening

    @property
    def recording(self) -> Recording:
        """Return the recording, once it has begun."""
        assert self._recording is not None, "start first"
        return self._recording

    @property
    def open_calls(self) -> int:
        """Return how many gRPC calls have not ended, recorded or not."""
        return sum(link.tap.open_calls for link in self._links)

    async def drain(self, grace_s: float) -> None:
        """Stop accepting, and wait until the open calls have ended, or for so many seconds."""
        self._refuse()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.open_calls:
                    await self._changed()
                if self._asking is not None:
                    await asyncio.shield(self._asking)

    async def stop(self) -> None:
        """Stop accepting, end all connections, and finish the recording: the sessions of open calls are incomplete."""
        self._refuse()
        for link in tuple(self._links):
            link.stop()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait((self._asking,))
        if self._recording is not None:
            await self._recording.finish()

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            addresses.unlink(self._listening)

    async def closed(self, within_s: float) -> None:
        """Wait until no connection is left, but no longer: those of a program that has exited close at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._links:
                    await self._changed()

    async def _changed(self) -> None:
        """Wait until a call or a connection has ended."""
        self._change.clear()
        await self._change.wait()

    def _accepted(self) -> _End:
        link = _Link(self.recording, self._upstream, self)
        self._links.add(link)
        return link.client

    def ended(self, link: _Link) -> None:
        """Take note that calls on a link have ended, or the link has."""
        if link.over:
            self._links.discard(link)
        self._change.set()

    def connected(self) -> None:
        """Take note that the upstream answered."""
        self._refusing = False
        if self._ask is not None and self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._describe(self._ask))

    async def _describe(self, ask: Callable[[], Awaitable[bytes | None]]) -> None:
        serialized = await ask()
        if serialized is not None:
            self.recording.described(serialized)
        else:
            self.recording.warn(f"{self._upstream} has no server reflection; payloads are read by field number")

    def refused(self) -> bool:
        """Take note that the upstream does not answer; tell whether that is new, because clients try again."""
        new, self._refusing = not self._refusing, True
        return new


async def ask_upstream(upstream: Address) -> bytes | None:
    """Ask the upstream's server reflection; None where it has none, or does not answer within ASK_S."""
    # Here, because grpcio is the dearest of imports, and few recordings ask.
    from duplexmock.net.reflection import ask

    descriptors = await ask(str(upstream), ASK_S)
    return None if descriptors is None else descriptors.serialized


class _Link:
    """One connection of a client, and the one to the upstream that stands for it."""

    def __init__(self, recording: Recording, upstream: Address, proxy: Proxy) -> None:
        self.client = _End(Side.CLIENT, self)
        self.server = _End(Side.SERVER, self)
        self.client.other, self.server.other = self.server, self.client
        self.over = False
        self.now_ns = recording.now_ns
        self._recording = recording
        self._upstream = upstream
        self._proxy = proxy
        self._number = 0
        self._dialling: asyncio.Task[None] | None = None
        self._closing: tuple[Closing, Side | None, str] | None = None
        self._foreign = False
        self._lost: list[int] = []
        self.tap = Tap(0, recording.admit)

    def made(self, end: _End) -> None:
        """Take a socket: the client's begins all, the server's is dialled for it."""
        if self.over:  # stopped while it was on its way
            end.abort()
            return
        if end is self.server:
            return
        transport = end.transport
        assert transport is not None
        transport.pause_reading()  # until there is somebody to write it to
        self._number = self._recording.connected(_name(transport), str(self._upstream))
        self.tap = Tap(self._number, self._recording.admit)
        self._dialling = asyncio.get_running_loop().create_task(self._dial())

    def passed(self, side: Side, chunk: bytes, at_ns: int) -> None:
        """Decode what has been passed on."""
        counts = self._recording.counts
        from_client = side is Side.CLIENT
        if from_client:
            counts.client_bytes += len(chunk)
        else:
            counts.server_bytes += len(chunk)
        before = self.tap.open_calls
        rows = self.tap.take(side, chunk, at_ns)
        if rows and (self.server if from_client else self.client).said_all:
            rows = self._without_echoes(rows)
        if rows:
            self._recording.take(at_ns, rows)
        if self.tap.open_calls < before:
            self._proxy.ended(self)
        if (self.tap.foreign or self.tap.fault) and not self._foreign:
            self._foreign = True
            self._say_why()

    def _without_echoes(self, rows: list[Row]) -> list[Row]:
        """Leave out the endings that are but the echo of a connection that the other side has closed.

        When the server has closed its side, no call of this connection can end as calls do, and a client's library
        resets its streams: nobody's wish to cancel. When the client has gone, a server's library ends the calls that
        were open, for nobody: with UNAVAILABLE, CANCELLED or a reset.
        """
        echoes = [row for row in rows if _is_echo(row)]
        self._lost += [row[1] for row in echoes]
        return [row for row in rows if not _is_echo(row)] if echoes else rows

    def ended(self, end: _End) -> bool:
        """Pass the end of what a side says on (FIN); tell whether the socket stays open for the other direction."""
        self._close_reason(Closing.CLOSED, end.side)
        other = end.other
        if other.transport is None or other.said_all:
            other.close()
            return False
        with contextlib.suppress(OSError):  # it is gone, and says so itself
            other.transport.write_eof()
        return True

    def lost(self, end: _End, exc: Exception | None) -> None:
        """Take the loss of one socket: the other one goes the same way."""
        self._close_reason(Closing.CLOSED if exc is None else Closing.RESET, end.side)
        if end is self.client and self._dialling is not None:
            self._dialling.cancel()
        if exc is None:
            end.other.close()
        else:
            end.other.reset()
        if self.client.gone and self.server.gone:
            self._over()

    def stop(self) -> None:
        """End both sockets now."""
        self._close_reason(Closing.STOPPED, None, "the recording stopped")
        if self._dialling is not None:
            self._dialling.cancel()
        self._over()
        for end in (self.client, self.server):
            end.abort()

    async def _dial(self) -> None:
        try:
            await addresses.connect(self._upstream, lambda: self.server)
        except OSError as exc:
            reason = addresses.reason(exc)
            self._close_reason(Closing.REFUSED, Side.SERVER, reason)
            self.server.gone = True
            if self._proxy.refused():
                self._recording.warn(f"{self._upstream} cannot be reached: {reason}; clients see UNAVAILABLE")
            self.client.close()
            return
        finally:
            self._dialling = None
        self._proxy.connected()
        if self.client.transport is not None:
            self.client.transport.resume_reading()

    def _close_reason(self, how: Closing, side: Side | None, reason: str = "") -> None:
        """Keep how the connection ends: what is seen first is the cause."""
        if self._closing is None or (how is Closing.RESET and self._closing[0] is Closing.CLOSED):
            self._closing = how, side, reason

    def _over(self) -> None:
        if not self.over:
            self.over = True
            assert self._closing is not None
            if self._number:  # else it has not been made, and is not known
                self._recording.disconnected(self._number, self.tap, self._lost, *self._closing)
            self._proxy.ended(self)

    def _say_why(self) -> None:
        if self.tap.foreign:
            self._recording.warn(
                f"connection {self._number} is {self.tap.foreign}, not gRPC: passed on, and not recorded"
            )
        else:
            self._recording.warn(
                f"connection {self._number}: {self.tap.fault}; what was open is damaged, and the conversation goes on"
            )


def _is_echo(row: Row) -> bool:
    match row:
        case (RowKind.CANCEL | RowKind.RESET | RowKind.RESET_AFTER, *_):
            return True
        case (RowKind.SERVER_TRAILER, _, ServerTrailer(status)):
            return status is not None and status.code in (Code.UNAVAILABLE, Code.CANCELLED)
        case _:
            return False


class _End(asyncio.Protocol):
    """One socket of a link; `other` is that of the other side."""

    other: _End

    def __init__(self, side: Side, link: _Link) -> None:
        self.side = side
        self.transport: asyncio.Transport | None = None
        self.said_all = False  # its FIN has come
        self.gone = False
        self._link = link
        self._resetting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=0)
        self.transport = transport
        self._link.made(self)

    def data_received(self, chunk: bytes) -> None:
        at_ns = self._link.now_ns()
        transport = self.other.transport
        if transport is not None:
            transport.write(chunk)
        self._link.passed(self.side, chunk, at_ns)

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._resetting:
            self.reset()
        elif self.other.transport is not None:
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        self.said_all = True
        return self._link.ended(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.transport = None
        self._link.lost(self, exc)

    def close(self) -> None:
        """Close the socket when all that was given to it is on its way."""
        if self.transport is not None:
            self.transport.close()
        else:
            self.gone = True

    def abort(self) -> None:
        """Close the socket now."""
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Reset the connection (RST), when all that was given to it is on its way."""
        if self.transport is None:
            self.gone = True
            return
        if self.transport.get_write_buffer_size():
            self._resetting = True
            return
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _name(transport: asyncio.Transport) -> str:
    """Return a peer as people write it."""
    match transport.get_extra_info("peername"):
        case (str(host), int(port), *_):
            return str(Address(host, port))
        case _:
            return "unix:"
