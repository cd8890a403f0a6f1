"""A chat server that greets every five seconds while it reads, and goes on until the client cancels.

Reading and greeting do not wait for one another: that is what makes the call a duplex one.
"""

import asyncio
import sys
import time
from pathlib import Path

import duplexmock

CHAT = duplexmock.Descriptors.read(Path(__file__).with_name("chat.pb"))


def hello() -> dict[str, object]:
    """Make a greeting, stamped when it is said."""
    return {"sender": "Server", "message": "Hello from the server!", "timestamp": int(time.time())}


@duplexmock.handler("/chat.ChatService/Chat", descriptors=CHAT)
async def chat(call: duplexmock.Call) -> None:
    """Greet at once and every five seconds; read what the client says, and stay when it has half-closed."""
    async with call.pushing("5s", hello):
        async for message in call:
            print(f"Received from client: {message.sender}: {message.message}", file=sys.stderr)
        await asyncio.Event().wait()  # until the client cancels, or its deadline does
