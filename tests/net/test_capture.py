"""Captures: calls that no session of a replay fits go to the live server, and are recorded."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

import grpc
import pytest
from chat_app import chat_pb2

import duplexmock
from duplexmock.core.session import Ended, Session
from duplexmock.net.capture import Capture
from duplexmock.store.fixture import Fixture
from tests.net.chats import CHAT, called, channel, chatted, serving, talk
from tests.net.ends import ANSWER, request, sentences, written
from tests.net.wires import LIMIT_S
from tests.playbook import HALF_CLOSE, METHOD, OK, ask, recorded, reply


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("capture") / "chat.duplex"
    with serving() as server, duplexmock.record(server, out=out, descriptors=chat_pb2) as proxy:
        chatted(proxy.target)
    return out


def captured(path: Path) -> list[Session]:
    with Fixture.open(path) as fixture:
        assert fixture.complete
        return list(fixture.sessions())


def test_a_call_that_no_session_fits_is_answered_by_the_live_server(recording: Path, tmp_path: Path) -> None:
    with serving() as server:
        capture = Capture(server, tmp_path / "more.duplex")
        with duplexmock.replay(recording, capture=capture) as mock:
            assert len(chatted(mock.target, 3).messages) == 3
            heard = chatted(mock.target, 2)
            assert len(chatted(mock.target, 4).messages) == 4
    assert [message.message for message in heard.messages] == ["ack: Hi there! Message 0", "ack: Hi there! Message 1"]
    assert heard.status is grpc.StatusCode.OK
    assert sentences(mock.outcomes) == [(1, "")]
    assert capture.count == 2
    two, four = captured(tmp_path / "more.duplex")
    assert (two.number, two.method, two.ended) == (1, CHAT, Ended.TRAILER)
    assert (two.word.count(">"), two.word.count("<")) == (4, 4)
    assert (four.word.count(">"), four.word.count("<")) == (6, 6)
    with duplexmock.replay(tmp_path / "more.duplex") as mock:
        chatted(mock.target, 4), chatted(mock.target, 2)


def test_a_method_that_was_not_recorded_goes_to_the_live_server(recording: Path, tmp_path: Path) -> None:
    with serving() as server:
        capture = Capture(server, tmp_path / "more.duplex")
        with duplexmock.replay(recording, capture=capture, unplayed="ignore") as mock:
            assert called(mock.target, "/other.Service/Method") is grpc.StatusCode.UNIMPLEMENTED
    (session,) = captured(tmp_path / "more.duplex")
    assert (session.method, session.ended) == ("/other.Service/Method", Ended.TRAILER)


def test_a_client_that_cancels_has_cancelled_the_live_call(recording: Path, tmp_path: Path) -> None:
    with serving() as server:
        capture = Capture(server, tmp_path / "more.duplex")
        with duplexmock.replay(recording, capture=capture, unplayed="ignore") as mock, channel(mock.target) as dialled:
            call = dialled.stream_stream(CHAT)(iter([talk().message(7).SerializeToString()] * 1), timeout=LIMIT_S)
            next(call)
            call.cancel()
    (session,) = captured(tmp_path / "more.duplex")
    assert session.ended in (Ended.CANCELLED, Ended.TRAILER)


def test_a_mock_that_has_answered_cannot_let_another_server_take_over(tmp_path: Path) -> None:
    events = (request(), ask("a"), ANSWER, reply("A"), ask("b"), reply("B"), HALF_CLOSE, OK)
    path = written(tmp_path / "x.duplex", recorded(*((ms, event) for ms, event in enumerate(events))))
    with serving() as server:
        capture = Capture(server, tmp_path / "more.duplex")
        with pytest.raises(duplexmock.MismatchError, match="ClientMessage #2 differs"):  # noqa: PT012
            with duplexmock.replay(path, capture=capture) as mock, channel(mock.target) as dialled:
                said: SimpleQueue[bytes] = SimpleQueue()
                said.put(b"a")
                call = dialled.stream_stream(METHOD)(iter(said.get, b""), timeout=LIMIT_S)
                assert next(call) == b"A"
                said.put(b"x")
                assert call.code() is grpc.StatusCode.FAILED_PRECONDITION
                said.put(b"")
    assert capture.count == 0


def test_a_live_server_that_is_not_there_is_unavailable(recording: Path, tmp_path: Path) -> None:
    with serving() as gone:
        pass
    capture = Capture(gone, tmp_path / "more.duplex")
    with duplexmock.replay(recording, capture=capture, unplayed="ignore") as mock:
        assert called(mock.target, "/other.Service/Method") is grpc.StatusCode.UNAVAILABLE
    assert capture.warnings == [f"{gone} cannot be reached: Connection refused"]
    assert captured(tmp_path / "more.duplex") == []
