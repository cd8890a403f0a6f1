"""What can be seen on a call: seven events of gRPC's binary log (gRFC A16), and Reset.

A call is two FIFO lanes of events, one a side:

    client lane  >   ClientHeader  ClientMessage*  ClientHalfClose?  Cancel?
    server lane  <   ServerHeader?  ServerMessage*  ( ServerTrailer | Reset )?

Events are values without time and without ids: an Entry (session.py) says when one was seen. What may follow what is
the table in call.py.
"""

from __future__ import annotations

from enum import Enum

from duplexmock.core.deadline import timeout_ns
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Status
from duplexmock.core.value import value


class Side(Enum):
    """Who sent it; the value is the arrow that timelines and words draw."""

    CLIENT = ">"
    SERVER = "<"

    # Members are singletons. Enum's own hash is a function of Python, which the tables of a call would wait for.
    __hash__ = object.__hash__

    @property
    def other(self) -> Side:
        """Return the opposite side."""
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


@value
class ClientHeader:
    """The client opens the call; `metadata` is all but the pseudo-headers, `grpc-timeout` included, as it came."""

    method: str
    metadata: Metadata = Metadata()
    authority: str = ""
    scheme: str = "http"

    @property
    def timeout_ns(self) -> int | None:
        """Return the deadline the client announced, counted from this event; None without one."""
        value = self.metadata.first("grpc-timeout")
        return timeout_ns(value) if isinstance(value, str) else None


@value
class ClientMessage:
    """One message of the client: the payload behind the 5-byte prefix, compressed where bit 0 of `flags` says so."""

    payload: bytes
    flags: int = 0


@value
class ClientHalfClose:
    """The client sends no more messages (END_STREAM); the server may go on for as long as it likes."""


@value
class Cancel:
    """The client gave the call up: RST_STREAM with `code`. A client's deadline looks the same on the wire."""

    code: int


@value
class ServerHeader:
    """The server's initial metadata; `http_status` is `:status`."""

    metadata: Metadata = Metadata()
    http_status: int = 200


@value
class ServerMessage:
    """One message of the server; fields as in ClientMessage."""

    payload: bytes
    flags: int = 0


@value
class ServerTrailer:
    """The server ends the call.

    `status` is None where no readable `grpc-status` came (END_STREAM without trailers, or a proxy's error page).
    `metadata` holds what else the trailers carried. `http_status` is set in trailers-only answers, where this event
    comes without a ServerHeader. `reset_after` is the code of a RST_STREAM that the server sent behind its trailers
    because the client had not half-closed (RFC 9113 section 8.1), or None.
    """

    status: Status | None
    metadata: Metadata = Metadata()
    http_status: int | None = None
    reset_after: int | None = None


@value
class Reset:
    """The server gave the call up without trailers: RST_STREAM with `code`."""

    code: int


ClientEvent = ClientHeader | ClientMessage | ClientHalfClose | Cancel
ServerEvent = ServerHeader | ServerMessage | ServerTrailer | Reset
Event = ClientEvent | ServerEvent

LAST_WORDS = (ServerTrailer, Reset, Cancel)
"""What ends a call, whoever says it."""

CLIENT_EVENTS = (ClientHeader, ClientMessage, ClientHalfClose, Cancel)
SERVER_EVENTS = (ServerHeader, ServerMessage, ServerTrailer, Reset)
_SIDES = {**dict.fromkeys(CLIENT_EVENTS, Side.CLIENT), **dict.fromkeys(SERVER_EVENTS, Side.SERVER)}


def side_of(event: Event) -> Side:
    """Return the side whose lane the event belongs to."""
    return _SIDES[type(event)]


def event_name(event: Event) -> str:
    """Return the event's name: `ClientHalfClose`."""
    return type(event).__name__
