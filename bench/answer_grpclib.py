"""A server as one writes it with grpclib: `python -m bench.answer_grpclib` prints `listening on ADDRESS`.

It answers what bench/load/answering.go answers, with messages that stay bytes.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

from bench.messages import CHAT, PUSH, chat_message


class Raw(CodecBase):
    """A codec that leaves messages alone."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        """Return it."""
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        """Return it."""
        return data


class Methods:
    """Both methods."""

    def __mapping__(self) -> dict[str, Handler]:
        """Say what there is."""
        duplex = Cardinality.STREAM_STREAM
        return {CHAT: Handler(self.chat, duplex, bytes, bytes), PUSH: Handler(self.push, duplex, bytes, bytes)}

    async def chat(self, stream: Any) -> None:
        """Send back what comes."""
        await stream.send_initial_metadata()
        async for message in stream:
            await stream.send_message(message)

    async def push(self, stream: Any) -> None:
        """Send as many messages as are asked for."""
        await stream.send_initial_metadata()
        message = chat_message(0)
        for _ in range(int.from_bytes(await stream.recv_message(), "big")):
            await stream.send_message(message)


async def serve() -> None:
    """Answer on a free port of the loopback until the process ends."""
    server = Server([Methods()], codec=Raw())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.start(sock=listener)
        print("listening on {}:{}".format(*listener.getsockname()), flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve())
