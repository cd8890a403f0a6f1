"""`duplexmock.replay` and `duplexmock.replay_client` as people use them: real gRPC clients and servers of Python."""

import asyncio
import gc
import inspect
import math
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from chat_app import chat_pb2
from chat_app.chat_pb2 import ChatMessage
from chat_app.client import Talk, chat

import duplexmock
from duplexmock.core.connection import Closing
from duplexmock.core.events import (
    Cancel,
    ClientMessage,
    Reset,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.session import Session
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.net.background import Background
from tests.net.chats import CHAT, called, channel, chatted, clock, serving
from tests.net.ends import ANSWER, REQUEST, request, sentences, written
from tests.net.wires import LIMIT_S, listening
from tests.peers.programs import ROOT
from tests.playbook import HALF_CLOSE, OK, ask, fails, goaway, lost_by, recorded, reply
from tests.schema.protos import chat_file, set_of

ACKS = ["ack: Hi there! Message 0", "ack: Hi there! Message 1", "ack: Hi there! Message 2"]
SECRET = "redacted:" + "0" * 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.duplex"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: Any) -> Path:
    """A chat of three messages, each acknowledged, as it was recorded."""
    out: Path = tmp_path_factory.mktemp("replay") / "chat.duplex"
    with serving() as server, duplexmock.record(server, out=out, descriptors=chat_pb2) as proxy:
        chatted(proxy.target)
    return out


def session(*events: Any, number: int = 1, **more: Any) -> Session:
    return recorded(*((number * 100 + ms, event) for ms, event in enumerate(events)), number=number, **more)


def echo(number: int = 1, text: str = "a", *, method: str = CHAT) -> Session:
    header = request(method=method)
    return session(header, ask(text), ANSWER, reply(text.upper()), HALF_CLOSE, OK, number=number)


def says(target: str, *messages: bytes, method: str = CHAT, **more: Any) -> tuple[list[bytes], grpc.StatusCode, str]:
    """Say these at once, and half-close; return what was heard, the status and its details."""
    with channel(target) as dialled:
        return heard(dialled.stream_stream(method)(iter(messages), timeout=LIMIT_S, **more))


def heard(call: Any) -> tuple[list[bytes], grpc.StatusCode, str]:
    came = []
    try:
        for message in call:
            came.append(message)
    except grpc.RpcError:
        pass  # the status says how
    return came, call.code(), call.details()


# The block


def test_a_client_is_replayed_to(recording: Path) -> None:
    with duplexmock.replay(recording) as mock:
        answered = chatted(mock.target)
    assert [message.message for message in answered.messages] == ACKS
    assert answered.status is grpc.StatusCode.OK
    assert sentences(mock.outcomes) == [(1, "")]
    assert mock.outcomes[0].session is not None
    assert mock.outcomes[0].session.method == CHAT


def test_client_and_mock_in_asyncio(recording: Path) -> None:
    async def main() -> Any:
        async with duplexmock.replay(recording) as mock:
            async with grpc.aio.insecure_channel(mock.target) as dialled:
                return await chat(dialled, Talk(3, 0, LIMIT_S, clock)), mock

    answered, mock = asyncio.run(main())
    assert [message.message for message in answered.messages] == ACKS
    assert sentences(mock.outcomes) == [(1, "")]


def test_outcomes_are_there_as_soon_as_the_client_has_its_status(path: Path) -> None:
    written(path, *map(echo, range(1, 51)))
    with duplexmock.replay(path) as mock:
        for count in range(1, 51):
            assert says(mock.target, b"a") == ([b"A"], grpc.StatusCode.OK, "")
            assert len(mock.outcomes) == count


def test_a_mismatch_is_raised_when_the_block_is_left(recording: Path) -> None:
    with pytest.raises(duplexmock.MismatchError) as caught, duplexmock.replay(recording) as mock:
        answered = chatted(mock.target, 2)
    sentence = "The client half-closed before its third message."
    assert answered.status is grpc.StatusCode.FAILED_PRECONDITION
    assert sentences(mock.outcomes) == [(1, sentence)]
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{recording}   session 1   /chat.ChatService/Chat   the mock played the server"
    assert [line[20:].split("  ")[0] for line in lines[1:-1] if line[18:19] in ("<", ">")] == [
        "ClientHeader",
        *("ClientMessage #1", "ServerHeader", "ServerMessage #1"),
        *("ClientMessage #2", "ServerMessage #2", "ClientHalfClose"),
        *("ServerMessage #3", "ServerTrailer"),
    ] or sentence in lines
    assert lines.count(sentence) == 1
    assert lines[-1].startswith("1 session: 0 agreed, 1 did not")
    assert isinstance(caught.value, AssertionError)


def test_the_whole_text_of_a_mismatch(path: Path) -> None:
    written(path, echo())
    with pytest.raises(duplexmock.MismatchError) as caught, duplexmock.replay(path) as mock:
        assert says(mock.target, b"b")[1:] == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "ClientMessage #1 differs from the recorded one: message: expected 'a', got 'b'.",
        )
    text = re.sub(r"(?m)^ +(! )?[0-9.]+ ms", lambda found: f"{found[1] or '  '}TIME", str(caught.value))
    text = re.sub(r"(?m)^(  TIME  >  ClientHeader).*", r"\1", text)
    assert text.splitlines()[:-1] == [
        f"{path}   session 1   /chat.ChatService/Chat   the mock played the server",
        "  TIME  >  ClientHeader",
        "! TIME  >  ClientMessage #1  'b'  expected ClientMessage #1  'a'",
        "             –    <  ServerHeader  not reached: waited for ClientMessage #1 (seen, not learned)",
        "             –    <  ServerMessage #1  not reached: waited for ClientMessage #1 (seen, not learned)",
        "             –    <  ServerTrailer  not reached: waited for ClientHalfClose (seen, not learned)",
        "ClientMessage #1 differs from the recorded one: message: expected 'a', got 'b'.",
        "",
    ]


