"""One call's rows become a Session: which events, when, and how it ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from duplexmock.core.connection import Closed, Closing, Connection
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
)
from duplexmock.core.recorder import Recorder, unfinished
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Status
from duplexmock.errors import ProtocolError
from tests.core.calls import CONNECTION

HEADER = ClientHeader("/chat.ChatService/Chat")
ANSWER = ServerHeader()
TRAILER = ServerTrailer(Status(0))

HALF_CLOSE_ROW = (RowKind.CLIENT_HALF_CLOSE, 3, ClientHalfClose())
CANCEL_ROW = (RowKind.CANCEL, 3, Cancel(8))
ANSWER_ROW = (RowKind.SERVER_HEADER, 3, ANSWER)
TRAILER_ROW = (RowKind.SERVER_TRAILER, 3, TRAILER)
RESET_ROW = (RowKind.RESET, 3, Reset(7))
RESET_AFTER_ROW = (RowKind.RESET_AFTER, 3, 0)
DAMAGED_ROW = (RowKind.DAMAGED, 3, "the rest cannot be read")


def says(payload: bytes, flags: int = 0) -> Row:
    return RowKind.CLIENT_MESSAGE, 3, flags, payload


def replies(payload: bytes, flags: int = 0) -> Row:
    return RowKind.SERVER_MESSAGE, 3, flags, payload


def recorded(*rows: Row, connection: Connection = CONNECTION) -> Session:
    """Return the session of these rows, the first of which was seen at 101 ns and each other 1 ns later."""
    recorder = Recorder(3, 5, HEADER, 100)
    for at_ns, row in enumerate(rows, start=101):
        recorder.add(at_ns, row)
    return recorder.session(connection)


def events(session: Session) -> tuple[Event, ...]:
    return tuple(entry.event for entry in session.entries)


def ending(session: Session) -> tuple[Ended, str]:
    return session.ended, session.reason


def test_a_call_is_recorded_whole() -> None:
    rows = (ANSWER_ROW, says(b"Hi", 1), replies(b"Hello", 1), HALF_CLOSE_ROW, replies(b"Bye"), TRAILER_ROW)
    assert recorded(*rows) == Session(
        number=3,
        connection=CONNECTION,
        stream_id=5,
        entries=(
            Entry(100, HEADER),
            Entry(101, ANSWER),
            Entry(102, ClientMessage(b"Hi", 1)),
            Entry(103, ServerMessage(b"Hello", 1)),
            Entry(104, ClientHalfClose()),
            Entry(105, ServerMessage(b"Bye")),
            Entry(106, TRAILER),
        ),
        ended=Ended.TRAILER,
        reason="",
    )


# Endings


@pytest.mark.parametrize(
    ("rows", "ended", "reason"),
    [
        ((), Ended.INCOMPLETE, "the recording stops before the call's end"),
        ((HALF_CLOSE_ROW, ANSWER_ROW), Ended.INCOMPLETE, "the recording stops before the call's end"),
        ((TRAILER_ROW,), Ended.TRAILER, ""),
        ((RESET_ROW,), Ended.RESET, ""),
        ((ANSWER_ROW, RESET_ROW), Ended.RESET, ""),
        ((CANCEL_ROW,), Ended.CANCELLED, ""),
        ((HALF_CLOSE_ROW, CANCEL_ROW), Ended.CANCELLED, ""),
        ((DAMAGED_ROW,), Ended.DAMAGED, "the rest cannot be read"),
        # what crossed: the first ending counts
        ((CANCEL_ROW, TRAILER_ROW), Ended.CANCELLED, ""),
        ((CANCEL_ROW, RESET_ROW), Ended.CANCELLED, ""),
        ((TRAILER_ROW, CANCEL_ROW), Ended.TRAILER, ""),
        ((RESET_ROW, CANCEL_ROW), Ended.RESET, ""),
        ((TRAILER_ROW, DAMAGED_ROW), Ended.TRAILER, ""),
        ((DAMAGED_ROW, TRAILER_ROW), Ended.DAMAGED, "the rest cannot be read"),
    ],
)
def test_the_first_ending_that_was_seen_is_how_a_call_ended(rows: tuple[Row, ...], ended: Ended, reason: str) -> None:
    assert ending(recorded(*rows)) == (ended, reason)


def test_a_cancel_that_crossed_the_trailer_stands_behind_it() -> None:
    assert events(recorded(ANSWER_ROW, TRAILER_ROW, says(b"late"), CANCEL_ROW)) == (
        HEADER, ANSWER, TRAILER, ClientMessage(b"late"), Cancel(8),
    )  # fmt: skip


def test_messages_that_crossed_a_cancel_stand_behind_it() -> None:
    assert events(recorded(ANSWER_ROW, CANCEL_ROW, replies(b"late"), TRAILER_ROW)) == (
        HEADER, ANSWER, Cancel(8), ServerMessage(b"late"), TRAILER,
    )  # fmt: skip


def test_a_reset_behind_the_trailer_is_part_of_it_wherever_it_came() -> None:
    rows = (ANSWER_ROW, TRAILER_ROW, says(b"crossed"), RESET_AFTER_ROW, says(b"crossed too"))
    session = recorded(*rows)
    assert session.entries == (
        Entry(100, HEADER),
        Entry(101, ANSWER),
        Entry(102, replace(TRAILER, reset_after=0)),
        Entry(103, ClientMessage(b"crossed")),
        Entry(105, ClientMessage(b"crossed too")),
    )
    assert ending(session) == (Ended.TRAILER, "")


@pytest.mark.parametrize(
    ("closed", "ended", "reason"),
    [
        (None, Ended.INCOMPLETE, "the recording stops before the call's end"),
        (Closed(9, Closing.STOPPED, None), Ended.INCOMPLETE, "the recording stops before the call's end"),
        (Closed(9, Closing.CLOSED, Side.SERVER), Ended.CONNECTION_LOST, "the connection was closed by the server"),
        (Closed(9, Closing.RESET, Side.CLIENT), Ended.CONNECTION_LOST, "the connection was reset by the client"),
        (Closed(9, Closing.REFUSED, None), Ended.CONNECTION_LOST, "the connection was refused"),
        (Closed(9, Closing.RESET, Side.SERVER, "broken pipe"), Ended.CONNECTION_LOST, "broken pipe"),
    ],
)
def test_a_call_without_an_ending_ends_with_its_connection(closed: Closed | None, ended: Ended, reason: str) -> None:
    connection = replace(CONNECTION, closed=closed)
    assert unfinished(connection) == (ended, reason)
    assert ending(recorded(ANSWER_ROW, connection=connection)) == (ended, reason)
    assert ending(recorded(TRAILER_ROW, connection=connection)) == (Ended.TRAILER, "")


def test_a_session_can_be_asked_for_while_the_call_goes_on() -> None:
    recorder = Recorder(3, 5, HEADER, 100)
    before = recorder.session(CONNECTION)
    recorder.add(101, TRAILER_ROW)
    assert events(before) == (HEADER,)
    assert events(recorder.session(CONNECTION)) == (HEADER, TRAILER)


# Messages in parts


def test_parts_are_joined_and_stamped_when_the_last_byte_came() -> None:
    part = (RowKind.CLIENT_PART, 3, b"Hi ")
    session = recorded(part, (RowKind.CLIENT_PART, 3, b"the"), says(b"re!", 1), says(b"next"))
    assert session.entries[1:] == (Entry(103, ClientMessage(b"Hi there!", 1)), Entry(104, ClientMessage(b"next")))


def test_parts_of_both_sides_do_not_mix() -> None:
    rows = (
        ANSWER_ROW,
        (RowKind.CLIENT_PART, 3, b"c1 "),
        (RowKind.SERVER_PART, 3, b"s1 "),
        (RowKind.CLIENT_PART, 3, b"c2 "),
        replies(b"s2"),
        replies(b"whole"),
        says(b"c3"),
    )
    assert events(recorded(*rows))[2:] == (ServerMessage(b"s1 s2"), ServerMessage(b"whole"), ClientMessage(b"c1 c2 c3"))


def test_a_message_that_was_broken_off_is_no_event() -> None:
    session = recorded((RowKind.CLIENT_PART, 3, b"half"), CANCEL_ROW)
    assert events(session) == (HEADER, Cancel(8))


# What cannot be


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ((HALF_CLOSE_ROW, says(b"")), "ClientMessage while the client's lane is half-closed"),
        ((CANCEL_ROW, says(b"")), "ClientMessage while the client's lane is ended"),
        ((replies(b""),), "ServerMessage while the server's lane is idle"),
        ((TRAILER_ROW, replies(b"")), "ServerMessage while the server's lane is ended"),
        ((ANSWER_ROW, ANSWER_ROW), "ServerHeader while the server's lane is open"),
        ((HALF_CLOSE_ROW, HALF_CLOSE_ROW), "ClientHalfClose while the client's lane is half-closed"),
        (((RowKind.CLIENT_HEADER, 3, HEADER, 1, 5),), "ClientHeader while the client's lane is open"),
        ((RESET_AFTER_ROW,), "a reset behind a trailer that is not there"),
        ((RESET_ROW, RESET_AFTER_ROW), "a reset behind a trailer that is not there"),
        (((RowKind.OPENED, 1, CONNECTION),), "a row of kind <RowKind.OPENED: 12> does not belong to a call"),
        (((99, 3),), "a row of kind 99 does not belong to a call"),
    ],
)
def test_a_row_that_cannot_come_next_is_refused(rows: tuple[Row, ...], text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        recorded(*rows)
    assert str(caught.value) == text
