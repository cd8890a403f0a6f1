"""A server that fails every other call, from the first on: with UNAVAILABLE, which clients try again.

The failing call breaks off behind its first answer, where a retry policy of gRPC's does not try again by itself: the
client has to know what to do. Calls of clients that say nothing end as they should.

What it counts are the calls of the process: who serves `flaky` twice from Python goes on counting, and makes a Flaky of
its own to begin afresh: `duplexmock.handler(METHOD, descriptors=CHAT)(Flaky().answer)`.
"""

from itertools import count
from pathlib import Path

import duplexmock

CHAT = duplexmock.Descriptors.read(Path(__file__).with_name("chat.pb"))


class Flaky:
    """Counts its calls, to fail the odd ones."""

    def __init__(self) -> None:
        self._calls = count(1)

    async def answer(self, call: duplexmock.Call) -> None:
        """Acknowledge each message; on odd calls the first one alone."""
        fails = next(self._calls) % 2 == 1
        async for message in call:
            await call.send({"sender": "Server", "message": f"ack: {message.message}", "timestamp": message.timestamp})
            if fails:
                await call.finish("UNAVAILABLE", "try again", {"retry-after": "0"})
                return


flaky = duplexmock.handler("/chat.ChatService/Chat", descriptors=CHAT)(Flaky().answer)
