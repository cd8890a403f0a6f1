"""The least that a proxy can do: a TCP pump on plain asyncio.

`python -m bench.pump UPSTREAM` prints `listening on ADDRESS`. It hands on what it reads and looks at none of it; a peer
that does not read keeps the other one from being read. What a recorder takes more than this is the price of recording.
"""

from __future__ import annotations

import asyncio
import sys


class Side(asyncio.Protocol):
    """One end of a pumped connection; `other` is the end to which its bytes go."""

    transport: asyncio.Transport
    other: Side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand a chunk on."""
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Let the other peer wait for this one."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading from the other peer."""
        self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Hand the half-close of the connection on, and keep the way back open."""
        self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end, behind what is still to be written to it."""
        self.other.transport.close()


class Accepted(Side):
    """The client's end: it dials the server first, and reads nothing until that is done."""

    def __init__(self, host: str, port: int) -> None:
        self.upstream = (host, port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start dialling."""
        super().connection_made(transport)
        self.transport.pause_reading()
        self.dialling = asyncio.ensure_future(self.dial())

    async def dial(self) -> None:
        """Join the two ends; where the server cannot be reached the client's connection is closed."""
        self.other = Side()
        self.other.other = self
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.other, *self.upstream)
        except OSError:
            self.transport.abort()
        else:
            self.transport.resume_reading()


async def serve(upstream: str) -> None:
    """Pump between a free port of the loopback and `upstream`, HOST:PORT, until the process ends."""
    host, _, port = upstream.rpartition(":")
    server = await asyncio.get_running_loop().create_server(lambda: Accepted(host, int(port)), "127.0.0.1", 0)
    print("listening on {}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
