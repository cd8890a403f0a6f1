"""Flow control: what a peer may still send to us, and what waits because the peer lets us send no more (RFC 9113 5.2).

A window counts bytes of DATA, padding included. It may be negative: when SETTINGS lower INITIAL_WINDOW_SIZE below what
has been sent, or when a peer has sent ahead before it has seen ours.
"""

from __future__ import annotations

from duplexmock.core.status import ErrorCode
from duplexmock.wire.faults import ConnectionFault
from duplexmock.wire.framed import Framed
from duplexmock.wire.frames import END_STREAM, HEAD
from duplexmock.wire.limits import Packing


class Credit:
    """The window that we give: `left` is what the peer may send, in its view once it has all that we have announced."""

    __slots__ = ("held", "left", "size")

    def __init__(self, size: int) -> None:
        self.size = size  # what the window is filled up to; 0 where nothing is given by itself
        self.left = size
        self.held = False

    def spend(self, length: int, ahead: int) -> None:
        """Count what the peer has sent. It may overdraw by `ahead`, before it has seen our SETTINGS."""
        self.left -= length
        if self.left < -ahead:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"{-self.left} bytes more than the window allowed")

    def due(self) -> int:
        """Give back what is worth a WINDOW_UPDATE, which is half of the window; return how much that is, mostly 0."""
        missing = self.size - self.left
        if self.held or 2 * missing < self.size or not missing or not self.size:
            return 0
        self.left = self.size
        return missing


class Outbox:
    """The messages of one call that have not been written, as far as flow control has stopped them."""

    __slots__ = ("_at", "_index", "_packing", "_runs", "_stream_id", "unsent_bytes")

    def __init__(self, stream_id: int, packing: Packing) -> None:
        self.unsent_bytes = 0
        self._stream_id = stream_id
        self._packing = packing
        self._runs: list[Framed] | None = None  # few; made when they are needed: most idle calls have none
        self._at = 0  # bytes of the first run before this one have been written,
        self._index = 0  # and so have the messages before this one

    def put(self, run: Framed) -> None:
        """Queue messages behind those that are there."""
        if run.stop > run.start:
            if self._runs:
                self._runs.append(run)
            else:
                self._runs = [run]
                self._at, self._index = run.start, run.first
            self.unsent_bytes += run.stop - run.start

    def write(self, out: list[bytes], allowed: int, frame_bytes: int, ends: bool) -> int:
        """Append DATA frames of at most `allowed` bytes; return how many bytes that were.

        `ends` says that nothing comes behind what is queued: the frame that empties the queue carries END_STREAM.
        """
        pack = self._pack if self._packing is Packing.FULL else self._pack_each
        runs, left = self._runs, allowed
        while runs and left > 0:
            run = runs[0]
            left -= pack(run, out, left, frame_bytes, ends and len(runs) == 1)
            if self._at == run.stop:
                del runs[0]
                if runs:
                    self._at, self._index = runs[0].start, runs[0].first
        self.unsent_bytes -= allowed - left
        return allowed - left

    def clear(self) -> None:
        """Forget what is queued."""
        self._runs = None
        self.unsent_bytes = 0

    def _pack(self, run: Framed, out: list[bytes], allowed: int, frame_bytes: int, ends: bool) -> int:
        """Write frames as long as may be, whatever messages they cut."""
        began = at = self._at
        body, stop = run.body, run.stop
        limit = min(stop, began + allowed)
        while at < limit:
            end = min(at + frame_bytes, limit)
            out.append(HEAD.pack((end - at) << 8, END_STREAM if ends and end == stop else 0, self._stream_id))
            out.append(body[at:end])
            at = end
        self._at = at
        return at - began

    def _pack_each(self, run: Framed, out: list[bytes], allowed: int, frame_bytes: int, ends: bool) -> int:
        """Write a frame for each message, and more than one for a message that is longer than a frame or the window."""
        began = at = self._at
        index, last, limit = self._index, run.last, began + allowed
        body, message_ends, stop, stream_id, pack = run.body, run.ends, run.stop, self._stream_id, HEAD.pack
        while index < last and at < limit:
            message_end = message_ends[index]
            end = min(message_end, at + frame_bytes, limit)
            out.append(pack((end - at) << 8, END_STREAM if ends and end == stop else 0, stream_id))
            out.append(body[at:end])
            at = end
            if end == message_end:
                index += 1
        self._at, self._index = at, index
        return at - began