def test_a_session_that_was_not_played_is_a_mismatch(path: Path) -> None:
    written(path, echo(1), echo(2))
    with pytest.raises(duplexmock.MismatchError) as caught, duplexmock.replay(path) as mock:
        says(mock.target, b"a")
    assert str(caught.value).splitlines()[0] == f"not played: {path}   session 2   /chat.ChatService/Chat"


def test_one_call_more_than_there_are_sessions_is_a_mismatch(path: Path) -> None:
    written(path, echo())
    with pytest.raises(duplexmock.MismatchError), duplexmock.replay(path) as mock:
        first, second = (says(mock.target, b"a") for _ in range(2))
    assert first == ([b"A"], grpc.StatusCode.OK, "")
    one_more = f"Every session of {CHAT} is taken by another call; this call is one more."
    assert second == ([], grpc.StatusCode.FAILED_PRECONDITION, one_more)
    assert sentences(mock.outcomes) == [(1, ""), (0, one_more)]


def test_a_method_that_was_not_recorded_is_unimplemented(path: Path) -> None:
    written(path, echo())
    with pytest.raises(duplexmock.MismatchError), duplexmock.replay(path) as mock:  # noqa: PT012
        assert called(mock.target, "/other.Service/Method") is grpc.StatusCode.UNIMPLEMENTED
        says(mock.target, b"a")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["with", "async with"])
def test_an_exception_in_the_block_stays_the_one(path: Path, asynchronous: bool) -> None:
    written(path, echo())

    async def main() -> None:
        async with duplexmock.replay(path):
            raise KeyError("mine")

    def plainly() -> None:
        with duplexmock.replay(path):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        asyncio.run(main()) if asynchronous else plainly()
    assert caught.value.__context__ is None
    assert caught.value.__notes__ == [
        f"duplexmock: not played: {path}   session 1   {CHAT}\n1 session: 0 agreed, 1 not played"
    ]


def test_a_replay_is_entered_once(path: Path) -> None:
    written(path, echo())
    mock = duplexmock.replay(path)
    assert mock.outcomes == ()
    with mock:
        says(mock.target, b"a")
    with pytest.raises(duplexmock.ScriptError) as caught, mock:
        pytest.fail("the block is not entered again")
    assert str(caught.value) == "a replay is entered once; make another one"


