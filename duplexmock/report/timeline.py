"""The timeline of a call, for people:

    echo_three.duplex   session 1   /chat.ChatService/Chat   127.0.0.1:41234 > 127.0.0.1:50051
            0.000 ms  >  ClientHeader  grpc-timeout: 10S
            0.412 ms  <  ServerHeader
           13.020 ms  >  ClientMessage #1  {sender: 'Client', message: 'Hi there! Message 0', timestamp: 1795348800}
           13.377 ms  <  ServerTrailer OK

Times count from the call's first entry. Behind an event's name stand its number, code or status, then its metadata or
payload, then what else there is to say. Two pairs that every call carries are left out, because they say nothing:
`te: trailers` and `content-type: application/grpc`; JSON lines have them. Whatever a peer chose is escaped, so that no
control character reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from duplexmock.core.connection import GoAway
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
    Side,
    event_name,
    side_of,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Status, code_name, error_name
from duplexmock.report.contents import Content, Contents
from duplexmock.report.endings import derived, is_deadline
from duplexmock.report.escaping import escaped
from duplexmock.schema.reader import Reader
from duplexmock.schema.text import DEFAULT_LIMIT, line, quoted
from duplexmock.schema.wireformat import decode


@dataclass(frozen=True, slots=True)
class Line:
    """One line: when, who (None for what is no event), what, and the details. `str` puts it together."""

    stamp: str
    side: Side | None
    what: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        arrow = self.side.value if self.side else " "
        return "  ".join((f"{self.stamp:>16}", arrow, self.what, *self.details))


def title(name: str, session: Session) -> str:
    """Return the line above a timeline; `name` is what the fixture is called there."""
    peers = f"{session.connection.client} > {session.connection.server}"
    return "   ".join((escaped(name), f"session {session.number}", escaped(session.method), escaped(peers)))


def timeline(
    session: Session,
    reader: Reader,
    limit: int = DEFAULT_LIMIT,
    marks: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[Line]:
    """Yield a line for each entry and each GOAWAY on the way, and one more where the call has no end of its own.

    Payloads, metadata and texts take about `limit` characters each. `marks` are what else is to be said of entries, by
    their position.
    """
    contents = Contents(session.method, reader)
    goaways = list(_goaways(session))
    start_ns = session.entries[0].at_ns
    for position, entry in enumerate(session.entries):
        while goaways and goaways[0].at_ns < entry.at_ns:
            yield _goaway(goaways.pop(0), start_ns, limit)
        what, details = _told(session, entry, contents.see(entry.event), limit)
        said = (*details, marks.get(position, ""))
        yield Line(_stamp(entry.at_ns - start_ns), side_of(entry.event), what, tuple(filter(None, said)))
    yield from (_goaway(goaway, start_ns, limit) for goaway in goaways)
    if session.ended in _NO_END_OF_ITS_OWN:
        reason = f": {escaped(session.reason)}" if session.reason else ""
        yield Line(_stamp_of_end(session), None, f"{session.ended.value}{reason}")


def event_line(
    method: str,
    event: Event,
    messages_before: int,
    reader: Reader,
    limit: int = DEFAULT_LIMIT,
    header: Event | None = None,
) -> tuple[str, tuple[str, ...]]:
    """Return what a line says of an event that did not take place: its name, and the details.

    `messages_before` are those of its lane that came before it, `header` is the lane's header, which says how its
    messages are compressed.
    """
    name = event_name(event)
    match event:
        case ClientHeader(_, metadata) | ServerHeader(metadata):
            told: tuple[str, ...] = (metadata_line(metadata, limit),)
        case ClientMessage(payload) | ServerMessage(payload):
            contents = Contents(method, reader)
            if header is not None:
                contents.see(header)
            content = contents.see(event)
            assert content is not None
            name = f"{name} #{messages_before + 1}"
            told = line(content.reading, limit), _compression(content, payload, limit)
        case ClientHalfClose():
            told = ()
        case Cancel(code) | Reset(code):
            name, told = f"{name} {error_name(code)}", ()
        case ServerTrailer(Status() as status, metadata):
            name = f"{name} {code_name(status.code)}"
            told = (
                quoted(status.message, limit) if status.message else "",
                _details(status, limit),
                metadata_line(metadata, limit),
            )
        case ServerTrailer():
            name, told = f"{name} without a status", ()
        case _:
            raise TypeError(f"{event!r} is no event")
    return name, tuple(filter(None, told))


def metadata_line(metadata: Metadata, limit: int = DEFAULT_LIMIT) -> str:
    """Write metadata as `key: value, key: value`, values in quotes where they would not stand out without."""
    pairs = [pair for pair in metadata if pair not in _SAYS_NOTHING]
    written: list[str] = []
    room = limit
    for key, value in pairs:
        pair = f"{escaped(key)}: {_value(value, limit // 2)}"
        room -= len(pair) + 2
        if room < 0:
            written.append("…")
            break
        written.append(pair)
    return ", ".join(written)


def _told(session: Session, entry: Entry, content: Content | None, limit: int) -> tuple[str, tuple[str, ...]]:
    """Return what happened, and the details: empty ones are left out."""
    event = entry.event
    name = event_name(event)
    match event:
        case ClientHeader(_, metadata):
            return name, (metadata_line(metadata, limit),)
        case ServerHeader(metadata, http_status):
            return name, (_http(http_status), metadata_line(metadata, limit))
        case ClientMessage(payload) | ServerMessage(payload):
            assert content is not None
            return f"{name} #{content.number}", (
                line(content.reading, limit),
                _compression(content, payload, limit),
            )
        case ClientHalfClose():
            return name, ()
        case Cancel(code):
            return f"{name} {error_name(code)}", ("deadline" if is_deadline(session, entry) else "",)
        case ServerTrailer():
            return _trailer(session, event, limit)
        case Reset(code):
            return f"{name} {error_name(code)}", (_derived(session, event),)
        case _:
            raise TypeError(f"{event!r} is no event")


def _trailer(session: Session, trailer: ServerTrailer, limit: int) -> tuple[str, tuple[str, ...]]:
    name = event_name(trailer)
    status = trailer.status
    return f"{name} {code_name(status.code)}" if status else f"{name} {_derived(session, trailer)}", (
        quoted(status.message, limit) if status and status.message else "",
        _details(status, limit),
        "" if trailer.http_status is None else "trailers-only",
        "" if trailer.http_status is None else _http(trailer.http_status),
        metadata_line(trailer.metadata, limit),
        "" if trailer.reset_after is None else f"reset_after {error_name(trailer.reset_after)}",
    )


def _derived(session: Session, event: ServerTrailer | Reset) -> str:
    found = derived(session, event)
    return f"{found.code.name}, derived: {found.reason}" if found else ""


def _details(status: Status | None, limit: int) -> str:
    """Show `grpc-status-details-bin`, a google.rpc.Status, by field number: no descriptor set has to hold it."""
    if status is None or status.details is None:
        return ""
    fields = decode(status.details)
    return f"details {line(status.details if fields is None else fields, limit)}"


def _compression(content: Content, payload: bytes, limit: int) -> str:
    if not content.compressed:
        return ""
    encoding = _value(content.encoding, limit) if content.encoding else ""
    return ", ".join(filter(None, (encoding, f"{len(payload)} bytes", content.problem)))


def _http(http_status: int) -> str:
    return "" if http_status == 200 else f"HTTP {http_status}"


def _value(value: str | bytes, limit: int) -> str:
    if isinstance(value, str) and value and value.isprintable() and len(value) <= limit and not _HARD & set(value):
        return value
    return quoted(value, limit)


def _goaways(session: Session) -> Iterator[GoAway]:
    """Yield those that came while the call was open."""
    first_ns, last_ns = session.entries[0].at_ns, session.entries[-1].at_ns
    for goaway in session.connection.goaways:
        if first_ns <= goaway.at_ns and (goaway.at_ns <= last_ns or session.ended in _NO_END_OF_ITS_OWN):
            yield goaway


def _goaway(goaway: GoAway, start_ns: int, limit: int) -> Line:
    debug = (quoted(goaway.debug, limit),) if goaway.debug else ()
    details = (f"last stream {goaway.last_stream_id}", *debug)
    return Line(_stamp(goaway.at_ns - start_ns), goaway.side, f"GOAWAY {error_name(goaway.code)}", details)


def _stamp(ns: int) -> str:
    return f"{ns / 1e6:.3f} ms"


def _stamp_of_end(session: Session) -> str:
    """Tell when the connection went; what was not seen to end has no time."""
    closed = session.connection.closed
    if session.ended is Ended.CONNECTION_LOST and closed is not None:
        return _stamp(closed.at_ns - session.entries[0].at_ns)
    return "–  "


_NO_END_OF_ITS_OWN = (Ended.CONNECTION_LOST, Ended.INCOMPLETE, Ended.DAMAGED)

_SAYS_NOTHING = {("te", "trailers"), ("content-type", "application/grpc")}

_HARD = set(" ,'\"")
"""What makes a value hard to tell from the pairs around it."""
