"""The endpoint behind a socket, as small as a server can be: echoes every gRPC call. For h2spec and for benches.

python echo_server.py PORT
"""

from __future__ import annotations

import asyncio
import sys

from duplexmock.core.events import ServerHeader, ServerTrailer, Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import Code, Status
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.fields import GRPC_ANSWER
from duplexmock.wire.framed import Framed

HEADER = ServerHeader(GRPC_ANSWER)
TRAILER = ServerTrailer(Status(Code.OK))


class Echo(asyncio.Protocol):
    """Answers each message with itself, and the half-close with OK."""

    def __init__(self) -> None:
        self.endpoint = Endpoint(Side.SERVER)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.endpoint.take())

    def data_received(self, chunk: bytes) -> None:
        endpoint = self.endpoint
        for stream_id, rows in endpoint.receive(chunk):
            if stream_id:
                echo(endpoint, stream_id, rows)  # type: ignore[arg-type]
        if endpoint.wants_write:
            self.transport.write(endpoint.take())
        if endpoint.failed:
            self.transport.close()


def echo(endpoint: Endpoint, stream_id: int, rows: list[Row]) -> None:
    """Answer one run of rows."""
    events: list[ServerHeader | ServerTrailer | Framed] = []
    messages = []
    for row in rows:
        kind = row[0]
        if kind == RowKind.CLIENT_MESSAGE:
            messages.append((row[2], row[3]))
        elif kind == RowKind.CLIENT_HEADER:
            events.append(HEADER)
        elif kind == RowKind.CLIENT_HALF_CLOSE:
            if messages:
                events.append(Framed(messages))
                messages = []
            events.append(TRAILER)
    if messages:
        events.append(Framed(messages))
    if events:
        endpoint.send(stream_id, events)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