def test_what_a_client_keeps_secret_is_not_shown(path: Path) -> None:
    written(path, echo())
    with pytest.raises(duplexmock.MismatchError) as caught, duplexmock.replay(path) as mock:
        says(mock.target, b"b", metadata=(("authorization", "Bearer sesame"),))
    assert "sesame" not in str(caught.value)
    assert "authorization: redacted:" in str(caught.value)
    (outcome,) = mock.outcomes
    assert outcome.session.header.metadata.first("authorization") == "Bearer sesame"


def test_what_chooses_nothing_is_refused(path: Path) -> None:
    written(path, echo())
    with pytest.raises(duplexmock.ScriptError) as caught, duplexmock.replay(path, methods=["/typo/*"]):
        pytest.fail("the block is not entered")
    assert str(caught.value) == "method '/typo/*': no session is of such a method"
    with pytest.raises(duplexmock.ScriptError) as caught, duplexmock.replay():
        pytest.fail("the block is not entered")
    assert str(caught.value) == "no fixtures were given"


def test_an_exception_in_the_block_stays_the_one_where_the_fixture_breaks(path: Path) -> None:
    written(path, echo())
    with pytest.raises(KeyError, match="mine") as caught, duplexmock.replay(path) as mock:  # noqa: PT012
        _break(mock)
        assert says(mock.target, b"a")[1] is grpc.StatusCode.INTERNAL
        raise KeyError("mine")
    not_played = f"duplexmock: not played: {path}   session 1   {CHAT}\n1 session: 0 agreed, 1 not played"
    assert caught.value.__notes__ == [not_played, "duplexmock: x.duplex: broken by the test"]

    with pytest.raises(duplexmock.FixtureError) as error, duplexmock.replay(path) as mock:  # noqa: PT012
        _break(mock)
        assert says(mock.target, b"a")[1] is grpc.StatusCode.INTERNAL
    assert str(error.value) == "x.duplex: broken by the test"


def _break(mock: Any) -> None:
    """Let the play find that its file is damaged, as it reads on."""

    async def answer(stream: Any) -> None:
        raise duplexmock.FixtureError("x.duplex: broken by the test")

    mock._stage.play.answer = answer


def test_a_call_that_is_open_when_the_block_is_left_is_lost_behind_the_grace(path: Path) -> None:
    written(path, echo())
    over = threading.Event()

    def messages() -> Iterator[bytes]:
        yield b"a"
        over.wait(LIMIT_S)

    with LateChannel() as dial:
        with pytest.raises(duplexmock.MismatchError), duplexmock.replay(path, grace_s=0) as mock:  # noqa: PT012
            call = dial(mock.target).stream_stream(CHAT)(messages(), timeout=LIMIT_S)
            assert next(call) == b"A"
        assert heard(call)[1] is grpc.StatusCode.UNAVAILABLE
        over.set()
    assert sentences(mock.outcomes) == [
        (1, "The client's connection was lost (the replay was ended) before its half-close.")
    ]


class LateChannel:
    """A channel that outlives the mock's block."""

    def __enter__(self) -> Any:
        return self._dial

    def _dial(self, target: str) -> Any:
        self._channel = channel(target)
        return self._channel

    def __exit__(self, *exc: object) -> None:
        self._channel.close()


