"""Faults on the wire: which frames come from a real endpoint over a socket, in either seat; and the verdict."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import duplexmock
from duplexmock.core.events import Cancel, ClientMessage, Event, Reset, ServerMessage
from duplexmock.core.status import ErrorCode
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.wire.frames import HEAD, HEAD_BYTES, FrameType
from duplexmock.wire.happenings import GoAwayReceived
from tests.net.ends import ANSWER, REQUEST, End, client, server, written
from tests.net.wires import LIMIT_S, listening
from tests.playbook import HALF_CLOSE, OK, ask, recorded, reply

TALK: Sequence[Event] = (REQUEST, ANSWER, ask("a"), reply("A"), ask("b"), reply("B"), HALF_CLOSE, OK)
CANCEL = Cancel(ErrorCode.CANCEL)

Frame = tuple[str, int, bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "x.duplex", recorded(*enumerate(TALK)))


class Frames:
    """Reads what a mock writes, frame by frame; header blocks, and what keeps a connection going, are left out."""

    def __init__(self, end: End) -> None:
        self._sock = end.sock
        self._octets = b""

    def next(self, count: int) -> list[Frame]:
        """Return so many: type, flags and payload."""
        found: list[Frame] = []
        while len(found) < count:
            frame = self._one()
            assert frame is not None, f"the mock has gone, behind {found}"
            if frame[0] not in ("SETTINGS", "WINDOW_UPDATE", "PING"):
                found.append(frame)
        return found

    def rest(self) -> bytes:
        """Return what comes up to the end of the connection, behind what was read; ConnectionResetError for a reset."""
        while chunk := self._sock.recv(65_536):
            self._octets += chunk
        return self._octets

    def _one(self) -> Frame | None:
        while len(self._octets) < HEAD_BYTES or len(self._octets) < HEAD_BYTES + self._length():
            chunk = self._sock.recv(65_536)
            if not chunk:
                return None
            self._octets += chunk
        head, flags, _ = HEAD.unpack_from(self._octets)
        end = HEAD_BYTES + self._length()
        payload, self._octets = self._octets[HEAD_BYTES:end], self._octets[end:]
        kind = FrameType(head & 0xFF)
        return kind.name, flags, b"" if kind is FrameType.HEADERS else payload

    def _length(self) -> int:
        return int.from_bytes(self._octets[:3], "big")


HEADERS: Frame = ("HEADERS", 4, b"")
TRAILERS: Frame = ("HEADERS", 5, b"")


def data(text: bytes, more: int = 0) -> Frame:
    return ("DATA", 0, b"\0" + (len(text) + more).to_bytes(4, "big") + text)


def reset(code: int) -> Frame:
    return ("RST_STREAM", 0, code.to_bytes(4, "big"))


@contextmanager
def asked(path: Path, *faults: str) -> Iterator[tuple[End, int, Frames]]:
    """A call that has said its first message to a mock with these faults, at whose frames a test looks itself."""
    with duplexmock.replay(path, faults=list(faults)) as mock, client(mock.target) as end:
        yield end, end.open(REQUEST, ask("a")), Frames(end)


FIRST = [HEADERS, data(b"A")]

WRITTEN: list[tuple[str, list[Frame]]] = [
    ("reset(42)@server:2", [reset(42)]),
    ("length(5)@server:2", [data(b"B", 5)]),
    ("duplicate@server:2", [data(b"B"), data(b"B"), TRAILERS]),
    ("corrupt@server:2", [data(b"\xbd")]),
    ("early-trailer@server:2", [TRAILERS, data(b"B"), TRAILERS]),
    ("no-trailers@server:trailer", [data(b"B"), ("DATA", 1, b"")]),
    ("no-status@server:trailer", [data(b"B"), ("HEADERS", 5, b"")]),
    ("goaway(last=0)@server:2", [("GOAWAY", 0, bytes(8)), data(b"B")]),
    ("goaway(ENHANCE_YOUR_CALM, last=7)@server:2", [("GOAWAY", 0, b"\0\0\0\7\0\0\0\x0b"), data(b"B")]),
]


@pytest.mark.parametrize(("fault", "frames"), WRITTEN)
def test_a_fault_is_written(path: Path, fault: str, frames: list[Frame]) -> None:
    with asked(path, fault) as (end, stream_id, read):
        assert read.next(2) == FIRST
        end.say(stream_id, ask("b"), HALF_CLOSE)
        assert read.next(len(frames)) == frames


def test_data_comes_before_the_header(path: Path) -> None:
    with asked(path, "late-header(1)@server:header") as (end, stream_id, read):
        assert read.next(2) == [data(b"A"), HEADERS]
        end.say(stream_id, ask("b"), HALF_CLOSE)
        assert read.next(2) == [data(b"B"), TRAILERS]


@pytest.mark.parametrize(
    ("fault", "rest"),
    [
        ("cut@server:2", b"\0\0\6\0\0\0\0"),
        ("cut(11)@server:2", b"\0\0\6\0\0\0\0\0\1\0\0"),
        ("lose@server:2", b""),
        ("abrupt-goaway@server:2", b"\0\0\x08\7\0\0\0\0\0\0\0\0\1\0\0\0\2"),
    ],
)
def test_a_connection_is_closed_in_the_midst(path: Path, fault: str, rest: bytes) -> None:
    with asked(path, fault) as (end, stream_id, read):
        assert read.next(2) == FIRST
        end.say(stream_id, ask("b"))
        assert read.rest() == rest


def test_a_connection_is_reset(path: Path) -> None:
    with asked(path, "lose(reset)@client:2") as (end, stream_id, read):
        assert read.next(2) == FIRST
        end.say(stream_id, ask("b"))
        with pytest.raises(ConnectionResetError):
            read.rest()


def test_a_server_goes_on_behind_a_cancel(tmp_path: Path) -> None:
    events = (REQUEST, ANSWER, ask("a"), CANCEL, reply("A"), OK)
    path = written(tmp_path / "x.duplex", recorded(*enumerate(events)))
    with duplexmock.replay(path, order="><>><<", faults=["ignore-cancel(1ms)@client:cancel"]) as mock:
        with client(mock.target) as end:
            stream_id = end.open(REQUEST, ask("a"))
            read = Frames(end)
            assert read.next(1) == [HEADERS]
            end.say(stream_id, CANCEL)
            assert read.next(2) == [data(b"A"), TRAILERS]


def test_a_client_is_given_no_more_window(tmp_path: Path) -> None:
    large = ClientMessage(bytes(1_000_000))
    path = written(tmp_path / "x.duplex", recorded(*enumerate((REQUEST, ANSWER, large, HALF_CLOSE, OK))))
    with duplexmock.replay(path, faults=["no-window@client:header"]) as mock, client(mock.target) as end:
        stream_id = end.open(REQUEST, large)
        assert end.hear(stream_id, 1) == [ANSWER]
        end.endpoint.ping(b"all read")
        end.flush()
        end.until(lambda: any(type(each).__name__ == "PingAcknowledged" for each in end.happened))
        unsent = end.endpoint.unsent_bytes(stream_id)
        assert 1_000_005 - 3 * 65_535 <= unsent <= 1_000_005 - 65_535
        end.say(stream_id, CANCEL)


def test_a_client_is_given_window_again(tmp_path: Path) -> None:
    large = ClientMessage(bytes(1_000_000))
    path = written(tmp_path / "x.duplex", recorded(*enumerate((REQUEST, ANSWER, large, HALF_CLOSE, OK))))
    with duplexmock.replay(path, faults=["no-window(20ms)@client:header"]) as mock, client(mock.target) as end:
        stream_id = end.open(REQUEST, large, HALF_CLOSE)
        assert end.hear(stream_id, 2) == [ANSWER, OK]
    assert [each.agreed for each in mock.outcomes] == [True]


def test_other_calls_of_the_connection_go_on(path: Path) -> None:
    both = written(
        path.with_name("two.duplex"),
        recorded(*enumerate(TALK)),
        recorded(*((100 + ms, event) for ms, event in enumerate(TALK)), number=2),
    )
    with duplexmock.replay(both, faults=["stall@server:2#1"]) as mock, client(mock.target) as end:
        first, second = end.open(REQUEST, ask("a")), end.open(REQUEST, ask("a"))
        assert end.hear(first, 2) == [ANSWER, reply("A")]
        end.say(first, ask("b"))
        assert end.hear(second, 2) == [ANSWER, reply("A")]
        end.say(second, ask("b"), HALF_CLOSE)
        assert end.hear(second, 2) == [reply("B"), OK]
        end.say(first, CANCEL)


def test_a_call_that_was_refused_finds_its_session_again(path: Path) -> None:
    with duplexmock.replay(path, faults=["reset(REFUSED_STREAM)@server:header#1"]) as mock:
        with client(mock.target) as end:
            assert end.hear(end.open(REQUEST), 1) == [Reset(ErrorCode.REFUSED_STREAM)]
            stream_id = end.open(REQUEST, ask("a"))
            assert end.hear(stream_id, 2) == [ANSWER, reply("A")]
            end.say(stream_id, ask("b"), HALF_CLOSE)
            assert end.hear(stream_id, 2) == [reply("B"), OK]
    assert [(each.number, each.agreed, len(each.notes)) for each in mock.outcomes] == [(1, True, 2), (1, True, 0)]


# The client


@contextmanager
def performing(path: Path, *faults: str) -> Iterator[tuple[End, int, Future[Any]]]:
    """A server at which the client of a fixture has opened its call, with faults; and the future of the outcomes."""
    with listening() as (listener, address), ThreadPoolExecutor(1) as pool:
        playing = pool.submit(duplexmock.replay_client, path, address, faults=list(faults))
        end = server(listener)
        yield end, end.accept(), playing
        end.sock.close()


def test_a_client_duplicates_and_resets(path: Path) -> None:
    with performing(path, "duplicate@client:1", "reset(CONNECT_ERROR)@client:2") as (end, stream_id, playing):
        end.say(stream_id, ANSWER)
        assert end.hear(stream_id, 3) == [REQUEST, ask("a"), ask("a")]
        end.say(stream_id, reply("A"))
        assert end.hear(stream_id, 1) == [Cancel(ErrorCode.CONNECT_ERROR)]
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert [each.notes for each in outcomes] == [
        (
            "fault duplicate@client:1; the server was not judged behind it, and said ServerMessage #1",
            "fault reset(CONNECT_ERROR)@client:2",
        )
    ]


def test_a_client_closes_its_connection_in_the_midst_of_a_frame(path: Path) -> None:
    with performing(path, "cut@client:2") as (end, stream_id, playing):
        end.say(stream_id, ANSWER, reply("A"))
        end.hear(stream_id, 2)
        end.to_the_end()
        playing.result(LIMIT_S).check()


def test_a_client_reads_slowly_and_is_judged_as_always(path: Path) -> None:
    with performing(path, "slow(5ms)@server:*") as (end, stream_id, playing):
        end.say(stream_id, ANSWER, reply("A"))
        assert end.hear(stream_id, 3) == [REQUEST, ask("a"), ask("b")]
        end.say(stream_id, ServerMessage(b"other"))
        assert end.hear(stream_id, 1) == [CANCEL]
        outcomes = playing.result(LIMIT_S)

    assert [each.mismatch.sentence for each in outcomes] == [
        "ServerMessage #2 differs from the recorded one: message: expected 'B', got 'other'."
    ]
    assert outcomes[0].notes == ("fault slow(5ms)@server:*, 2 times",)


def test_a_client_says_goaway_and_goes_on(path: Path) -> None:
    with performing(path, "goaway@client:2") as (end, stream_id, playing):
        end.say(stream_id, ANSWER, reply("A"))
        assert end.hear(stream_id, 3) == [REQUEST, ask("a"), ask("b")]
        end.say(stream_id, reply("B"))
        assert end.hear(stream_id, 1) == [HALF_CLOSE]
        end.say(stream_id, OK)
        playing.result(LIMIT_S).check()
    assert [each for each in end.happened if isinstance(each, GoAwayReceived)] == [GoAwayReceived(0, 0, b"", ())]


# The verdict


def talks(path: Path, *said: Event, heard: Sequence[Event], **options: Any) -> None:
    """Say and hear these on a call to a mock, whose verdict is raised."""
    with duplexmock.replay(path, **options) as mock, client(mock.target) as end:
        assert end.hear(end.open(REQUEST, *said), len(heard)) == list(heard)


def test_a_fault_that_never_fired_fails_the_block(path: Path) -> None:
    said, heard = (ask("a"), ask("b"), HALF_CLOSE), (ANSWER, reply("A"), reply("B"), OK)
    with pytest.raises(MismatchError) as failed:
        talks(path, *said, heard=heard, faults=["drop@server:3", "delay(1ms)@server:*"])

    assert str(failed.value) == (
        "fault drop@server:3 never fired: no call came to ServerMessage #3\n"
        "1 session: 1 agreed, 1 fault never fired; order across lanes was not asserted"
    )


def test_a_client_that_hangs_behind_a_fault_fails_the_block(path: Path) -> None:
    said, heard = (ask("a"), ask("b"), HALF_CLOSE), (ANSWER, reply("A"), reply("B"), Reset(ErrorCode.NO_ERROR))
    with pytest.raises(MismatchError) as failed:
        talks(path, *said, heard=heard, faults=["drop@server:trailer"], timeout_s=0.5)

    assert str(failed.value).splitlines()[-4:] == [
        "The client did not end the call within 500 ms behind the fault drop@server:trailer.",
        "fault drop@server:trailer; the client was not judged behind it, and said nothing",
        "",
        "1 session: 0 agreed, 1 did not",
    ]


def test_what_took_place_is_in_the_outcome(path: Path) -> None:
    with duplexmock.replay(path, faults=["reset(CANCEL)@server:2"]) as mock, client(mock.target) as end:
        stream_id = end.open(REQUEST, ask("a"))
        assert end.hear(stream_id, 2) == [ANSWER, reply("A")]
        end.say(stream_id, ask("b"))
        assert end.hear(stream_id, 1) == [Reset(ErrorCode.CANCEL)]

    [outcome] = mock.outcomes
    assert outcome.session is not None
    assert [entry.event for entry in outcome.session.entries][-3:] == [
        reply("A"),
        ask("b"),
        Reset(ErrorCode.CANCEL),
    ]


@pytest.mark.parametrize(
    ("faults", "text"),
    [
        (["cut@client:1"], "fault cut@client:1: the server is played here, and cannot change what the client says"),
        ("drop@server:1", "faults='drop@server:1': a list of them, also where there is one"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_at_once(path: Path, faults: Any, text: str) -> None:
    with pytest.raises(ScriptError) as refused:
        duplexmock.replay(path, faults=faults)

    assert str(refused.value) == text


def test_the_client_refuses_what_only_a_server_can_do(path: Path) -> None:
    with pytest.raises(ScriptError) as refused:
        duplexmock.replay_client(path, "127.0.0.1:1", faults=["status(OK)@server:1"])

    text = "fault status(OK)@server:1: only a server can do this, and the client is played here"
    assert str(refused.value) == text


def test_without_faults_nothing_of_them_is_loaded(path: Path) -> None:
    code = (
        "import sys, duplexmock\n"
        f"with duplexmock.replay({str(path)!r}, unplayed='ignore'): pass\n"
        "print([name for name in sys.modules if 'fault' in name and name.startswith('duplexmock.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=True)

    assert done.stdout == "['duplexmock.wire.faults']\n"
