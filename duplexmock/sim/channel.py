"""`sim.aio_channel()`: a grpc.aio.Channel whose calls are made in memory.

Its multi-callables make grpc.aio's own Call classes, over a ClientEnd (client.py), and its interceptors run in
grpc.aio's own InterceptedCall classes. grpcio counts a deadline from the wall clock where it makes a call inside of
those, so the innermost interceptor is one of ours, and makes the call itself.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from weakref import ref

import grpc
import grpc.aio
from grpc import _compression
from grpc._cython import cygrpc
from grpc.aio import _base_channel, _call, _interceptor

from duplexmock.sim.client import ClientEnd
from duplexmock.sim.lanes import Line, turn

if TYPE_CHECKING:
    from duplexmock.sim.engine import Engine
    from duplexmock.sim.server import SimServer
    from duplexmock.sim.stream import Troupe

Serialize = Callable[[Any], bytes] | None
Deserialize = Callable[[bytes], Any] | None


class Dialer:
    """Finds the server of a channel; stands where grpcio has its core's channel."""

    def __init__(self, engine: Engine, find: Callable[[], SimServer | Troupe | None], target: str) -> None:
        self.engine = engine
        self._find = find
        self._target = target
        self.is_closed = False

    @property
    def refusal(self) -> str:
        """Say why there is no server, as grpcio does."""
        return (
            f"failed to connect to all addresses; last error: UNKNOWN: {self._target}: "
            "Failed to connect to remote host: connect: Connection refused (111)"
        )

    def call(self, method: bytes, deadline: Any, credentials: Any, waits: Any, *handle: int) -> ClientEnd:
        """Begin a call; UsageError where the channel is closed."""
        if self.is_closed:
            raise cygrpc.UsageError("Channel is closed.")
        return ClientEnd(self.engine, self, method.decode(), deadline, bool(waits))

    def is_ready(self, line: Line) -> bool:
        """Tell whether there is a server that takes calls, and connect the call to it."""
        server = self._find()
        if server is None or not server.is_serving:
            return False
        server.accept(line)
        return True

    async def ready(self, line: Line, client: ClientEnd) -> None:
        """Wait for a server, and connect the call to it; returns as well where the call ends before."""
        while not self.is_ready(line):
            server = self._find()
            if server is None or client.done():
                await client.status()
                return
            await server.changed(client)

    def state(self) -> grpc.ChannelConnectivity:
        """Return the state of the channel."""
        if self.is_closed:
            return grpc.ChannelConnectivity.SHUTDOWN
        server = self._find()
        if server is None or not server.is_serving:
            return grpc.ChannelConnectivity.TRANSIENT_FAILURE
        return grpc.ChannelConnectivity.READY

    async def change(self, last: grpc.ChannelConnectivity) -> None:
        """Wait until the state is not `last`."""
        while self.state() is last:
            server = self._find()
            if server is None:
                await self.engine.loop.create_future()
            else:
                await server.changed(None)


class _Method:
    """One method of a channel: how its messages are read and written, and which interceptors see its calls."""

    __slots__ = ("chain", "channel", "deserialize", "dialer", "method", "serialize")

    call_class: Any
    intercepted_class: Any
    interceptor_class: Any

    def __init__(self, channel: SimChannel, method: str, serialize: Serialize, deserialize: Deserialize) -> None:
        self.channel = channel
        self.dialer = channel.dialer
        self.method = method.encode()
        self.serialize = serialize
        self.deserialize = deserialize
        chain = channel._chain(self.interceptor_class)
        self.chain = [*chain, _Innermost(self)] if chain else ()

    def begin(self, request: Any, timeout: Any, metadata: Any, credentials: Any, waits: Any, compression: Any) -> Any:
        """Begin a call, through the interceptors where there are any."""
        pairs = _with_compression(metadata, compression)
        if not self.chain:
            return self.channel._began(self.direct(self.method, request, timeout, pairs, credentials, waits))
        if not isinstance(pairs, grpc.aio.Metadata):
            pairs = grpc.aio.Metadata(*pairs)
        call = self.intercepted_class(
            self.chain,
            request,
            timeout,
            pairs,
            credentials,
            waits,
            self.dialer,
            self.method,
            self.serialize,
            self.deserialize,
            self.dialer.engine.loop,
        )
        return self.channel._began(call)

    def direct(self, method: bytes, request: Any, timeout: Any, metadata: Any, credentials: Any, waits: Any) -> Any:
        """Begin a call behind all interceptors."""
        loop = self.dialer.engine.loop
        call = self.call_class(
            request,
            None if timeout is None else loop.now_s + timeout,
            metadata,
            credentials,
            waits,
            self.dialer,
            method,
            self.serialize,
            self.deserialize,
            loop,
        )
        call._cython_call.owner = ref(call)
        return call


class _Innermost:
    """The last of a chain of interceptors, of all four kinds: it makes the call."""

    def __init__(self, method: _Method) -> None:
        self._method = method

    async def _intercept(self, continuation: Callable[..., Awaitable[Any]], details: Any, request: Any) -> Any:
        metadata = () if details.metadata is None else details.metadata
        return self._method.direct(
            details.method, request, details.timeout, metadata, details.credentials, details.wait_for_ready
        )

    intercept_unary_unary = _intercept
    intercept_unary_stream = _intercept
    intercept_stream_unary = _intercept
    intercept_stream_stream = _intercept