def test_nothing_is_left_behind(path: Path) -> None:
    written(path, echo())
    with duplexmock.replay(path) as mock:
        says(mock.target, b"a")  # grpc keeps threads of its own
    gc.collect()
    threads = {thread.name for thread in threading.enumerate()}
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(duplexmock.MismatchError), duplexmock.replay(path):
            assert "duplexmock-replay" in {thread.name for thread in threading.enumerate()}
        with pytest.raises(duplexmock.ScriptError):
            duplexmock.replay_client(path, "127.0.0.1:1")
    assert {thread.name for thread in threading.enumerate()} == threads
    assert len(os.listdir("/proc/self/fd")) <= files


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"listen": "here"}, "listen 'here': not HOST:PORT or unix:/path"),
        ({"speed": 0}, "speed 0: not more than 0; 1 is as recorded, inf as fast as possible"),
        ({"repeat": 0}, "repeat 0: at least 1"),
        ({"timeout_s": 0}, "timeout 0: not more than 0 seconds"),
        ({"grace_s": math.nan}, "grace nan: not a number of seconds, 0 or more"),
        ({"grace_s": math.inf}, "grace inf: not a number of seconds, 0 or more"),
        ({"grace_s": -1}, "grace -1: not a number of seconds, 0 or more"),
        ({"speed": math.nan}, "speed nan: not more than 0; 1 is as recorded, inf as fast as possible"),
        ({"timeout_s": math.nan}, "timeout nan: not more than 0 seconds"),
        ({"descriptors": "none.pb"}, "'none.pb': the descriptor set cannot be read: No such file or directory"),
    ],
)
def test_arguments_that_make_no_sense(path: Path, arguments: Any, sentence: str) -> None:
    written(path, echo())
    with pytest.raises(duplexmock.ScriptError) as caught, duplexmock.replay(path, **arguments):
        pytest.fail("the block is not entered")
    assert str(caught.value) == sentence


def test_a_folder_without_fixtures_and_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(duplexmock.FixtureError) as caught, duplexmock.replay(tmp_path):
        pytest.fail("the block is not entered")
    assert str(caught.value) == f"{tmp_path}: no fixtures (*.duplex) in this folder"
    (tmp_path / "x.duplex").write_text("no fixture")
    with pytest.raises(duplexmock.FixtureError), duplexmock.replay(tmp_path / "x.duplex"):
        pytest.fail("the block is not entered")


def test_an_address_that_is_taken(path: Path) -> None:
    written(path, echo())
    with duplexmock.replay(path) as mock:
        with pytest.raises(duplexmock.ScriptError) as caught, duplexmock.replay(path, listen=mock.target):
            pytest.fail("the block is not entered")
        says(mock.target, b"a")
    assert str(caught.value) == f"cannot listen on {mock.target}: Address already in use"


def test_a_unix_socket(path: Path, tmp_path: Path) -> None:
    written(path, echo())
    with duplexmock.replay(path, listen=f"unix:{tmp_path}/s") as mock:
        assert mock.target == f"unix:{tmp_path}/s"
        assert says(mock.target, b"a")[0] == [b"A"]
    assert not (tmp_path / "s").exists()


# What is chosen


