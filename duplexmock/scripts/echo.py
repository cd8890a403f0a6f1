"""Says each message back as it came, and ends with OK at the client's half-close.

Messages stay bytes, so that it needs no descriptors; those of the chat are here for whoever asks by reflection.
"""

from pathlib import Path

import duplexmock

CHAT = duplexmock.Descriptors.read(Path(__file__).with_name("chat.pb"))


@duplexmock.handler("/chat.ChatService/Chat", descriptors=CHAT)
async def echo(call: duplexmock.Call) -> None:
    """Say back what comes."""
    async for message in call.messages(bytes):
        await call.send(message)
