"""One call of a synchronous stub: grpc.Call, grpc.Future, the iterator over the responses, and the error that it is.

It stands over the same ClientEnd as a grpc.aio call (client.py). Requests are taken from their iterator by a thread of
its own, as grpcio does. What blocks hands the baton over (turns.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc
from grpc._cython.cygrpc import EOF, ExecuteBatchError, _Metadatum

from duplexmock.core.status import Code
from duplexmock.sim.client import ClientEnd
from duplexmock.sim.lanes import turn
from duplexmock.sim.parts import Pairs
from duplexmock.sim.turns import Turns

Deserialize = Callable[[bytes], Any] | None
Serialize = Callable[[Any], bytes] | None


class SyncCall(grpc.RpcError, grpc.Call, grpc.Future):  # type: ignore[misc]
    """A call that has begun."""

    def __init__(self, end: ClientEnd, turns: Turns, deserialize: Deserialize) -> None:
        super().__init__()
        self._end = end
        self._turns = turns
        self._deserialize = deserialize
        self._response: Any = None
        self._was_cancelled = False
        self._taking: asyncio.Task[None] | None = None
        """What takes the one response of a call that has one."""

    # How it is begun

    def begin(self, opened: Awaitable[Any]) -> None:
        """Open the call; its end is told in `done` and its callbacks."""
        self._end.engine.loop.create_task(_opening(opened), name=f"call {self._end.line.number}")
        self._turns.wait(turn())  # its header is sent at once, whatever is done next

    def begin_for_one(self, opened: Awaitable[bytes | None]) -> None:
        """Open the call, and take its one response."""
        loop = self._end.engine.loop
        self._taking = loop.create_task(self._take(opened), name=f"call {self._end.line.number}")
        self._turns.wait(turn())

    def speak(self, requests: Iterator[Any], serialize: Serialize) -> Callable[[], None]:
        """Return what has to be called when messages may be sent: it lets a thread take the requests."""
        loop, number = self._end.engine.loop, self._end.line.number

        def begin() -> None:
            speaking = self._turns.run(lambda: _speak(self._turns, self._end, requests, serialize))
            loop.create_task(speaking, name=f"requests of call {number}")

        return begin

    # The status

    def is_active(self) -> bool:
        """Tell whether the status is not known."""
        return not self._end.done()

    def time_remaining(self) -> float | None:
        """Return the virtual seconds until the deadline, or None."""
        return self._end.time_remaining()

    def cancel(self) -> bool:
        """End the call; return whether it was open."""
        if self._end.done():
            return False
        self._was_cancelled = True
        self._end.cancel("Locally cancelled by application!")
        return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call it when the status is known; return False, and do not, where it is already.

        It is called by the loop: it may ask the call what is known, and may not wait.
        """
        if self.done():
            return False
        if self._taking is None:
            self._end.add_done_callback(lambda: _called(callback))
        else:
            self._taking.add_done_callback(lambda _: _called(callback))
        return True

    def initial_metadata(self) -> Any:
        """Wait for the ServerHeader's metadata."""
        if self._end.known_initial_metadata() is None:
            self._turns.wait(self._end.initial_metadata())
        return _metadata(self._end.known_initial_metadata())

    def trailing_metadata(self) -> Any:
        """Wait for the trailer's metadata."""
        return _metadata(self._status().trailing_metadata())

    def code(self) -> grpc.StatusCode:
        """Wait for the status code."""
        return _CODES[self._status().code()]

    def details(self) -> str:
        """Wait for the status message."""
        details: str = self._status().details()
        return details

    def debug_error_string(self) -> str | None:
        """Wait for the status; there is no more to be said of it."""
        text: str | None = self._status().debug_error_string()
        return text

    # The future

    def cancelled(self) -> bool:
        """Tell whether `cancel` ended it."""
        return self._was_cancelled

    def running(self) -> bool:
        """Tell whether the status is not known."""
        return not self.done()

    def done(self) -> bool:
        """Tell whether the status is known, and the one response, where there is one."""
        return self._end.done() and (self._taking is None or self._taking.done() or not self._end.is_ok())

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the one response; raise the call itself where the status is not OK.

        grpc.FutureTimeoutError after so many virtual seconds, grpc.FutureCancelledError where it was cancelled.
        """
        self._status_within(timeout)
        if self.code() is grpc.StatusCode.OK:
            return self._response
        if self._was_cancelled:
            raise grpc.FutureCancelledError
        raise self

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Wait for the end, and return the call itself where the status is not OK, else None."""
        self._status_within(timeout)
        if self.code() is grpc.StatusCode.OK:
            return None
        if self._was_cancelled:
            raise grpc.FutureCancelledError
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        """Wait for the end, and return the traceback of what `result` would raise, if anything."""
        error = self.exception(timeout)
        if error is None:
            return None
        try:
            raise error
        except Exception as raised:
            return raised.__traceback__

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Call it with this call when the status is known; by the loop, as with `add_callback`."""
        if not self.add_callback(lambda: fn(self)):
            fn(self)

    # The iterator

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._end.done():
            payload = self._turns.wait(self._end.receive_serialized_message())
            if payload is not EOF:
                response = self._read(payload)
                if response is not None:
                    return response
        if self.code() is grpc.StatusCode.OK:
            raise StopIteration
        raise self

    next = __next__

    def __repr__(self) -> str:
        status = self._end.known_status()
        if status is None:
            return f"<{type(self).__name__} object>"
        text = f"<{type(self).__name__} of RPC that terminated with:\n\tstatus = {_CODES[status.code()]}\n"
        text += f'\tdetails = "{status.details()}"\n'
        if status.code() != Code.OK:
            text += f'\tdebug_error_string = "{status.debug_error_string()}"\n'
        return f"{text}>"

    __str__ = __repr__

    def __del__(self) -> None:
        end = self._end
        if not end.done() and not end.engine.loop.is_closed():
            end.cancel("Cancelled upon garbage collection!")

    async def _take(self, opened: Awaitable[bytes | None]) -> None:
        try:
            payload = await opened
        except ExecuteBatchError:
            self._end.fail(Code.INTERNAL, "Invalid metadata")
            return
        if payload is not None and self._end.is_ok():
            self._response = self._read(payload)

    def _read(self, payload: bytes) -> Any:
        """Return a message; where that cannot be, end the call."""
        if self._deserialize is None:
            return payload
        try:
            return self._deserialize(payload)
        except Exception:
            _LOGGER.exception("Exception deserializing message!")
            self._end.abandon(Code.INTERNAL, "Exception deserializing response!")
            return None

    def _status(self) -> Any:
        if not self._end.done():
            self._turns.wait(self._end.status())
        return self._end.known_status()

    def _status_within(self, timeout: float | None) -> None:
        if self.done():
            return
        ending = self._taking or self._end.engine.loop.create_task(self._end.status(), name="the end of a call")
        if timeout is None:
            self._turns.wait(ending)
            return
        _, late = self._turns.wait(asyncio.wait((ending,), timeout=timeout))
        if late:
            raise grpc.FutureTimeoutError


def _speak(turns: Turns, end: ClientEnd, requests: Iterator[Any], serialize: Serialize) -> None:
    """Send what an iterator yields, and the half-close at its end; in a thread of its own."""
    while True:
        try:
            request = next(requests)
        except StopIteration:
            break
        except Exception:
            _LOGGER.exception("Exception iterating requests!")
            end.abandon(Code.UNKNOWN, "Exception iterating requests!")
            return
        payload = serialized(request, serialize)
        if end.done():
            return
        if payload is None:
            end.abandon(Code.INTERNAL, "Exception serializing request!")
            return
        try:
            turns.wait(end.send_serialized_message(payload))
        except ExecuteBatchError:
            return
        if end.done():
            return
    if not end.done():
        turns.wait(end.send_receive_close())


def serialized(message: Any, serialize: Serialize) -> bytes | None:
    """Return the bytes of a message, or None where that cannot be, which is logged."""
    if serialize is None:
        payload: bytes | None = message
        return payload
    try:
        return serialize(message)
    except Exception:
        _LOGGER.exception("Exception serializing message!")
        return None


async def _opening(opened: Awaitable[Any]) -> None:
    await opened


def _called(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        _LOGGER.exception("Exception in callback %r", callback)


def _metadata(pairs: Pairs | None) -> tuple[Any, ...]:
    return tuple([_Metadatum(key, value) for key, value in pairs or ()])


_CODES = {code.value[0]: code for code in grpc.StatusCode}
_LOGGER = logging.getLogger("duplexmock.sim")
