"""`duplexmock.serve` with real clients: what they hear, and what a test sees of them and does to them."""

from __future__ import annotations

import asyncio
import queue
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from chat_app import chat_pb2
from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import ChatServiceStub

import duplexmock
from duplexmock.core.session import Ended
from duplexmock.store.fixture import Fixture
from tests.net.chats import CHAT, channel
from tests.net.wires import LIMIT_S


def chatting(target: str, *texts: str, dialled: grpc.Channel | None = None, **on: Any) -> Any:
    stub = ChatServiceStub(dialled or channel(target))
    return stub.Chat(iter([ChatMessage(message=text) for text in texts]), timeout=LIMIT_S, **on)


def texts(call: Any) -> list[str]:
    return [message.message for message in call]


class Talking:
    """A client that says what the test tells it, one by one."""

    def __init__(self, target: str) -> None:
        self._channel = channel(target)
        self._queue: queue.Queue[ChatMessage | None] = queue.Queue()
        self.call = ChatServiceStub(self._channel).Chat(self._saying(), timeout=LIMIT_S)

    def says(self, text: str) -> None:
        self._queue.put(ChatMessage(message=text))

    def half_closes(self) -> None:
        self._queue.put(None)

    def hears(self) -> str:
        return next(self.call).message

    def _saying(self) -> Iterator[ChatMessage]:
        while (message := self._queue.get()) is not None:
            yield message


@duplexmock.handler(CHAT, descriptors=chat_pb2)
async def shout(call: duplexmock.Call) -> None:
    async for message in call:
        await call.send({"message": message.message.upper()})


@duplexmock.handler(CHAT, descriptors=chat_pb2)
async def silent(call: duplexmock.Call) -> None:
    async for _ in call:
        pass


@duplexmock.handler(CHAT)
async def broken(call: duplexmock.Call) -> None:
    await call.receive()
    raise LookupError("no such room")


@duplexmock.handler(CHAT)
async def polite(call: duplexmock.Call) -> None:
    if (await call.receive(ChatMessage)).message != "please":
        call.fail("The client was not polite.")


# With both kinds of clients


def test_a_handler_answers_a_synchronous_client() -> None:
    with duplexmock.serve(shout) as mock:
        assert texts(chatting(mock.target, "a", "b")) == ["A", "B"]
        (call,) = mock.calls

    assert (call.number, call.method, call.is_over, call.half_closed) == (1, CHAT, True, True)
    assert [message.message for message in call.received] == ["a", "b"]
    assert [message.message for message in call.sent] == ["A", "B"]
    assert call.session.ended is Ended.TRAILER
    assert call.outcome is not None
    assert call.outcome.agreed


def test_a_handler_answers_an_asyncio_client_on_the_tests_own_loop() -> None:
    async def main() -> list[str]:
        async with duplexmock.serve(shout) as mock, grpc.aio.insecure_channel(mock.target) as dialled:
            call = ChatServiceStub(dialled).Chat(iter([ChatMessage(message="a")]), timeout=LIMIT_S)
            heard = [message.message async for message in call]
            served = await mock.call_async()
            await served.wait_for_async(lambda call: call.is_over)
            return heard

    assert asyncio.run(main()) == ["A"]


def test_several_methods_make_one_mock_and_several_of_one_method_are_played_in_turn() -> None:
    @duplexmock.handler("/lobby.Lobby/Enter")
    async def enter(call: duplexmock.Call) -> bytes:
        return b"welcome"

    @duplexmock.handler("/lobby.Lobby/Enter")
    async def full(call: duplexmock.Call) -> None:
        await call.finish("RESOURCE_EXHAUSTED")

    with duplexmock.serve(shout, enter, full) as mock, channel(mock.target) as dialled:
        ask = dialled.unary_unary("/lobby.Lobby/Enter")
        assert texts(chatting(mock.target, "a")) == ["A"]
        assert ask(b"", timeout=LIMIT_S) == b"welcome"
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as refused:
                ask(b"", timeout=LIMIT_S)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [call.method for call in mock.calls] == [CHAT, *["/lobby.Lobby/Enter"] * 3]


