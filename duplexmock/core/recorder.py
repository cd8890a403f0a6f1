"""The Recorder of one call: rows in, a Session out. Pure; the file's reader and the tests feed it.

The first ending that is seen decides how the session ended, and later ones are kept as entries: a Cancel that crossed
the trailer on the wire stands behind it (gRFC A16 keeps both as well).
"""

from __future__ import annotations

from dataclasses import replace

from duplexmock.core.call import Lanes, LaneState
from duplexmock.core.connection import Closing, Connection
from duplexmock.core.events import Cancel, ClientHeader, ClientMessage, Event, Reset, ServerMessage, ServerTrailer
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.errors import ProtocolError


class Recorder:
    """Collects one call.

    `add` raises ProtocolError for a row that cannot come next; whoever reads a file turns that into a FixtureError
    that says where.
    """

    def __init__(self, number: int, stream_id: int, header: ClientHeader, at_ns: int) -> None:
        self.number = number
        self.stream_id = stream_id
        self._lanes = Lanes()
        self._entries: list[Entry] = []
        self._pieces: dict[int, list[bytes]] = {}
        self._ended: Ended | None = None
        self._reason = ""
        self._append(at_ns, header)

    def add(self, at_ns: int, row: Row) -> None:
        """Take the call's next row."""
        kind = row[0]
        # Messages first, and without the table: a message changes no lane. Reading a million of them is mostly this.
        if kind == RowKind.CLIENT_MESSAGE:
            client = ClientMessage(self._whole(RowKind.CLIENT_PART, row[3]) if self._pieces else row[3], row[2])
            if self._lanes.client is not LaneState.OPEN:
                self._lanes.advance(client)
            self._entries.append(Entry(at_ns, client))
        elif kind == RowKind.SERVER_MESSAGE:
            server = ServerMessage(self._whole(RowKind.SERVER_PART, row[3]) if self._pieces else row[3], row[2])
            if self._lanes.server is not LaneState.OPEN:
                self._lanes.advance(server)
            self._entries.append(Entry(at_ns, server))
        else:
            self._add_rare(at_ns, row)

    def session(self, connection: Connection) -> Session:
        """Return what was seen so far; a call without an ending of its own ended with its connection, or not at all."""
        ended, reason = (self._ended, self._reason) if self._ended else unfinished(connection)
        return Session(self.number, connection, self.stream_id, tuple(self._entries), ended, reason)

    def _add_rare(self, at_ns: int, row: Row) -> None:
        match row:
            case (RowKind.CLIENT_PART | RowKind.SERVER_PART as kind, _, piece):
                self._pieces.setdefault(kind, []).append(piece)
            case (RowKind.RESET_AFTER, _, code):
                self._amend_trailer(code)
            case (RowKind.DAMAGED, _, reason):
                self._end(Ended.DAMAGED, reason)
            case (
                RowKind.CLIENT_HALF_CLOSE
                | RowKind.CANCEL
                | RowKind.SERVER_HEADER
                | RowKind.SERVER_TRAILER
                | RowKind.RESET,
                _,
                event,
            ):
                self._append(at_ns, event)
            case (RowKind.CLIENT_HEADER, _, ClientHeader() as header, _, _):
                self._append(at_ns, header)  # a second one: the table refuses it
            case _:
                raise ProtocolError(f"a row of kind {row[0]!r} does not belong to a call")

    def _append(self, at_ns: int, event: Event) -> None:
        self._lanes.advance(event)
        self._entries.append(Entry(at_ns, event))
        match event:
            case ServerTrailer():
                self._end(Ended.TRAILER)
            case Reset():
                self._end(Ended.RESET)
            case Cancel():
                self._end(Ended.CANCELLED)

    def _end(self, ended: Ended, reason: str = "") -> None:
        if self._ended is None:
            self._ended, self._reason = ended, reason

    def _whole(self, kind: RowKind, last: bytes) -> bytes:
        return b"".join((*self._pieces.pop(kind, ()), last))

    def _amend_trailer(self, code: int) -> None:
        for position in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[position]
            if isinstance(entry.event, ServerTrailer):
                self._entries[position] = replace(entry, event=replace(entry.event, reset_after=code))
                return
        raise ProtocolError("a reset behind a trailer that is not there")


def unfinished(connection: Connection) -> tuple[Ended, str]:
    """Say how a call ended that has no ending of its own, and why: with its connection, or with the recording."""
    closed = connection.closed
    if closed is None or closed.how is Closing.STOPPED:
        return Ended.INCOMPLETE, "the recording stops before the call's end"
    by = f" by the {closed.side.name.lower()}" if closed.side else ""
    return Ended.CONNECTION_LOST, closed.reason or f"the connection was {closed.how.value}{by}"
