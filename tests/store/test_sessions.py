"""Sessions that are values, written into a fixture and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from duplexmock.core.connection import Connection, GoAway
from duplexmock.core.events import ClientHeader, ClientMessage, ServerHeader, ServerTrailer, Side
from duplexmock.core.metadata import Metadata
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Status
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Header
from duplexmock.store.redact import Redaction
from duplexmock.store.sessions import write

HEADER = Header(1_795_348_800_000_000_000, "127.0.0.1:50051")
CONNECTION = Connection(4, "127.0.0.1:1", "127.0.0.1:2", 5, goaways=(GoAway(25, Side.SERVER, 3, 0, b"bye"),))


def session(number: int, *entries: tuple[int, object], ended: Ended, reason: str = "") -> Session:
    opening = Entry(10 * number, ClientHeader("/a.B/C", Metadata((("authorization", "Bearer 1"), ("x", "1")))))
    rest = [Entry(at_ns, event) for at_ns, event in entries]  # type: ignore[arg-type]
    return Session(number, CONNECTION, 2 * number - 1, (opening, *rest), ended, reason)


def test_sessions_come_back_as_they_were_numbered_anew_and_without_secrets(tmp_path: Path) -> None:
    ends = ServerTrailer(Status(0), reset_after=0)
    first = session(2, (30, ClientMessage(b"a")), (30, ServerHeader()), (40, ends), ended=Ended.TRAILER)
    second = session(3, (31, ClientMessage(b"b")), ended=Ended.CONNECTION_LOST, reason="reset")
    path = tmp_path / "x.duplex"
    write(path, HEADER, [first, second], Redaction())

    with Fixture.open(path) as fixture:
        came, lost = fixture.sessions()
    assert [each.number for each in (came, lost)] == [1, 2]
    assert [entry.event for entry in came.entries[1:]] == [entry.event for entry in first.entries[1:]]
    assert [entry.at_ns for entry in came.entries] == [20, 30, 30, 40]
    assert str(came.header.metadata.first("authorization")).startswith("redacted:")
    assert came.header.metadata.first("x") == "1"
    assert (lost.ended, lost.reason, lost.stream_id) == (Ended.CONNECTION_LOST, "reset", 5)
    assert replace(came.connection, closed=None) == replace(CONNECTION, closed=None)


def test_a_damaged_session_says_why(tmp_path: Path) -> None:
    damaged = session(1, ended=Ended.DAMAGED, reason="a frame too long")
    write(tmp_path / "x.duplex", HEADER, [damaged], Redaction())
    with Fixture.open(tmp_path / "x.duplex") as fixture:
        (came,) = fixture.sessions()
    assert (came.ended, came.reason) == (Ended.DAMAGED, "a frame too long")