class _Asked(_Method):
    """A method whose client says one message."""

    __slots__ = ()

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Begin a call."""
        return self.begin(request, timeout, metadata, credentials, wait_for_ready, compression)


class _Streamed(_Method):
    """A method whose client says messages, of an iterator or one by one."""

    __slots__ = ()

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Begin a call."""
        return self.begin(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)


class UnaryUnary(_Asked, _base_channel.UnaryUnaryMultiCallable):  # type: ignore[misc]
    """Makes unary-unary calls."""

    __slots__ = ()
    call_class = _call.UnaryUnaryCall
    intercepted_class = _interceptor.InterceptedUnaryUnaryCall
    interceptor_class = _interceptor.UnaryUnaryClientInterceptor


class UnaryStream(_Asked, _base_channel.UnaryStreamMultiCallable):  # type: ignore[misc]
    """Makes unary-stream calls."""

    __slots__ = ()
    call_class = _call.UnaryStreamCall
    intercepted_class = _interceptor.InterceptedUnaryStreamCall
    interceptor_class = _interceptor.UnaryStreamClientInterceptor


class StreamUnary(_Streamed, _base_channel.StreamUnaryMultiCallable):  # type: ignore[misc]
    """Makes stream-unary calls."""

    __slots__ = ()
    call_class = _call.StreamUnaryCall
    intercepted_class = _interceptor.InterceptedStreamUnaryCall
    interceptor_class = _interceptor.StreamUnaryClientInterceptor


class StreamStream(_Streamed, _base_channel.StreamStreamMultiCallable):  # type: ignore[misc]
    """Makes stream-stream calls."""

    __slots__ = ()
    call_class = _call.StreamStreamCall
    intercepted_class = _interceptor.InterceptedStreamStreamCall
    interceptor_class = _interceptor.StreamStreamClientInterceptor


def makes(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method of a channel, as generated stubs call it, that makes what `kind` is of a method's name."""

    def make(
        self: Any,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Deserialize = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """Return what makes calls of this method."""
        return kind(self, method, request_serializer, response_deserializer)

    return make


class SimChannel(_base_channel.Channel):  # type: ignore[misc]
    """A channel of a simulation; everything that a grpc.aio.Channel has."""

    def __init__(self, dialer: Dialer, interceptors: Sequence[Any]) -> None:
        self.dialer = dialer
        self._interceptors: dict[type, list[Any]] = {kind: [] for kind in _KINDS}
        for interceptor in interceptors:
            kinds = [kind for kind in _KINDS if isinstance(interceptor, kind)]
            if not kinds:
                names = " or ".join(kind.__name__ for kind in _KINDS)
                raise ValueError(f"Interceptor {interceptor} must be {names}. ")
            self._interceptors[kinds[0]].append(interceptor)
        self._calls: list[ref[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: types.TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Take no more calls, and cancel those that are open, after so many virtual seconds."""
        if self.dialer.is_closed:
            return
        if grace and grace < 0:
            raise ValueError(f"grace must be non-negative, got {grace}.")
        self.dialer.is_closed = True
        calls = [call for each in self._calls if (call := each()) is not None]
        if grace:
            ends = [self.dialer.engine.loop.create_task(_ended(call)) for call in calls if not call.done()]
            if ends:
                await asyncio.wait(ends, timeout=grace)
        for call in calls:
            call.cancel()
        self._calls.clear()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return whether there is a server."""
        return self.dialer.state()

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another one."""
        await self.dialer.change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until there is a server."""
        await turn()
        while (state := self.get_state()) is not grpc.ChannelConnectivity.READY:
            await self.wait_for_state_change(state)

    unary_unary = makes(UnaryUnary)
    unary_stream = makes(UnaryStream)
    stream_unary = makes(StreamUnary)
    stream_stream = makes(StreamStream)

    def _chain(self, kind: type) -> list[Any]:
        return self._interceptors[kind]

    def _began(self, call: Any) -> Any:
        """Remember a call, to cancel it when the channel is closed."""
        calls = self._calls
        if len(calls) >= _SWEEP:
            calls[:] = [each for each in calls if (known := each()) is not None and not known.done()]
        calls.append(ref(call))
        return call


async def _ended(call: Any) -> None:
    with suppress(Exception):  # how it ended is its owner's business
        await call.code()


def _with_compression(metadata: Any, compression: Any) -> Any:
    pairs = () if metadata is None else metadata
    if not isinstance(pairs, (tuple, grpc.aio.Metadata)):
        pairs = tuple(pairs)
    if compression:
        pairs = tuple(_compression.augment_metadata(pairs, compression) or ())
    return pairs


_KINDS = (
    _interceptor.UnaryUnaryClientInterceptor,
    _interceptor.UnaryStreamClientInterceptor,
    _interceptor.StreamUnaryClientInterceptor,
    _interceptor.StreamStreamClientInterceptor,
)

_SWEEP = 256
"""So many calls of a channel are remembered before those that have ended are forgotten."""
