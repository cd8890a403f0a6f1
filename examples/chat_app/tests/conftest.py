"""Live servers. They run only while there is something to record, or to compare with."""

import grpc.aio
import pytest_asyncio

from chat_app.chat_pb2_grpc import add_ChatServiceServicer_to_server
from chat_app.server import ChatServicer


@pytest_asyncio.fixture
async def push_server():
    """The address of a server that says hello three times, whether it is talked to or not."""
    server = grpc.aio.server()
    add_ChatServiceServicer_to_server(ChatServicer(interval_s=0.05, pushes=3, greeting="Hello!"), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)
