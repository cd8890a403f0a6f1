"""One side's bytes, cut into frames wherever the reads ended (RFC 9113 section 4.1).

A frame that is not whole is held until it is, and handed on whole, with two exceptions that are taken as they come:
DATA, and what nobody reads (for a tap: PING, WINDOW_UPDATE, PRIORITY, unknown types). So what is held is bounded, and
no payload of DATA is copied for being cut.

**At a glance.** Nearly all frames of a busy call are DATA without flags, and most of them hold one message. Where the
lane is between messages, and the length in the frame's head is that of the message plus its prefix, fourteen bytes
tell all of it, and the message is one slice. Without the first condition the second is a trap: in the middle of a
message, five bytes of payload can look like a prefix that fits.

**Who listens.** The tap and the endpoint read alike and differ in what they do about it: a Listener is told of DATA
that begins, of a stream's end, and of other frames. Of frames taken at a glance it is not told; the lane counts them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Protocol

from duplexmock.core.events import Side
from duplexmock.core.rows import Row
from duplexmock.core.status import ErrorCode
from duplexmock.errors import ProtocolError
from duplexmock.wire.faults import ConnectionFault
from duplexmock.wire.frames import (
    END_STREAM,
    HEAD,
    HEAD_BYTES,
    PADDED,
    SMALL,
    SMALL_BYTES,
    STREAM_MASK,
    FrameType,
    padding,
)
from duplexmock.wire.messages import MESSAGE_KIND, PREFIX_BYTES, Messages

MAX_HELD_BYTES = 256 * 1024
"""Of one frame other than DATA; 16 KiB is the longest that a peer may send unasked."""

MAX_FRAME_BYTES = 2**24 - 1
"""What the 24 bits of a frame's length can say."""

# Plain numbers: an enum's member takes as long to look up as all the rest of a frame's head.
DATA = int(FrameType.DATA)
CONTINUATION = int(FrameType.CONTINUATION)


