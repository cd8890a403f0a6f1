"""The server, against recorded clients: `replay_client` repeats what was said to it, and judges the answers."""

import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import duplexmock
import grpc.aio

from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server
from chat_app.server import AckServicer

THREE_MESSAGES = Path(__file__).parents[1] / "fixtures" / "three_messages.duplex"


async def test_it_answers_as_recorded():
    async with serving(AckServicer()) as target:
        outcomes = await duplexmock.replay_client_async(THREE_MESSAGES, target)

    outcomes.check()


async def test_an_answer_that_is_another_one_is_told():
    class Shouting(ChatServiceServicer):
        async def Chat(self, request_iterator, context):
            async for message in request_iterator:
                yield ChatMessage(sender="Server", message=f"ACK: {message.message}")

    async with serving(Shouting()) as target:
        outcomes = await duplexmock.replay_client_async(THREE_MESSAGES, target)

    assert not outcomes.agreed
    assert "message: expected 'ack: Hi there! Message 0', got 'ACK: Hi there! Message 0'." in str(outcomes)


def test_so_does_the_program():
    with program("--kind", "ack") as target:
        duplexmock.replay_client(THREE_MESSAGES, target).check()


@asynccontextmanager
async def serving(servicer):
    server = grpc.aio.server()
    add_ChatServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@contextmanager
def program(*flags):
    command = [sys.executable, "-m", "chat_app.server", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().removeprefix("listening on ").strip()
        finally:
            process.terminate()
