"""The messages of all conversations, and their methods. It imports nothing, so that no server starts later by it.

Chat messages have 60 bytes and their number in them.
"""

from __future__ import annotations

CHAT = "/chat.ChatService/Chat"
PUSH = "/push.PushService/Push"
STAMP = 1_795_348_800
OTHER_STAMP = STAMP + 1


def chat_message(number: int, stamp: int = STAMP) -> bytes:
    """Return a chat.ChatMessage (proto/chat.proto) of 60 bytes."""
    return b"\x0a\x06Client\x12\x2cmessage %08d%s\x18%s" % (number, b"." * 28, _varint(stamp))


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)
