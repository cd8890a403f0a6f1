"""The servicer's context of a simulated call: everything that grpc.aio's has.

Its class is a grpc.aio.ServicerContext. What it raises, and when, is what grpcio's raises (grpc's
src/python/grpcio/grpc/_cython/_cygrpc/aio/server.pyx.pxi has no Python source that could be run here).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio
from grpc._cython import cygrpc

from duplexmock.core.status import Code
from duplexmock.sim.sendable import written

if TYPE_CHECKING:
    from duplexmock.sim.server import ServerEnd


class SimContext(grpc.aio.ServicerContext):  # type: ignore[misc]
    """What a handler is given beside the requests."""

    __slots__ = ("_deserialize", "_end", "_serialize")

    def __init__(self, end: ServerEnd, deserialize: Any, serialize: Any) -> None:
        self._end = end
        self._deserialize = deserialize
        self._serialize = serialize

    async def read(self) -> Any:
        """Read the client's next message, or grpc.aio.EOF."""
        end = self._end
        end.raise_for_termination()
        payload = await end.lane_in.read()
        end.raise_for_termination()
        if payload is cygrpc.EOF or not self._deserialize:
            return payload
        return self._deserialize(payload)

    async def write(self, message: Any) -> None:
        """Write a message."""
        end = self._end
        end.raise_for_termination()
        payload = written(message, self._serialize)
        end.is_next_uncompressed = False
        if end.has_header:
            await end.lane_out.write(payload)
        else:
            await end.lane_out.write(payload, end.header())
            end.has_header = True

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Send the ServerHeader."""
        end = self._end
        end.raise_for_termination()
        if end.has_header:
            raise cygrpc.UsageError("Send initial metadata failed: already sent")
        await end.send_header(tuple(initial_metadata))
        end.has_header = True

    async def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with this status; AbortError is raised."""
        end = self._end
        if end.abort_error is not None:
            raise cygrpc.UsageError("Abort already called!")
        for name, given, kind in (("details", details, str), ("trailing_metadata", trailing_metadata, tuple)):
            if not isinstance(given, kind):
                expected = f"expected {kind.__name__}, got {type(given).__name__}"
                raise TypeError(f"Argument {name!r} has incorrect type ({expected})")
        end.abort_error = cygrpc.AbortError("Locally aborted.")
        if trailing_metadata == () and end.trailing_metadata:
            trailing_metadata = end.trailing_metadata
        else:
            cygrpc.raise_if_not_valid_trailing_metadata(trailing_metadata)
            end.trailing_metadata = trailing_metadata
        if details == "" and end.details:
            details = end.details
        else:
            end.details = details
        end.code = _number(code)
        end.code_given = code
        end.has_status = True
        if end.code == Code.OK:
            raise AssertionError("Expecting non-ok status code.")
        await end.send_status(end.code, details, tuple(trailing_metadata))
        raise end.abort_error

    async def abort_with_status(self, status: Any) -> NoReturn:
        """End the call with this status; AbortError is raised."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Set what the trailer carries."""
        cygrpc.raise_if_not_valid_trailing_metadata(trailing_metadata)
        self._end.trailing_metadata = tuple(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """Return what the trailer will carry."""
        return self._end.trailing_metadata

    def invocation_metadata(self) -> Sequence[Any]:
        """Return the client's metadata, `user-agent` before all."""
        return self._end.invocation_metadata

    def set_code(self, code: Any) -> None:
        """Set the status code of the call's end."""
        self._end.code = _number(code)
        self._end.code_given = code

    def code(self) -> Any:
        """Return what was set."""
        return self._end.code_given

    def set_details(self, details: str) -> None:
        """Set the status message of the call's end."""
        if not isinstance(details, str):
            raise TypeError(f"Argument 'details' has incorrect type (expected str, got {type(details).__name__})")
        self._end.details = details

    def details(self) -> str:
        """Return what was set."""
        return self._end.details

    def set_compression(self, compression: Any) -> None:
        """Accept it: nothing is compressed here; RuntimeError behind the header, as grpcio's."""
        if self._end.has_header:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")
        self._end.compression = compression

    def disable_next_message_compression(self) -> None:
        """Accept it: nothing is compressed here."""
        self._end.is_next_uncompressed = True

    def peer(self) -> str:
        """Return the client's address, which is made up."""
        return self._end.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """Return None: nobody is authenticated."""
        return None

    def peer_identity_key(self) -> str | None:
        """Return None: nobody is authenticated."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what grpcio returns on a plaintext connection."""
        return auth_context()

    def time_remaining(self) -> float | None:
        """Return the virtual seconds until the deadline, or None."""
        return self._end.time_remaining()

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call it with this context when the handler has ended."""
        self._end.callbacks.append(lambda: callback(self))

    def done(self) -> bool:
        """Tell whether the status was sent."""
        return self._end.has_status

    def cancelled(self) -> bool:
        """Tell whether the status code that was set is CANCELLED."""
        return self._end.code == Code.CANCELLED


def auth_context() -> dict[str, Iterable[bytes]]:
    """Return what grpcio's contexts have on a plaintext connection."""
    return {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}


def _number(code: Any) -> int:
    if isinstance(code, int):
        return code if Code.OK <= code <= Code.DATA_LOSS else int(Code.UNKNOWN)
    if isinstance(code, grpc.StatusCode):
        return int(code.value[0])
    try:
        return int(code.value[0])
    except (KeyError, AttributeError):
        return int(Code.UNKNOWN)