def test_folders_and_files(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    written(tmp_path / "in" / "deep" / "b.duplex", echo(text="b"))
    written(tmp_path / "in" / "a.duplex", echo(text="a"))
    written(tmp_path / "c.duplex", echo(text="c"))
    with duplexmock.replay(tmp_path / "in", str(tmp_path / "c.duplex")) as mock:
        assert [says(mock.target, text)[0] for text in (b"c", b"b", b"a")] == [[b"C"], [b"B"], [b"A"]]


def test_sessions_methods_and_repeat(path: Path) -> None:
    written(path, echo(1, "a"), echo(2, "b"), echo(3, "c", method="/other.Service/Talk"))
    with duplexmock.replay(path, sessions=[2]) as mock:
        assert says(mock.target, b"b")[0] == [b"B"]
    with duplexmock.replay(path, methods=["*/Talk"]) as mock:
        assert says(mock.target, b"c", method="/other.Service/Talk")[0] == [b"C"]
    with duplexmock.replay(path, sessions=[1], repeat=3) as mock:
        assert [says(mock.target, b"a")[0] for _ in range(3)] == [[b"A"]] * 3


def test_strict_demands_the_order_that_was_seen(path: Path) -> None:
    written(path, session(REQUEST, ANSWER, reply("welcome"), ask("a"), HALF_CLOSE, OK))
    with duplexmock.replay(path) as mock:
        assert says(mock.target, b"a")[0] == [b"welcome"]
    with duplexmock.replay(path, expect="strict") as mock, channel(mock.target) as dialled:
        go = threading.Event()

        def messages() -> Iterator[bytes]:
            go.wait(LIMIT_S)
            yield b"a"

        call = dialled.stream_stream(CHAT)(messages(), timeout=LIMIT_S)
        assert next(call) == b"welcome"
        go.set()
        assert heard(call)[1] is grpc.StatusCode.OK


def test_our_lane_waits_by_a_word(path: Path) -> None:
    written(path, session(REQUEST, ask("a"), ANSWER, reply("A"), HALF_CLOSE, OK))
    with duplexmock.replay(path, order="><<>><") as mock, channel(mock.target) as dialled:
        go = threading.Event()

        def messages() -> Iterator[bytes]:
            go.wait(LIMIT_S)
            yield b"a"

        call = dialled.stream_stream(CHAT)(messages(), timeout=LIMIT_S)
        assert next(call) == b"A"  # before it was asked
        go.set()
        assert heard(call)[1] is grpc.StatusCode.OK


# Messages


@pytest.mark.parametrize("source", ["set", "proto", "module"])
def test_fields_are_named_by_descriptors(path: Path, tmp_path: Path, source: str) -> None:
    def said(text: str, timestamp: int) -> bytes:
        return ChatMessage(sender="Client", message=text, timestamp=timestamp).SerializeToString()

    written(path, session(REQUEST, ClientMessage(said("a", 1)), HALF_CLOSE, ANSWER, ServerMessage(said("A", 2)), OK))
    (tmp_path / "set.pb").write_bytes(set_of(chat_file()))
    sources: dict[str, Any] = {"set": tmp_path / "set.pb", "proto": ROOT / "proto" / "chat.proto", "module": chat_pb2}
    if source == "proto":
        pytest.importorskip("grpc_tools")
    with duplexmock.replay(path, descriptors=sources[source], ignore=["chat.ChatMessage.timestamp"]) as mock:
        assert says(mock.target, said("a", 7))[0] == [said("A", 2)]
    with (
        pytest.raises(duplexmock.MismatchError),
        duplexmock.replay(path, descriptors=sources[source]) as mock,
    ):
        says(mock.target, said("a", 7))
    assert sentences(mock.outcomes) == [
        (1, "ClientMessage #1 differs from the recorded one: timestamp: expected 1, got 7.")
    ]


def test_an_id_that_the_client_chose_comes_back(path: Path) -> None:
    def said(sender: str, text: str) -> bytes:
        return ChatMessage(sender=sender, message=text).SerializeToString()

    lanes = (REQUEST, ClientMessage(said("id-1", "join")), ANSWER, ServerMessage(said("id-1", "hello")), HALF_CLOSE, OK)
    written(path, session(*lanes))
    with duplexmock.replay(path, bind=[(f"{CHAT}>1", f"{CHAT}<1")]) as mock:
        assert says(mock.target, said("id-77", "join"))[0] == [said("id-77", "hello")]


def test_an_id_that_the_server_chose_goes_back(path: Path) -> None:
    def said(sender: str, text: str) -> bytes:
        return ChatMessage(sender=sender, message=text).SerializeToString()

    lanes = (REQUEST, ANSWER, ServerMessage(said("id-1", "hello")), ClientMessage(said("id-1", "hi")), HALF_CLOSE, OK)
    written(path, session(*lanes))
    came = []

    async def serve(requests: Any, context: Any) -> None:
        await context.write(said("id-88", "hello"))
        async for message in requests:
            came.append(message)

    with raw_server(serve) as target:
        duplexmock.replay_client(path, target, bind=[(f"{CHAT}<1", f"{CHAT}>1")]).check()
    assert came == [said("id-88", "hi")]


def test_messages_of_ten_megabytes_each_way(path: Path) -> None:
    up, down = os.urandom(10_000_000), os.urandom(10_000_000)
    written(path, session(REQUEST, ClientMessage(up), ANSWER, ServerMessage(down), HALF_CLOSE, OK))
    unbounded = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with duplexmock.replay(path) as mock, grpc.insecure_channel(mock.target, options=unbounded) as dialled:
        assert heard(dialled.stream_stream(CHAT)(iter([up]), timeout=LIMIT_S)) == ([down], grpc.StatusCode.OK, "")

    async def serve(requests: Any, context: Any) -> None:
        async for message in requests:
            assert message == up
            await context.write(down)

    with raw_server(serve) as target:
        duplexmock.replay_client(path, target).check()


def test_a_hundred_thousand_pushes(path: Path) -> None:
    count = 100_000
    pushes = [ServerMessage(b"%d" % number) for number in range(count)]
    entries = [(0, REQUEST), (1, HALF_CLOSE), (2, ANSWER), *((3, push) for push in pushes), (4, OK)]
    written(path, recorded(*entries))
    with duplexmock.replay(path) as mock:
        came, status, _ = says(mock.target)
    assert (len(came), came[-1], status) == (count, b"99999", grpc.StatusCode.OK)
    assert sentences(mock.outcomes) == [(1, "")]
    with duplexmock.replay(path) as mock:
        duplexmock.replay_client(path, mock.target).check()


def test_sixty_four_calls_in_parallel(path: Path) -> None:
    texts = [f"t{number}" for number in range(64)]
    written(path, *(echo(number, text) for number, text in enumerate(texts, start=1)))
    with duplexmock.replay(path) as mock, channel(mock.target) as dialled, ThreadPoolExecutor(64) as pool:
        method = dialled.stream_stream(CHAT)
        calls = [pool.submit(heard, method(iter([text.encode()]), timeout=LIMIT_S)) for text in reversed(texts)]
        answers = [call.result() for call in calls]
    assert answers == [([text.upper().encode()], grpc.StatusCode.OK, "") for text in reversed(texts)]


# Endings


def test_a_status_with_details_and_trailers(path: Path) -> None:
    trailer = ServerTrailer(Status(Code.ABORTED, "100% of Zoë's quota", b"\x08\x0a"), Metadata((("x-why", "quota"),)))
    written(path, session(REQUEST, HALF_CLOSE, ANSWER, reply("A"), trailer))
    with duplexmock.replay(path) as mock, channel(mock.target) as dialled:
        call = dialled.stream_stream(CHAT)(iter([]), timeout=LIMIT_S)
        assert heard(call) == ([b"A"], grpc.StatusCode.ABORTED, "100% of Zoë's quota")
        assert dict(call.trailing_metadata()) == {"x-why": "quota", "grpc-status-details-bin": b"\x08\x0a"}


def test_trailers_only(path: Path) -> None:
    written(path, session(REQUEST, HALF_CLOSE, fails(Code.NOT_FOUND, "no such room")))
    with duplexmock.replay(path) as mock:
        assert says(mock.target) == ([], grpc.StatusCode.NOT_FOUND, "no such room")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.CANCEL, grpc.StatusCode.CANCELLED),
        (ErrorCode.ENHANCE_YOUR_CALM, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (ErrorCode.INADEQUATE_SECURITY, grpc.StatusCode.PERMISSION_DENIED),
        (ErrorCode.INTERNAL_ERROR, grpc.StatusCode.INTERNAL),
    ],
)
def test_a_reset_has_its_code(path: Path, code: ErrorCode, status: grpc.StatusCode) -> None:
    written(path, session(REQUEST, HALF_CLOSE, ANSWER, reply("A"), Reset(code)))
    with duplexmock.replay(path) as mock:
        came, told, _ = says(mock.target)
    assert (came, told) == ([b"A"], status) or (came, told) == ([], status)


