"""The endpoint alone: `python -m bench.answer_canned MESSAGES` answers with canned bytes, and asserts nothing.

It prints `listening on ADDRESS`. What a replay adds to this is the price of the Player.
"""

from __future__ import annotations

import asyncio
import sys

from bench.messages import PUSH, chat_message
from duplexmock.core.events import ServerHeader, ServerTrailer, Side
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, Status
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.fields import GRPC_ANSWER
from duplexmock.wire.framed import Framed

HEADER = ServerHeader(GRPC_ANSWER)
TRAILER = ServerTrailer(Status(Code.OK))


class Canned(asyncio.Protocol):
    """One connection: a message of the lane for each that comes, or all of them where they are pushed."""

    def __init__(self, messages: int) -> None:
        self.echoes = Framed.alike([chat_message(number) for number in range(messages)])
        self.pushes = Framed.alike([chat_message(0)] * messages)
        self.endpoint = Endpoint(Side.SERVER)
        self.said: dict[int, int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, chunk: bytes) -> None:
        """Answer."""
        for stream_id, rows in self.endpoint.receive(chunk):
            if stream_id:
                self.answer(stream_id, rows)  # type: ignore[arg-type]
        self.transport.write(self.endpoint.take())

    def answer(self, stream_id: int, rows: list[tuple[object, ...]]) -> None:
        """Say as much as these rows ask for."""
        said: list[object] = []
        count = len(rows)
        if rows[0][0] == RowKind.CLIENT_HEADER:
            said.append(HEADER)
            self.said[stream_id] = -1 if rows[0][2].method == PUSH else 0  # type: ignore[attr-defined]
            count -= 1
        ends = rows[-1][0] == RowKind.CLIENT_HALF_CLOSE
        count -= ends
        start = self.said[stream_id]
        if start < 0:
            said += [self.pushes] if count else []
        elif count:
            said.append(self.echoes[start : start + count])
            self.said[stream_id] = start + count
        if ends:
            said.append(TRAILER)
        self.endpoint.send(stream_id, said)  # type: ignore[arg-type]


async def serve(messages: int) -> None:
    """Answer on a free port of the loopback until the process ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Canned(messages), "127.0.0.1", 0)
    print("listening on {}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
