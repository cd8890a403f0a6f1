"""The streams of one connection: which state each is in, and what may come on it (RFC 9113 section 5.1).

    state               what the peer may send                       anything else
    idle                (a server) HEADERS, PRIORITY                 ends the connection: PROTOCOL_ERROR
    open                all                                          -
    half-closed local   all                                          -
    half-closed remote  WINDOW_UPDATE, PRIORITY, RST_STREAM          ends the stream: STREAM_CLOSED
    closed, by ends     WINDOW_UPDATE, PRIORITY, RST_STREAM          ends the connection: STREAM_CLOSED
    closed, by peer     PRIORITY, RST_STREAM, WINDOW_UPDATE          ends the stream: STREAM_CLOSED
    closed, by us       all, which has crossed our reset             -

What crosses on the wire comes late: a Cancel behind our trailer, a trailer behind our Cancel. It is no error, and it
was said, so it is told. So the LINGERING newest of the closed streams stay known. Of older ones nothing is told apart
any more, and what comes on them is ignored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from enum import Enum

from duplexmock.core.call import LaneState
from duplexmock.core.events import ServerTrailer
from duplexmock.core.status import ErrorCode
from duplexmock.wire.faults import ConnectionFault, StreamFault
from duplexmock.wire.fields import Fields, trailer_fields
from duplexmock.wire.flow import Credit, Outbox
from duplexmock.wire.frames import FrameType
from duplexmock.wire.messages import Messages

LINGERING = 1_000
"""Closed streams still known: what crosses does so within a round trip."""


class Closed(Enum):
    """How a stream was closed."""

    ENDS = "END_STREAM both ways"
    PEER = "reset by the peer"
    OURS = "reset by us"


class Stream:
    """One stream, and the call on it.

    `ours` and `theirs` are the lanes of the call, as the caller and the peer have spoken. `end_sent` and `end_received`
    are END_STREAM on the wire, which flow control may hold back behind `ours`.
    """

    __slots__ = (
        "arrived",
        "body_bytes",
        "closed",
        "content_length",
        "counted_bytes",
        "credit",
        "end_received",
        "end_sent",
        "granted",
        "is_open",
        "last_words",
        "listens",
        "messages",
        "ours",
        "outbox",
        "reset_received",
        "silent",
        "stream_id",
        "theirs",
        "window",
    )

    def __init__(self, stream_id: int, credit: Credit, outbox: Outbox, window: int) -> None:
        self.stream_id = stream_id
        self.ours = LaneState.IDLE
        self.theirs = LaneState.IDLE
        self.end_sent = False
        self.end_received = False
        self.closed: Closed | None = None
        self.is_open = True
        self.listens = True  # what the peer says is still told
        self.reset_received = False
        self.silent = False  # not a gRPC call, or refused from the start: no row tells of it
        # receiving
        self.credit = credit
        self.messages: Messages | None = None
        self.counted_bytes = 0  # of an unfinished message, as counted for the whole connection
        self.content_length: int | None = None
        self.body_bytes = 0
        self.granted = 0  # messages, where they are granted one by one
        self.arrived = 0
        # sending
        self.outbox = outbox
        self.window = window
        self.last_words: LastWords | None = None


class LastWords:
    """What comes behind the messages of our lane; it waits for all of them to be written.

    `ends` puts END_STREAM on the last DATA, or on an empty one. `trailer` goes out as HEADERS with END_STREAM, spelled
    by `spell`. `reset` is the code of a RST_STREAM behind all of it.
    """

    __slots__ = ("ends", "reset", "spell", "trailer")

    def __init__(self) -> None:
        self.ends = False
        self.trailer: ServerTrailer | None = None
        self.spell: Callable[[ServerTrailer], Fields] = trailer_fields
        self.reset: int | None = None


class Streams:
    """The streams of one connection, by identifier; `last_id` is the highest that has been opened by anyone."""

    def __init__(self) -> None:
        self.lanes: dict[int, Messages] = {}
        self.last_id = 0
        self._open: dict[int, Stream] = {}
        self._closed: OrderedDict[int, Stream] = OrderedDict()
        self._forgotten_id = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._open.values())

    def open(self, stream: Stream) -> None:
        """Add a stream, which is the newest."""
        self.last_id = max(self.last_id, stream.stream_id)
        self._open[stream.stream_id] = stream

    def get(self, stream_id: int) -> Stream | None:
        """Return the stream, if it is open or closed lately."""
        return self._open.get(stream_id) or self._closed.get(stream_id)

    def is_open(self, stream_id: int) -> bool:
        """Tell whether the stream is open."""
        return stream_id in self._open

    def is_forgotten(self, stream_id: int) -> bool:
        """Tell whether the stream may have been open, and has been closed for too long to know."""
        return stream_id <= self._forgotten_id

    def close(self, stream: Stream, how: Closed) -> None:
        """Close a stream; nothing happens where it is closed."""
        if not stream.is_open:
            return
        stream.is_open = False
        stream.closed = how
        stream.outbox.clear()
        stream.last_words = None
        if how is not Closed.OURS:
            self.deafen(stream)
        self._open.pop(stream.stream_id, None)
        self._closed[stream.stream_id] = stream
        if len(self._closed) > LINGERING:
            oldest, forgotten = self._closed.popitem(last=False)
            self._forgotten_id = max(self._forgotten_id, oldest)
            self.deafen(forgotten)

    def deafen(self, stream: Stream) -> None:
        """Tell no more of what the peer says on a stream."""
        stream.listens = False
        self.lanes.pop(stream.stream_id, None)

    def receive(self, stream_id: int, kind: FrameType, initiated: bool) -> Stream | None:
        """Return the stream that a frame has come for, or None where the frame is to be ignored.

        `initiated` tells whether the identifier is one that may be in use (its parity is that of clients). Raises
        what the table above says.
        """
        stream = self._open.get(stream_id)
        if stream is not None:
            if stream.end_received and kind in _MESSAGE_FRAMES:
                raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, f"{kind.name} behind END_STREAM")
            return stream
        if not initiated or stream_id > self.last_id:
            if kind is FrameType.PRIORITY:
                return None
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{kind.name} on stream {stream_id}, which is idle")
        stream = self._closed.get(stream_id)
        if stream is None:
            if kind is FrameType.HEADERS and not self.is_forgotten(stream_id):
                # Opening a stream closes all idle ones below it (5.1.1).
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id} below {self.last_id}")
            return None
        if stream.closed is Closed.OURS or kind not in _MESSAGE_FRAMES:
            return stream
        if stream.closed is Closed.PEER:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, f"{kind.name} behind RST_STREAM")
        raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"{kind.name} on stream {stream_id}, which has ended")


_MESSAGE_FRAMES = frozenset((FrameType.DATA, FrameType.HEADERS))