class Listener(Protocol):
    """Whoever takes what one side says, or both sides say: `side` is who sent it."""

    def data_began(self, side: Side, stream_id: int, length: int, padded: int, rows: list[Row]) -> None:
        """Take note of a DATA frame that needs a second look, before it is read; `padded` of its bytes are padding."""

    def data_ended(self, side: Side, stream_id: int, rows: list[Row]) -> None:
        """Take note of END_STREAM on a DATA frame, all of which has been read."""

    def frame(self, side: Side, kind: int, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        """Take a whole frame, of the types that are handed on."""


class Direction:
    """The bytes of `side`: payloads of DATA go to `lanes`, by stream, the frames of `handed_on` to the listener.

    A frame longer than `max_frame_bytes` is a ConnectionFault.
    """

    def __init__(
        self,
        side: Side,
        lanes: Mapping[int, Messages],
        listener: Listener,
        handed_on: Container[int],
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        self._side = side
        self._lanes = lanes
        # A plain number: the garbage collector does not follow tuples of nothing but such and bytes.
        self._message = int(MESSAGE_KIND[side])
        self._listener = listener
        self._handed_on = handed_on
        self._max_frame_bytes = max_frame_bytes
        self._block_stream: int | None = None  # where the next frame must be a CONTINUATION
        self._held = bytearray()  # the beginning of a frame, which it takes `_needed` bytes to go on with
        self._needed = 0
        self._in_payload = False  # of a frame that is taken as it comes, of which the following is known
        self._stream_id = _NOBODY
        self._ends = False
        self._left = 0
        self._pad = 0

    def expect_continuation(self, stream_id: int | None) -> None:
        """Say on which stream the next frame must be a CONTINUATION; None: any frame may come."""
        self._block_stream = stream_id

    def read(self, chunk: bytes, rows: list[Row]) -> None:
        """Read the next bytes; ProtocolError where they are not HTTP/2."""
        position = self._resume(chunk, rows) if self._held or self._in_payload or self._block_stream is not None else 0
        glance, lanes, message, append = SMALL.unpack_from, self._lanes, self._message, rows.append
        end = len(chunk)
        last = end - SMALL_BYTES
        longest = self._max_frame_bytes - PREFIX_BYTES
        # Frames of one stream come in runs: its lane is looked up once (bench: `60 B on 1 stream: recorded`).
        current, lane, call = _NOBODY, None, 0
        while position <= last:
            head, flags, stream_id, compressed, length = glance(chunk, position)
            if stream_id != current:
                current, lane = stream_id, lanes.get(stream_id)
                call = 0 if lane is None else lane.call
            if lane is not None and not flags:
                start = position + SMALL_BYTES
                stop = start + length
                if head == (length + PREFIX_BYTES) << 8 and stop <= end and lane.between and length <= longest:
                    append((message, call, compressed, chunk[start:stop]))
                    lane.glanced_bytes += length + PREFIX_BYTES
                    position = stop
                    continue
                start = position + HEAD_BYTES
                stop = start + (head >> 8)
                if head & 0xFF == DATA and stop <= end and stop - start <= longest and lane.passes_on(stop - start):
                    lane.take(chunk, start, stop, rows)
                    position = stop
                    continue
            current = _NOBODY
            position = self._frame(chunk, position, rows)
            if self._block_stream is not None:
                position = self._rest_of_block(chunk, position, rows)
        while position < end:
            position = self._frame(chunk, position, rows)

    def _resume(self, chunk: bytes, rows: list[Row]) -> int:
        """Go on with what the last chunk left unfinished; return where the next frame begins."""
        position, end = 0, len(chunk)
        while self._held:
            stop = min(self._needed - len(self._held), end - position) + position
            self._held += chunk[position:stop]
            position = stop
            if len(self._held) < self._needed:
                return end
            beginning = bytes(self._held)
            self._held.clear()
            self._frame(beginning, 0, rows)
        if self._in_payload:
            position = self._payload(chunk, position, rows)
        return self._rest_of_block(chunk, position, rows)

    def _rest_of_block(self, chunk: bytes, position: int, rows: list[Row]) -> int:
        """Read frames while only CONTINUATION may come; return where the next begins."""
        while self._block_stream is not None and position < len(chunk):
            position = self._frame(chunk, position, rows)
        return position

    def _frame(self, chunk: bytes, position: int, rows: list[Row]) -> int:
        """Read one frame, or what is there of it; return where the next begins."""
        start = position + HEAD_BYTES
        if start > len(chunk):
            return self._hold(chunk, position, HEAD_BYTES)
        head, flags, stream_id = HEAD.unpack_from(chunk, position)
        length, kind = head >> 8, head & 0xFF
        stream_id &= STREAM_MASK
        if self._block_stream is not None and (kind != CONTINUATION or stream_id != self._block_stream):
            raise ProtocolError(f"a frame of type {kind} inside the header block of stream {self._block_stream}")
        if length > self._max_frame_bytes:
            raise ConnectionFault(
                ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes, more than {self._max_frame_bytes}"
            )
        if kind == DATA:
            whole, pad = length, 0
            if flags & PADDED:
                if length and start == len(chunk):
                    return self._hold(chunk, position, HEAD_BYTES + 1)
                pad = padding(chunk[start : start + 1], length)
                start += 1
                length -= 1 + pad
            self._listener.data_began(self._side, stream_id, whole, whole - length, rows)
            self._stream_id, self._ends, self._left, self._pad = stream_id, bool(flags & END_STREAM), length, pad
            return self._payload(chunk, start, rows)
        if kind not in self._handed_on:
            self._stream_id, self._ends, self._left, self._pad = _NOBODY, False, length, 0
            return self._payload(chunk, start, rows)
        if length > MAX_HELD_BYTES:
            raise ProtocolError(f"a {FrameType(kind).name} frame of {length} bytes, more than {MAX_HELD_BYTES}")
        stop: int = start + length
        if stop > len(chunk):
            return self._hold(chunk, position, HEAD_BYTES + length)
        self._listener.frame(self._side, kind, flags, stream_id, chunk[start:stop], rows)
        return stop

    def _hold(self, chunk: bytes, position: int, needed: int) -> int:
        self._held += chunk[position:]
        self._needed = needed
        return len(chunk)

    def _payload(self, chunk: bytes, position: int, rows: list[Row]) -> int:
        """Take what is there of a payload and its padding; return where it ends, or the chunk if that comes first."""
        stop = min(position + self._left, len(chunk))
        end = min(stop + self._pad, len(chunk))
        self._left -= stop - position
        self._pad -= end - stop
        self._in_payload = bool(self._left or self._pad)
        lane = self._lanes.get(self._stream_id)
        if lane is not None:
            lane.take(chunk, position, stop, rows)
        if self._ends and not self._in_payload:
            self._listener.data_ended(self._side, self._stream_id, rows)
        return end


_NOBODY = -1  # the stream of what nobody reads
