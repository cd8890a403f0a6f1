"""`sim.aio_server()`: a grpc.aio.Server in memory, and the server's end of each of its calls."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import copy_context
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio
from grpc._cython import cygrpc
from grpc.aio import _base_server

from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, ErrorCode
from duplexmock.sim.handling import Style, run, style_of
from duplexmock.sim.lanes import CLOSED, TWICE, Item, Lane, Line, Parcel, turn
from duplexmock.sim.parts import USER_AGENT, HeaderParts, Pairs, TrailerParts
from duplexmock.sim.sendable import INVALID, is_legal, metadata_of

if TYPE_CHECKING:
    from duplexmock.sim.client import ClientEnd
    from duplexmock.sim.engine import Engine
    from duplexmock.sim.task import SimTask


class State(Enum):
    """What a server is doing."""

    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Handlers(Protocol):
    """How handlers are run, and told that their client is gone."""

    def run(self, end: ServerEnd, /) -> Coroutine[Any, Any, None]:
        """Return what runs the handler of a call to its end."""

    def lost(self, end: ServerEnd, heard_all: bool, /) -> None:
        """Let a handler know that nobody hears it any more: a read of its lane has just come to its end.

        `heard_all` says that this end was the half-close, which came before.
        """


class Coroutines:
    """Handlers of grpc.aio: they are cancelled behind the end of their reading."""

    def run(self, end: ServerEnd, /) -> Coroutine[Any, Any, None]:
        """Return what runs the handler of a call to its end."""
        return run(end)

    def lost(self, end: ServerEnd, heard_all: bool, /) -> None:
        """Cancel the handler: at once where it has heard the half-close or is about to, else in the next turn."""
        if heard_all and end.has_begun:
            end.cancel()
        else:
            end.server.engine.loop.call_soon(end.cancel)


class SimServer(_base_server.Server):  # type: ignore[misc]
    """A server of a simulation.

    It serves at once, without `start`, where no port was added to it: there is nobody who could dial too early. With a
    port it serves from `start` on, as a program expects that has both.
    """

    def __init__(
        self,
        engine: Engine,
        interceptors: Sequence[Any],
        most_calls: int | None,
        bind: Callable[[SimServer, str], int],
        handlers: Handlers,
    ) -> None:
        invalid = [each for each in interceptors if not isinstance(each, grpc.aio.ServerInterceptor)]
        if invalid:
            raise ValueError(f"Interceptor must be ServerInterceptor,the following are invalid: {invalid}")
        self.engine = engine
        self.handlers = handlers
        self.interceptors = tuple(interceptors)
        self.calls: dict[int, ServerEnd] = {}
        """Those whose end the server's core does not know, by number."""
        self._most_calls = most_calls
        self._running = 0
        self._bind = bind
        self._has_port = False
        self._state = State.READY
        self.has_stopped = False
        self._generic: list[grpc.GenericRpcHandler] = []
        self._registered: dict[str, grpc.RpcMethodHandler] = {}
        self._known: dict[str, grpc.RpcMethodHandler] = {}
        self._styles: dict[Any, Style] = {}
        self._changes: list[Future[None]] = []
        self._over: Future[None] = engine.loop.create_future()
        self._context = copy_context()
        engine.drains.append(self._drain)

    # What a grpc.aio.Server has

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers."""
        self._generic.extend(generic_rpc_handlers)
        self._known.clear()

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:
        """Add handlers of one service, which go before the generic ones."""
        for method, handler in method_handlers.items():
            self._registered[f"/{service_name}/{method}"] = handler
        self._known.clear()

    def add_insecure_port(self, address: str) -> int:
        """Take an address that channels of the simulation may name; port 0 takes a free one."""
        self._has_port = True
        return self._bind(self, address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Take an address; nothing is encrypted."""
        return self.add_insecure_port(address)

    async def start(self) -> None:
        """Serve."""
        if self._state is State.RUNNING:
            return
        if self._state is not State.READY:
            raise cygrpc.UsageError("Server not in ready state")
        self._context = copy_context()
        self._state = State.RUNNING
        self._changed()
        await turn()

    async def stop(self, grace: float | None) -> None:
        """Take no more calls, and end those that are open after so many virtual seconds; None: at once."""
        if self._state is State.STOPPED or not self._was_running:
            return
        if self._state is not State.STOPPING:
            self._state = State.STOPPING
            self._changed()
            self._look()
        await turn()
        if grace is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._over), grace)
        for end in list(self.calls.values()):
            end.stopped()
        await self._over
        for _ in range(_NOTICED):
            await turn()
        self._state = State.STOPPED
        self.has_stopped = True

    async def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Wait until it was stopped; return whether the timeout came first."""
        if timeout is None:
            await asyncio.shield(self._over)
            return False
        try:
            await asyncio.wait_for(asyncio.shield(self._over), timeout)
        except TimeoutError:
            return True
        return False

    # What a call asks of it

    @property
    def is_serving(self) -> bool:
        """Tell whether it takes calls."""
        return self._state is State.RUNNING or (self._state is State.READY and not self._has_port)

    def accept(self, line: Line) -> None:
        """Take a call, whose header will arrive."""
        line.server = ServerEnd(self, line)

    async def changed(self, client: ClientEnd | None) -> None:
        """Wait until it begins or ceases to serve, or the call has come to its end."""
        future = self.engine.loop.create_future()
        self._changes.append(future)
        if client is not None:
            client.add_done_callback(lambda: None if future.done() else future.set_result(None))
        await future

    def began(self, end: ServerEnd) -> SimTask:
        """Run a call's handler, in a context of its own."""
        self.calls[end.line.number] = end
        if self._most_calls is not None:
            end.is_too_many = self._running >= self._most_calls
            self._running += not end.is_too_many
        name = f"handler of call {end.line.number} ({end.line.method})"
        return self.engine.loop.create_task(self.handlers.run(end), name=name, context=self._context.copy())

    def ended(self, end: ServerEnd) -> None:
        """Forget a call that is over."""
        if self.calls.pop(end.line.number, None) is not None and self._state is State.STOPPING:
            self._look()

    def returned(self, end: ServerEnd) -> None:
        """Count a handler that has come to its end."""
        if self._most_calls is not None and not end.is_too_many:
            self._running -= 1

    def handler(self, details: Any) -> grpc.RpcMethodHandler | None:
        """Return the handler of a call, or None."""
        handler = self._registered.get(details.method)
        if handler is not None:
            return handler
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                return handler
        return None

    def find(self, method: str, end: ServerEnd) -> grpc.RpcMethodHandler | None:
        """Return the handler of a registered method, or ask the generic ones."""
        handler = self._registered.get(method)
        if handler is not None:
            return handler
        from duplexmock.sim.handling import Details

        return self.handler(Details(method, end.invocation_metadata))

    def style(self, function: Any) -> Style:
        """Tell how a handler is written."""
        style = self._styles.get(function)
        if style is None:
            style = self._styles[function] = style_of(function)
        return style

    @property
    def _was_running(self) -> bool:
        return self._state is not State.READY or not self._has_port

    def _drain(self) -> None:
        if self.is_serving:
            self.engine.loop.create_task(self.stop(self.engine.bounds.grace_s), name="the drain")

    def _changed(self) -> None:
        changes, self._changes = self._changes, []
        for future in changes:
            if not future.done():
                future.set_result(None)

    def _look(self) -> None:
        if not self.calls and not self._over.done():
            self._over.set_result(None)


