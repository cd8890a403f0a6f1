"""What a stretch of a recording holds, without its payloads: a line a session, and where connections are spoken of.

The same lines serve three times. A block's head has those of its rows, so that a reader that hops over heads knows all
sessions. An INDEX record has those of many blocks. And a block that a kill has cut, whose head cannot be believed, is
counted anew. Lines add up: a session has one wherever some of its rows are, and needs no other, so that a writer may
forget it at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from duplexmock.core.rows import FIRST_OF_CONNECTION, Row, RowKind
from duplexmock.core.session import Ended

LAST_OF_MESSAGES = int(RowKind.SERVER_PART)
"""Rows of this kind and lower are messages and their parts. A plain number: an enum's member is slow to look up."""


@dataclass(slots=True)
class SessionLine:
    """What is known of a session from some of its rows.

    `method` is None and `connection` 0 where these rows do not open it. `ending` is the kind of the first row that
    ended it, or 0. `first` and `last` are the offsets of the blocks that the rows are in.
    """

    method: str | None = None
    connection: int = 0
    client_messages: int = 0
    server_messages: int = 0
    ending: int = 0
    first: int = 0
    last: int = 0


class Tally:
    """Counts the rows of one block."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[int, int]] = Counter()
        self._lines: dict[int, SessionLine] = {}
        self._connections: dict[int, None] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """Count these rows, the next ones."""
        kinds = set(map(_KIND, rows))
        if len(kinds) == 1:
            # A read under load: to count numbers takes a third of counting pairs (bench: `60 B on 1 stream: recorded`).
            (kind,) = kinds
            for number, count in Counter(map(_NUMBER, rows)).items():
                self._rows[kind, number] += count
        else:
            self._rows.update(map(_KIND_AND_NUMBER, rows))
        if max(kinds, default=0) <= LAST_OF_MESSAGES:
            return
        for row in [row for row in rows if row[0] > LAST_OF_MESSAGES]:
            kind = row[0]
            if kind >= FIRST_OF_CONNECTION:
                self._connections[row[1]] = None
                continue
            line = self._lines.setdefault(row[1], SessionLine())
            if kind == RowKind.CLIENT_HEADER:
                line.method, line.connection = row[2].method, row[3]
            elif kind in ENDINGS and not line.ending:
                line.ending = int(kind)

    def lines(self) -> dict[int, SessionLine]:
        """Return the lines so far, by session; their offsets are 0."""
        for (kind, number), count in self._rows.items():
            if kind < FIRST_OF_CONNECTION:
                line = self._lines.setdefault(number, SessionLine())
                if kind == RowKind.CLIENT_MESSAGE:
                    line.client_messages = count
                elif kind == RowKind.SERVER_MESSAGE:
                    line.server_messages = count
        return self._lines

    def connections(self) -> tuple[int, ...]:
        """Return the connections that these rows speak of."""
        return tuple(self._connections)


class Index:
    """Sessions and connections of a whole recording, or of what came since the last INDEX record.

    `connections` has, for each, the offsets of the blocks that hold its rows.
    """

    def __init__(self) -> None:
        self.sessions: dict[int, SessionLine] = {}
        self.connections: dict[int, list[int]] = {}
        self._size = 0

    def __len__(self) -> int:
        """Return how much it holds: sessions, and offsets of connections."""
        return len(self.sessions) + self._size

    def add_block(self, offset: int, lines: Mapping[int, SessionLine], connections: Iterable[int]) -> None:
        """Add what the block at `offset` holds; blocks come in their order."""
        for number, line in lines.items():
            line.first = line.last = offset
            self._add(number, line)
        for number in connections:
            self.connections.setdefault(number, []).append(offset)
            self._size += 1

    def add_index(self, lines: Mapping[int, SessionLine], connections: Mapping[int, Sequence[int]]) -> None:
        """Add what an INDEX record holds; the records come in their order."""
        for number, line in lines.items():
            self._add(number, line)
        for number, offsets in connections.items():
            self.connections.setdefault(number, []).extend(offsets)

    def _add(self, number: int, line: SessionLine) -> None:
        known = self.sessions.setdefault(number, line)
        if known is not line:
            if known.method is None:
                known.method, known.connection = line.method, line.connection
            known.client_messages += line.client_messages
            known.server_messages += line.server_messages
            known.ending = known.ending or line.ending
            known.last = line.last


def flat_lines(lines: Mapping[int, SessionLine]) -> tuple[list[str], list[list[Any]]]:
    """Return the methods that the lines name, and the lines as an INDEX record has them; a head lacks the offsets."""
    methods: dict[str, int] = {}
    flat: list[list[Any]] = []
    for number, line in lines.items():
        method = methods.setdefault(line.method, len(methods)) if line.method is not None else None
        counts = [line.client_messages, line.server_messages, line.ending]
        flat.append([number, *counts, method, line.connection, line.first, line.last])
    return list(methods), flat


def lines_from(methods: Sequence[Any], flat: Iterable[Any]) -> dict[int, SessionLine]:
    """Read lines as the file has them, with offsets or without; ValueError where they are none."""
    lines: dict[int, SessionLine] = {}
    for fields in flat:
        # By their types at once: a fixture of 100,000 sessions opens in a third of the time that a pattern takes.
        if not isinstance(fields, list) or tuple(map(type, fields)) not in _LINES:
            raise ValueError("a session's line that is not one")
        number, client, server, ending, method, connection, *offsets = fields
        line = lines[number] = SessionLine(_method(methods, method), connection, client, server, ending)
        if offsets:
            line.first, line.last = offsets
            if line.first > line.last:
                raise ValueError("a session's line that is not one")
    return lines


def ending_of(line: SessionLine) -> Ended | None:
    """Return how the session ended by a row of its own, or None."""
    return ENDINGS.get(line.ending)


def _method(methods: Sequence[Any], position: int | None) -> str | None:
    if position is None:
        return None
    if not (0 <= position < len(methods) and isinstance(methods[position], str)):
        raise ValueError("a session's line that names no method")
    return str(methods[position])


ENDINGS: dict[int, Ended] = {
    RowKind.CANCEL: Ended.CANCELLED,
    RowKind.SERVER_TRAILER: Ended.TRAILER,
    RowKind.RESET: Ended.RESET,
    RowKind.DAMAGED: Ended.DAMAGED,
}
"""The rows that end a session; the first of them says how."""

_LINES = frozenset(
    (int, int, int, int, method, int, *offsets) for method in (int, type(None)) for offsets in ((), (int, int))
)
"""The types of what stands in a session's line."""

_KIND_AND_NUMBER = itemgetter(0, 1)
_KIND = itemgetter(0)
_NUMBER = itemgetter(1)
