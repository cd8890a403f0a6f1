"""gRPC messages in the DATA of one lane: a flags byte, four bytes of length, the payload.

PROTOCOL-HTTP2, "Length-Prefixed-Message". Frames and reads cut this stream anywhere, the prefix included, and one frame
may hold many messages. A message that is whole goes out as one row. One that is under way is held back while little of
it is there (HOLD_BYTES), so that a small message stays one row however it was cut; else it goes out piece by piece, so
that one of 100 MB costs no memory.
"""

from __future__ import annotations

from struct import Struct

from duplexmock.core.events import Side
from duplexmock.core.rows import Row, RowKind

PREFIX = Struct(">BI")
PREFIX_BYTES = PREFIX.size

HOLD_BYTES = 4096
"""How much of an unfinished message is held: below this, a row costs more than the copy."""

MESSAGE_KIND = {Side.CLIENT: RowKind.CLIENT_MESSAGE, Side.SERVER: RowKind.SERVER_MESSAGE}
PART_KIND = {Side.CLIENT: RowKind.CLIENT_PART, Side.SERVER: RowKind.SERVER_PART}


class Messages:
    """The bytes of one lane in, message rows of the session `call` out.

    `between` tells whether the next byte begins a message. It is an attribute because it is asked for every frame.
    """

    __slots__ = (
        "_flags",
        "_held",
        "_held_bytes",
        "_length",
        "_message",
        "_missing",
        "_part",
        "_prefix",
        "between",
        "call",
    )

    def __init__(self, side: Side, call: int) -> None:
        self.call = call
        self.between = True
        self._message = MESSAGE_KIND[side]
        self._part = PART_KIND[side]
        self._prefix = b""  # what has come of a prefix that is not whole
        self._flags = 0
        self._length = 0
        self._missing = 0  # how much of the current message has not come
        self._held: list[bytes] = []  # what has come of it and has not gone out
        self._held_bytes = 0

    @property
    def progress(self) -> str:
        """Say how far the current message has come: `3 of 10 bytes`."""
        if self._missing:
            return f"{self._length - self._missing} of {self._length} bytes"
        return f"{len(self._prefix)} of {PREFIX_BYTES} prefix bytes"

    def take(self, chunk: bytes, start: int, stop: int, rows: list[Row]) -> None:
        """Read chunk[start:stop], the lane's next bytes, and append the rows they give."""
        if self._missing:
            start = self._go_on(chunk, start, stop, rows)
        elif self._prefix:
            start = self._finish_prefix(chunk, start, stop, rows)
        message, call = self._message, self.call
        while stop - start >= PREFIX_BYTES:
            flags, length = PREFIX.unpack_from(chunk, start)
            start += PREFIX_BYTES
            end = start + length
            if end <= stop:
                rows.append((message, call, flags, chunk[start:end]))
                start = end
            else:
                self._flags = flags
                self._length = self._missing = length
                start = self._go_on(chunk, start, stop, rows)
        if start < stop:
            self._prefix = chunk[start:stop]
        self.between = not self._missing and not self._prefix

    def _finish_prefix(self, chunk: bytes, start: int, stop: int, rows: list[Row]) -> int:
        """Take the rest of a prefix, and of its message what is there; return where to go on."""
        end = min(start + PREFIX_BYTES - len(self._prefix), stop)
        self._prefix += chunk[start:end]
        if len(self._prefix) < PREFIX_BYTES:
            return end
        self._flags, self._length = PREFIX.unpack(self._prefix)
        self._prefix = b""
        self._missing = self._length
        return self._go_on(chunk, end, stop, rows)

    def _go_on(self, chunk: bytes, start: int, stop: int, rows: list[Row]) -> int:
        """Take what is there of the current message; return where it ends, or `stop`."""
        end = start + self._missing
        if end > stop:
            end = stop
        if end == start and self._missing:
            return end  # an empty frame inside a message; a flood of them must not fill `_held`
        self._missing -= end - start
        piece = chunk[start:end]
        if self._held or (self._missing and end - start < HOLD_BYTES):
            self._held.append(piece)
            self._held_bytes += end - start
            if self._missing and self._held_bytes < HOLD_BYTES:
                return end
            piece = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        if self._missing:
            rows.append((self._part, self.call, piece))
        else:
            rows.append((self._message, self.call, self._flags, piece))
        return end
