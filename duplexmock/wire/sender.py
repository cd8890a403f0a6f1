"""The way out of a connection: what is written, in which order, and what has to wait for the peer's windows.

A frame is made when it may be written, not before: header blocks have to be encoded in the order of the wire, and
DATA is cut to the window there is. Nothing overtakes within a call: trailers, an empty half-close and an ordered reset
wait behind its DATA. Between calls that wait for the connection's window, turns of TURN_BYTES go round.
"""

from __future__ import annotations

from collections.abc import Callable

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.status import ErrorCode
from duplexmock.wire import framing
from duplexmock.wire.faults import ConnectionFault, StreamFault
from duplexmock.wire.fields import Fields, HeaderWriter, answer_fields, request_fields
from duplexmock.wire.frames import END_STREAM
from duplexmock.wire.limits import DEFAULT_FRAME_BYTES, DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES, Limits
from duplexmock.wire.settings import Setting
from duplexmock.wire.streams import Closed, LastWords, Stream, Streams

TURN_BYTES = 64 * 1024
"""What a call writes before the next one has its turn: four frames of the default length."""


class Sender:
    """Writes for all streams of a connection.

    `max_streams` is what the peer allows us to open. `progress` counts header blocks written.
    """

    def __init__(self, streams: Streams, limits: Limits) -> None:
        self.max_streams = MAX_WINDOW_BYTES
        self.initial_window = DEFAULT_WINDOW_BYTES
        self.progress = 0
        self._streams = streams
        self._limits = limits
        self._out: list[bytes] = []
        self._answers = 0
        self._headers = HeaderWriter()
        self._window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = DEFAULT_FRAME_BYTES
        self._blocked: dict[int, Stream] = {}

    @property
    def waits(self) -> bool:
        """Tell whether take() would return anything."""
        return bool(self._out)

    def take(self) -> bytes:
        """Return what is to be written, and forget it."""
        octets = b"".join(self._out)
        self._out.clear()
        self._answers = 0
        return octets

    def write(self, octets: bytes) -> None:
        """Write bytes behind those that are there."""
        self._out.append(octets)

    def answer(self, octets: bytes) -> None:
        """Write a frame that the peer has called for; it may call for so many only."""
        self._answers += 1
        if self._answers > self._limits.max_queued_answers:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"{self._answers} answers wait to be written")
        self._out.append(octets)

    def request(self, stream: Stream, header: ClientHeader) -> None:
        """Write the header that opens a call."""
        self._write_block(stream, self._headers.write(header, request_fields), 0)

    def initial_metadata(self, stream: Stream, header: ServerHeader) -> None:
        """Write a server's first header block."""
        self._write_block(stream, self._headers.write(header, answer_fields), 0)

    def flush(self, stream: Stream, most: int = MAX_WINDOW_BYTES) -> None:
        """Write what the windows allow of a call, `most` bytes of DATA at most, and its last words if that was all."""
        outbox, words = stream.outbox, stream.last_words
        ends = words is not None and words.ends
        if outbox.unsent_bytes:
            allowed = min(stream.window, self._window, most)
            if allowed > 0:
                written = outbox.write(self._out, allowed, self._frame_bytes, ends)
                stream.window -= written
                self._window -= written
            if outbox.unsent_bytes:
                self._blocked[stream.stream_id] = stream
                return
        elif ends:
            self._out.append(framing.data(stream.stream_id, b"", END_STREAM))
        self._blocked.pop(stream.stream_id, None)
        if words is not None:
            stream.last_words = None
            self._speak(stream, words, ends)

    def message_anyway(self, stream_id: int, payload: bytes, flags: int) -> None:
        """Write a message at once, counted against no window: for what should not be sent."""
        octets = framing.message(payload, flags)
        for start in range(0, len(octets), self._frame_bytes):
            self._out.append(framing.data(stream_id, octets[start : start + self._frame_bytes]))

    def trailers_anyway(self, stream: Stream, trailer: ServerTrailer, spell: Callable[[ServerTrailer], Fields]) -> None:
        """Write trailers at once, before what is queued: for what should not be sent."""
        self._write_block(stream, self._headers.write(trailer, spell), END_STREAM)

    def reset(self, stream: Stream, code: int) -> None:
        """Write RST_STREAM; what the call had queued is dropped."""
        self._out.append(framing.reset(stream.stream_id, code))
        self.close(stream, Closed.OURS)

    def close(self, stream: Stream, how: Closed) -> None:
        """Close a stream and drop what it had queued."""
        self._blocked.pop(stream.stream_id, None)
        self._streams.close(stream, how)

    def widen(self, stream: Stream | None, increment: int) -> list[Stream]:
        """Take a WINDOW_UPDATE for a stream, or for the connection (None); return the calls that are drained by it."""
        if stream is None:
            if self._window + increment > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window passes 2^31-1")
            self._window += increment
            return self.flush_all()
        if stream.window + increment > MAX_WINDOW_BYTES:
            raise StreamFault(stream.stream_id, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window passes 2^31-1")
        stream.window += increment
        if stream.stream_id not in self._blocked:
            return []
        self.flush(stream)
        return [] if stream.stream_id in self._blocked else [stream]

    def obey(self, values: tuple[tuple[int, int], ...]) -> None:
        """Follow the peer's SETTINGS, which have been checked. Acknowledge them, then call `flush_all`."""
        for identifier, value in values:
            match identifier:
                case Setting.HEADER_TABLE_SIZE:
                    self._headers.resize(value)
                case Setting.MAX_CONCURRENT_STREAMS:
                    self.max_streams = value
                case Setting.MAX_FRAME_SIZE:
                    self._frame_bytes = value
                case Setting.INITIAL_WINDOW_SIZE if value != self.initial_window:
                    self._move_windows(value - self.initial_window)
                    self.initial_window = value

    def _move_windows(self, difference: int) -> None:
        """Move the windows of all streams, below zero where it has to be (6.9.2)."""
        for stream in self._streams:
            stream.window += difference
            if stream.window > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE moves a window past 2^31-1")

    def flush_all(self) -> list[Stream]:
        """Write what the windows allow of all calls that wait; return those that are drained by it."""
        drained: list[Stream] = []
        going = [stream for stream in self._blocked.values() if stream.window > 0]
        while going and self._window > 0:
            for stream in going:
                if self._window <= 0:
                    break
                self.flush(stream, TURN_BYTES)
                if self._blocked.pop(stream.stream_id, None) is None:
                    drained.append(stream)
                else:
                    self._blocked[stream.stream_id] = stream  # behind those that wait for their turn
            going = [stream for stream in self._blocked.values() if stream.window > 0]
        return drained

    def _speak(self, stream: Stream, words: LastWords, ended: bool) -> None:
        if words.trailer is not None:
            self._write_block(stream, self._headers.write(words.trailer, words.spell), END_STREAM)
            ended = True
        stream.end_sent = stream.end_sent or ended
        if words.reset is not None:
            self.reset(stream, words.reset)
        elif stream.end_sent and stream.end_received:
            self.close(stream, Closed.ENDS)

    def _write_block(self, stream: Stream, block: bytes, flags: int) -> None:
        self.progress += 1
        self._out.append(framing.headers(stream.stream_id, block, flags, self._frame_bytes))
