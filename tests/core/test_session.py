from __future__ import annotations

import pytest

from duplexmock.core.events import (
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Status
from tests.core.calls import CONNECTION

HEADER = ClientHeader("/chat.ChatService/Chat")
EVENTS: tuple[Event, ...] = (HEADER, ServerHeader(), ClientMessage(b"a"), ClientHalfClose(), ServerTrailer(Status(0)))
SESSION = Session(4, CONNECTION, 7, tuple(Entry(at_ns, event) for at_ns, event in enumerate(EVENTS)), Ended.TRAILER)


def test_a_session_is_named_by_the_header_that_opened_it() -> None:
    assert (SESSION.header, SESSION.method) == (HEADER, "/chat.ChatService/Chat")


def test_a_lane_is_what_one_side_sent() -> None:
    assert SESSION.lane(Side.CLIENT) == (EVENTS[0], EVENTS[2], EVENTS[3])
    assert SESSION.lane(Side.SERVER) == (EVENTS[1], EVENTS[4])


def test_a_word_spells_every_event() -> None:
    assert SESSION.word == "><>><"


def test_endings_are_what_people_read() -> None:
    assert {ended.name: ended.value for ended in Ended} == {
        "TRAILER": "trailer",
        "RESET": "reset by the server",
        "CANCELLED": "cancelled by the client",
        "CONNECTION_LOST": "connection lost",
        "INCOMPLETE": "incomplete",
        "DAMAGED": "damaged",
    }


def test_a_session_without_its_header_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        _ = Session(1, CONNECTION, 1, (Entry(0, ServerHeader()),), Ended.INCOMPLETE).header
