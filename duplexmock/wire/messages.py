"""gRPC messages in the DATA of one lane: a flags byte, four bytes of length, the payload.

PROTOCOL-HTTP2, "Length-Prefixed-Message". Frames and reads cut this stream anywhere, the prefix included, and one frame
may hold many messages. A message that is whole goes out as one row. One that is under way is held back while little of
it is there (HOLD_BYTES), so that a small message stays one row however it was cut; else it goes out piece by piece, so
that one of 100 MB costs no memory.

Who wants whole messages only, as an endpoint does, holds back without a bound (WHOLE), and bounds what a prefix may
announce.
"""

from __future__ import annotations

from struct import Struct

from duplexmock.core.events import Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import ErrorCode
from duplexmock.wire.faults import ConnectionFault

PREFIX = Struct(">BI")
PREFIX_BYTES = PREFIX.size

HOLD_BYTES = 4096
"""How much of an unfinished message is held: below this, a row costs more than the copy."""

WHOLE = 2**32
"""To hold back until a message is whole: longer than any."""

MESSAGE_KIND = {Side.CLIENT: RowKind.CLIENT_MESSAGE, Side.SERVER: RowKind.SERVER_MESSAGE}
PART_KIND = {Side.CLIENT: RowKind.CLIENT_PART, Side.SERVER: RowKind.SERVER_PART}


class Messages:
    """The bytes of one lane in, message rows of the session `call` out.

    `between` tells whether the next byte begins a message. It is an attribute because it is asked for every frame.
    `held_bytes` is what is held back of a message under way. `glanced_bytes` counts the DATA that Direction has read
    without asking anybody; who cares for flow control collects it and sets it to 0.
    """

    __slots__ = (
        "_flags",
        "_held",
        "_hold_bytes",
        "_length",
        "_max_bytes",
        "_message",
        "_missing",
        "_part",
        "_prefix",
        "between",
        "call",
        "glanced_bytes",
        "held_bytes",
    )

    def __init__(self, side: Side, call: int, hold_bytes: int = HOLD_BYTES, max_bytes: int = WHOLE) -> None:
        self.call = call
        self._hold_bytes = hold_bytes
        self._max_bytes = max_bytes
        self.between = True
        self._message = int(MESSAGE_KIND[side])
        self._part = int(PART_KIND[side])
        self._prefix = b""  # what has come of a prefix that is not whole
        self._flags = 0
        self._length = 0
        self._missing = 0  # how much of the current message has not come
        self._held: bytearray | None = None  # what has come of it and has not gone out
        self.held_bytes = 0
        self.glanced_bytes = 0

    @property
    def progress(self) -> str:
        """Say how far the current message has come: `3 of 10 bytes`."""
        if self._missing:
            return f"{self._length - self._missing} of {self._length} bytes"
        return f"{len(self._prefix)} of {PREFIX_BYTES} prefix bytes"

    @property
    def needed(self) -> int:
        """Return how many more bytes the current prefix needs, or else the current message; 5 between messages."""
        return self._missing or PREFIX_BYTES - len(self._prefix)

    def passes_on(self, size: int) -> bool:
        """Tell whether so many bytes would go out as they are: from the middle of a large message.

        Most frames of such a message are of that kind (bench: `64 KiB on 1 stream: recorded`).
        """
        return self._hold_bytes <= size < self._missing and self._held is None

    def take(self, chunk: bytes, start: int, stop: int, rows: list[Row]) -> None:
        """Read chunk[start:stop], the lane's next bytes, and append the rows they give."""
        if self.passes_on(stop - start):
            self._missing -= stop - start
            rows.append((self._part, self.call, chunk[start:stop]))
            return
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
                self._begin(flags, length)
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
        self._begin(*PREFIX.unpack(self._prefix))
        self._prefix = b""
        return self._go_on(chunk, end, stop, rows)

    def _begin(self, flags: int, length: int) -> None:
        if length > self._max_bytes:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM, f"a message of {length} bytes, more than {self._max_bytes}"
            )
        self._flags = flags
        self._length = self._missing = length

    def _go_on(self, chunk: bytes, start: int, stop: int, rows: list[Row]) -> int:
        """Take what is there of the current message; return where it ends, or `stop`."""
        end = start + self._missing
        if end > stop:
            end = stop
        if end == start and self._missing:
            return end  # an empty frame inside a message; a flood of them must cost nothing
        self._missing -= end - start
        piece = chunk[start:end]
        if self._held is not None or (self._missing and end - start < self._hold_bytes):
            if self._held is None:
                self._held = bytearray()
            self._held += piece
            self.held_bytes = len(self._held)
            if self._missing and self.held_bytes < self._hold_bytes:
                return end
            piece = bytes(self._held)
            self._held = None
            self.held_bytes = 0
        if self._missing:
            rows.append((self._part, self.call, piece))
        else:
            rows.append((self._message, self.call, self._flags, piece))
        return end
