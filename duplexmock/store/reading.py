"""Reading what records hold: the header, the index or the heads in its place, and the batches of a block.

All of it is checked as it is read, and FixtureError says where it is not what the specification in fixture.py demands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgpack

from duplexmock.errors import FixtureError
from duplexmock.store.flat import restore
from duplexmock.store.header import FORMAT, Header, header_from
from duplexmock.store.index import Index, SessionLine, Tally, lines_from
from duplexmock.store.records import END, END_HEAD, END_NIL, Record, RecordKind, Source, unpack, unpacker_of


def read_header(source: Source) -> tuple[Header, int]:
    """Return the header and the offset of the first record."""
    opening = source.read(0, len(_OPENING) + 1)
    if not opening[1:].startswith(_OPENING) or not 0x80 < opening[0] < 0x90:
        raise FixtureError(f"{source.name}: not a duplexmock fixture")
    try:
        found = source.object_at(0)
    except ValueError as exc:
        raise source.damaged("the header", str(exc)) from exc
    if found is None:
        raise FixtureError(f"{source.name}: the file ends inside its header; nothing was recorded")
    fields, first = found
    try:
        return header_from(fields), first
    except ValueError as exc:
        raise FixtureError(f"{source.name}: {exc}") from exc


def read_index(source: Source, first: int) -> tuple[Index, str]:
    """Return what the fixture holds, and why it is incomplete: empty where it is not.

    Without an end the index is made from the blocks' heads, which takes longer and gives the same.
    """
    end = _end(source, first)
    if end is not None:
        index = Index()
        for record in reversed(list(_index_records(source, first, end))):
            index.add_index(*_index_body(source, record))
        return index, ""
    return _index_of_heads(source, first)


def last_index(source: Source, first: int) -> tuple[int, int]:
    """Return the offset of the last INDEX record and its number, both 0 where there is none; of a file with an end."""
    offset = _end(source, first) or 0
    for record in _index_records(source, first, offset):
        return offset, record.number
    return 0, 0


def blocks(source: Source, first: int, last: int) -> Iterator[Record]:
    """Hop over the records from one offset to another, both included, and yield the blocks."""
    at = first
    while at <= last:
        record = source.record_at(at)
        if record is None:
            return
        if record.kind == RecordKind.BLOCK:
            yield record
        at = record.end


def batches(source: Source, block: Record) -> Iterator[tuple[int, int, list[Any]]]:
    """Yield the rows of a block read by read: their time, the position of the first in the block, from 1, and the rows.

    Of a block that the file's end has cut, those that are whole. The rows are plain lists as the file has them, of
    which nothing is known yet; flat.restore checks one.
    """
    body = source.read(block.body_offset, block.body_bytes)
    first_at_ns = _head(source, block)[0]
    unpacker = unpacker_of(body)
    position = 1
    while unpacker.tell() < len(body):
        try:
            batch = unpack(unpacker)
        except msgpack.OutOfData as exc:
            if block.whole:
                raise damaged(source, block, "a body that ends inside of its rows") from exc
            return
        except ValueError as exc:
            raise damaged(source, block, f"a body that is {exc}") from exc
        match batch:
            case (int(since_ns), [*_] as rows):
                yield first_at_ns + since_ns, position, rows
                position += len(rows)
            case _:
                raise damaged(source, block, "a body that is not times and rows")


def block_lines(source: Source, block: Record) -> dict[int, SessionLine]:
    """Return a line for each session that has rows in the block; their offsets are 0."""
    if not block.whole:
        return _tally(source, block).lines()
    _, _, methods, sessions, _ = _head(source, block)
    try:
        return lines_from(methods, sessions)
    except ValueError as exc:
        raise damaged(source, block, str(exc)) from exc


def damaged(source: Source, record: Record, reason: str) -> FixtureError:
    """Return the error that says in which record the file is damaged, and how."""
    return source.damaged(f"entry {record.number}", reason)


def _end(source: Source, first: int) -> int | None:
    """Return the offset of the latest INDEX record as the END says it, 0 for none; None where there is no END."""
    at = source.end - END.size
    if at < first:
        return None
    *head, offset, nil = END.unpack(source.read(at, END.size))
    return offset if tuple(head) == END_HEAD and nil == END_NIL else None


def _index_records(source: Source, first: int, offset: int) -> Iterator[Record]:
    """Yield the INDEX records, the latest first; each says where the one before it is."""
    behind = source.end
    while offset:
        record = source.record_at(offset) if first <= offset < behind else None
        match record:
            case Record(kind=RecordKind.INDEX, head=[int(previous)], whole=True):
                yield record
            case _:
                raise source.damaged("the end", f"it says that an index is at byte {offset}, where there is none")
        behind, offset = offset, previous


def _index_body(source: Source, record: Record) -> tuple[dict[int, SessionLine], Mapping[int, list[int]]]:
    body = source.read(record.body_offset, record.body_bytes)
    try:
        match unpack(unpacker_of(body)):
            case ([*methods], [*sessions], [*connections]):
                return lines_from(methods, sessions), dict(map(_offsets, connections))
            case _:
                raise ValueError("an index that is not methods, sessions and connections")
    except msgpack.OutOfData as exc:
        raise damaged(source, record, "an index that ends inside of its lines") from exc
    except ValueError as exc:
        raise damaged(source, record, str(exc)) from exc


def _offsets(fields: Any) -> tuple[int, list[int]]:
    match fields:
        case (int(number), *offsets) if offsets and all(isinstance(offset, int) for offset in offsets):
            return number, offsets
        case _:
            raise ValueError("a connection's line that is not one")


def _index_of_heads(source: Source, first: int) -> tuple[Index, str]:
    index = Index()
    reached, at = 0, first
    for record in source.records(first):
        if record.kind == RecordKind.BLOCK:
            index.add_block(record.offset, block_lines(source, record), _block_connections(source, record))
        if not record.whole:
            return index, f"the file ends inside entry {record.number}"
        reached, at = record.number or reached + 1, record.end
    if at < source.end:
        return index, f"the file ends inside entry {reached + 1}"
    return index, f"the file ends behind entry {reached}, and the recording was not closed"


def _block_connections(source: Source, block: Record) -> tuple[int, ...]:
    if not block.whole:
        return _tally(source, block).connections()
    connections = _head(source, block)[-1]
    if not all(isinstance(number, int) for number in connections):
        raise damaged(source, block, "a head that names connections which are no numbers")
    return tuple(connections)


def _tally(source: Source, block: Record) -> Tally:
    """Count the rows of a block whose head speaks of rows that are not there."""
    tally = Tally()
    for _, position, rows in batches(source, block):
        try:
            tally.add([restore(row) for row in rows])
        except ValueError as exc:
            raise damaged(source, block, f"from row {position} on: {exc}") from exc
    return tally


def _head(source: Source, block: Record) -> tuple[int, int, list[Any], list[Any], list[Any]]:
    match block.head:
        case (int(first_at_ns), int(last_at_ns), [*methods], [*sessions], [*connections]):
            return first_at_ns, last_at_ns, methods, sessions, connections
        case _:
            raise damaged(source, block, "a block's head that is not one")


_OPENING = b"\xa6format" + bytes((0xA0 | len(FORMAT),)) + FORMAT.encode()
"""What stands behind the first byte of a fixture: the header's first key and its value."""