# What leaving the block says


def test_what_a_handler_raises_reaches_the_test_with_its_traceback() -> None:
    def fails() -> None:
        with duplexmock.serve(broken) as mock:
            with pytest.raises(grpc.RpcError) as failed:
                texts(chatting(mock.target, "a"))
            assert failed.value.code() is grpc.StatusCode.INTERNAL
            assert failed.value.details() == "the handler raised LookupError: no such room"

    with pytest.raises(LookupError, match="no such room") as raised:
        fails()
    frames = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert frames[-1] == "broken"


def test_a_tests_own_failure_has_the_handlers_traceback_as_a_note() -> None:
    with pytest.raises(grpc.RpcError) as failed, duplexmock.serve(broken) as mock:
        texts(chatting(mock.target, "a"))

    (note,) = failed.value.__notes__
    first, *_, last = note.splitlines()
    assert first == "duplexmock: broken has raised, on call 1 of /chat.ChatService/Chat:"
    assert 'raise LookupError("no such room")' in note
    assert last == "LookupError: no such room"


def test_a_client_that_a_handler_fails_is_told_and_so_is_the_test() -> None:
    def fails() -> None:
        with duplexmock.serve(polite) as mock:
            with pytest.raises(grpc.RpcError) as failed:
                texts(chatting(mock.target, "gimme"))
            assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert failed.value.details() == "The client was not polite."

    with pytest.raises(duplexmock.MismatchError) as raised:
        fails()

    heading, *timeline, sentence, blank, tally = str(raised.value).splitlines()
    assert heading.startswith("polite   call 1   /chat.ChatService/Chat   127.0.0.1:")
    assert [line.split()[3] for line in timeline][:2] == ["ClientHeader", "ClientMessage"]
    assert [line.split()[3] for line in timeline][-1] == "ServerTrailer"
    assert (sentence, blank, tally) == ("The client was not polite.", "", "1 call: 0 agreed, 1 did not")


def test_a_method_that_no_script_has_is_unimplemented_and_fails_the_block() -> None:
    sentence = "No script answers /chat.ChatService/Talk; this mock answers /chat.ChatService/Chat."

    def fails() -> None:
        with duplexmock.serve(shout) as mock, channel(mock.target) as dialled:
            with pytest.raises(grpc.RpcError) as refused:
                dialled.unary_unary("/chat.ChatService/Talk")(b"", timeout=LIMIT_S)
            assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, sentence)

    with pytest.raises(duplexmock.MismatchError) as raised:
        fails()

    assert str(raised.value).splitlines()[-3] == sentence


def test_a_call_that_is_open_when_the_block_is_left_fails_nothing() -> None:
    @duplexmock.handler(CHAT)
    async def endless(call: duplexmock.Call) -> None:
        await asyncio.Event().wait()

    with duplexmock.serve(endless, grace_s=0) as mock:
        client = Talking(mock.target)
        served = mock.call()
    client.half_closes()

    assert served.session.ended is Ended.CONNECTION_LOST
    assert served.session.reason == "the mock was ended"


# The live handle


def test_a_test_pushes_and_ends_a_call() -> None:
    with duplexmock.serve(silent) as mock:
        client = Talking(mock.target)
        call = mock.call()
        call.push({"message": "one"})
        assert client.hears() == "one"
        call.push(ChatMessage(message="two"))
        assert client.hears() == "two"
        call.finish("ABORTED", "enough", {"x-left": "0"})
        with pytest.raises(grpc.RpcError) as ended:
            client.hears()
        assert (ended.value.code(), ended.value.details()) == (grpc.StatusCode.ABORTED, "enough")
        assert ("x-left", "0") in list(ended.value.trailing_metadata())
        call.wait_for(lambda call: call.is_over)
        with pytest.raises(duplexmock.ScriptError) as late:
            call.push({"message": "three"})
        client.half_closes()

    assert str(late.value) == "call 1, /chat.ChatService/Chat, has ended: nothing more can be pushed"
    assert [message.message for message in call.sent] == ["one", "two"]


