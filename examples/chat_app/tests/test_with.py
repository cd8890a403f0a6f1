"""Blocks: where one test has several servers, or the verdict is wanted before the test is over."""

import pytest
from duplexmock import MismatchError

from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server
from chat_app.client import Talk, chat, chat_sync
from chat_app.server import AckServicer


def acks(server):
    add_ChatServiceServicer_to_server(AckServicer(), server)


def test_leaving_the_block_is_the_verdict(duplex):
    with duplex.replay("three_messages.duplex") as server:
        chat_sync(server.channel(), Talk(count=3, interval_s=0))

    (outcome,) = server.outcomes
    assert outcome.agreed


def test_a_client_that_says_too_little_is_told(duplex):
    with pytest.raises(MismatchError, match=r"The client half-closed before its third message\."):
        with duplex.replay("three_messages.duplex") as server:
            chat_sync(server.channel(), Talk(count=2, interval_s=0))


async def test_two_servers_in_one_test(duplex):
    async with duplex.replay("three_messages.duplex") as acking, duplex.replay("pushes.duplex") as pushing:
        acks = await chat(acking.aio_channel(), Talk(count=3, interval_s=0))
        pushes = await chat(pushing.aio_channel(), Talk(count=2, interval_s=0))

    assert (len(acks.messages), len(pushes.messages)) == (3, 3)


def test_what_was_said_to_the_live_server_can_be_asked(duplex):
    with duplex.record(acks, "one_message.duplex") as server:
        chat_sync(server.channel(), Talk(count=1, interval_s=0))

        (session,) = server.sessions
    assert session.method == "/chat.ChatService/Chat"
    assert session.word.count(">") == 3, "a header, a message, a half-close"
