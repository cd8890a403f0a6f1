"""A graceful shutdown: the server takes no more calls, answers all that it has accepted, and ends.

When a client has said three messages, its connection is told GOAWAY. New calls go to a new connection, as they would
go to another server; the calls that are open lose nothing: each message is acknowledged, and they end with OK.
"""

from pathlib import Path

import duplexmock

CHAT = duplexmock.Descriptors.read(Path(__file__).with_name("chat.pb"))

ACCEPTED = 3


@duplexmock.handler("/chat.ChatService/Chat", descriptors=CHAT)
async def drain(call: duplexmock.Call) -> None:
    """Acknowledge each message, also those behind the GOAWAY, and end at the half-close."""
    heard = 0
    async for message in call:
        heard += 1
        if heard == ACCEPTED:
            await call.goaway(debug=b"the server is shutting down")
        await call.send({"sender": "Server", "message": f"ack: {message.message}", "timestamp": message.timestamp})
