"""A Witness: a Stream that remembers what is said and heard on it, within bounds.

It stands next to the wire, below whatever changes what is said, so that its Session is what took place. A call that
goes on for days keeps its beginning and its latest events; what is in between is counted, and dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from duplexmock.core.events import SERVER_EVENTS, side_of
from duplexmock.core.history import Arrived, History
from duplexmock.core.rows import Row, RowKind, row_of
from duplexmock.play.around import Around

if TYPE_CHECKING:
    from duplexmock.core.acts import Wrong
    from duplexmock.core.lanes import Loss, Parting
    from duplexmock.core.outcome import Mismatch
    from duplexmock.core.session import Session
    from duplexmock.play.stream import Clock, Stream

KEPT_FIRST = 100
"""Rows of a call's beginning that are kept: how it was opened, and what came first."""

KEPT_ROWS = 10_000
"""The latest rows of a call that are kept; with their tuples some 3 MB."""

KEPT_BYTES = 8 * 1024 * 1024
"""The most that the payloads of these are together."""

ROW_BYTES = 250
"""What a row takes besides its payload: its tuple, its run's and the bytes object's own."""

Heard = Callable[[int, Sequence[Row]], None]
"""Is told of rows, in their order, and when they were seen."""


class Witness(Around):
    """The live end of call `number`; `first` are the rows that have come on it already, its header among them.

    `told` is called with all rows, the peer's and ours, when they are seen.
    """

    def __init__(self, stream: Stream, clock: Clock, number: int, first: Sequence[Row], told: Heard) -> None:
        super().__init__(stream)
        self.number = number
        self.left_out = self.rows = 0
        self.weight = 0
        self.heard_messages = self.said_messages = 0
        self.half_closed = False
        self.has_ended = False
        self._clock = clock
        self._told = told
        self._begun: list[tuple[int, Sequence[Row]]] = []
        self._begun_rows = 0
        self._latest: deque[tuple[int, Sequence[Row]]] = deque()
        self._latest_rows = self._latest_bytes = 0
        self._first: Sequence[Row] = first
        self.header_at_ns = clock.now_ns()
        self._note(self.header_at_ns, first)

    @property
    def lost(self) -> str | None:
        """Say why the connection went away."""
        return None if self._first else self._stream.lost

    def session(self) -> Session:
        """Return what has taken place so far; where `left_out` is more than 0, so many events of it are missing."""
        history = History()
        for at_ns, rows in self._runs():
            history.add(Arrived(at_ns, rows))
        session = history.session(self.number, self.connection, self.stream_id, self._stream.lost)
        assert session is not None
        return session

    @property
    def entries(self) -> int:
        """Return how many entries `session` has now."""
        return self.rows - self.left_out

    def entries_before(self, mismatch: Mismatch, entries: int) -> int:
        """Return how many entries of `session` come before a mismatch, of which there were so many when it was found.

        What came is the event at its position in its lane; where nothing came, all that there was.
        """
        if mismatch.actual is None:
            return entries
        position = mismatch.position
        for place, entry in enumerate(self.session().entries):
            if side_of(entry.event) is mismatch.side:
                if not position:
                    return place
                position -= 1
        return entries

    async def send(self, events: Sequence[Any]) -> None:
        """Say these, and remember it."""
        if self._stream.lost is None and not self.has_ended:
            # What a fault says that is no event is heard by the peer alone.
            rows = [row_of(event, self.number) for event in events if isinstance(event, SERVER_EVENTS)]
            if rows:
                self._note(self._clock.now_ns(), rows)
        await self._stream.send(events)

    async def do(self, what: Loss | Parting | Wrong) -> None:
        """Lose the connection, say GOAWAY, or do what a fault has done."""
        event = getattr(what, "event", None)
        if isinstance(event, SERVER_EVENTS) and self._stream.lost is None:
            self._note(self._clock.now_ns(), [row_of(event, self.number)])
        await self._stream.do(what)

    async def receive(self, until_ns: int) -> Sequence[Row]:
        """Return what has come, and remember it."""
        if self._first:
            rows, self._first = self._first, ()
            return rows
        rows = await self._stream.receive(until_ns)
        if rows:
            self._note(self._clock.now_ns(), rows)
        return rows

    def _runs(self) -> Iterator[tuple[int, Sequence[Row]]]:
        # Copies, because another thread may ask.
        return chain(list(self._begun), list(self._latest))

    def _note(self, at_ns: int, rows: Sequence[Row]) -> None:
        size = 0
        for row in rows:
            kind = row[0]
            if kind == _CLIENT_MESSAGE:
                self.heard_messages += 1
                size += len(row[3])
            elif kind == _SERVER_MESSAGE:
                self.said_messages += 1
                size += len(row[3])
            elif kind == _HALF_CLOSE:
                self.half_closed = True
            elif kind in _ENDINGS:
                self.has_ended = True
        self._told(at_ns, rows)
        count = len(rows)
        self.rows += count
        self.weight += size + count * ROW_BYTES
        if self._begun_rows < KEPT_FIRST:
            self._begun.append((at_ns, rows))
            self._begun_rows += count
            return
        self._latest.append((at_ns, rows))
        self._latest_rows += count
        self._latest_bytes += size
        while self._latest_rows > KEPT_ROWS or (self._latest_bytes > KEPT_BYTES and len(self._latest) > 1):
            _, dropped = self._latest.popleft()
            dropped_bytes = sum(len(row[3]) for row in dropped if row[0] <= _SERVER_MESSAGE)
            self.left_out += len(dropped)
            self._latest_rows -= len(dropped)
            self._latest_bytes -= dropped_bytes
            self.weight -= dropped_bytes + len(dropped) * ROW_BYTES


_CLIENT_MESSAGE, _SERVER_MESSAGE = int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)
_HALF_CLOSE = int(RowKind.CLIENT_HALF_CLOSE)
_ENDINGS = frozenset((int(RowKind.CANCEL), int(RowKind.RESET), int(RowKind.SERVER_TRAILER), int(RowKind.DAMAGED)))