@pytest.mark.parametrize("how", [Closing.CLOSED, Closing.RESET])
def test_a_connection_that_the_server_loses(path: Path, how: Closing) -> None:
    written(path, session(REQUEST, ask("a"), ANSWER, closed=lost_by(Side.SERVER, 200, how)))
    over = threading.Event()

    def messages() -> Iterator[bytes]:
        yield b"a"
        over.wait(LIMIT_S)

    with duplexmock.replay(path) as mock, channel(mock.target) as dialled:
        call = dialled.stream_stream(CHAT)(messages(), timeout=LIMIT_S)
        assert heard(call)[1] is grpc.StatusCode.UNAVAILABLE
        over.set()
    assert sentences(mock.outcomes) == [(1, "")]


def test_goaway_is_said_where_it_was_and_calls_go_on(path: Path) -> None:
    parted = recorded(
        (0, REQUEST), (1, ask("a")), (2, ANSWER), (4, reply("A")), (5, HALF_CLOSE), (6, OK), goaways=[goaway(3)]
    )
    written(path, parted)
    with duplexmock.replay(path, repeat=2) as mock, channel(mock.target) as dialled:
        for _ in range(2):  # the second on a connection of its own
            assert heard(dialled.stream_stream(CHAT)(iter([b"a"]), timeout=LIMIT_S, wait_for_ready=True))[0] == [b"A"]
    assert [each.session.connection.number for each in mock.outcomes if each.session] == [1, 2]


