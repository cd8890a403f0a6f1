"""The chat programs that demo, fixtures and documentation use."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest
from chat_app import chat_pb2
from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server
from chat_app.client import Heard, Talk, chat, chat_sync
from chat_app.server import AckServicer, ChatServicer
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.peers.programs import ROOT, command, run, serving

TALK = Talk(count=3, interval_s=0.0, deadline_s=20.0, clock=lambda: 7.9)

Client = Callable[[str, Talk, Callable[[str], object]], Awaitable[Heard]]


async def by_aio(target: str, talk: Talk, show: Callable[[str], object]) -> Heard:
    async with grpc.aio.insecure_channel(target) as channel:
        return await chat(channel, talk, show)


async def by_sync(target: str, talk: Talk, show: Callable[[str], object]) -> Heard:
    def dial() -> Heard:
        with grpc.insecure_channel(target) as channel:
            return chat_sync(channel, talk, show)

    return await asyncio.to_thread(dial)


def talked(client: Client, talk: Talk, servicer: ChatServiceServicer) -> tuple[Heard, list[str]]:
    """What a client heard of a servicer, and the lines it showed."""
    lines: list[str] = []

    async def main() -> Heard:
        server = grpc.aio.server()
        add_ChatServiceServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            return await client(f"127.0.0.1:{port}", talk, lines.append)
        finally:
            await server.stop(None)

    return asyncio.run(main()), lines


def from_server(text: str) -> ChatMessage:
    return ChatMessage(sender="Server", message=text, timestamp=8)


@pytest.mark.parametrize("client", [by_aio, by_sync])
def test_each_message_is_acknowledged(client: Client) -> None:
    heard, lines = talked(client, TALK, AckServicer(clock=lambda: 8))

    assert heard == Heard(
        tuple(from_server(f"ack: Hi there! Message {number}") for number in range(3)), grpc.StatusCode.OK
    )
    assert [line for line in lines if not line.startswith("<")] == [
        "> [7] Client: Hi there! Message 0",
        "> [7] Client: Hi there! Message 1",
        "> [7] Client: Hi there! Message 2",
        "> half-close",
        "ended: OK",
    ]
    assert [line for line in lines if line.startswith("<")] == [
        f"< [8] Server: ack: Hi there! Message {number}" for number in range(3)
    ]


@pytest.mark.parametrize("client", [by_aio, by_sync])
def test_pushes_go_on_after_the_half_close_until_they_are_done(client: Client) -> None:
    seen: list[str] = []
    servicer = ChatServicer(0.02, 3, "Hello!", clock=lambda: 8, show=seen.append)

    heard, _ = talked(client, TALK, servicer)

    assert heard == Heard((from_server("Hello!"),) * 3, grpc.StatusCode.OK)
    assert sorted(seen) == [
        *["< [8] Server: Hello!"] * 3,
        *[f"> [7] Client: Hi there! Message {number}" for number in range(3)],
    ]


@pytest.mark.parametrize("client", [by_aio, by_sync])
def test_pushes_without_end_are_cut_by_the_deadline(client: Client) -> None:
    talk = Talk(count=1, interval_s=0.0, deadline_s=0.5)

    heard, lines = talked(client, talk, ChatServicer(0.01, None, "Hello!", clock=lambda: 8))

    assert heard.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert set(map(str, heard.messages)) == {str(from_server("Hello!"))}
    assert lines[-1] == "ended: DEADLINE_EXCEEDED"


@pytest.mark.parametrize("flags", [[], ["--sync"]])
def test_a_client_exits_with_0_if_the_call_ended_as_it_should(flags: list[str]) -> None:
    client = [*command("python", "chat-client"), "--count", "0", "--deadline", "20", *flags]

    with serving([*command("python", "chat-server"), "--kind", "ack"]) as server:
        right = run(client, server.address)
        wrong = run([*client, "--ends", "CANCELLED"], server.address)

    assert (right.lines, right.exit_code) == (("> half-close", "ended: OK"), 0)
    assert (wrong.lines, wrong.exit_code) == (("> half-close", "ended: OK"), 1)


def test_the_stubs_are_those_of_the_proto_file(tmp_path: Path) -> None:
    written = tmp_path / "set.pb"
    compiler = [sys.executable, "-m", "grpc_tools.protoc", f"-Ichat_app={ROOT / 'proto'}"]
    subprocess.run([*compiler, f"--descriptor_set_out={written}", "chat_app/chat.proto"], check=True)
    (compiled,) = FileDescriptorSet.FromString(written.read_bytes()).file
    stub = FileDescriptorProto.FromString(chat_pb2.DESCRIPTOR.serialized_pb)
    for message in compiled.message_type:
        for field in message.field:
            field.ClearField("json_name")
    assert stub == compiled
