"""The Fixture: a file of the connections and sessions of one recording, on one clock.

# The format, version 1

A fixture is a sequence of msgpack objects; any msgpack library reads it. Times are nanoseconds: `started_at_ns` of the
wall clock (Unix), all others monotonic from the recording's start. Integers may have any of msgpack's sizes.

    file      = HEADER record* END?
    record    = [BLOCK or INDEX, number, body_bytes, …]  a bin 32 of body_bytes bytes  nil
    END       = [3, offset of the latest INDEX record, or 0: always a uint 64]  nil

`number` counts the records from 1; error texts call them entries. The nil closes a record: a reader that hops from head
to head checks it, so that it believes no length that a damaged file states. END is the file's last 12 bytes; a
recording that did not end well has none, and is read by hopping. A record that the file's end cuts is read as far as it
goes. Zeros at the end, which a loss of power may leave, are not part of the file.

    HEADER    = {"format": "duplexmock", "version": 1, "started_at_ns", "upstream", "descriptors": FileDescriptorSet or
                nil, "redacted_keys": [key], "expectations": {"ignore": [path], "bind": [[source, path]], "expect":
                "lanes" | "order" | "strict" | nil}, "notes": {text: text}}     in this order; unknown keys are skipped

    BLOCK     = [1, number, body_bytes, first_at_ns, last_at_ns, [method], [session line], [connection number]]
                its body: batches, one behind the other, each [ns since first_at_ns, [row]]
    INDEX     = [2, number, body_bytes, offset of the INDEX record before it, or 0]
                its body: [[method], [session line and two offsets], [[connection number, offset of a block, …]]]

    session line = [session, client messages, server messages, kind of the row that ended it or 0, position of its
                method in the list before or nil, connection or 0]: what the rows of this block, or of the blocks since
                the last INDEX record, say of it. In an INDEX its first and last block's offsets follow.

    row       = [0, session, flags, payload] of the client    [1, session, flags, payload] of the server: a message
                [2, session, piece] of the client    [3, session, piece] of the server: a message's beginning, of which
                    more pieces follow and then the message row, with the rest
                [4, session, [method, authority, scheme, pairs], connection, stream id]    ClientHeader
                [5, session, []]    ClientHalfClose
                [6, session, [error code]]    Cancel
                [7, session, [:status, pairs]]    ServerHeader
                [8, session, [[code, message, details] or nil, pairs, :status or nil, reset_after or nil]] ServerTrailer
                [9, session, [error code]]    Reset
                [10, session, error code]    the server's RST_STREAM behind its trailer
                [11, session, reason]    the rest of the session could not be read
                [12, connection, [client, server, at_ns]]    opened
                [13, connection, [at_ns, ">" or "<", [[identifier, value]]]]    SETTINGS
                [14, connection, [at_ns, ">" or "<", last stream id, error code, debug]]    GOAWAY
                [15, connection, [at_ns, "closed" | "reset" | "refused" | "stopped", ">" or "<" or nil, reason]]
                [16, 0, FileDescriptorSet]    what the upstream said of its services; the header's come first
                [17, 0, [session, ">" or "<", [[count, "structural" | "held" | "refuted" | "unknown", probes, reason]]]]
                    what each event of that lane needs of the other one, as it was learned (core/learned.py); the
                    latest of a lane counts
                [18, 0, [[ignored path], [[source, path]], "lanes" | "order" | "strict" | nil]]    expectations in the
                    place of the header's; the latest count

Rows 17 and 18 come behind a recording, in records that were added to the file between its last record and its end.

`pairs` are [key, text], or [key, bin] for keys in `-bin`; text is latin-1 that was stored as UTF-8. Rows of one batch
were seen in one read and share its time; their order is the order in which they were seen. Newer versions are refused,
older ones stay readable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from duplexmock.core.connection import Connection, told
from duplexmock.core.events import Side
from duplexmock.core.method import is_chosen
from duplexmock.core.recorder import Recorder, unfinished
from duplexmock.core.rows import FIRST_OF_CONNECTION, Row, RowKind
from duplexmock.core.session import Ended, Session
from duplexmock.errors import FixtureError, ProtocolError, ScriptError
from duplexmock.store.flat import restore
from duplexmock.store.header import Expectations
from duplexmock.store.index import SessionLine, ending_of
from duplexmock.store.reading import batches, block_lines, blocks, damaged, read_header, read_index
from duplexmock.store.records import Record, Source

if TYPE_CHECKING:
    from duplexmock.core.learned import Needs


class Summary(NamedTuple):
    """What a fixture says of a session without reading it: the messages of each side, and how it ended."""

    number: int
    method: str
    client_messages: int
    server_messages: int
    ended: Ended


class _OfAll(NamedTuple):
    """What rows say of the whole recording: its latest expectations, the latest needs of each lane."""

    descriptors: bytes | None
    expectations: Expectations | None
    needs: Mapping[tuple[int, Side], Needs]


class Fixture:
    """An open fixture; a context manager.

    `header` is what it says before its first entry (store/header.py). `why_incomplete` says where the file ends, and is
    empty where the recording was closed. Whatever is read raises FixtureError where it is damaged, with file, entry and
    reason.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.header, self._first = read_header(source)
        self._index, self.why_incomplete = read_index(source, self._first)
        self._lines = dict(sorted(self._index.sessions.items()))
        self._connections: dict[int, Connection] = {}

    @classmethod
    def open(cls, path: Path | str) -> Fixture:
        """Open a file; FixtureError where it is not a fixture, is of a newer version, or is damaged."""
        source = Source(path)
        try:
            return cls(source)
        except BaseException:
            source.close()
            raise

    def close(self) -> None:
        """Close the file; what was read stays usable."""
        self._source.close()

    def __enter__(self) -> Fixture:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self._lines)

    @property
    def complete(self) -> bool:
        """Tell whether the recording was closed; if not, `why_incomplete` says where the file ends."""
        return not self.why_incomplete

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Return all connections, by number."""
        self._load_connections(self._index.connections)
        return tuple(self._connections[number] for number in sorted(self._connections))

    @property
    def descriptors(self) -> bytes | None:
        """Return what payloads are read by, a serialized FileDescriptorSet; None where the fixture has none.

        It was given to the recording, or is what the upstream said while it was recorded.
        """
        if self.header.descriptors is not None:
            return self.header.descriptors
        return self._of_all.descriptors

    @property
    def expectations(self) -> Expectations:
        """Return what a play of this fixture expects: what was added last, or else what the header says."""
        return self._of_all.expectations or self.header.expectations

    def learned(self, session: Session) -> Mapping[Side, Needs]:
        """Return what was learned of a session; FixtureError where that is of another one."""
        every = self.needs
        learned = {side: every[session.number, side] for side in Side if (session.number, side) in every}
        for side, needs in learned.items():
            if not needs.fits(len(session.lane(side)), len(session.lane(side.other))):
                raise FixtureError(f"{self._source.name}: session {session.number}: {misfit(side)}")
        return learned

    @property
    def needs(self) -> Mapping[tuple[int, Side], Needs]:
        """Return what was learned, by session and side; FixtureError where there is no such session."""
        return self._of_all.needs

    @property
    def methods(self) -> Mapping[int, str]:
        """Return the method of each session, by number, in the order in which they were opened; nothing is read."""
        return {number: self._method(number) for number in self._lines}

    def summaries(self) -> Iterator[Summary]:
        """Yield what is known of each session without reading its entries, in the order in which they were opened."""
        for number, line in self._lines.items():
            ended = ending_of(line) or unfinished(self._connection(number))[0]
            yield Summary(number, self._method(number), line.client_messages, line.server_messages, ended)

    def check(self, number: int) -> None:
        """Raise ScriptError where there is no session of this number."""
        if number not in self._lines:
            raise ScriptError(f"{self._source.name}: there is no session {number}; {self._counted()}")

    def session(self, number: int) -> Session:
        """Read one session, and of the file only what is between its first and last block.

        ScriptError where there is no session of this number.
        """
        self.check(number)
        line = self._lines[number]
        recorders: dict[int, Recorder] = {}
        for block in blocks(self._source, line.first, line.last):
            if number not in block_lines(self._source, block):
                continue
            for at_ns, position, rows in batches(self._source, block):
                own = [(place, row) for place, row in enumerate(rows, position) if _is_of(row, number)]
                self._record(recorders, block, at_ns, own)
        return self._finished(recorders, number)

    def sessions(self) -> Iterator[Session]:
        """Read all sessions in one pass, and yield them in the order in which they were opened.

        A session is kept until those that were opened before it have ended, so that the memory is that of the sessions
        that overlap.
        """
        self._load_connections(self._index.connections)
        last_in: dict[int, list[int]] = {}
        for number, line in self._lines.items():
            last_in.setdefault(line.last, []).append(number)
        recorders: dict[int, Recorder] = {}
        finished: dict[int, Session] = {}
        waiting = iter(self._lines)
        following = next(waiting, None)
        for block in blocks(self._source, self._first, max(last_in, default=0)):
            for at_ns, position, rows in batches(self._source, block):
                self._record(recorders, block, at_ns, enumerate(rows, position))
            for number in last_in.pop(block.offset, ()):
                finished[number] = self._finished(recorders, number)
            while following is not None and following in finished:
                yield finished.pop(following)
                following = next(waiting, None)
        if following is not None:
            raise FixtureError(f"{self._source.name}: session {following} is not where the index says that it is")

    def chosen(self, numbers: Sequence[int], globs: Sequence[str]) -> Iterator[Session]:
        """Read the sessions of these numbers, in this order, and of these methods; all where none are given.

        ScriptError where there is no session of a number.
        """
        for session in map(self.session, numbers) if numbers else self.sessions():
            if is_chosen(session.method, globs):
                yield session

    @cached_property
    def _of_all(self) -> _OfAll:
        """Read what the file says of the whole recording."""
        descriptors: bytes | None = None
        expectations: Expectations | None = None
        needs: dict[tuple[int, Side], Needs] = {}
        for block, position, (kind, _, said) in self._rows_of_connections((0,)):
            if kind == RowKind.DESCRIPTORS:
                descriptors = descriptors or bytes(said)
            elif kind == RowKind.EXPECTED:
                expectations = said
            elif kind == RowKind.LEARNED:
                if said.number not in self._lines:
                    raise damaged(self._source, block, f"row {position}: there is no session {said.number}")
                needs[said.number, said.side] = said
        return _OfAll(descriptors, expectations, needs)

    def _record(
        self, recorders: dict[int, Recorder], block: Record, at_ns: int, rows: Iterable[tuple[int, Any]]
    ) -> None:
        """Give each row, with its position in the block, to the Recorder of its session."""
        for position, fields in rows:
            try:
                row = fields if _is_message(fields) else restore(fields)
                kind, number = row[0], row[1]
                if kind >= FIRST_OF_CONNECTION:
                    continue
                recorder = recorders.get(number)
                if recorder is not None:
                    recorder.add(at_ns, row)
                elif kind == RowKind.CLIENT_HEADER:
                    recorders[number] = Recorder(number, row[4], row[2], at_ns)
                else:
                    raise ValueError(f"session {number} has not begun")
            except (ValueError, ProtocolError) as exc:
                raise damaged(self._source, block, f"row {position}: {exc}") from exc

    def _finished(self, recorders: dict[int, Recorder], number: int) -> Session:
        recorder = recorders.pop(number, None)
        if recorder is None:
            raise FixtureError(f"{self._source.name}: session {number} is not where the index says that it is")
        return recorder.session(self._connection(number))

    def _connection(self, number: int) -> Connection:
        """Return the connection that a session ran on."""
        line = self._line(number)
        self._load_connections((line.connection,))
        if line.connection not in self._connections:
            raise FixtureError(f"{self._source.name}: session {number} ran on a connection that is not there")
        return self._connections[line.connection]

    def _method(self, number: int) -> str:
        method = self._line(number).method
        assert method is not None
        return method

    def _line(self, number: int) -> SessionLine:
        line = self._lines[number]
        if line.method is None:
            raise FixtureError(f"{self._source.name}: session {number} has no ClientHeader; the file is damaged")
        return line

    def _load_connections(self, numbers: Iterable[int]) -> None:
        """Read those of these connections that have not been read yet."""
        wanted = [number for number in numbers if number and number not in self._connections]
        for block, position, (kind, number, what) in self._rows_of_connections(wanted):
            if kind == RowKind.OPENED:
                self._connections[number] = what
            elif number in self._connections:
                self._connections[number] = told(self._connections[number], what)
            else:
                raise damaged(self._source, block, f"row {position}: connection {number} has not been opened")

    def _rows_of_connections(self, numbers: Collection[int]) -> Iterator[tuple[Record, int, Row]]:
        """Yield what was said of these connections, and where; number 0 is the recording itself."""
        offsets = {offset for number in numbers for offset in self._index.connections.get(number, ())}
        for offset in sorted(offsets):
            for block in blocks(self._source, offset, offset):
                for _, position, rows in batches(self._source, block):
                    yield from self._said_of(numbers, block, enumerate(rows, position))

    def _said_of(
        self, numbers: Collection[int], block: Record, rows: Iterable[tuple[int, Any]]
    ) -> Iterator[tuple[Record, int, Row]]:
        for position, fields in rows:
            if _is_of_a_call(fields):
                continue
            try:
                row = restore(fields)
            except ValueError as exc:
                raise damaged(self._source, block, f"row {position}: {exc}") from exc
            if row[1] in numbers:
                yield block, position, row

    def _counted(self) -> str:
        match len(self._lines):
            case 0:
                return "the fixture holds no sessions"
            case 1:
                return f"the fixture holds session {min(self._lines)} alone"
            case _:
                return f"the fixture holds sessions {min(self._lines)} to {max(self._lines)}"


def misfit(side: Side) -> str:
    """Say that what a file has of a lane's needs is not of that lane."""
    return f"what was learned of the {side.name.lower()} does not fit; the file is damaged or was edited by hand"


def _is_message(fields: Any) -> bool:
    """Tell whether this is a message row as it should be: what restore says as well, in a tenth of its time."""
    return (
        type(fields) is list
        and len(fields) == 4
        and (fields[0] == RowKind.CLIENT_MESSAGE or fields[0] == RowKind.SERVER_MESSAGE)
        and type(fields[1]) is int
        and type(fields[2]) is int
        and type(fields[3]) is bytes
    )


def _is_of_a_call(fields: Any) -> bool:
    """Tell whether this row says that it belongs to a call, whose reader checks the rest of it."""
    match fields:
        case (int(kind), *_):
            return kind < FIRST_OF_CONNECTION
        case _:
            return False


def _is_of(fields: Any, number: int) -> bool:
    """Tell whether this row has to do with a session; what is no row has, so that it is refused."""
    match fields:
        case (int(kind), int(of), *_):
            return of == number and kind < FIRST_OF_CONNECTION
        case _:
            return True
