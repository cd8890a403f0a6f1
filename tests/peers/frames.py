"""The HTTP/2 frames that one side said, as a bystander sees them: not by the code that is tested.

DATA is kept without its payload, so that a connection may carry anything.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

DATA, HEADERS, PING, GOAWAY = 0x0, 0x1, 0x6, 0x7
ACK, END_STREAM, PADDED, PRIORITY = 0x1, 0x1, 0x8, 0x20
PRIORITY_BYTES = 5

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES = 9


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `payload` is empty for DATA."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes = b""


class Frames:
    """Cuts what one side says into frames; `skipped` bytes come first, a client's preface."""

    def __init__(self, skipped: int) -> None:
        self.seen: list[Frame] = []
        self._skipping = skipped
        self._held = bytearray()
        self._needed = _HEAD_BYTES

    def read(self, chunk: bytes) -> None:
        """Take the next bytes."""
        position = 0
        while position < len(chunk):
            if self._skipping:
                passed = min(self._skipping, len(chunk) - position)
                self._skipping -= passed
                position += passed
                continue
            taken = chunk[position : position + self._needed - len(self._held)]
            self._held += taken
            position += len(taken)
            if len(self._held) == self._needed:
                self._take(bytes(self._held))

    def _take(self, held: bytes) -> None:
        """Take a frame, or its head where more is to come that is kept."""
        head, flags, stream_id = struct.unpack_from(">IBI", held)
        length, kind = head >> 8, head & 0xFF
        if kind == DATA:
            self._skipping = length
        elif len(held) < _HEAD_BYTES + length:
            self._needed = _HEAD_BYTES + length
            return
        self.seen.append(Frame(kind, flags, stream_id, held[_HEAD_BYTES:]))
        self._held.clear()
        self._needed = _HEAD_BYTES
