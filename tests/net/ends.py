"""What the tests of a replay stand on: fixtures written from sessions, and far ends that a test speaks at by hand."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from duplexmock.core.events import ClientHeader, Event, ServerHeader, ServerTrailer, Side
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.session import Ended, Session
from duplexmock.store.header import Header
from duplexmock.store.writer import Writer
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.fields import GRPC_ANSWER, GRPC_REQUEST
from duplexmock.wire.framed import Framed
from duplexmock.wire.happenings import Happening
from duplexmock.wire.limits import Config
from tests.net.wires import LIMIT_S, dialled
from tests.playbook import METHOD, row_of

REQUEST = ClientHeader(METHOD, GRPC_REQUEST, "localhost")
ANSWER = ServerHeader(GRPC_ANSWER)

BARE = Header(1_795_348_800_000_000_000, "127.0.0.1:50051")


def request(*pairs: tuple[str, str | bytes], method: str = METHOD) -> ClientHeader:
    """A call's header as it is on the wire."""
    return ClientHeader(method, Metadata((*GRPC_REQUEST, *pairs)), "localhost")


def written(path: Path, *sessions: Session, header: Header = BARE) -> Path:
    """Write sessions into a fixture; those that were not ended have no end there either."""
    rows: list[tuple[int, int, Row]] = []
    for connection in {each.connection.number: each.connection for each in sessions}.values():
        rows.append((connection.opened_at_ns, 0, (RowKind.OPENED, connection.number, replace(connection, goaways=()))))
        rows += [(goaway.at_ns, 2, (RowKind.GOAWAY, connection.number, goaway)) for goaway in connection.goaways]
        if connection.closed is not None:
            rows.append((connection.closed.at_ns, 3, (RowKind.CLOSED, connection.number, connection.closed)))
    for session in sessions:
        rows += [(entry.at_ns, 1, row) for entry in session.entries for row in _rows(session, entry.event)]
        if session.ended is Ended.DAMAGED:
            rows.append((session.entries[-1].at_ns, 1, (RowKind.DAMAGED, session.number, session.reason)))
    writer = Writer(path, header)
    for at_ns, _, row in sorted(rows, key=lambda each: each[:2]):
        writer.write(at_ns, [row])
    writer.close()
    assert writer.failure == ""
    return path


def _rows(session: Session, event: Event) -> list[Row]:
    if isinstance(event, ClientHeader):
        number = session.connection.number
        return [(RowKind.CLIENT_HEADER, session.number, event, number, session.stream_id)]
    if isinstance(event, ServerTrailer) and event.reset_after is not None:
        plain = replace(event, reset_after=None)
        return [
            (RowKind.SERVER_TRAILER, session.number, plain),
            (RowKind.RESET_AFTER, session.number, event.reset_after),
        ]
    kind, _, *rest = row_of(event)
    return [(kind, session.number, *rest)]


class End:
    """One end of a connection, in either role, spoken at by hand: its calls say events, and hear the other side's."""

    def __init__(self, sock: socket.socket, role: Side, config: Config | None = None) -> None:
        self.sock = sock
        self.endpoint = Endpoint(role, config)
        self.happened: list[Happening] = []
        self.opened: deque[int] = deque()
        self._heard: dict[int, deque[Event | str]] = {}
        self.flush()

    def open(self, header: ClientHeader, *events: Event | Framed) -> int:
        """Open a call; return its stream."""
        stream_id = self.endpoint.open(header)
        self.say(stream_id, *events)
        return stream_id

    def say(self, stream_id: int, *events: Event | Framed) -> None:
        self.endpoint.send(stream_id, events)
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.endpoint.take())

    def hear(self, stream_id: int, count: int) -> list[Event | str]:
        """Wait for so many events of a call; return them. Damage is a text."""
        heard = self._heard.setdefault(stream_id, deque())
        self.until(lambda: len(heard) >= count)
        return [heard.popleft() for _ in range(count)]

    def accept(self) -> int:
        """Wait for a call; return its stream."""
        self.until(lambda: len(self.opened) > 0)
        return self.opened.popleft()

    def until(self, is_so: Callable[[], bool]) -> None:
        """Read until it is so."""
        while not is_so():
            assert self.read(), "the other side has gone"

    def read(self) -> bool:
        """Read once; tell whether there was anything but the end."""
        try:
            chunk = self.sock.recv(65_536)
        except ConnectionResetError:
            chunk = b""
        for stream_id, rows in self.endpoint.receive(chunk):
            if not stream_id:
                self.happened += rows
                continue
            if rows[0][0] == RowKind.CLIENT_HEADER:
                self.opened.append(stream_id)
            self._heard.setdefault(stream_id, deque()).extend(event_of(row) or str(row[2]) for row in rows)
        self.flush_what_is_taken()
        return bool(chunk)

    def flush_what_is_taken(self) -> None:
        """Write, where there is still somebody who takes it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.flush()

    def to_the_end(self) -> None:
        """Read until the other side has gone."""
        while self.read():
            pass


@contextmanager
def client(target: str, config: Config | None = None) -> Iterator[End]:
    """Dial a mock."""
    with dialled(target) as sock:
        yield End(sock, Side.CLIENT, config)


def server(listener: socket.socket, config: Config | None = None) -> End:
    """Take the next connection."""
    sock, _ = listener.accept()
    sock.settimeout(LIMIT_S)
    return End(sock, Side.SERVER, config)


def sentences(outcomes: Sequence[Any]) -> list[tuple[int, str]]:
    """The session of each outcome, and what it says, empty where it agreed."""
    return [(each.number, each.mismatch.sentence if each.mismatch else "") for each in outcomes]
