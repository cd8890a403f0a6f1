"""The log of a run: what was sent, delivered and read, as plain tuples; Sessions are made of it when somebody asks.

An entry is (at_s, call, point, kind, what): `kind` is that of a row (core/rows.py), `what` the payload of a message,
the parts of a header or trailer (parts.py), or a code. Of one call, the entries that one end has seen are its Session:

    seen by the client    what the client sent, as it was SENT, and what the server sent, as it ARRIVED
    seen by the server    the other way round
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from duplexmock.core.connection import Connection
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientMessage,
    Event,
    Reset,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.sim.parts import HeaderParts, TrailerParts, client_header, server_header, server_trailer


class Point(IntEnum):
    """Where an event was seen."""

    SENT = 0
    ARRIVED = 1
    READ = 2


class Logged(NamedTuple):
    """What happened, where and when; entries of the log are plain tuples of this form."""

    at_s: float
    call: int
    point: int
    kind: int
    what: Any


Entries = list[tuple[float, int, int, int, Any]]


def sessions(log: Entries, side: Side, connection: Connection, open_reason: str) -> tuple[Session, ...]:
    """Return what one side saw of each call, in the order in which the calls were opened."""
    of_client = Point.SENT if side is Side.CLIENT else Point.ARRIVED
    of_server = Point.ARRIVED if side is Side.CLIENT else Point.SENT
    calls: dict[int, list[Entry]] = {}
    for at_s, call, point, kind, what in log:
        if point == (of_client if kind in _CLIENT_KINDS else of_server):
            if kind in _OPENS:
                calls[call] = []
            if call in calls:
                calls[call].append(Entry(round(at_s * 1e9), event(kind, what)))
    made = []
    for number, entries in calls.items():
        ended = next((_ENDINGS[type(entry.event)] for entry in entries if type(entry.event) in _ENDINGS), None)
        reason = "" if ended else open_reason
        made.append(Session(number, connection, 2 * number - 1, tuple(entries), ended or Ended.INCOMPLETE, reason))
    return tuple(made)


def event(kind: int, what: Any) -> Event:
    """Return the event of an entry."""
    match kind:
        case RowKind.CLIENT_MESSAGE:
            return ClientMessage(what)
        case RowKind.SERVER_MESSAGE:
            return ServerMessage(what)
        case RowKind.CLIENT_HALF_CLOSE:
            return ClientHalfClose()
        case RowKind.CANCEL:
            return Cancel(what)
        case RowKind.RESET:
            return Reset(what)
    match what:
        case HeaderParts():
            return client_header(what)
        case TrailerParts():
            return server_trailer(what)
        case _:
            return server_header(what)


def messages(log: Entries, call: int, kind: RowKind, point: Point) -> Sequence[bytes]:
    """Return the payloads of one lane that were seen at a point."""
    return [what for _, number, seen, each, what in log if (number, seen, each) == (call, point, kind)]


_OPENS = (RowKind.CLIENT_HEADER,)
_CLIENT_KINDS = (RowKind.CLIENT_HEADER, RowKind.CLIENT_MESSAGE, RowKind.CLIENT_HALF_CLOSE, RowKind.CANCEL)
_ENDINGS: dict[type[Event], Ended] = {
    ServerTrailer: Ended.TRAILER,
    Reset: Ended.RESET,
    Cancel: Ended.CANCELLED,
}
