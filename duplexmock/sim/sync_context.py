"""What a synchronous handler is given: its context, and the requests. The texts and the habits are grpc._server's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self

import grpc
from grpc._cython import cygrpc

from duplexmock.core.status import Code
from duplexmock.sim.context import auth_context
from duplexmock.sim.turns import Turns

if TYPE_CHECKING:
    from duplexmock.sim.server import ServerEnd


class Ended(Exception):
    """The call has been ended, and the handler is not asked any more."""


class SyncContext(grpc.ServicerContext):  # type: ignore[misc]
    """The context of one call."""

    def __init__(self, turns: Turns, end: ServerEnd) -> None:
        self.turns = turns
        self.server_end = end
        self.rpc_errors: list[BaseException] = []
        """Those that were raised because the client is gone: they are no errors of the handler."""
        self._code: Any = None
        self._details: bytes | None = None
        self._trailing_metadata: Any = None
        self._is_aborted = False

    # What a handler asks

    def is_active(self) -> bool:
        """Tell whether the client waits for more."""
        return not self.server_end.is_client_gone and not self.server_end.has_status

    def time_remaining(self) -> float:
        """Return the virtual seconds until the deadline; without one, a number that is as large as grpcio's."""
        remaining = self.server_end.time_remaining()
        return NO_DEADLINE_S if remaining is None else remaining

    def cancel(self) -> None:
        """End the call by CANCELLED."""
        self.server_end.cancelled_here()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call it when the call has ended; return False, and do not, where it has already. It may not wait."""
        if not self.is_active():
            return False
        self.server_end.callbacks.append(lambda: _called(callback))
        return True

    def invocation_metadata(self) -> Sequence[Any]:
        """Return the client's metadata, `user-agent` before all."""
        return self.server_end.invocation_metadata

    def peer(self) -> str:
        """Return the client's address, which is made up."""
        return self.server_end.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """Return None: nobody is authenticated."""
        return None

    def peer_identity_key(self) -> str | None:
        """Return None: nobody is authenticated."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what grpcio returns on a plaintext connection."""
        return auth_context()

    def set_compression(self, compression: Any) -> None:
        """Accept it: nothing is compressed here."""

    def disable_next_message_compression(self) -> None:
        """Accept it: nothing is compressed here."""

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Send the ServerHeader; ValueError where it was sent, grpc.RpcError where the client is gone."""
        end = self.server_end
        if end.is_client_gone:
            self.raise_rpc_error()
        if end.has_header:
            raise ValueError("Initial metadata no longer allowed!")
        end.has_header = True
        self.attempt(end.send_header(tuple(initial_metadata or ())))

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Set what the trailer carries."""
        self._trailing_metadata = trailing_metadata

    def trailing_metadata(self) -> Any:
        """Return what was set."""
        return self._trailing_metadata

    def abort(self, code: Any, details: str) -> NoReturn:
        """End the call with this status, by an exception; OK is taken for UNKNOWN."""
        if code == grpc.StatusCode.OK:
            _LOGGER.error("abort() called with StatusCode.OK; returning UNKNOWN")
            code, details = grpc.StatusCode.UNKNOWN, ""
        self._code, self._details, self._is_aborted = code, _encoded(details), True
        raise Exception

    def abort_with_status(self, status: Any) -> NoReturn:
        """End the call with this status, by an exception."""
        self._trailing_metadata = status.trailing_metadata
        self.abort(status.code, status.details)

    def set_code(self, code: Any) -> None:
        """Set the status code of the call's end."""
        self._code = code

    def code(self) -> Any:
        """Return what was set."""
        return self._code

    def set_details(self, details: str) -> None:
        """Set the status message of the call's end."""
        self._details = _encoded(details)

    def details(self) -> Any:
        """Return what was set, as bytes."""
        return self._details

    # What runs the handler asks

    def raise_rpc_error(self) -> NoReturn:
        """Raise what a handler is told by that its client is gone."""
        error = grpc.RpcError()
        self.rpc_errors.append(error)
        raise error

    def raised(self, error: Exception, sentence: str) -> None:
        """End the call by what its handler has raised."""
        if self._is_aborted:
            self.end(Code.UNKNOWN, "RPC Aborted")
        elif error not in self.rpc_errors:
            try:
                details = sentence.format(error)
            except Exception:
                details = "Calling application raised unprintable Exception!"
            _LOGGER.exception(details)
            self.server_end.failed(error)
            self.end(Code.UNKNOWN, details)

    def end(self, code: Code, details: str) -> None:
        """End the call with this status, or what of it was set."""
        if self.is_active():
            number = int(code) if self._code is None else _number(self._code)
            text = details if self._details is None else self._details.decode("utf-8", "replace")
            self.attempt(self.server_end.send_status(number, text, tuple(self._trailing_metadata or ())))

    def end_as_set(self) -> None:
        """End the call with the status that was set, or OK."""
        self.end(Code.OK, "")

    def reply(self, payload: bytes) -> None:
        """Send the one response and the status that was set, or OK."""
        if not self.is_active():
            return
        end = self.server_end
        end.code = 0 if self._code is None else _number(self._code)
        end.details = "" if self._details is None else self._details.decode("utf-8", "replace")
        end.trailing_metadata = tuple(self._trailing_metadata or ())
        self.attempt(end.send_reply(payload))

    def write(self, payload: bytes) -> None:
        """Send a message; where that cannot be, the client is gone or will be."""
        end = self.server_end
        before = () if end.has_header else end.header()
        end.has_header = True
        try:
            self.turns.wait(end.lane_out.write(payload, before))
        except cygrpc.ExecuteBatchError:
            raise Ended from None

    def attempt(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send something, if there is still somebody who would hear it."""
        with suppress(cygrpc.ExecuteBatchError):
            self.turns.wait(sending)


class Requests:
    """The requests of a call."""

    def __init__(self, context: SyncContext, deserialize: Any) -> None:
        self._context = context
        self._deserialize = deserialize

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        context, end = self._context, self._context.server_end
        if end.is_client_gone:
            context.raise_rpc_error()
        if not context.is_active():
            raise StopIteration
        payload = context.turns.wait(end.lane_in.read())
        if end.is_client_gone:
            context.raise_rpc_error()
        if payload is cygrpc.EOF:
            raise StopIteration
        try:
            return deserialized(context, payload, self._deserialize)
        except Ended:
            raise StopIteration from None

    def next(self) -> Any:
        """Return the next request."""
        return self.__next__()


def deserialized(context: SyncContext, payload: bytes, deserialize: Any) -> Any:
    """Return a request; where that cannot be, end the call, and raise Ended."""
    if deserialize is None:
        return payload
    try:
        return deserialize(payload)
    except Exception:
        _LOGGER.exception("Exception deserializing message!")
        context.end(Code.INTERNAL, "Exception deserializing request!")
        raise Ended from None


def _number(code: Any) -> int:
    return int(code.value[0]) if isinstance(code, grpc.StatusCode) else int(Code.UNKNOWN)


def _encoded(details: Any) -> bytes:
    return details if isinstance(details, bytes) else str(details).encode()


def _called(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        _LOGGER.exception("Exception calling callback!")


NO_DEADLINE_S = 9.223372035e18
_LOGGER = logging.getLogger("duplexmock.sim")
