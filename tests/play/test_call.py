"""A Call in virtual time: what a handler hears, says and is told, and what becomes of it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest
from chat_app import chat_pb2
from chat_app.chat_pb2 import ChatMessage
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.status import Code, Status
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.play.call import MAX_UNREAD, Call
from duplexmock.play.handler import Handler, handler
from duplexmock.play.serving import ServedCall, Serving
from duplexmock.schema.sources import given
from tests.play.live import Call as Far
from tests.play.live import LoopClock, virtual
from tests.playbook import CONNECTION

CHAT = "/chat.ChatService/Chat"
ANSWER = ServerHeader(GRPC_ANSWER)
OK = ServerTrailer(Status(Code.OK))
BARE_OK = ServerTrailer(Status(Code.OK), GRPC_ANSWER)
HALF_CLOSE = ClientHalfClose()
CANCEL = Cancel(8)


def opening(*pairs: tuple[str, str]) -> ClientHeader:
    return ClientHeader(CHAT, Metadata(pairs))


def ask(text: str) -> ClientMessage:
    return ClientMessage(text.encode())


def reply(text: str) -> ServerMessage:
    return ServerMessage(text.encode())


class Answered:
    """A call that is answered by a handler."""

    def __init__(self, function: Callable[[Call], Any], descriptors: Any = None, *said: Any) -> None:
        found = given(descriptors)
        clock = LoopClock()
        self.serving = Serving([Handler(CHAT, function)], clock, descriptors=found)
        self.far = Far()
        self.far.says(*(said or (opening(),)))
        self.task = asyncio.get_running_loop().create_task(self.serving.answer(self.far))

    async def served(self) -> ServedCall:
        await self.task
        assert self.far.is_closed
        (call,) = self.serving.calls
        return call

    async def raised(self) -> BaseException:
        failed = (await self.served()).failed
        assert failed is not None
        return failed

    async def sentence(self) -> str:
        outcome = (await self.served()).outcome
        assert outcome is not None
        assert outcome.mismatch is not None
        return outcome.mismatch.sentence


# Hearing


@virtual
async def test_messages_come_one_by_one_and_none_at_the_half_close() -> None:
    heard: list[Any] = []

    async def answer(call: Call) -> None:
        heard.append(await call.receive())
        heard.append(call.half_closed)
        heard.append(await call.receive())
        heard.append(await call.receive())
        heard.append(await call.receive())
        heard.append(call.half_closed)

    answered = Answered(answer)
    answered.far.says(ask("a"))
    await asyncio.sleep(1)
    answered.far.says(ask("b"), HALF_CLOSE)
    await answered.far.hears(BARE_OK)

    assert heard == [b"a", False, b"b", None, None, True]
    assert (await answered.served()).outcome is not None


@virtual
async def test_the_iteration_ends_with_the_half_close_and_the_server_may_go_on() -> None:
    async def answer(call: Call) -> None:
        async for message in call:
            await call.send(message.upper())
        await call.send(b"bye")

    answered = Answered(answer)
    await answered.far.talks(ask("a"), ANSWER, reply("A"), ask("b"), reply("B"), HALF_CLOSE, reply("bye"), OK)
    assert (await answered.served()).session.word == ">><<><><<"


@virtual
async def test_a_message_is_of_the_type_that_is_asked_for_or_that_descriptors_say() -> None:
    heard: list[Any] = []

    async def answer(call: Call) -> None:
        heard.append(await call.receive(ChatMessage))
        heard.append(await call.receive())
        heard.append(await call.receive(bytes))

    said = ChatMessage(sender="c", message="hi")
    payload = ClientMessage(said.SerializeToString())
    answered = Answered(answer, chat_pb2, opening(), payload, payload, payload)
    await answered.served()

    assert heard[0] == said
    assert type(heard[0]) is ChatMessage
    assert (heard[1].sender, heard[1].message, heard[1].DESCRIPTOR.full_name) == ("c", "hi", "chat.ChatMessage")
    assert heard[2] == payload.payload


@virtual
async def test_a_compressed_message_is_read_plainly() -> None:
    heard: list[Any] = []

    async def answer(call: Call) -> None:
        heard.append(await call.receive())

    message = ClientMessage(gzip.compress(b"hello"), 1)
    await Answered(answer, None, opening(("grpc-encoding", "gzip")), message).served()

    assert heard == [b"hello"]


@virtual
async def test_a_client_that_says_nothing_in_time_is_a_mismatch() -> None:
    async def answer(call: Call) -> None:
        await call.receive()
        await call.receive(within="2s")

    answered = Answered(answer, None, opening(), ask("a"))
    sentence = "The client sent no message within 2 s; it had sent 1 before."
    await answered.far.hears(ServerTrailer(Status(Code.FAILED_PRECONDITION, sentence), GRPC_ANSWER))

    assert asyncio.get_running_loop().time() == 2.0
    assert await answered.sentence() == sentence


@virtual
async def test_silence_is_a_timeout_error_to_a_handler_that_expects_it() -> None:
    async def answer(call: Call) -> None:
        try:
            await call.receive(within=0.5)
        except TimeoutError:
            await call.send(b"are you there?")
        await call.receive(within=5)

    answered = Answered(answer)
    await answered.far.talks(opening(), ANSWER, reply("are you there?"), ask("yes"), OK)
    assert (await answered.served()).failed is None


@virtual
async def test_a_client_gets_no_more_window_while_too_much_of_it_is_unread() -> None:
    let = asyncio.Event()

    async def answer(call: Call) -> None:
        await let.wait()
        async for _ in call:
            pass

    answered = Answered(answer)
    for number in range(MAX_UNREAD + 1):
        answered.far.says(ask(str(number)))
    await asyncio.sleep(1)
    held = answered.far.withheld
    let.set()
    answered.far.says(HALF_CLOSE)
    await answered.served()

    assert (held, answered.far.withheld) == (True, False)


# Saying


@virtual
async def test_returning_ends_the_call_with_ok_and_what_is_returned_is_said_before() -> None:
    async def answer(call: Call) -> dict[str, str]:
        return {"message": "hi"}

    answered = Answered(answer, chat_pb2)
    await answered.far.hears(ANSWER, ServerMessage(ChatMessage(message="hi").SerializeToString()), OK)
    await answered.served()


@virtual
async def test_a_header_may_be_said_before_the_first_message_and_the_status_may_have_trailers() -> None:
    async def answer(call: Call) -> None:
        await call.send_header({"x-room": "7"})
        await call.send(b"a")
        await call.finish(Code.ABORTED, "enough", [("x-left", "2"), ("grpc-status-details-bin", b"blob")])

    answered = Answered(answer)
    await answered.far.hears(
        ServerHeader(Metadata((("content-type", "application/grpc"), ("x-room", "7")))),
        reply("a"),
        ServerTrailer(Status(Code.ABORTED, "enough", b"blob"), Metadata((("x-left", "2"),))),
    )
    await answered.served()


@virtual
@pytest.mark.parametrize("code", [5, "not_found", "NOT_FOUND", Code.NOT_FOUND])
async def test_a_status_code_is_given_by_number_or_by_name(code: Any) -> None:
    async def answer(call: Call) -> None:
        await call.finish(code)

    await Answered(answer).far.hears(ServerTrailer(Status(5), GRPC_ANSWER))


@virtual
async def test_a_push_goes_out_at_once_and_again_while_the_block_lasts() -> None:
    times: list[float] = []

    def stamped() -> bytes:
        times.append(asyncio.get_running_loop().time())
        return b"tick"

    async def answer(call: Call) -> None:
        async with call.pushing("2s", stamped):
            await call.receive()

    answered = Answered(answer)
    await answered.far.hears(ANSWER, reply("tick"), reply("tick"), reply("tick"))
    await asyncio.sleep(1)
    answered.far.says(HALF_CLOSE)
    await answered.far.hears(OK)
    await answered.served()

    assert times == [0.0, 2.0, 4.0]


@virtual
async def test_what_goes_wrong_in_a_push_ends_the_handler() -> None:
    def broken() -> bytes:
        if asyncio.get_running_loop().time():
            raise ValueError("no more ticks")
        return b"tick"

    async def answer(call: Call) -> None:
        async with call.pushing("2s", broken):
            await call.receive()

    answered = Answered(answer)
    await answered.far.hears(ANSWER, reply("tick"))
    await answered.far.hears(ServerTrailer(Status(Code.INTERNAL, "the handler raised ValueError: no more ticks")))
    assert repr(await answered.raised()) == "ValueError('no more ticks')"


@virtual
async def test_a_call_says_goaway_and_loses_its_connection() -> None:
    async def answer(call: Call) -> None:
        await call.goaway(11, b"calm down")
        await call.lose_connection()

    answered = Answered(answer)
    await answered.far.hears(Parting(0, 0, 11, b"calm down"), Loss(Side.SERVER))
    await answered.served()


# The end of the call


@virtual
async def test_a_cancel_cancels_the_handler_wherever_it_waits() -> None:
    seen: list[Any] = []

    async def answer(call: Call) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            seen.append(call.cancelled)
            await call.send(b"goes nowhere")

    answered = Answered(answer, None, opening(), ask("a"))
    await asyncio.sleep(1)
    answered.far.says(CANCEL)
    served = await answered.served()

    assert (seen, answered.far.heard) == ([True], [])
    assert (served.failed, served.outcome and served.outcome.agreed) == (None, True)
    assert asyncio.get_running_loop().time() == 1.0


@virtual
async def test_a_lost_connection_cancels_the_handler() -> None:
    async def answer(call: Call) -> None:
        await call.receive()

    answered = Answered(answer)
    await asyncio.sleep(1)
    answered.far.goes("reset")
    served = await answered.served()

    assert (served.session.ended.value, served.session.reason) == ("connection lost", "reset")


@virtual
async def test_a_deadline_ends_the_call_also_where_the_client_does_not() -> None:
    left: list[Any] = []

    async def answer(call: Call) -> None:
        left.extend((call.deadline, call.time_remaining()))
        await asyncio.sleep(1)
        left.append(call.time_remaining())
        await asyncio.sleep(1000)

    answered = Answered(answer, None, opening(("grpc-timeout", "3S")))
    status = Status(Code.DEADLINE_EXCEEDED, "the deadline of 3 s is up")
    await answered.far.hears(ServerTrailer(status, GRPC_ANSWER))
    await answered.served()

    assert (left, asyncio.get_running_loop().time()) == ([3.0, 3.0, 2.0], 3.0)


@virtual
async def test_without_a_deadline_there_is_no_time_remaining() -> None:
    seen: list[Any] = []

    async def answer(call: Call) -> None:
        seen.extend((call.deadline, call.time_remaining(), call.cancelled, call.metadata.first("x"), call.peer))

    await Answered(answer, None, opening(("x", "1"))).served()
    assert seen == [None, None, False, "1", CONNECTION.client]


@virtual
async def test_a_handler_that_goes_on_when_its_call_is_over_is_given_up() -> None:
    async def stubborn(call: Call) -> None:
        while True:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                if asyncio.get_running_loop().time() >= 6:
                    raise

    answered = Answered(stubborn)
    await asyncio.sleep(1)
    answered.far.says(CANCEL)
    assert str(await answered.raised()) == (
        "stubborn: the handler goes on, 5 s after its call was cancelled by the client"
    )


# Verdicts


@virtual
async def test_a_handler_may_fail_its_client() -> None:
    async def answer(call: Call) -> None:
        if await call.receive() != b"hello":
            call.fail("The client was not polite.")

    answered = Answered(answer, None, opening(), ask("gimme"))
    trailer = ServerTrailer(Status(Code.FAILED_PRECONDITION, "The client was not polite."), GRPC_ANSWER)
    await answered.far.hears(trailer)
    assert await answered.sentence() == "The client was not polite."


@virtual
async def test_what_a_handler_raises_is_internal_to_the_client() -> None:
    async def answer(call: Call) -> None:
        raise KeyError("nobody")

    answered = Answered(answer)
    trailer = ServerTrailer(Status(Code.INTERNAL, "the handler raised KeyError: 'nobody'"), GRPC_ANSWER)
    await answered.far.hears(trailer)
    raised = await answered.raised()
    assert repr(raised) == "KeyError('nobody')"
    assert raised.__traceback__ is not None


@virtual
async def test_what_ends_a_process_does_not_end_the_mock() -> None:
    async def answer(call: Call) -> None:
        raise SystemExit(3)

    answered = Answered(answer)
    await answered.far.hears(ServerTrailer(Status(Code.INTERNAL, "the handler raised SystemExit: 3"), GRPC_ANSWER))
    assert repr(await answered.raised()) == "SystemExit(3)"


@virtual
async def test_a_message_that_cannot_be_read_is_the_clients_mistake() -> None:
    async def answer(call: Call) -> None:
        await call.receive(ChatMessage)

    sentence = r"ClientMessage #1 is no chat.ChatMessage: b'\xff\xff'."
    answered = Answered(answer, None, opening(), ClientMessage(b"\xff\xff"))
    assert await answered.sentence() == sentence


# Mistakes


MISTAKES: list[tuple[Callable[[Call], Any], str]] = [
    (
        lambda call: call.send("hello"),
        "/chat.ChatService/Chat: 'hello' is no message; a protobuf message, a dict of its fields, or bytes",
    ),
    (
        lambda call: call.send(FileDescriptorProto(name="x")),
        "/chat.ChatService/Chat: the server's messages are chat.ChatMessage, "
        "and this is a google.protobuf.FileDescriptorProto",
    ),
    (
        lambda call: call.send({"massage": "x"}),
        "/chat.ChatService/Chat: {'massage': 'x'} is no chat.ChatMessage: "
        'Protocol message ChatMessage has no "massage" field.',
    ),
    (
        lambda call: call.receive(FileDescriptorProto),
        "/chat.ChatService/Chat: the client's messages are chat.ChatMessage, "
        "and google.protobuf.FileDescriptorProto was asked for",
    ),
    (
        lambda call: call.receive(str),
        "/chat.ChatService/Chat: <class 'str'> is no type of messages; a protobuf class, or bytes",
    ),
    (
        lambda call: call.finish("NOT_THERE"),
        "code 'NOT_THERE': no status code of gRPC's; they are OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, "
        "DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, "
        "ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED",
    ),
    (
        lambda call: call.finish(trailing={"X-Key": "1"}),
        "(('X-Key', '1'),) is no metadata, pairs of key and value: metadata key 'X-Key': gRPC's keys are lower case",
    ),
    (
        lambda call: call.receive(within="soon"),
        "receive within 'soon': a time is written '5s', '100ms', '1.5s', '2m' or '1h'",
    ),
]


@virtual
@pytest.mark.parametrize(("mistake", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
async def test_a_mistake_in_a_handler_is_told_in_a_sentence(mistake: Callable[[Call], Any], sentence: str) -> None:
    async def answer(call: Call) -> None:
        await mistake(call)

    message = ClientMessage(ChatMessage(message="hi").SerializeToString())
    within = sentence.startswith("receive within")
    raised = await Answered(answer, chat_pb2, *((opening(),) if within else (opening(), message))).raised()
    assert (type(raised), str(raised)) == (ScriptError, sentence)


@virtual
async def test_a_dict_needs_descriptors() -> None:
    async def answer(call: Call) -> None:
        await call.send({"message": "hi"})

    assert str(await Answered(answer).raised()) == (
        "/chat.ChatService/Chat: a dict needs descriptors to become a message, and none know this method; "
        "give descriptors=, or a protobuf message, or bytes"
    )


@virtual
@pytest.mark.parametrize("what", ["send", "finish", "send_header"])
async def test_nothing_is_said_behind_finish(what: str) -> None:
    async def answer(call: Call) -> None:
        await call.finish()
        await getattr(call, what)(*((b"x",) if what == "send" else ()))

    assert str(await Answered(answer).raised()) == (
        f"/chat.ChatService/Chat: {what} after finish: the call has ended with OK"
    )


@virtual
async def test_a_header_is_said_once() -> None:
    async def answer(call: Call) -> None:
        await call.send(b"a")
        await call.send_header()

    assert str(await Answered(answer).raised()) == (
        "/chat.ChatService/Chat: send_header when the header has been said, by it or the first message"
    )


async def fine(call: Call) -> None: ...


def plain(call: Call) -> None: ...


async def generating(call: Call) -> Any:
    yield b"a"


async def of_two(call: Call, more: int) -> None: ...


@pytest.mark.parametrize(
    ("method", "function", "sentence"),
    [
        ("chat.ChatService.Chat", fine, "method 'chat.ChatService.Chat': a method is written /package.Service/Method"),
        ("/Chat", fine, "method '/Chat': a method is written /package.Service/Method"),
        (CHAT, plain, "plain: a handler is a coroutine function: async def plain(call)"),
        (CHAT, generating, "generating: a handler says messages by `await call.send(message)`, and not by yield"),
        (CHAT, of_two, "of_two: a handler takes one argument, the call: async def of_two(call)"),
        (fine, fine, 'write @duplexmock.handler("/package.Service/Method"): a handler has a method'),
    ],
)
def test_what_is_no_handler_is_told_in_a_sentence(method: Any, function: Any, sentence: str) -> None:
    with pytest.raises(ScriptError) as raised:
        handler(method)(function)
    assert str(raised.value) == sentence


def test_the_decorator_returns_a_value_and_registers_nothing() -> None:
    made = handler(CHAT)(fine)
    assert made == Handler(CHAT, fine)
    assert (made.name, made.method, made.descriptors) == ("fine", CHAT, None)
    assert isinstance(MismatchError("x"), AssertionError)