def test_a_client_that_cancels(path: Path) -> None:
    written(path, session(REQUEST, ask("a"), ANSWER, reply("A"), Cancel(ErrorCode.CANCEL)))
    over = threading.Event()

    def messages() -> Iterator[bytes]:
        yield b"a"
        over.wait(LIMIT_S)

    with duplexmock.replay(path) as mock, channel(mock.target) as dialled:
        call = dialled.stream_stream(CHAT)(messages(), timeout=LIMIT_S)
        assert next(call) == b"A"
        call.cancel()
        over.set()
    assert sentences(mock.outcomes) == [(1, "")]


def test_a_call_that_hangs_is_ended_and_told(path: Path) -> None:
    written(path, session(REQUEST, ask("a"), ask("b"), ANSWER, reply("A"), HALF_CLOSE, OK))
    over = threading.Event()

    def messages() -> Iterator[bytes]:
        yield b"a"
        over.wait(LIMIT_S)

    sentence = (
        "Nothing came from the client within 200 ms, and its second message was expected: the client waits for "
        "ServerHeader; that needs ClientMessage #2 (seen, not learned); nothing is on its way."
    )
    with pytest.raises(duplexmock.MismatchError), duplexmock.replay(path, timeout_s=0.2) as mock:  # noqa: PT012
        with channel(mock.target) as dialled:
            call = dialled.stream_stream(CHAT)(messages(), timeout=LIMIT_S)
            assert heard(call) == ([], grpc.StatusCode.FAILED_PRECONDITION, sentence)
            over.set()
    assert sentences(mock.outcomes) == [(1, sentence)]


# Metadata


def test_a_redacted_value_of_the_client_matches_anything(path: Path) -> None:
    header = request(("authorization", SECRET), ("x-room", "7"))
    written(path, session(header, HALF_CLOSE, ANSWER, OK))
    with duplexmock.replay(path) as mock:
        metadata = [("authorization", "Bearer mine"), ("x-room", "7"), ("x-more", "1")]
        assert says(mock.target, metadata=metadata)[1] is grpc.StatusCode.OK
    with pytest.raises(duplexmock.MismatchError), duplexmock.replay(path) as mock:
        says(mock.target, metadata=[("authorization", "Bearer mine"), ("x-room", "8")])


def test_a_redacted_value_is_given(path: Path) -> None:
    ended = ServerTrailer(Status(Code.OK), http_status=200)  # of trailers only
    written(path, session(request(("authorization", SECRET)), HALF_CLOSE, ended))
    seen = []

    async def serve(requests: Any, context: Any) -> None:
        seen.append(dict(context.invocation_metadata())["authorization"])
        async for _ in requests:
            pass

    with raw_server(serve) as target:
        with pytest.raises(duplexmock.ScriptError) as caught:
            duplexmock.replay_client(path, target)
        duplexmock.replay_client(path, target, metadata={"Authorization": "Bearer mine"}).check()
    assert seen == ["Bearer mine"]
    assert str(caught.value) == (
        f"{path}: session 1: the value of 'authorization' was redacted; give one: --metadata authorization=VALUE"
    )


# The client's seat


def test_a_server_is_replayed_to(recording: Path) -> None:
    with serving() as server:
        outcomes = duplexmock.replay_client(recording, server)
    assert outcomes.agreed
    assert str(outcomes) == ""
    assert (len(outcomes), outcomes[0], [*outcomes[:1]]) == (1, next(iter(outcomes)), [outcomes[0]])
    outcomes.check()


