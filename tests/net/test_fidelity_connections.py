"""What is said of a connection, and many connections at once, pass the recorder as they are and are in the fixture."""

from pathlib import Path
from typing import Any

import pytest

from duplexmock.core.connection import Connection, GoAway
from duplexmock.core.events import ClientHalfClose, ClientMessage, Event, Side
from duplexmock.core.session import Ended, Session
from tests.net.fidelity import Peer, Stage, Steps, assert_faithful, assert_passed, bidi
from tests.net.heard import heard_by_client
from tests.peers.frames import GOAWAY, Frame

EVERY_STREAM = 2**31 - 1  # the last stream id of a GOAWAY that only warns (RFC 9113 section 6.8)
NO_ERROR = 0

GOES_ON: Steps = [["send", "a"], ["await", 1], ["await-goaway"], ["send", "b"], ["await", 2], ["half-close"]]
SERVES_ON: Steps = [["await", 2], ["send", "B"], ["await-half-close"], ["status", "OK"]]
STOPS = bidi("stops", GOES_ON, [["await", 1], ["send", "A"], ["stop"], *SERVES_ON])
AGES = bidi("ages", GOES_ON, [["await", 1], ["send", "A"], *SERVES_ON])
AFTERWARDS = bidi(
    "afterwards",
    [["send", "c"], ["half-close"]],
    [["await", 1], ["await-half-close"], ["send", "C"], ["status", "OK"]],
)
IS_CUT = bidi("is-cut", [["send", "a"], ["await", 1], ["await", 2]], [["await", 1], ["send", "A"], ["await-cancel"]])

GOAWAYS_OF_A_STOP = {
    "go": [(EVERY_STREAM, NO_ERROR, b"graceful_stop"), (1, NO_ERROR, b"graceful_stop")],
    "python": [(EVERY_STREAM, NO_ERROR, b"Server shutdown"), (1, NO_ERROR, b"Server shutdown")],
    "node": [(1, NO_ERROR, b""), (1, NO_ERROR, b"")],
}
GOAWAYS_OF_AGE = {
    "go": [(EVERY_STREAM, NO_ERROR, b"max_age"), (1, NO_ERROR, b"max_age")],
    "python": [(EVERY_STREAM, NO_ERROR, b"max_age"), (1, NO_ERROR, b"max_age")],
    "node": [(EVERY_STREAM, NO_ERROR, b"max_age"), (1, NO_ERROR, b""), (1, NO_ERROR, b"")],
}
OLD = ("grpc.max_connection_age_ms=400",)  # far longer than it takes to open a call and to answer


@pytest.fixture
def stage(peer: Any, tmp_path: Path) -> Stage:
    return Stage(peer, tmp_path)


# GOAWAY while a call is open


@pytest.mark.parametrize(
    ("client", "server"),
    [("go", "go"), ("python", "python"), ("node", "node"), ("python", "go"), ("go", "node"), ("node", "python")],
)
def test_a_call_goes_on_to_its_end_when_the_server_stops_gracefully(client: str, server: str, stage: Stage) -> None:
    played = stage.play(Peer(client), Peer(server), [STOPS])

    assert_faithful(played, [STOPS])
    session = played.sessions["stops"]
    assert session.ended is Ended.TRAILER
    assert said(session.connection, Side.SERVER) == GOAWAYS_OF_A_STOP[server]
    assert goaways(played.connections) == [(passed(spoken.client), passed(spoken.server)) for spoken in played.spoken]
    assert client_said_behind(session.connection.goaways[0], session) == [ClientMessage(b"b"), ClientHalfClose()]


@pytest.mark.parametrize(("client", "server"), [("python", "go"), ("go", "python"), ("node", "node")])
def test_a_call_goes_on_when_its_connection_is_too_old_for_others(client: str, server: str, stage: Stage) -> None:
    played = stage.play(Peer(client), Peer(server, OLD), [AGES, AFTERWARDS])

    assert_faithful(played, [AGES, AFTERWARDS])
    session, afterwards = played.sessions["ages"], played.sessions["afterwards"]
    assert (session.ended, afterwards.ended) == (Ended.TRAILER, Ended.TRAILER)
    assert said(session.connection, Side.SERVER) == GOAWAYS_OF_AGE[server]
    assert goaways(played.connections) == [(passed(spoken.client), passed(spoken.server)) for spoken in played.spoken]
    assert client_said_behind(session.connection.goaways[0], session) == [ClientMessage(b"b"), ClientHalfClose()]
    assert afterwards.connection.number == session.connection.number + 1


