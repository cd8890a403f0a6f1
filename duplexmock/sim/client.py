"""The client's end of a simulated call: what grpc.aio's own Call classes call their `_cython_call`.

grpc.aio's client is Python down to one object per call, which stands for the C core. This is that object. So everything
above it, calls, iterators, interceptors, exceptions and their texts, is grpcio's own code. The methods are those that
grpc/aio/_call.py calls (grpcio 1.68 to 1.85).

An end has a `dialer` (channel.py), which finds the server and says whether there is one.
"""

from __future__ import annotations

from asyncio import Future, TimerHandle
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

import grpc
from grpc._cython.cygrpc import EOF, AioRpcStatus, ExecuteBatchError

from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, ErrorCode, code_name
from duplexmock.sim.lanes import ALL_READ, CLOSED, Item, Line, turn
from duplexmock.sim.parts import HeaderParts, Pairs, TrailerParts
from duplexmock.sim.sendable import INVALID, is_legal, metadata_of

if TYPE_CHECKING:
    from duplexmock.sim.channel import Dialer
    from duplexmock.sim.engine import Engine


class ClientEnd:
    """One call as its client's core sees it."""

    # What grpcio reads of it has grpcio's names.
    __slots__ = (
        "_callbacks",
        "_initial_metadata",
        "_is_locally_cancelled",
        "_status",
        "_waiting_for_end",
        "_waiting_for_header",
        "_waiting_for_status",
        "deadline_s",
        "deadline_timer",
        "dialer",
        "engine",
        "is_opened",
        "is_over",
        "line",
        "owner",
        "trailer",
        "waits_for_ready",
    )

    def __init__(self, engine: Engine, dialer: Dialer, method: str, deadline_s: float | None, waits: bool) -> None:
        self.engine = engine
        self.dialer = dialer
        self.line = Line(engine, method, self)
        self.owner: ReferenceType[Any] | None = None
        self.deadline_s = deadline_s
        self.waits_for_ready = waits
        self.is_opened = False
        self.is_over = False
        self.trailer: Any = None
        self._status: Any = None
        self._initial_metadata: Pairs | None = None
        self._is_locally_cancelled = False
        self._callbacks: list[Callable[[], object]] = []
        self._waiting_for_status: list[Future[None]] = []
        self._waiting_for_end: list[Future[None]] = []
        self._waiting_for_header: list[Future[None]] = []
        self.deadline_timer: TimerHandle | None = None
        if deadline_s is not None:
            self.deadline_timer = engine.loop.call_at(deadline_s, self.deadline_is_up)

    # What grpc.aio asks

    def add_done_callback(self, callback: Callable[[], object]) -> None:
        """Call it when the status is known."""
        if self._status is not None:
            callback()
        else:
            self._callbacks.append(callback)

    def time_remaining(self) -> float | None:
        """Return the virtual seconds until the deadline."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - self.engine.loop.now_s)

    def done(self) -> bool:
        """Tell whether the status is known."""
        return self._status is not None

    def cancelled(self) -> bool:
        """Tell whether the status is CANCELLED."""
        return self._status is not None and self._status.code() == Code.CANCELLED

    def is_ok(self) -> bool:
        """Tell whether the status is OK."""
        return self._status is not None and self._status.code() == Code.OK

    def is_locally_cancelled(self) -> bool:
        """Tell whether `cancel` was called."""
        return self._is_locally_cancelled

    def set_internal_error(self, text: str) -> None:
        """Take INTERNAL for the status, as grpcio does where a write fails, until the call's own status is known."""
        self._tell(AioRpcStatus(Code.INTERNAL.value, "Internal error from Core", (), text))

    def cancel(self, details: str) -> None:
        """End the call: the status is CANCELLED at once, and the server hears of it in its time."""
        self._is_locally_cancelled = True
        self._set_status(AioRpcStatus(Code.CANCELLED.value, details, None, None))
        self._give_up()

    async def status(self) -> Any:
        """Wait for the status."""
        if self._status is None:
            future = self.engine.loop.create_future()
            self._waiting_for_status.append(future)
            await future
        return self._status

    async def initial_metadata(self) -> Pairs:
        """Wait for the ServerHeader."""
        if self._initial_metadata is None:
            await self._header()
        assert self._initial_metadata is not None
        return self._initial_metadata

    async def unary_unary(self, request: bytes, metadata: Pairs, context: object = None) -> bytes | None:
        """Send the request, and return the reply where the status is OK."""
        if not is_legal(metadata_of(metadata)):
            raise ExecuteBatchError(CLOSED)  # and the call never ends, as grpcio's
        await self._open(metadata, ((_MESSAGE, request), _HALF_CLOSE))
        return await self._unary_reply()

    async def initiate_unary_stream(self, request: bytes, metadata: Pairs, context: object = None) -> None:
        """Send the request, and wait for the ServerHeader."""
        if await self._open(metadata, ((_MESSAGE, request), _HALF_CLOSE)):
            await turn()
            await self._header()
        else:
            await self.status()

    async def stream_unary(
        self, metadata: Pairs, metadata_sent: Callable[[], object], context: object = None
    ) -> bytes | None:
        """Open the call, and return the reply where the status is OK."""
        if await self._open(metadata, ()):
            await turn()
            metadata_sent()
            await self._header()
            return await self._unary_reply()
        await self.status()
        metadata_sent()
        return None

    async def initiate_stream_stream(
        self, metadata: Pairs, metadata_sent: Callable[[], object], context: object = None
    ) -> None:
        """Open the call, and wait for the ServerHeader."""
        if await self._open(metadata, ()):
            await turn()
            metadata_sent()
            await self._header()
        else:
            await self.status()
            metadata_sent()

    def receive_serialized_message(self) -> Awaitable[Any]:
        """Return the next message, or EOF."""
        return self.line.server_lane.read()

    def send_serialized_message(self, message: bytes) -> Awaitable[None]:
        """Write a message; ExecuteBatchError where that cannot be."""
        if type(message) is not bytes and message is not None:
            kind = type(message).__name__
            raise TypeError(f"Argument 'message' has incorrect type (expected bytes, got {kind})")
        return self.line.client_lane.write(message or b"")

    async def send_receive_close(self) -> None:
        """Half-close."""
        lane = self.line.client_lane
        if not lane.is_closed:
            lane.send((_HALF_CLOSE,))
        await turn()

    # What befalls the call

    def took(self, kind: int, what: Any) -> None:
        """Take what the server's lane has brought, or that all of it has been read."""
        if kind == _HEADER:
            self._set_header(what)
        elif kind == _TRAILER:
            assert isinstance(what, TrailerParts)
            code, text, metadata, _ = what
            if code:
                self._end(AioRpcStatus(code, text, metadata, f"{code_name(code)}:{text}"))
            else:
                self._end(AioRpcStatus(code, "", metadata, ""))  # grpcio's core drops the details of OK
        elif kind == _RESET:
            self._broken(what)
        elif kind == ALL_READ and self.trailer is not None:
            self.engine.loop.call_soon(self._complete)

    def deadline_is_up(self) -> None:
        """End the call by its deadline; the server hears of it as of a cancel."""
        if not self.is_over:
            trailing = () if self.trailer is None else self.trailer.trailing_metadata()
            text = "Deadline Exceeded" if self._initial_metadata is None else "Stream removed (Deadline Exceeded)"
            self._give_up()
            self._set_status(AioRpcStatus(Code.DEADLINE_EXCEEDED.value, text, trailing, f"DEADLINE_EXCEEDED:{text}"))

    def fail(self, code: Code, text: str) -> None:
        """End the call by what the client's own core says of it: there is no server, or the connection went away."""
        self.line.client_lane.close()
        self.line.client_lane.kill()
        self.line.server_lane.kill()
        self._set_status(AioRpcStatus(code.value, text, (), f"{code.name}:{text}"))
        self.line.server_lane.forget()

    def abandon(self, code: Code, text: str) -> None:
        """End the call by what the client's library says of it; the server hears of it as of a cancel."""
        if not self.is_over:
            self._give_up()
            self._set_status(AioRpcStatus(code.value, text, (), ""))

    def known_status(self) -> Any:
        """Return the status, or None where it is not known."""
        return self._status

    def known_initial_metadata(self) -> Pairs | None:
        """Return the ServerHeader's metadata, or None where it is not known."""
        return self._initial_metadata

    def cancel_by_owner(self) -> None:
        """Cancel the call as its application would."""
        call = self.owner() if self.owner is not None else None
        if call is not None:
            call.cancel()
        elif self._status is None:
            self.cancel("Locally cancelled by application!")

    def waits_for(self, future: Any) -> str | None:
        """Say what it is that completes a future, for a deadlock's lines."""
        if future in self._waiting_for_status or future in self._waiting_for_end:
            return "the status"
        return "the ServerHeader" if future in self._waiting_for_header else None

    def __repr__(self) -> str:
        if self._status is None:
            return "<_AioCall object>"
        status = self._status
        if status.code() == Code.OK:
            return _OK.format(grpc.StatusCode.OK, status.details())
        code = next(code for code in grpc.StatusCode if code.value[0] == status.code())
        return _NOT_OK.format(status.details(), code, status.debug_error_string())

    async def _open(self, metadata: Pairs, behind: tuple[Item, ...]) -> bool:
        """Say the ClientHeader, and what is said with it; tell whether there is a server to say it to."""
        metadata = metadata_of(metadata)
        if not is_legal(metadata):
            self.fail(Code.INTERNAL, INVALID)
            return False
        if self.deadline_s is not None and self.deadline_s < self.engine.loop.now_s:
            await turn()
            self.deadline_is_up()
            return False
        if not self.dialer.is_ready(self.line):
            if not self.waits_for_ready:
                await turn()
                if self._status is None:
                    self.fail(Code.UNAVAILABLE, self.dialer.refusal)
                return False
            await self.dialer.ready(self.line, self)
        if self._status is not None:
            await turn()
            return False
        timeout_s = None if self.deadline_s is None else self.deadline_s - self.engine.loop.now_s
        lane = self.line.client_lane
        self.is_opened = True
        if behind:
            lane.unread += 1
            lane.unread_bytes += len(behind[0][1])
        lane.send(((_CLIENT_HEADER, HeaderParts(self.line.method, metadata, timeout_s)), *behind))
        return True

    async def _header(self) -> None:
        if self._initial_metadata is None:
            future = self.engine.loop.create_future()
            self._waiting_for_header.append(future)
            await future

    async def _unary_reply(self) -> bytes | None:
        """Wait for the call's own status, and return the message that came before it."""
        lane = self.line.server_lane
        message: Any = EOF
        if not self.is_over:
            message = await lane.read()
        if not self.is_over:
            future = self.engine.loop.create_future()
            self._waiting_for_end.append(future)
            await future
        return message if self.is_ok() and message is not EOF else None

    def _end(self, status: Any) -> None:
        """Take the status that has arrived: it is known when all messages before it have been read."""
        line = self.line
        self.trailer = status
        line.client_lane.close()
        if not line.server_lane.inbox:
            self._complete()
        self.engine.loop.call_soon(self._end_reads)

    def _end_reads(self) -> None:
        """End a read that waits: a turn behind the status, so that a write may fail in between, as with grpcio."""
        lane = self.line.server_lane
        lane.end()
        if not lane.inbox and not self.is_over:
            self._complete()

    def _complete(self) -> None:
        if not self._is_locally_cancelled:
            self._set_status(self.trailer)

    def _broken(self, code: int) -> None:
        text = f"Received RST_STREAM with error code {code}"
        to = {ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE, ErrorCode.CANCEL: Code.CANCELLED}
        self.fail(to.get(ErrorCode(code), Code.INTERNAL), text)

    def _give_up(self) -> None:
        if self.is_opened:
            self.line.give_up(ErrorCode.CANCEL)
        else:
            self.line.client_lane.close()
            self.line.client_lane.kill()
            self.line.server_lane.forget()

    def _set_header(self, metadata: Pairs) -> None:
        if self._initial_metadata is None:
            self._initial_metadata = metadata
            for future in self._waiting_for_header:
                if not future.done():
                    future.set_result(None)
            self._waiting_for_header = []

    def _set_status(self, status: Any) -> None:
        self.is_over = True
        if self.deadline_timer is not None:
            self.deadline_timer.cancel()
        self._tell(status)
        for future in self._waiting_for_end:
            if not future.done():
                future.set_result(None)
        self._waiting_for_end = []
        self.line.ended()

    def _tell(self, status: Any) -> None:
        self._status = status
        self._set_header(())
        for future in self._waiting_for_status:
            if not future.done():
                future.set_result(None)
        self._waiting_for_status = []
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


_HEADER, _TRAILER, _RESET = int(RowKind.SERVER_HEADER), int(RowKind.SERVER_TRAILER), int(RowKind.RESET)
_CLIENT_HEADER, _MESSAGE = int(RowKind.CLIENT_HEADER), int(RowKind.CLIENT_MESSAGE)
_HALF_CLOSE: Item = (int(RowKind.CLIENT_HALF_CLOSE), None)

_OK = '<_AioCall of RPC that terminated with:\n\tstatus = {}\n\tdetails = "{}"\n>'
_NOT_OK = '<_AioCall of RPC that terminated with:\n\tstatus = {}\n\tdetails = "{}"\n\tdebug_error_string = "{}"\n>'
