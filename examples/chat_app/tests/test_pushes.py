"""The client, against a server that talks without being asked: a marker on a class, and a fixture as live server."""

import pytest

from chat_app import chat_pb2
from chat_app.client import Talk, chat


@pytest.mark.duplexmock(
    "pushes.duplex", upstream="push_server", descriptors=chat_pb2, ignore=["chat.ChatMessage.timestamp"]
)
class TestPushes:
    async def test_all_are_heard_also_behind_the_half_close(self, duplex):
        heard = await chat(duplex.aio_channel(), Talk(count=2, interval_s=0))

        assert [message.message for message in heard.messages] == ["Hello!"] * 3

    async def test_they_are_shown_as_they_come(self, duplex):
        shown = []

        await chat(duplex.aio_channel(), Talk(count=2, interval_s=0), shown.append)

        assert [line.partition("] ")[2] for line in shown if line.startswith("<")] == ["Server: Hello!"] * 3
        assert shown[-1] == "ended: OK"
