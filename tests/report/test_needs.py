"""What was learned, told: the lines of one lane, the marks of a timeline, and the JSON line."""

import json

import pytest

from duplexmock.core.events import Cancel, ClientHalfClose, ClientMessage, Reset, ServerHeader, ServerMessage, Side
from duplexmock.core.learned import Ground, Need, Needs
from duplexmock.report.needs import marks, needs_line, needs_lines
from duplexmock.report.timeline import timeline
from tests.report.calls import BY_NUMBER, OK, call, header

ECHO = call(
    (0, header()),
    (1, ServerHeader()),
    (10, ClientMessage(b"")),
    (11, ServerMessage(b"")),
    (20, ClientMessage(b"")),
    (21, ServerMessage(b"")),
    (30, ClientHalfClose()),
    (31, OK),
)

SERVER = Needs(
    1,
    Side.SERVER,
    (
        Need(1, Ground.REFUTED, 3),
        Need(2, Ground.HELD, 3),
        Need(3, Ground.UNKNOWN, 3, "it came later than the probes held, by a clock or slowly"),
        Need(2, Ground.STRUCTURAL),
    ),
)

CLIENT = Needs(
    1,
    Side.CLIENT,
    (Need(0, Ground.STRUCTURAL), Need(0, Ground.REFUTED, 2), Need(2, Ground.HELD, 2), Need(2, Ground.STRUCTURAL)),
)


def test_the_lines_of_a_server() -> None:
    assert list(needs_lines("fixtures/echo.duplex", ECHO, SERVER)) == [
        "fixtures/echo.duplex   session 1   /chat.ChatService/Chat   what the server needs",
        "    ServerHeader       ClientHeader       refuted by probe",
        "    ServerMessage #1   ClientMessage #1   held in 3 of 3 probes",
        "    ServerMessage #2   ClientMessage #2   unknown: it came later than the probes held, by a clock or slowly",
        "    ServerTrailer      ClientMessage #1   structural",
    ]


def test_the_lines_of_a_client() -> None:
    assert list(needs_lines("echo.duplex", ECHO, CLIENT)) == [
        "echo.duplex   session 1   /chat.ChatService/Chat   what the client needs",
        "    ClientHeader       nothing            structural",
        "    ClientMessage #1   nothing            refuted by probe",
        "    ClientMessage #2   ServerMessage #1   held in 2 of 2 probes",
        "    ClientHalfClose    ServerMessage #1   structural",
    ]


def test_the_lines_of_a_lane_without_events() -> None:
    lonely = call((0, header()), (5, Cancel(8)))
    assert list(needs_lines("x.duplex", lonely, Needs(1, Side.SERVER, ()))) == [
        "x.duplex   session 1   /chat.ChatService/Chat   what the server needs"
    ]


def test_what_a_peer_chose_is_escaped() -> None:
    strange = call((0, header(method="/a\x1b[2J/b")), (1, Reset(8)))
    needs = Needs(1, Side.SERVER, (Need(1, Ground.UNKNOWN, 1, "it said \x1b[2J"),))
    assert list(needs_lines("x\n.duplex", strange, needs)) == [
        "'x\\n.duplex'   session 1   '/a\\x1b[2J/b'   what the server needs",
        "    Reset   ClientHeader   'unknown: it said \\x1b[2J'",
    ]
    assert marks(strange, {Side.SERVER: needs}) == {1: "what it needs is 'unknown: it said \\x1b[2J'"}


def test_a_timeline_is_marked_where_an_edge_is_known_or_known_to_be_unknown() -> None:
    assert marks(ECHO, {Side.SERVER: SERVER}) == {
        3: "needs ClientMessage #1 (held in 3 of 3 probes)",
        5: "what it needs is unknown: it came later than the probes held, by a clock or slowly",
    }
    assert marks(ECHO, {Side.CLIENT: CLIENT}) == {4: "needs ServerMessage #1 (held in 2 of 2 probes)"}
    assert marks(ECHO, {Side.CLIENT: CLIENT, Side.SERVER: SERVER}) == {
        3: "needs ClientMessage #1 (held in 3 of 3 probes)",
        4: "needs ServerMessage #1 (held in 2 of 2 probes)",
        5: "what it needs is unknown: it came later than the probes held, by a clock or slowly",
    }
    assert marks(ECHO, {}) == {}


def test_marks_stand_at_the_end_of_their_lines() -> None:
    learned = {Side.CLIENT: CLIENT, Side.SERVER: SERVER}
    assert list(map(str, timeline(ECHO, BY_NUMBER, marks=marks(ECHO, learned)))) == [
        "        0.000 ms  >  ClientHeader",
        "        1.000 ms  <  ServerHeader",
        "       10.000 ms  >  ClientMessage #1  {}",
        "       11.000 ms  <  ServerMessage #1  {}  needs ClientMessage #1 (held in 3 of 3 probes)",
        "       20.000 ms  >  ClientMessage #2  {}  needs ServerMessage #1 (held in 2 of 2 probes)",
        "       21.000 ms  <  ServerMessage #2  {}  what it needs is unknown: it came later than the probes held, by a "
        "clock or slowly",
        "       30.000 ms  >  ClientHalfClose",
        "       31.000 ms  <  ServerTrailer OK",
    ]


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (
            SERVER,
            '{"learned": 1, "method": "/chat.ChatService/Chat", "side": "server", "needs": ['
            '{"event": "ServerHeader", "needs": "ClientHeader", "count": 1, "ground": "refuted", "probes": 3, '
            '"reason": ""}, '
            '{"event": "ServerMessage #1", "needs": "ClientMessage #1", "count": 2, "ground": "held", "probes": 3, '
            '"reason": ""}, '
            '{"event": "ServerMessage #2", "needs": "ClientMessage #2", "count": 3, "ground": "unknown", "probes": 3, '
            '"reason": "it came later than the probes held, by a clock or slowly"}, '
            '{"event": "ServerTrailer", "needs": "ClientMessage #1", "count": 2, "ground": "structural", "probes": 0, '
            '"reason": ""}]}\n',
        ),
        (
            Needs(1, Side.CLIENT, (Need(0, Ground.STRUCTURAL), *CLIENT.lane[1:])),
            '{"learned": 1, "method": "/chat.ChatService/Chat", "side": "client", "needs": ['
            '{"event": "ClientHeader", "needs": null, "count": 0, "ground": "structural", "probes": 0, "reason": ""}, '
            '{"event": "ClientMessage #1", "needs": null, "count": 0, "ground": "refuted", "probes": 2, '
            '"reason": ""}, '
            '{"event": "ClientMessage #2", "needs": "ServerMessage #1", "count": 2, "ground": "held", "probes": 2, '
            '"reason": ""}, '
            '{"event": "ClientHalfClose", "needs": "ServerMessage #1", "count": 2, "ground": "structural", '
            '"probes": 0, "reason": ""}]}\n',
        ),
    ],
    ids=["server", "client"],
)
def test_the_json_line(needs: Needs, expected: str) -> None:
    assert needs_line(ECHO, needs) == expected
    assert len(json.loads(expected)["needs"]) == len(needs.lane)