def test_a_call_that_outlives_the_grace_is_ended_by_the_server(stage: Stage) -> None:
    cut = Peer("python", (*OLD, "grpc.max_connection_age_grace_ms=100"))
    played = stage.play(Peer("python"), cut, [IS_CUT])

    assert_passed(played)
    session = played.sessions["is-cut"]
    assert session.ended is Ended.TRAILER
    assert heard_by_client(session, IS_CUT) == played.direct.client["is-cut"]
    assert heard_by_client(session, IS_CUT) == [["message", "A"], ["status", "UNAVAILABLE", "max connection age", {}]]
    assert said(session.connection, Side.SERVER) == GOAWAYS_OF_AGE["python"]


def test_a_call_that_outlives_the_grace_loses_its_connection(stage: Stage) -> None:
    cut = Peer("node", (*OLD, "grpc.max_connection_age_grace_ms=100"))
    played = stage.play(Peer("python"), cut, [IS_CUT])

    assert_passed(played)
    session = played.sessions["is-cut"]
    assert (session.ended, session.reason) == (Ended.CONNECTION_LOST, "the connection was closed by the server")
    message, (status, code, _, metadata) = played.direct.client["is-cut"]
    assert heard_by_client(session, IS_CUT) == [message, [status, code, "", metadata]]  # what is said of it is its own
    assert said(session.connection, Side.SERVER) == GOAWAYS_OF_AGE["node"]


# Many connections


@pytest.mark.parametrize(("client", "server"), [("go", "python"), ("python", "go"), ("node", "go")])
def test_calls_on_many_connections_at_once_are_recorded_each_once_where_it_was(
    client: str, server: str, stage: Stage
) -> None:
    connections, calls = 50, 200
    cases = [
        bidi(
            f"call-{number}",
            [["send", f"a{number}"], ["await", 1], ["send", f"b{number}"], ["half-close"]],
            [
                ["await-calls", calls],  # all of them are open
                ["await", 1],
                ["send", f"A{number}"],
                ["await", 2],
                ["send", f"B{number}"],
                ["await-half-close"],
                ["status", "OK"],
            ],
            metadata=[["x-number", str(number)]],
        )
        for number in range(calls)
    ]
    played = stage.play(Peer(client), Peer(server), cases, connections=connections)

    assert_faithful(played, cases)
    assert len(played.client_side) == connections
    assert [connection.number for connection in played.connections] == list(range(1, connections + 1))
    assert sorted(session.number for session in played.sessions.values()) == list(range(1, calls + 1))
    on: dict[int, list[tuple[int, str]]] = {}
    for name, session in played.sessions.items():
        on.setdefault(session.connection.number, []).append((session.stream_id, name))
    dealt = [{f"call-{number}" for number in range(first, calls, connections)} for first in range(connections)]
    assert sorted(sorted(name for _, name in each) for each in on.values()) == sorted(map(sorted, dealt))
    assert {tuple(sorted(stream_id for stream_id, _ in each)) for each in on.values()} == {(1, 3, 5, 7)}
    assert len({connection.client for connection in played.connections}) == connections
    opened = max(session.entries[0].at_ns for session in played.sessions.values())
    ended = min(session.entries[-1].at_ns for session in played.sessions.values())
    assert opened < ended


def said(connection: Connection, side: Side) -> list[tuple[int, int, bytes]]:
    """Each GOAWAY of a side in the fixture."""
    return [(each.last_stream_id, each.code, each.debug) for each in connection.goaways if each.side is side]


def goaways(connections: tuple[Connection, ...]) -> list[tuple[list[tuple[int, int, bytes]], ...]]:
    """Each GOAWAY in the fixture, by connection and side."""
    return [(said(connection, Side.CLIENT), said(connection, Side.SERVER)) for connection in connections]


def passed(frames: tuple[Frame, ...]) -> list[tuple[int, int, bytes]]:
    """Each GOAWAY among the frames of a side (RFC 9113 section 6.8)."""
    return [
        (int.from_bytes(frame.payload[:4]), int.from_bytes(frame.payload[4:8]), frame.payload[8:])
        for frame in frames
        if frame.kind == GOAWAY
    ]


def client_said_behind(goaway: GoAway, session: Session) -> list[Event]:
    """The client's events that were seen after a GOAWAY."""
    lane = session.lane(Side.CLIENT)
    return [entry.event for entry in session.entries if entry.at_ns > goaway.at_ns and entry.event in lane]