def test_asyncio_code_replays_to_a_server_on_its_own_loop(path: Path) -> None:
    written(path, echo())

    async def main() -> Any:
        server = grpc.aio.server()
        handlers = {"Chat": grpc.stream_stream_rpc_method_handler(answer_in_capitals)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("chat.ChatService", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await duplexmock.replay_client_async(path, f"127.0.0.1:{port}", timeout_s=LIMIT_S)
        finally:
            await server.stop(0)

    outcomes = asyncio.run(main())
    outcomes.check()
    assert sentences(outcomes) == [(1, "")]


async def answer_in_capitals(requests: Any, context: Any) -> None:
    async for message in requests:
        await context.write(message.upper())


def test_what_blocks_is_refused_where_an_event_loop_runs(path: Path) -> None:
    written(path, echo())

    async def main() -> None:
        duplexmock.replay_client(path, "127.0.0.1:9")

    with pytest.raises(duplexmock.ScriptError) as caught:
        asyncio.run(main())
    assert str(caught.value) == (
        "replay_client would block the event loop that runs here, and a server on it could never answer; "
        "there, await replay_client_async(...)"
    )


def test_asyncio_code_may_block_a_thread(path: Path) -> None:
    written(path, echo())

    async def main() -> Any:
        with raw_server(answer_in_capitals) as target:
            return await asyncio.to_thread(duplexmock.replay_client, path, target)

    asyncio.run(main()).check()


def test_a_replay_of_asyncio_code_can_be_cancelled(path: Path) -> None:
    written(path, echo())
    files = len(os.listdir("/proc/self/fd"))

    async def main(listener: Any, target: str) -> None:
        playing = asyncio.ensure_future(duplexmock.replay_client_async(path, target))
        listener.setblocking(False)
        accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
        with accepted:
            playing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await playing

    with listening() as (listener, target):
        asyncio.run(main(listener, target))
    assert len(os.listdir("/proc/self/fd")) <= files


def test_both_forms_take_the_same_arguments() -> None:
    blocking, awaited = inspect.signature(duplexmock.replay_client), inspect.signature(duplexmock.replay_client_async)
    assert blocking == awaited
    assert list(blocking.parameters)[:3] == ["path", "target", "expect"]
    assert duplexmock.replay_client.__name__ == "replay_client"


def test_a_server_that_says_something_else(path: Path) -> None:
    written(path, session(REQUEST, ask("a"), HALF_CLOSE, ANSWER, reply("A"), OK))

    async def serve(requests: Any, context: Any) -> None:
        async for _ in requests:
            await context.write(b"B")

    with raw_server(serve) as target:
        outcomes = duplexmock.replay_client(path, target)
    sentence = "ServerMessage #1 differs from the recorded one: message: expected 'A', got 'B'."
    assert sentences(outcomes) == [(1, sentence)]
    assert not outcomes.agreed
    with pytest.raises(duplexmock.MismatchError) as caught:
        outcomes.check()
    assert str(caught.value) == str(outcomes)
    assert str(outcomes).splitlines()[0] == f"{path}   session 1   {CHAT}   the replay played the client"
    assert sentence in str(outcomes).splitlines()


def test_more_calls_than_a_real_server_allows(path: Path) -> None:
    written(path, *(echo(number) for number in range(1, 10)))

    with raw_server(answer_in_capitals, [("grpc.max_concurrent_streams", 2)]) as target:
        outcomes = duplexmock.replay_client(path, target)
    outcomes.check()
    assert len(outcomes) == 9


@contextmanager
def raw_server(behaviour: Any, options: Any = ()) -> Iterator[str]:
    """A grpc.aio server of bytes, on a thread of its own."""
    background = Background("raw-server")
    server: Any = None

    async def start() -> str:
        nonlocal server
        unbounded = ("grpc.max_receive_message_length", -1)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), unbounded, *options])
        handlers = {"Chat": grpc.stream_stream_rpc_method_handler(behaviour)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("chat.ChatService", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return f"127.0.0.1:{port}"

    try:
        yield background.run(start())
    finally:
        if server is not None:
            background.run(server.stop(0))
        background.close()
