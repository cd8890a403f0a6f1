"""The client, against a server that acknowledges each message.

Each test has a recording of its own, below fixtures/tests/test_client, but for those whose marker names another. What
the client says is compared with it, message by message; only the time of day is not.
"""

import grpc
import pytest

from chat_app import chat_pb2
from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server
from chat_app.client import Talk, chat, chat_sync
from chat_app.server import AckServicer


def acks(server):
    """Make a server of ours: what duplexmock runs on a free port when it records."""
    add_ChatServiceServicer_to_server(AckServicer(), server)


pytestmark = pytest.mark.duplexmock(upstream=acks, descriptors=chat_pb2, ignore=["chat.ChatMessage.timestamp"])


def texts(heard):
    return [message.message for message in heard.messages]


@pytest.mark.duplexmock("three_messages.duplex")
def test_each_message_is_acknowledged(duplex):
    heard = chat_sync(duplex.channel(), Talk(count=3, interval_s=0))

    assert texts(heard) == [f"ack: Hi there! Message {number}" for number in range(3)]
    assert heard.status is grpc.StatusCode.OK


@pytest.mark.duplexmock("three_messages.duplex")
async def test_the_asyncio_client_says_the_same(duplex):
    heard = await chat(duplex.aio_channel(), Talk(count=3, interval_s=0))

    assert texts(heard) == [f"ack: Hi there! Message {number}" for number in range(3)]


@pytest.mark.parametrize("count", [0, 1, 10])
def test_there_are_as_many_replies_as_messages(duplex, count):
    heard = chat_sync(duplex.channel(), Talk(count=count, interval_s=0))

    assert len(heard.messages) == count


async def test_two_chats_at_once_do_not_mix(duplex):
    channel = duplex.aio_channel()

    short = await chat(channel, Talk(count=1, interval_s=0))
    long = await chat(channel, Talk(count=2, interval_s=0))

    assert (len(short.messages), len(long.messages)) == (1, 2)
