"""Keepalive passes the recorder: pings and their answers, what they leave alone, and what they are punished by."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duplexmock.core.events import Side
from duplexmock.core.session import Ended
from duplexmock.core.status import ErrorCode
from tests.net.fidelity import Lead, Peer, Played, Stage, assert_faithful, assert_passed, bidi
from tests.net.heard import heard_by_client
from tests.peers.frames import ACK, DATA, END_STREAM, HEADERS, PING, Frame
from tests.peers.programs import LIMIT_S
from tests.peers.relay import Relay, Spoken

OPEN = bidi(
    "open",
    [["send", "a"], ["await", 1], ["await-line"], ["send", "b"], ["await", 2], ["half-close"]],
    [["await", 1], ["send", "A"], ["await", 2], ["send", "B"], ["await-half-close"], ["status", "OK"]],
)
BEHIND_A_PAUSE = bidi(
    "behind-a-pause",
    [["send", "c"], ["half-close"]],
    [["await", 1], ["await-half-close"], ["send", "C"], ["status", "OK"]],
    opens_on_line=True,
)
PUNISHED = bidi(
    "punished", [["send", "a"], ["await", 1], ["await", 2]], [["await", 1], ["send", "A"], ["await-cancel"]]
)

PINGS = (
    "grpc.keepalive_time_ms=50",
    "grpc.keepalive_permit_without_calls=1",
    "grpc.http2.max_pings_without_data=0",
)
PERMITS = ("grpc.http2.min_ping_interval_without_data_ms=1", "grpc.keepalive_permit_without_calls=1")
FORBIDS = ("grpc.http2.min_ping_interval_without_data_ms=3600000", "grpc.http2.max_ping_strikes=1")

ENOUGH = 2
"""Pings in a row: one may be a library's measurement of the bandwidth, which it makes only when data comes."""


@pytest.fixture
def stage(peer: Any, tmp_path: Path) -> Stage:
    return Stage(peer, tmp_path)


@pytest.mark.parametrize(
    ("client", "server", "pinging"),
    [
        (Peer("python", PINGS), Peer("go", PERMITS), Side.CLIENT),
        (Peer("node", PINGS), Peer("go", PERMITS), Side.CLIENT),
        (Peer("node", PINGS), Peer("python", PERMITS), Side.CLIENT),
        (Peer("go"), Peer("python", PINGS), Side.SERVER),
        (Peer("python"), Peer("node", PINGS), Side.SERVER),
    ],
    ids=lambda value: value.language if isinstance(value, Peer) else f"{value.name.lower()} pings",
)
def test_pings_pass_and_disturb_no_call(client: Peer, server: Peer, pinging: Side, stage: Stage) -> None:
    played = stage.play(client, server, [OPEN, BEHIND_A_PAUSE], lead=after_pings(pinging))

    assert_faithful(played, [OPEN, BEHIND_A_PAUSE])
    (spoken,) = played.spoken
    answered = pings(frames_of(spoken, pinging.other), ACK)
    assert len(answered) >= 2 * ENOUGH
    assert answered == pings(frames_of(spoken, pinging), 0)[: len(answered)]
    assert {session.ended for session in played.sessions.values()} == {Ended.TRAILER}
    assert {session.connection.number for session in played.sessions.values()} == {1}


def test_a_client_that_pings_too_often_loses_its_call_as_it_does_directly(stage: Stage) -> None:
    played = stage.play(Peer("node", PINGS), Peer("go", FORBIDS[:1]), [PUNISHED])

    assert_passed(played)
    session = played.sessions["punished"]
    assert told_off(played) == [(1, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")]
    assert session.ended is Ended.CONNECTION_LOST
    assert heard_by_client(session, PUNISHED)[:-1] == played.direct.client["punished"][:-1] == [["message", "A"]]
    assert played.direct.client["punished"][-1][1] == "RESOURCE_EXHAUSTED"  # what grpc-js makes of the code


def test_a_server_says_to_a_client_that_pings_too_often_how_its_call_ended(stage: Stage) -> None:
    played = stage.play(Peer("python", PINGS), Peer("python", FORBIDS), [PUNISHED])

    assert_passed(played)
    session = played.sessions["punished"]
    assert told_off(played) == [(1, ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")]
    assert session.ended is Ended.TRAILER
    assert heard_by_client(session, PUNISHED) == played.direct.client["punished"]
    assert played.direct.client["punished"] == [["message", "A"], ["status", "UNAVAILABLE", "Too many pings", {}]]


def after_pings(pinging: Side) -> Lead:
    """Tell the client to go on when pings have been answered while its call was open, and again behind the call."""

    def lead(relay: Relay, tell: Callable[[], None]) -> None:
        relay.wait(lambda all_spoken: answered_behind(all_spoken, pinging, a_message), LIMIT_S)
        tell()
        relay.wait(lambda all_spoken: answered_behind(all_spoken, pinging, an_end), LIMIT_S)
        tell()

    return lead


def a_message(frame: Frame) -> bool:
    return frame.kind == DATA


def an_end(frame: Frame) -> bool:
    return frame.kind in (DATA, HEADERS) and bool(frame.flags & END_STREAM)


def answered_behind(all_spoken: list[Spoken], pinging: Side, what: Callable[[Frame], bool]) -> bool:
    """Tell whether enough pings have been answered behind a frame of the one who answers."""
    for spoken in all_spoken:
        frames = frames_of(spoken, pinging.other)
        for index, frame in enumerate(frames):
            if what(frame):
                return len(pings(frames[index:], ACK)) >= ENOUGH
    return False


def frames_of(spoken: Spoken, side: Side) -> tuple[Frame, ...]:
    return spoken.client if side is Side.CLIENT else spoken.server


def pings(frames: tuple[Frame, ...], flags: int) -> list[bytes]:
    """The payloads of pings, or of their answers."""
    return [frame.payload for frame in frames if frame.kind == PING and frame.flags == flags]


def told_off(played: Played) -> list[tuple[int, int, bytes]]:
    """What the server said of the connection."""
    (connection,) = played.connections
    return [
        (goaway.last_stream_id, goaway.code, goaway.debug)
        for goaway in connection.goaways
        if goaway.side is Side.SERVER
    ]