def test_a_test_decides_when_the_server_speaks() -> None:
    with duplexmock.serve(shout) as mock:
        mock.hold()
        client = Talking(mock.target)
        for text in ("a", "b", "c"):
            client.says(text)
        client.half_closes()
        call = mock.wait_for(lambda mock: mock.calls and len(mock.calls[0].received) == 3 and mock.calls[0])
        assert call.sent == []
        mock.release(1)
        assert client.hears() == "A"
        call.push({"message": "between"})
        assert client.hears() == "between"
        assert len(call.sent) == 2
        call.release()
        assert texts(client.call) == ["B", "C"]
        assert client.call.code() is grpc.StatusCode.OK


def test_leaving_the_block_lets_go_what_is_held() -> None:
    with duplexmock.serve(shout) as mock:
        mock.hold()
        client = Talking(mock.target)
        client.says("a")
        client.half_closes()
        mock.wait_for(lambda mock: mock.calls and mock.calls[0].half_closed)
    assert texts(client.call) == ["A"]
    assert client.call.code() is grpc.StatusCode.OK


def test_what_does_not_happen_in_time_is_told_with_what_did() -> None:
    with duplexmock.serve(silent) as mock:
        with pytest.raises(duplexmock.MismatchError) as none:
            mock.call(within=0.01)
        client = Talking(mock.target)
        client.says("a")
        mock.wait_for(lambda mock: mock.calls and mock.calls[0].received)
        with pytest.raises(duplexmock.MismatchError) as fewer:
            mock.wait_for(lambda mock: len(mock.calls[0].received) == 2, within=0.01, what="a second message")
        client.half_closes()

    assert str(none.value) == "call 1 has come: not within 10 ms\nno call has come"
    assert str(fewer.value) == ("a second message: not within 10 ms\ncall 1   /chat.ChatService/Chat   1 > 0 <   open")


def test_a_handler_that_uses_a_tests_handle_is_told_that_it_would_wait_for_itself() -> None:
    @duplexmock.handler(CHAT)
    async def confused(call: duplexmock.Call) -> None:
        mock.calls[0].push(b"")

    mock = duplexmock.serve(confused)
    mock.__enter__()
    with pytest.raises(grpc.RpcError):
        texts(chatting(mock.target))
    with pytest.raises(duplexmock.ScriptError) as raised:
        mock.__exit__(None, None, None)

    assert str(raised.value) == (
        "this is for a test, and would wait for itself on the mock's own thread; a handler has its call"
    )


def test_waiting_would_block_a_tests_own_loop() -> None:
    async def main() -> None:
        async with duplexmock.serve(shout) as mock:
            mock.wait_for(lambda mock: mock.calls)

    with pytest.raises(duplexmock.ScriptError) as raised:
        asyncio.run(main())
    assert str(raised.value) == (
        "mock.wait_for would block the event loop that runs here, and a server on it could never answer; "
        "there, await mock.wait_for_async(...)"
    )


def test_a_mock_is_of_use_in_its_block_alone() -> None:
    mock = duplexmock.serve(shout)
    with pytest.raises(duplexmock.ScriptError) as before:
        mock.hold()
    with mock:
        pass
    with pytest.raises(duplexmock.ScriptError) as again, mock:
        pass
    assert str(before.value) == "this is for the block of the mock alone, which was left, or not entered"
    assert str(again.value) == "a mock is entered once; make another one"


# Fixtures


