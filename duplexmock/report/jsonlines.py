"""The same for machines: one JSON object a line, first one for the fixture, then one for each session.

    {"fixture": name, "upstream": …, "started": "2026-11-22T12:00:00.000000000Z", "sessions": count,
     "complete": bool, "why_incomplete": text}

    {"session": number, "method": …, "authority": …, "stream": id,
     "connection": {"number": …, "client": peer, "server": peer, "goaways": [goaway, …], "closed": closed or null},
     "ended": "trailer" | "reset by the server" | "cancelled by the client" | "connection lost" | "incomplete" |
     "damaged", "reason": text, "entries": [entry, …]}

A goaway is {"at_ns": …, "side": …, "last_stream": id, "code": …, "name": …, "debug": base64}, closed is {"at_ns": …,
"how": "closed" | "reset" | "refused" | "stopped", "side": … or null, "reason": text}.

Every entry has `at_ns` (from the start of the recording, as all times), `side` ("client" or "server") and `event`, the
event's name, and by event

    ClientHeader     metadata, timeout_ns (null without a deadline)
    ClientMessage    number, flags, payload (base64, as it came), encoding (null where it is not compressed), message
    ServerMessage    (ProtoJSON, null where it is no message), problem (null, or why it cannot be decompressed)
    ClientHalfClose  –
    Cancel           code, name, deadline (whether the client's deadline was up)
    ServerHeader     metadata, http_status
    ServerTrailer    status ({code, name, message, details: base64 or null} or null), derived ({code, name, reason} or
                     null), metadata, http_status (null but in a trailers-only answer), reset_after ({code, name} or
                     null)
    Reset            code, name, derived

Behind a session stands a line for each side of it that was learned (report/needs.py):

    {"learned": number, "method": …, "side": …, "needs": [{"event": name, "needs": name of the last event needed, or
     null, "count": …, "ground": "structural" | "held" | "refuted" | "unknown", "probes": …, "reason": text}, …]}

Metadata is a list of [key, value], `-bin` values in base64. Names are never taken away and keep their meaning; new ones
may join.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from duplexmock.core.connection import Closed, Connection, GoAway
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
    event_name,
    side_of,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.session import Entry, Session
from duplexmock.core.status import Status, code_name, error_name
from duplexmock.report.contents import Content, Contents
from duplexmock.report.endings import derived, is_deadline
from duplexmock.schema.jsonform import base64, to_json
from duplexmock.schema.reader import Reader

if TYPE_CHECKING:
    from duplexmock.store.header import Header


def fixture_line(name: str, header: Header, sessions: int, why_incomplete: str = "") -> str:
    """Return the first line; `name` is what the fixture is called there, `why_incomplete` empty where it was closed."""
    seconds, ns = divmod(header.started_at_ns, 1_000_000_000)
    started = datetime(1970, 1, 1) + timedelta(seconds=seconds)
    fields = {
        "fixture": name,
        "upstream": header.upstream,
        "started": f"{started.isoformat()}.{ns:09}Z",
        "sessions": sessions,
        "complete": not why_incomplete,
        "why_incomplete": why_incomplete,
    }
    return json.dumps(fields) + "\n"


def session_line(session: Session, reader: Reader) -> Iterator[str]:
    """Yield the line of a session in pieces, an entry each: a long call is never one text in memory."""
    contents = Contents(session.method, reader)
    head = {
        "session": session.number,
        "method": session.method,
        "authority": session.header.authority,
        "stream": session.stream_id,
        "connection": _connection(session.connection),
        "ended": session.ended.value,
        "reason": session.reason,
    }
    yield json.dumps(head)[:-1] + ', "entries": ['
    for position, entry in enumerate(session.entries):
        yield ", " if position else ""
        yield json.dumps(_entry(session, entry, contents.see(entry.event)))
    yield "]}\n"


def entries(session: Session, reader: Reader) -> list[dict[str, Any]]:
    """Return the entries of a session as its line has them."""
    contents = Contents(session.method, reader)
    return [_entry(session, entry, contents.see(entry.event)) for entry in session.entries]


def _connection(connection: Connection) -> dict[str, Any]:
    return {
        "number": connection.number,
        "client": connection.client,
        "server": connection.server,
        "goaways": [_goaway(goaway) for goaway in connection.goaways],
        "closed": None if connection.closed is None else _closed(connection.closed),
    }


def _goaway(goaway: GoAway) -> dict[str, Any]:
    return {
        "at_ns": goaway.at_ns,
        "side": goaway.side.name.lower(),
        "last_stream": goaway.last_stream_id,
        **_error(goaway.code),
        "debug": base64(goaway.debug),
    }


def _closed(closed: Closed) -> dict[str, Any]:
    return {
        "at_ns": closed.at_ns,
        "how": closed.how.value,
        "side": None if closed.side is None else closed.side.name.lower(),
        "reason": closed.reason,
    }


def _entry(session: Session, entry: Entry, content: Content | None) -> dict[str, Any]:
    event = entry.event
    common = {"at_ns": entry.at_ns, "side": side_of(event).name.lower(), "event": event_name(event)}
    return common | _fields(session, entry, event, content)


def _fields(session: Session, entry: Entry, event: Event, content: Content | None) -> dict[str, Any]:
    match event:
        case ClientHeader(_, metadata):
            return {"metadata": _metadata(metadata), "timeout_ns": event.timeout_ns}
        case ServerHeader(metadata, http_status):
            return {"metadata": _metadata(metadata), "http_status": http_status}
        case ClientMessage(payload, flags) | ServerMessage(payload, flags):
            assert content is not None
            return {
                "number": content.number,
                "flags": flags,
                "payload": base64(payload),
                "encoding": content.encoding if content.compressed else None,
                "message": None if isinstance(content.reading, bytes) else to_json(content.reading),
                "problem": content.problem or None,
            }
        case ClientHalfClose():
            return {}
        case Cancel(code):
            return _error(code) | {"deadline": is_deadline(session, entry)}
        case ServerTrailer(status, metadata, http_status, reset_after):
            return {
                "status": None if status is None else _status(status),
                "derived": _derived(session, event),
                "metadata": _metadata(metadata),
                "http_status": http_status,
                "reset_after": None if reset_after is None else _error(reset_after),
            }
        case Reset(code):
            return _error(code) | {"derived": _derived(session, event)}
        case _:
            raise TypeError(f"{event!r} is no event")


def _metadata(metadata: Metadata) -> list[list[str]]:
    return [[key, base64(value) if isinstance(value, bytes) else value] for key, value in metadata]


def _status(status: Status) -> dict[str, Any]:
    details = None if status.details is None else base64(status.details)
    return {"code": status.code, "name": code_name(status.code), "message": status.message, "details": details}


def _derived(session: Session, event: ServerTrailer | Reset) -> dict[str, Any] | None:
    found = derived(session, event)
    return None if found is None else {"code": int(found.code), "name": found.code.name, "reason": found.reason}


def _error(code: int) -> dict[str, Any]:
    return {"code": code, "name": error_name(code)}