class ServerEnd:
    """One call as its server sees it: what its context sets, and what its core knows."""

    __slots__ = (
        "_metadata",
        "abort_error",
        "callbacks",
        "code",
        "code_given",
        "compression",
        "deadline_s",
        "details",
        "has_begun",
        "has_header",
        "has_status",
        "is_client_gone",
        "is_header_begun",
        "is_next_uncompressed",
        "is_too_many",
        "lane_in",
        "lane_out",
        "line",
        "server",
        "task",
        "trailing_metadata",
    )

    def __init__(self, server: SimServer, line: Line) -> None:
        self.server = server
        self.line = line
        self.lane_in: Lane = line.client_lane
        self.lane_out: Lane = line.server_lane
        self.task: SimTask | None = None
        self.abort_error: BaseException | None = None
        self.callbacks: list[Callable[[], object]] = []
        self.code = int(Code.OK)
        self.code_given: Any = None
        self.details = ""
        self.trailing_metadata: Any = ()
        self.compression: Any = None
        self.is_next_uncompressed = False
        self.has_begun = False
        self.has_header = False
        self.is_header_begun = False
        self.has_status = False
        self.is_client_gone = False
        self.is_too_many = False
        self.deadline_s: float | None = None
        self._metadata: Any = ()

    # What its context asks

    @property
    def invocation_metadata(self) -> tuple[Any, ...]:
        """Return the client's metadata as grpcio gives it."""
        pairs = (("user-agent", USER_AGENT), *self._metadata)
        return tuple([cygrpc._Metadatum(key, value) for key, value in pairs])

    @property
    def peer(self) -> str:
        """Return an address of the client's, which is made up."""
        return f"ipv4:127.0.0.1:{49152 + self.line.number % 16384}"

    def time_remaining(self) -> float | None:
        """Return the virtual seconds until the deadline, or None."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - self.server.engine.loop.now_s)

    def raise_for_termination(self) -> None:
        """Raise what the handler of a call that is over is to be ended by."""
        if self.abort_error is not None:
            raise self.abort_error
        if self.has_status:
            raise cygrpc.UsageError("RPC already finished.")
        if self.server.has_stopped:
            raise cygrpc._ServerStoppedError("Server already stopped.")

    def header(self, metadata: tuple[Any, ...] = ()) -> Parcel:
        """Return the ServerHeader, which has to be said; ExecuteBatchError where it was tried before."""
        if self.is_header_begun:
            raise cygrpc.ExecuteBatchError(TWICE)
        self.is_header_begun = True
        return ((_HEADER, metadata),)

    async def send_header(self, metadata: tuple[Any, ...]) -> None:
        """Say the ServerHeader."""
        pairs = metadata_of(metadata)
        parcel = self.header(pairs)
        await self._check(pairs)
        await self._send(parcel)

    async def send_status(self, code: int, message: str, metadata: tuple[Any, ...]) -> None:
        """End the call."""
        self.has_status = True
        pairs = metadata_of(metadata)
        await self._check(pairs)
        is_alone = not self.has_header and not self.is_header_begun
        await self._finish(((_TRAILER, TrailerParts(int(code), message, pairs, is_alone)),))

    async def send_reply(self, payload: bytes) -> None:
        """Say the reply of a unary call, and end it."""
        before = () if self.has_header else self.header()
        self.has_header = self.has_status = True
        pairs = metadata_of(self.trailing_metadata)
        await self._check(pairs)
        trailer: Item = (_TRAILER, TrailerParts(self.code, self.details, pairs, False))
        self.lane_out.unread += 1
        self.lane_out.unread_bytes += len(payload)
        await self._finish((*before, (_MESSAGE, payload), trailer))

    def failed(self, error: BaseException) -> None:
        """Remember what the handler raised."""
        self.server.engine.handler_errors.append((self.line.number, error))

    # What befalls the call

    def took(self, kind: int, what: Any) -> None:
        """Take what the client's lane has brought."""
        if kind == _HALF_CLOSE:
            self.lane_in.end()
        elif kind == _CLIENT_HEADER:
            assert isinstance(what, HeaderParts)
            self._metadata = what.metadata
            self.deadline_s = self.line.client.deadline_s
            if self.server.is_serving:
                self.task = self.server.began(self)
                self.task.add_done_callback(self._returned)
            else:
                self.lane_in.kill()
                self.lane_out.send(((_RESET, ErrorCode.REFUSED_STREAM),))
        elif kind == _CANCEL:
            self.gone()

    def gone(self) -> None:
        """Take it that the client is gone: a read comes to its end, and then the handler is cancelled."""
        heard_all = self.lane_in.has_ended
        self.lane_in.forget()
        self.lane_out.close()
        self.server.ended(self)
        self.server.handlers.lost(self, heard_all)

    def stopped(self) -> None:
        """End the call because the server stops."""
        if not self.has_status:
            self._say_last(Code.UNAVAILABLE, "Cancelling all calls")
        self.gone()

    def cancelled_here(self) -> None:
        """End the call by CANCELLED, at the server's own wish."""
        if not self.has_status and not self.lane_out.is_closed:
            self._say_last(Code.CANCELLED, "CANCELLED")
            self.gone()

    def _say_last(self, code: Code, message: str) -> None:
        """Let the server's core end the call, with words of its own."""
        self.lane_out.send(((_TRAILER, TrailerParts(int(code), message, (), not self.is_header_begun)),))
        self.lane_in.kill()

    async def _check(self, metadata: Pairs) -> None:
        """End the call by metadata that cannot be sent; ExecuteBatchError then."""
        if not is_legal(metadata) and not self.lane_out.is_closed:
            self._say_last(Code.INTERNAL, INVALID)
            self.gone()
            raise cygrpc.ExecuteBatchError(CLOSED)

    def cancel(self) -> None:
        """Cancel the handler, unless it has said its status."""
        self.is_client_gone = True
        if self.task is not None and not self.task.done() and not self.has_status:
            self.task.cancel()

    async def _send(self, parcel: Parcel) -> None:
        if self.lane_out.is_closed:
            await turn()
            raise cygrpc.ExecuteBatchError(CLOSED)
        self.lane_out.send(parcel)
        await turn()

    async def _finish(self, parcel: Parcel) -> None:
        if self.lane_out.is_closed:
            await turn()
            raise cygrpc.ExecuteBatchError(CLOSED)
        self.line.finish(parcel)
        self.server.ended(self)
        await turn()

    def done(self) -> bool:
        """Tell whether the handler has come to its end."""
        return self.task is not None and self.task.done()

    def _returned(self, task: Any) -> None:
        self.server.returned(self)
        self.line.ended()
        for callback in self.callbacks:
            callback()


_NOTICED = 2
"""Turns in which handlers notice that their calls have ended, before they would be told that the server has stopped."""

_HEADER, _MESSAGE, _TRAILER = int(RowKind.SERVER_HEADER), int(RowKind.SERVER_MESSAGE), int(RowKind.SERVER_TRAILER)
_CLIENT_HEADER, _HALF_CLOSE = int(RowKind.CLIENT_HEADER), int(RowKind.CLIENT_HALF_CLOSE)
_CANCEL, _RESET = int(RowKind.CANCEL), int(RowKind.RESET)