def test_what_was_said_is_saved_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "shout.duplex"
    with duplexmock.serve(shout) as mock:
        secret = [("authorization", "Bearer 1"), ("x-room", "7")]
        assert texts(chatting(mock.target, "a", "b", metadata=secret)) == ["A", "B"]
        assert texts(chatting(mock.target)) == []
        mock.wait_for(lambda mock: all(call.is_over for call in mock.calls))
        mock.save(path)
        with pytest.raises(duplexmock.FixtureError) as there:
            mock.save(path)

    assert str(there.value) == f"{path}: the file exists; overwrite it, or record to another one"
    with Fixture.open(path) as fixture:
        first, second = fixture.sessions()
        assert fixture.descriptors is not None
    assert (first.method, second.method) == (CHAT, CHAT)
    assert (first.ended, len(first.entries)) == (Ended.TRAILER, 8)
    assert str(first.header.metadata.first("authorization")).startswith("redacted:")
    assert first.header.metadata.first("x-room") == "7"
    with duplexmock.replay(path, ignore=["metadata:authorization"]) as mock:
        assert texts(chatting(mock.target, "a", "b", metadata=[("authorization", "x"), ("x-room", "7")])) == ["A", "B"]
        assert texts(chatting(mock.target)) == []


def test_a_fixture_is_written_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "shout.duplex"
    with duplexmock.serve(shout, silent, out=path) as mock:
        assert texts(chatting(mock.target, "a", metadata=[("cookie", "1")])) == ["A"]
        assert texts(chatting(mock.target, "b")) == []
        listening = mock.target

    with Fixture.open(path) as fixture:
        assert fixture.header.upstream == listening
        first, second = fixture.sessions()
    assert ([session.number for session in (first, second)], first.ended) == ([1, 2], Ended.TRAILER)
    assert [len(session.entries) for session in (first, second)] == [6, 4]
    assert str(first.header.metadata.first("cookie")).startswith("redacted:")


def test_nothing_is_saved_of_a_mock_that_nobody_called(tmp_path: Path) -> None:
    with duplexmock.serve(shout) as mock:
        pass
    with pytest.raises(duplexmock.ScriptError) as raised:
        mock.save(tmp_path / "x.duplex")
    assert str(raised.value) == f"{tmp_path / 'x.duplex'}: no call has come, and there is nothing to save"


# Mistakes


def test_what_can_never_be_served_is_told_in_a_sentence() -> None:
    async def bare(call: duplexmock.Call) -> None: ...

    wrong = duplexmock.handler("/chat.ChatService/Talk", descriptors=chat_pb2)(bare)
    other = duplexmock.handler("/chat.Chat/Chat")(bare)
    for scripts, more, sentence in (
        ((), {}, "no scripts were given: serve(script, ...)"),
        ((bare,), {}, "bare is no script and no handler: is @duplexmock.handler(METHOD) missing above it?"),
        (("chat",), {}, "'chat' is no script and no handler"),
        ((wrong,), {}, "/chat.ChatService/Talk: chat.ChatService has no method Talk; it has Chat"),
        (
            (other,),
            {"descriptors": chat_pb2},
            "/chat.Chat/Chat: chat_app.chat_pb2 has no service chat.Chat; it has chat.ChatService",
        ),
        ((shout,), {"listen": "nowhere"}, "listen 'nowhere': not HOST:PORT or unix:/path"),
        ((shout,), {"grace_s": -1}, "grace -1: not a number of seconds, 0 or more"),
    ):
        with pytest.raises(duplexmock.ScriptError) as raised:
            duplexmock.serve(*scripts, **more)  # type: ignore[arg-type]
        assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"expect": "strict"}, "expect='strict': of a Script's peer is demanded 'lanes' or 'order'"),
        ({"services": "no"}, "services='no': reflection and health are 'served', or 'none'"),
        ({"listen": 50051}, "listen 50051: not HOST:PORT or unix:/path"),
    ],
)
def test_an_argument_that_is_none_of_those_there_are_is_refused(arguments: dict[str, Any], told: str) -> None:
    @duplexmock.handler("/chat.ChatService/Chat")
    async def silent(call: duplexmock.Call) -> None:
        pass

    with pytest.raises(duplexmock.ScriptError) as raised:
        duplexmock.serve(silent, **arguments)
    assert str(raised.value) == told
