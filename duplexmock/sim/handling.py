"""How a server runs the handler of one call: interceptors, the four call types, and how it ends.

The order of things, the texts and what is caught where are grpc.aio's (server.pyx.pxi). What a handler raises ends its
call with UNKNOWN and `Unexpected <class ...>: text`; what it raises when the client is gone is nobody's business.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from grpc._cython import cygrpc

from duplexmock.core.status import Code
from duplexmock.errors import ScriptError
from duplexmock.sim.context import SimContext
from duplexmock.sim.sendable import written

if TYPE_CHECKING:
    from duplexmock.sim.server import ServerEnd


class Details(NamedTuple):
    """What interceptors and generic handlers are told of a call: grpc.HandlerCallDetails."""

    method: str
    invocation_metadata: Any


class Style(Enum):
    """How a handler is written."""

    COROUTINE = "coroutine"
    GENERATOR = "async generator"
    PLAIN = "plain function"


async def run(end: ServerEnd) -> None:
    """Run the handler of a call to its end, whatever that is."""
    end.has_begun = True
    try:
        try:
            await _handle(end)
        except cygrpc.AbortError as error:
            if end.abort_error is not error:
                raise AssertionError("Abort error has been replaced!") from error
            return
        if end.abort_error is not None:
            _LOGGER.error("Abort error unexpectedly suppressed in %s", end.line.method)
    except asyncio.CancelledError:
        pass
    except cygrpc._ServerStoppedError:
        _LOGGER.warning("Aborting method [%s] due to server stop.", end.line.method)
    except cygrpc.ExecuteBatchError as error:
        if not end.is_client_gone:
            end.failed(error)
    except Exception as error:
        end.failed(error)
        _LOGGER.exception("Unexpected [%s] raised by servicer method [%s]", type(error).__name__, end.line.method)
        if not end.has_status and not end.server.has_stopped:
            code = end.code if end.code != Code.OK else int(Code.UNKNOWN)
            try:
                await end.send_status(code, f"Unexpected {type(error)}: {error}", tuple(end.trailing_metadata))
            except cygrpc.ExecuteBatchError:
                _LOGGER.exception("Failed sending error status from server")


class Requests:
    """The requests of a call, as the handler iterates over them."""

    __slots__ = ("_context", "_requests")

    def __init__(self, context: SimContext) -> None:
        self._context = context
        self._requests: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._requests is None:
            self._requests = self._read()
        return self._requests

    async def __anext__(self) -> Any:
        return await self.__aiter__().__anext__()

    async def _read(self) -> AsyncIterator[Any]:
        read = self._context.read
        while (message := await read()) is not cygrpc.EOF:
            yield message


async def _handle(end: ServerEnd) -> None:
    server, method = end.server, end.line.method
    if server.interceptors:
        details = Details(method, end.invocation_metadata)
        handler = await _intercept(iter(server.interceptors), server.handler, details)
    else:
        handler = server.find(method, end)
    if handler is None:
        await end.send_status(Code.UNIMPLEMENTED, "Method not found!", ())
        return
    if end.is_too_many:
        await end.send_status(Code.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", ())
        return
    deserialize, serialize = handler.request_deserializer, handler.response_serializer
    if handler.request_streaming:
        context = SimContext(end, deserialize, serialize if handler.response_streaming else None)
        request: Any = Requests(context)
        function = handler.stream_stream if handler.response_streaming else handler.stream_unary
    else:
        payload = await end.lane_in.read()
        if payload is cygrpc.EOF:
            return  # cancelled before the request was there
        request = deserialize(payload) if deserialize else payload
        both = (deserialize, serialize) if handler.response_streaming else (None, None)
        context = SimContext(end, *both)
        function = handler.unary_stream if handler.response_streaming else handler.unary_unary
    if handler.response_streaming:
        await _respond_with_many(end, function, request, context)
    else:
        await _respond_with_one(end, function, request, context, serialize)


async def _respond_with_one(
    end: ServerEnd, function: Callable[..., Any], request: Any, context: SimContext, serialize: Any
) -> None:
    if end.server.style(function) is not Style.COROUTINE:
        raise _plain(end)
    response = await function(request, context)
    end.raise_for_termination()
    payload = b""
    if end.code == Code.OK:
        payload = written(response, serialize)
    await end.send_reply(payload)


async def _respond_with_many(end: ServerEnd, function: Callable[..., Any], request: Any, context: SimContext) -> None:
    style = end.server.style(function)
    if style is Style.COROUTINE:
        await function(request, context)
    elif style is Style.GENERATOR:
        async for response in function(request, context):
            end.raise_for_termination()
            await context.write(response)
    else:
        raise _plain(end)
    end.raise_for_termination()
    await end.send_status(end.code, end.details, tuple(end.trailing_metadata))


async def _intercept(interceptors: Iterator[Any], find: Callable[[Any], Any], details: Any) -> Any:
    interceptor = next(interceptors, None)
    if interceptor is None:
        return find(details)
    onward: Callable[[Any], Awaitable[Any]] = partial(_intercept, interceptors, find)
    return await interceptor.intercept_service(onward, details)


def style_of(function: Callable[..., Any]) -> Style:
    """Tell how a handler is written."""
    if inspect.iscoroutinefunction(function):
        return Style.COROUTINE
    return Style.GENERATOR if inspect.isasyncgenfunction(function) else Style.PLAIN


def _plain(end: ServerEnd) -> ScriptError:
    return ScriptError(
        f"the handler of {end.line.method} is a plain function, which grpc.aio runs in a thread, where time is not "
        "virtual; make it a coroutine, or serve it by sim.server()"
    )


_LOGGER = logging.getLogger("duplexmock.sim")
