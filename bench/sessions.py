"""Short sessions without sockets: the CPU time of one call, opened, answered and closed, 16 calls a read.

python bench/sessions.py [profile]
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from pathlib import Path

from bench.conversations import echo, write
from bench.messages import CHAT, chat_message
from duplexmock.core.events import ClientHeader, Side
from duplexmock.net.server import Server
from duplexmock.net.stage import Stage
from duplexmock.play.plan import Options
from duplexmock.wire import framing
from duplexmock.wire.fields import GRPC_REQUEST, HeaderWriter, request_fields
from duplexmock.wire.frames import PREFACE
from duplexmock.wire.settings import Setting

CALLS = 4_000
AT_ONCE = 16
REQUEST = ClientHeader(CHAT, GRPC_REQUEST, "localhost:50051")
WIDE = framing.settings([(Setting.INITIAL_WINDOW_SIZE, 2**31 - 1)]) + framing.window_update(0, 2**31 - 1 - 65_535)


class Nowhere(asyncio.Transport):
    """A transport that takes all that is written."""

    def write(self, octets: bytes) -> None:
        """Take it."""

    def close(self) -> None:
        """Stay."""

    abort = close


def reads(calls: int) -> list[bytes]:
    """Return what the client writes, a read for so many calls AT_ONCE."""
    writer = HeaderWriter()
    messages = [framing.message(chat_message(number)) for number in range(3)]

    def call(number: int) -> bytes:
        stream_id = 2 * number + 1
        opening = framing.headers(stream_id, writer.write(REQUEST, request_fields), 0, 16384)
        return b"".join(
            (opening, *(framing.data(stream_id, each) for each in messages), framing.data(stream_id, b"", 1))
        )

    return [b"".join(call(number) for number in range(first, first + AT_ONCE)) for first in range(0, calls, AT_ONCE)]


async def play(fixture: Path, calls: int, profile: cProfile.Profile | None = None) -> float:
    """Return the CPU seconds that it takes to play so many calls."""
    with Stage([fixture], Side.SERVER, Options(repeat=calls)) as stage:
        driver = Server(stage.play, stage.clock)._connected()
        driver.connection_made(Nowhere())
        driver.data_received(PREFACE + WIDE)
        chunks = reads(calls)
        began = time.process_time()
        if profile is not None:
            profile.enable()
        for chunk in chunks:
            driver.data_received(chunk)
            for _ in range(4):
                await asyncio.sleep(0)
        if profile is not None:
            profile.disable()
        seconds = time.process_time() - began
        assert [outcome.agreed for _, outcome in stage.play.outcomes] == [True] * calls
    return seconds


def main() -> None:
    """Print a line, and where the time goes if that was asked for."""
    with tempfile.TemporaryDirectory() as folder:
        fixture = Path(folder) / "three.duplex"
        write(fixture, echo(3), 1)
        best = min(asyncio.run(play(fixture, CALLS)) for _ in range(5))
        print(f"short sessions: {best / CALLS * 1e6:.1f} µs of CPU a call")
        if sys.argv[1:] == ["profile"]:
            profile = cProfile.Profile()
            asyncio.run(play(fixture, CALLS, profile))
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
