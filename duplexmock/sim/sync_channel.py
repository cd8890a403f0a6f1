"""`sim.channel()`: a grpc.Channel whose calls are made in memory, for synchronous stubs.

What it does: all four call types, by call, `with_call` and `future`; metadata, deadlines in virtual time,
`wait_for_ready`, and what a call can be asked (sync_call.py). Credentials and compression are accepted and change
nothing. `subscribe` tells the state once: there is no connection that could be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import grpc
from grpc import _channel

from duplexmock.sim.channel import Dialer, makes
from duplexmock.sim.client import ClientEnd
from duplexmock.sim.sync_call import Deserialize, Serialize, SyncCall, serialized
from duplexmock.sim.turns import Turns

Begun = tuple[ClientEnd, SyncCall]


class _Method:
    """One method of a channel."""

    def __init__(self, channel: SyncChannel, method: str, serialize: Serialize, deserialize: Deserialize) -> None:
        self._channel = channel
        self._method = method
        self._serialize = serialize
        self._deserialize = deserialize

    def _begin(self, timeout: float | None, waits: bool | None) -> Begun:
        return self._channel.begin(self._method, timeout, waits, self._deserialize)

    def _request(self, request: Any) -> bytes:
        """Return a request's bytes, or raise what grpcio raises where there are none."""
        payload = serialized(request, self._serialize)
        if payload is None:
            details = "Exception serializing request!"
            raise _channel._InactiveRpcError(_channel._RPCState((), (), (), grpc.StatusCode.INTERNAL, details))
        if not isinstance(payload, bytes):
            kind = type(payload).__name__
            raise TypeError(f"Argument 'message' has incorrect type (expected bytes, got {kind})")
        return payload


class UnaryUnary(_Method, grpc.UnaryUnaryMultiCallable):  # type: ignore[misc]
    """Makes unary-unary calls."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Make a call, and return its response."""
        self._channel.check_open()
        return _response(self.future(request, timeout, metadata, credentials, wait_for_ready, compression))

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, grpc.Call]:
        """Make a call, and return its response and the call."""
        self._channel.check_open()
        call = self.future(request, timeout, metadata, credentials, wait_for_ready, compression)
        return _response(call), call

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> SyncCall:
        """Begin a call."""
        payload = self._request(request)
        end, call = self._begin(timeout, wait_for_ready)
        call.begin_for_one(end.unary_unary(payload, tuple(metadata or ())))
        return call


class UnaryStream(_Method, grpc.UnaryStreamMultiCallable):  # type: ignore[misc]
    """Makes unary-stream calls."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> SyncCall:
        """Begin a call."""
        payload = self._request(request)
        end, call = self._begin(timeout, wait_for_ready)
        call.begin(end.initiate_unary_stream(payload, tuple(metadata or ())))
        return call


class StreamUnary(_Method, grpc.StreamUnaryMultiCallable):  # type: ignore[misc]
    """Makes stream-unary calls."""

    def __call__(
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        """Make a call, and return its response."""
        self._channel.check_open()
        return _response(self.future(request_iterator, timeout, metadata, credentials, wait_for_ready, compression))

    def with_call(
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> tuple[Any, grpc.Call]:
        """Make a call, and return its response and the call."""
        self._channel.check_open()
        call = self.future(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)
        return _response(call), call

    def future(
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> SyncCall:
        """Begin a call."""
        end, call = self._begin(timeout, wait_for_ready)
        speak = call.speak(iter(request_iterator), self._serialize)
        call.begin_for_one(end.stream_unary(tuple(metadata or ()), speak))
        return call


class StreamStream(_Method, grpc.StreamStreamMultiCallable):  # type: ignore[misc]
    """Makes stream-stream calls."""

    def __call__(
        self,
        request_iterator: Iterable[Any],
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> SyncCall:
        """Begin a call."""
        end, call = self._begin(timeout, wait_for_ready)
        speak = call.speak(iter(request_iterator), self._serialize)
        call.begin(end.initiate_stream_stream(tuple(metadata or ()), speak))
        return call


class SyncChannel(grpc.Channel):  # type: ignore[misc]
    """A channel of a simulation; everything that a grpc.Channel has."""

    def __init__(self, dialer: Dialer, turns: Turns) -> None:
        self._dialer = dialer
        self._turns = turns
        self._open: list[ClientEnd] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def subscribe(self, callback: Callable[[Any], None], try_to_connect: bool | None = False) -> None:
        """Tell the channel's state, as it is."""
        callback(self._dialer.state())

    def unsubscribe(self, callback: Callable[[Any], None]) -> None:
        """Forget a callback, of which nothing was kept."""

    unary_unary = makes(UnaryUnary)
    unary_stream = makes(UnaryStream)
    stream_unary = makes(StreamUnary)
    stream_stream = makes(StreamStream)

    def close(self) -> None:
        """Take no more calls, and cancel those that are open."""
        self._dialer.is_closed = True
        for end in self._open:
            if not end.done():
                end.cancel("Channel closed!")
        self._open.clear()

    def check_open(self) -> None:
        """Raise ValueError where the channel is closed, with grpcio's text for calls that block."""
        if self._dialer.is_closed:
            raise ValueError("Cannot invoke RPC on closed channel!")

    def begin(self, method: str, timeout: float | None, waits: bool | None, deserialize: Deserialize) -> Begun:
        """Begin a call; ValueError where the channel is closed."""
        if self._dialer.is_closed:
            raise ValueError("Cannot invoke RPC: Channel closed!")
        deadline_s = None if timeout is None else self._dialer.engine.loop.now_s + timeout
        end = self._dialer.call(method.encode(), deadline_s, None, waits)
        if len(self._open) >= _SWEEP:
            self._open = [each for each in self._open if not each.done()]
        self._open.append(end)
        return end, SyncCall(end, self._turns, deserialize)


def _response(call: SyncCall) -> Any:
    """Return a call's response, or raise grpcio's own error."""
    if call.code() is grpc.StatusCode.OK:
        return call.result()
    metadata = call.initial_metadata(), call.trailing_metadata()
    state = _channel._RPCState((), *metadata, call.code(), call.details())
    state.debug_error_string = call.debug_error_string()
    raise _channel._InactiveRpcError(state)


_SWEEP = 256
"""So many calls of a channel are remembered before those that have ended are forgotten."""
