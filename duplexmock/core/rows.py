"""Rows: what the tap says and the store keeps, as plain tuples.

A recording passes a million messages a second at its best; a frozen dataclass a message would cost as much as all the
rest (bench: `recorded, of the pump`). So between wire and store, and in the file, an event is a tuple, and becomes a
value of events.py when it is read. All rows of one read share its time, which is therefore not in them.

    (CLIENT_MESSAGE | SERVER_MESSAGE, call, flags, payload)      the hot ones
    (CLIENT_PART | SERVER_PART, call, piece)                     the next piece of a message that is under way; the
                                                                 message row that follows carries the last piece
    (CLIENT_HEADER, call, ClientHeader, connection, stream_id)   opens a call
    (CLIENT_HALF_CLOSE | CANCEL | SERVER_HEADER | SERVER_TRAILER | RESET, call, event)
    (RESET_AFTER, call, code)                                    the server's RST_STREAM behind its trailer
    (DAMAGED, call, reason)                                      the rest of the call cannot be read
    (OPENED, number, Connection)   (SETTINGS, number, Settings)   (GOAWAY, number, GoAway)   (CLOSED, number, Closed)
    (DESCRIPTORS, 0, FileDescriptorSet)                          what the upstream said of its services, serialized
    (LEARNED, 0, Needs)   (EXPECTED, 0, Expectations)            what was learned of a session; in the header's place

`call` is the number of the session, `number` that of the connection; both count from 1 over the whole recording.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
)

Row = tuple[Any, ...]


class RowKind(IntEnum):
    """The first element of a row. The numbers are those of the file format: never change one."""

    CLIENT_MESSAGE = 0
    SERVER_MESSAGE = 1
    CLIENT_PART = 2
    SERVER_PART = 3
    CLIENT_HEADER = 4
    CLIENT_HALF_CLOSE = 5
    CANCEL = 6
    SERVER_HEADER = 7
    SERVER_TRAILER = 8
    RESET = 9
    RESET_AFTER = 10
    DAMAGED = 11
    OPENED = 12
    SETTINGS = 13
    GOAWAY = 14
    CLOSED = 15
    DESCRIPTORS = 16
    LEARNED = 17
    EXPECTED = 18


FIRST_OF_CONNECTION = RowKind.OPENED
"""Rows of this kind and higher belong to a connection, or to all of them, which is number 0; the others to a call."""


def event_of(row: Row) -> Event | None:
    """Return the value that a call's row stands for; None for what is no event (a part, RESET_AFTER, DAMAGED)."""
    kind = row[0]
    if kind == _CLIENT_MESSAGE:
        return ClientMessage(row[3], row[2])
    if kind == _SERVER_MESSAGE:
        return ServerMessage(row[3], row[2])
    if _CLIENT_HEADER <= kind <= _RESET:
        event: Event = row[2]
        return event
    return None


def row_of(event: Event, call: int, connection: int = 0, stream_id: int = 0) -> Row:
    """Return the row of a call's event; the last two are those of the stream that a ClientHeader opened."""
    if isinstance(event, ServerMessage):
        return (_SERVER_MESSAGE, call, event.flags, event.payload)
    if isinstance(event, ClientMessage):
        return (_CLIENT_MESSAGE, call, event.flags, event.payload)
    if isinstance(event, ClientHeader):
        return (_CLIENT_HEADER, call, event, connection, stream_id)
    return (_OTHERS[type(event)], call, event)


# Plain numbers: an enum's member takes longer to look up than the rest of a message's way takes.
_CLIENT_MESSAGE, _SERVER_MESSAGE = int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)
_CLIENT_HEADER, _RESET = int(RowKind.CLIENT_HEADER), int(RowKind.RESET)

_OTHERS: dict[type[Event], int] = {
    ClientHalfClose: int(RowKind.CLIENT_HALF_CLOSE),
    Cancel: int(RowKind.CANCEL),
    ServerHeader: int(RowKind.SERVER_HEADER),
    ServerTrailer: int(RowKind.SERVER_TRAILER),
    Reset: int(RowKind.RESET),
}
