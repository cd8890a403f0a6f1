"""Chat servers and clients of examples/chat_app for the tests: in this process, without pauses, with a fixed clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
import grpc.aio
from chat_app.chat_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server
from chat_app.client import Heard, Talk, chat_sync
from chat_app.server import AckServicer

from duplexmock.net.background import Background
from tests.net.wires import LIMIT_S

CHAT = "/chat.ChatService/Chat"


def clock() -> float:
    """What every message carries."""
    return 1_795_348_800


def talk(count: int = 3) -> Talk:
    return Talk(count, 0, LIMIT_S, clock)


@contextmanager
def serving(servicer: ChatServiceServicer | None = None, listen: str = "127.0.0.1:0") -> Iterator[str]:
    """Serve on a thread of its own; yields the address."""
    background = Background("chat-server")
    server = None

    async def start() -> str:
        nonlocal server
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_ChatServiceServicer_to_server(servicer or AckServicer(clock=clock), server)
        port = server.add_insecure_port(listen)
        await server.start()
        return listen if listen.startswith("unix:") else f"127.0.0.1:{port}"

    async def stop() -> None:
        assert server is not None
        await server.stop(0)

    try:
        yield background.run(start())
        background.run(stop())
    finally:
        background.close()


def chatted(target: str, count: int = 3) -> Heard:
    """Chat with a server by the synchronous client, over a connection of its own."""
    with channel(target) as dialled:
        return chat_sync(dialled, talk(count))


def channel(target: str) -> grpc.Channel:
    return grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])


def called(target: str, method: str, metadata: Sequence[tuple[str, str | bytes]] = ()) -> grpc.StatusCode:
    """Call a unary method with an empty message; return its status."""
    with channel(target) as dialled:
        call = dialled.unary_unary(method)
        try:
            _, done = call.with_call(b"", metadata=metadata, timeout=LIMIT_S)
        except grpc.RpcError as error:
            return error.code()
        return done.code()
