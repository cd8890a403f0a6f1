"""A chat room: what one client says, all others hear. A call is a place in the room; its half-close leaves it.

`room` is one room in a process, though it be served twice; for another one make a Room:
`duplexmock.handler(METHOD, descriptors=CHAT)(Room().join)`.
"""

from pathlib import Path
from typing import Any

import duplexmock

CHAT = duplexmock.Descriptors.read(Path(__file__).with_name("chat.pb"))


class Room:
    """The calls that are in the room."""

    def __init__(self) -> None:
        self._members: list[duplexmock.Call] = []

    async def join(self, call: duplexmock.Call) -> None:
        """Enter, pass on what this client says to all others, and leave when it has said all."""
        await call.send_header()  # so that a client that only listens knows it is in
        self._members.append(call)
        try:
            async for message in call:
                await self._tell_others(call, message)
        finally:
            self._members.remove(call)

    async def _tell_others(self, who: duplexmock.Call, message: Any) -> None:
        for member in tuple(self._members):
            # Another one may have left while the one before it was told.
            if member is not who and member in self._members:
                await member.send(message)


room = duplexmock.handler("/chat.ChatService/Chat", descriptors=CHAT)(Room().join)
