"""`sim.server()`: a grpc.Server in memory, for synchronous servicers, whose handlers take turns (turns.py).

What it does: generic and registered handlers of all four call types, interceptors, `start`, `stop`,
`wait_for_termination`, and the whole of grpc.ServicerContext (sync_context.py). What ends a call, and with which texts,
is grpc._server's. A handler is never interrupted: it learns that its client is gone by `is_active`, by a callback, or
where it reads: the requests are at their end, or grpc.RpcError is raised, whichever is known first.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from grpc._cython import cygrpc

from duplexmock.core.status import Code
from duplexmock.sim.handling import Details
from duplexmock.sim.server import ServerEnd, SimServer
from duplexmock.sim.sync_context import Ended, Requests, SyncContext, deserialized
from duplexmock.sim.turns import Turns

if TYPE_CHECKING:
    from duplexmock.sim.engine import Engine


class SyncServer(grpc.Server):  # type: ignore[misc]
    """A server of a simulation; everything that a grpc.Server has. `core` is what calls find."""

    def __init__(
        self,
        engine: Engine,
        turns: Turns,
        interceptors: Sequence[grpc.ServerInterceptor],
        most_calls: int | None,
        bind: Callable[[SimServer, str], int],
    ) -> None:
        self._turns = turns
        self.core = SimServer(engine, (), most_calls, bind, Threads(turns, interceptors))

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers."""
        self.core.add_generic_rpc_handlers(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Any) -> None:
        """Add handlers of one service, which go before the generic ones."""
        self.core.add_registered_method_handlers(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Take an address that channels of the simulation may name; port 0 takes a free one."""
        return self.core.add_insecure_port(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Take an address; nothing is encrypted."""
        return self.core.add_insecure_port(address)

    def start(self) -> None:
        """Serve."""
        self._turns.wait(self.core.start())

    def stop(self, grace: float | None) -> threading.Event:
        """Take no more calls, and end those that are open after so many virtual seconds; None: at once.

        It returns at once; wait for the event to know that all calls have ended.
        """
        loop = self.core.engine.loop
        return Stopped(self._turns, loop.create_task(self.core.stop(grace), name="server.stop"))

    def wait_for_termination(self, timeout: float | None = None) -> bool:
        """Wait until it was stopped; return whether the timeout came first."""
        timed_out: bool = self._turns.wait(self.core.wait_for_termination(timeout))
        return timed_out


class Stopped(threading.Event):
    """Is set when a server has stopped. Waiting for it hands the baton over."""

    def __init__(self, turns: Turns, task: Any) -> None:
        super().__init__()
        self._turns = turns
        self._task = task
        task.add_done_callback(lambda _: self.set())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for so many virtual seconds; return whether it is."""
        if not self.is_set():
            self._turns.wait(asyncio.wait((self._task,), timeout=timeout))
        return self._task.done() or self.is_set()


class Threads:
    """Handlers of grpc: each has a thread of its own, and is told that its client is gone, not stopped."""

    def __init__(self, turns: Turns, interceptors: Sequence[grpc.ServerInterceptor]) -> None:
        self._turns = turns
        self._interceptors = tuple(interceptors)

    def run(self, end: ServerEnd, /) -> Coroutine[Any, Any, None]:
        """Return what runs the handler of a call to its end."""
        return self._turns.run(partial(self._handle, end), Context())

    def lost(self, end: ServerEnd, heard_all: bool, /) -> None:
        """Let it be known that the client is gone; that is a delivery of its own, behind the end of the requests."""
        end.server.engine.put(end.line.client_lane.deliver_step, _gone, end)

    def _handle(self, end: ServerEnd) -> None:
        """Handle a call, in its thread."""
        try:
            handler = self._find(end, Details(end.line.method, end.invocation_metadata), 0)
        except Exception as error:
            _LOGGER.exception("Exception servicing handler: %s", error)
            end.failed(error)
            self._turns.wait(_ended(end, Code.UNKNOWN, "Error in service handler!"))
            return
        if handler is None:
            self._turns.wait(_ended(end, Code.UNIMPLEMENTED, "Method not found!"))
        elif end.is_too_many:
            self._turns.wait(_ended(end, Code.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"))
        else:
            _serve(self._turns, end, handler)

    def _find(self, end: ServerEnd, details: Any, number: int) -> grpc.RpcMethodHandler | None:
        """Ask the interceptors from this one on, and then the handlers."""
        if number == len(self._interceptors):
            return end.server.handler(details)
        interceptor = self._interceptors[number]
        return interceptor.intercept_service(lambda given: self._find(end, given, number + 1), details)


def _serve(turns: Turns, end: ServerEnd, handler: grpc.RpcMethodHandler) -> None:
    context = SyncContext(turns, end)
    try:
        if handler.request_streaming:
            request: Any = Requests(context, handler.request_deserializer)
            function = handler.stream_stream if handler.response_streaming else handler.stream_unary
        else:
            payload = turns.wait(end.lane_in.read())
            if payload is cygrpc.EOF:
                if not end.line.client_lane.is_closed:
                    details = f'"{end.line.method}" requires exactly one request message.'
                    context.end(Code.UNIMPLEMENTED, details)
                return
            request = deserialized(context, payload, handler.request_deserializer)
            function = handler.unary_stream if handler.response_streaming else handler.unary_unary
        if handler.response_streaming:
            _respond_with_many(context, function, request, handler.response_serializer)
        else:
            _respond_with_one(context, function, request, handler.response_serializer)
    except Ended:
        pass


def _respond_with_one(context: SyncContext, function: Callable[..., Any], request: Any, serialize: Any) -> None:
    try:
        response = function(request, context)
    except Exception as error:
        context.raised(error, "Exception calling application: {}")
        return
    context.reply(_serialized(context, response, serialize))


def _respond_with_many(context: SyncContext, function: Callable[..., Any], request: Any, serialize: Any) -> None:
    try:
        responses = function(request, context)
    except Exception as error:
        context.raised(error, "Exception calling application: {}")
        return
    while context.is_active():
        try:
            response = next(responses, None)
        except Exception as error:
            context.raised(error, "Exception iterating responses: {}")
            return
        if response is None:  # grpcio takes one that is yielded for the end, too
            context.end_as_set()
            return
        context.write(_serialized(context, response, serialize))


def _serialized(context: SyncContext, response: Any, serialize: Any) -> bytes:
    payload = response
    if serialize is not None:
        try:
            payload = serialize(response)
        except Exception:
            _LOGGER.exception("Exception serializing message!")
            payload = None
    if payload is None:
        context.end(Code.INTERNAL, "Failed to serialize response!")
        raise Ended
    if not isinstance(payload, bytes):
        raise TypeError(f"Argument 'message' has incorrect type (expected bytes, got {type(payload).__name__})")
    return payload


async def _ended(end: ServerEnd, code: Code, message: str) -> None:
    """End a call that no handler was found for."""
    with suppress(cygrpc.ExecuteBatchError):  # the client is gone
        await end.send_status(code, message, ())


def _gone(end: ServerEnd) -> None:
    end.is_client_gone = True
    callbacks, end.callbacks = end.callbacks, []
    for callback in callbacks:
        callback()


_LOGGER = logging.getLogger("duplexmock.sim")
