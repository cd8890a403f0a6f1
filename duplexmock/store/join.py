"""Joining two recordings: the sessions of the second behind those of the first, in one file on one clock.

Numbers of sessions and connections go on where the first ends, and so do times: nothing of the second overlaps anything
of the first, so that no call of the one waits for a call of the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from duplexmock.core.connection import Connection
from duplexmock.core.rows import FIRST_OF_CONNECTION, Row, RowKind
from duplexmock.errors import FixtureError
from duplexmock.store.flat import restore
from duplexmock.store.reading import batches, blocks, damaged, read_header, read_index
from duplexmock.store.records import Source
from duplexmock.store.writer import Writer


def join(first: Path | str, second: Path | str, out: Path | str) -> None:
    """Write a fixture of the sessions of both, with the header of the first; FixtureError where one cannot be read.

    What was learned of the first, and what is expected where it is played, counts for the whole.
    """
    begun, added = Source(first), Source(second)
    try:
        header, at = read_header(begun)
        writer = Writer(out, header)
        last_ns = sessions = connections = 0
        for at_ns, rows in _rows(begun, at):
            last_ns = max(last_ns, at_ns)
            for row in rows:
                if row[0] < FIRST_OF_CONNECTION:
                    sessions = max(sessions, row[1])
                else:
                    connections = max(connections, row[1])
            writer.write(last_ns, rows)
        for at_ns, rows in _rows(added, read_header(added)[1]):
            writer.write(last_ns + at_ns, [_behind(row, sessions, connections, last_ns) for row in rows])
        writer.close()
        if writer.failure:
            raise FixtureError(writer.failure)
    finally:
        begun.close()
        added.close()


def _rows(source: Source, first: int) -> Iterator[tuple[int, list[Row]]]:
    _, why_incomplete = read_index(source, first)
    if why_incomplete:
        raise FixtureError(f"{source.name}: {why_incomplete}; only whole recordings can be joined")
    for block in blocks(source, first, source.end):
        for at_ns, position, rows in batches(source, block):
            restored = []
            for place, fields in enumerate(rows, position):
                try:
                    restored.append(restore(fields))
                except ValueError as exc:
                    raise damaged(source, block, f"row {place}: {exc}") from exc
            yield at_ns, restored


def _behind(row: Row, sessions: int, connections: int, last_ns: int) -> Row:
    """Return a row of the second recording as it is behind the first."""
    kind, number, *rest = row
    if kind == RowKind.CLIENT_HEADER:
        header, connection, stream_id = rest
        return (kind, number + sessions, header, connection + connections, stream_id)
    if kind < FIRST_OF_CONNECTION:
        return (kind, number + sessions, *rest)
    if number == 0:
        return row
    return (kind, number + connections, _later(rest[0], number + connections, last_ns))


def _later(value: Any, number: int, by_ns: int) -> Any:
    if isinstance(value, Connection):
        return replace(value, number=number, opened_at_ns=value.opened_at_ns + by_ns)
    return replace(value, at_ns=value.at_ns + by_ns)
