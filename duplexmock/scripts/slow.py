"""A server that takes its time: each message is acknowledged a second after it came. For deadlines and patience."""

import asyncio
from pathlib import Path

import duplexmock

CHAT = duplexmock.Descriptors.read(Path(__file__).with_name("chat.pb"))

DELAY_S = 1.0


@duplexmock.handler("/chat.ChatService/Chat", descriptors=CHAT)
async def slow(call: duplexmock.Call) -> None:
    """Acknowledge each message, late; a client whose deadline is too near gives up before."""
    async for message in call:
        await asyncio.sleep(DELAY_S)
        await call.send({"sender": "Server", "message": f"ack: {message.message}", "timestamp": message.timestamp})
