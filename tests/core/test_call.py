"""The table of what may come next, against the grammar of the two lanes written as regular expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from duplexmock.core.call import Lanes, LaneState
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
    event_name,
    side_of,
)
from duplexmock.errors import ProtocolError

EVENTS: dict[str, Event] = {
    "H": ClientHeader("/chat.ChatService/Chat"),
    "M": ClientMessage(b"Hi there!"),
    "C": ClientHalfClose(),
    "X": Cancel(8),
    "h": ServerHeader(),
    "m": ServerMessage(b"Hello!"),
    "t": ServerTrailer(None),
    "r": Reset(7),
}
CLIENT_LANE = re.compile(r"(HM*C?X?)?")
SERVER_LANE = re.compile(r"(h?|hm*)[tr]?")


def is_legal(call: str) -> bool:
    client = "".join(letter for letter in call if letter.isupper())
    server = "".join(letter for letter in call if letter.islower())
    lanes = CLIENT_LANE.fullmatch(client) and SERVER_LANE.fullmatch(server)
    return bool(lanes) and call[:1] in ("", "H")


def legal_calls(longest: int) -> Iterator[str]:
    calls = [""]
    while calls:
        call = calls.pop()
        yield call
        if len(call) < longest:
            calls.extend(call + letter for letter in EVENTS if is_legal(call + letter))


def lanes_after(call: str) -> Lanes:
    lanes = Lanes()
    for letter in call:
        lanes.advance(EVENTS[letter])
    return lanes


def test_whatever_came_before_exactly_what_the_grammar_says_may_come_next() -> None:
    for call in legal_calls(6):
        lanes = lanes_after(call)
        expected = {event_name(event) for letter, event in EVENTS.items() if is_legal(call + letter)}
        assert {event_name(event) for event in EVENTS.values() if lanes.allows(type(event))} == expected, call


def test_what_may_not_come_is_refused_and_changes_nothing() -> None:
    for call in legal_calls(4):
        lanes = lanes_after(call)
        before = (lanes.client, lanes.server)
        for letter, event in EVENTS.items():
            if not is_legal(call + letter):
                with pytest.raises(ProtocolError):
                    lanes.advance(event)
                assert (lanes.client, lanes.server) == before, call + letter


@pytest.mark.parametrize("call", ["HMhMmCmmt", "HCt", "HhCX", "HtX", "HtM", "HXr", "HMMhmC", "HhtCX", "H", ""])
def test_lanes_move_without_one_another(call: str) -> None:
    lanes = lanes_after(call)
    client, server = Lanes(), Lanes()
    server.client = LaneState.OPEN
    for event in (EVENTS[letter] for letter in call):
        (client if side_of(event) is Side.CLIENT else server).advance(event)
    assert (lanes.client, lanes.server) == (client.client, server.server)


@pytest.mark.parametrize(
    ("call", "letter", "text"),
    [
        ("", "M", "ClientMessage before ClientHeader"),
        ("", "t", "ServerTrailer before ClientHeader"),
        ("H", "H", "ClientHeader while the client's lane is open"),
        ("H", "m", "ServerMessage while the server's lane is idle"),
        ("Hh", "h", "ServerHeader while the server's lane is open"),
        ("HhC", "M", "ClientMessage while the client's lane is half-closed"),
        ("HhC", "C", "ClientHalfClose while the client's lane is half-closed"),
        ("HX", "X", "Cancel while the client's lane is ended"),
        ("Ht", "h", "ServerHeader while the server's lane is ended"),
        ("Hr", "t", "ServerTrailer while the server's lane is ended"),
    ],
)
def test_a_refusal_names_the_event_and_the_state(call: str, letter: str, text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        lanes_after(call).advance(EVENTS[letter])
    assert str(caught.value) == text
