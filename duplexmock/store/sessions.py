"""Writing sessions that are values into a fixture: what a mock saw and said, kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from duplexmock.core.connection import Closed, Closing
from duplexmock.core.events import Side
from duplexmock.core.rows import Row, RowKind, row_of
from duplexmock.core.session import Ended, Session
from duplexmock.errors import FixtureError
from duplexmock.store.header import Header
from duplexmock.store.redact import Redaction
from duplexmock.store.writer import Writer


def write(
    path: Path | str,
    header: Header,
    sessions: Sequence[Session],
    redaction: Redaction,
    *,
    if_exists: Literal["refuse", "overwrite"] = "refuse",
) -> None:
    """Write a fixture of these sessions, numbered anew in their order, without what is to be redacted.

    FixtureError where the file is there and `if_exists` is "refuse", or cannot be written.
    """
    rows = list(_of_connections(sessions))
    for number, session in enumerate(sessions, start=1):
        for entry in redaction.session(session).entries:
            row = row_of(entry.event, number, session.connection.number, session.stream_id)
            rows.append((entry.at_ns, _ENTRY, row))
            after = getattr(entry.event, "reset_after", None)
            if after is not None:
                rows.append((entry.at_ns, _ENTRY, (RowKind.RESET_AFTER, number, after)))
        if session.ended is Ended.DAMAGED:
            rows.append((session.entries[-1].at_ns, _ENTRY, (RowKind.DAMAGED, number, session.reason)))
    rows.sort(key=lambda each: each[:2])
    writer = Writer(path, header, if_exists=if_exists)
    for at_ns, _, row in rows:
        writer.write(at_ns, [row])
    writer.close()
    if writer.failure:
        raise FixtureError(writer.failure)


def _of_connections(sessions: Sequence[Session]) -> list[tuple[int, int, Row]]:
    """Return what was said on the connections; one that its calls were lost with is closed behind their last entry."""
    rows: list[tuple[int, int, Row]] = []
    latest = {session.connection.number: session.connection for session in sessions}
    for number, connection in latest.items():
        on_it = [session for session in sessions if session.connection.number == number]
        first_ns = min(session.entries[0].at_ns for session in on_it)
        opened_ns = min(connection.opened_at_ns, first_ns)
        bare = replace(connection, opened_at_ns=opened_ns, settings=(), goaways=(), closed=None)
        rows.append((opened_ns, _OPENED, (RowKind.OPENED, number, bare)))
        rows += [(max(each.at_ns, opened_ns), _SAID, (RowKind.SETTINGS, number, each)) for each in connection.settings]
        rows += [(max(each.at_ns, opened_ns), _SAID, (RowKind.GOAWAY, number, each)) for each in connection.goaways]
        lost = [session for session in on_it if session.ended is Ended.CONNECTION_LOST]
        if lost:
            last_ns = max(session.entries[-1].at_ns for session in on_it)
            closed = Closed(last_ns, Closing.CLOSED, Side.CLIENT, lost[0].reason)
            rows.append((last_ns, _CLOSED, (RowKind.CLOSED, number, closed)))
    return rows


_OPENED, _SAID, _ENTRY, _CLOSED = range(4)
"""How what is of one time is ordered."""
