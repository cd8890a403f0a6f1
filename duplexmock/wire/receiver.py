"""The way into a connection: frames checked, answered, and made into rows (RFC 9113 sections 4 to 6; PROTOCOL-HTTP2).

    bytes --Direction--> frames --Receiver--> rows by call, happenings of the connection
                                      |
                                      +-----> acknowledgements, windows, resets --Sender--> bytes

What a frame may look like is the table of shapes.py; what may come when is that of streams.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from duplexmock.core.call import LaneState
from duplexmock.core.events import Cancel, ClientHalfClose, Reset, ServerTrailer, Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import ErrorCode
from duplexmock.wire import framing
from duplexmock.wire.blocks import Block, Blocks
from duplexmock.wire.direction import Direction
from duplexmock.wire.faults import ConnectionFault, StreamFault
from duplexmock.wire.flow import Credit, Outbox
from duplexmock.wire.foreign import refuse
from duplexmock.wire.frames import (
    ACK,
    STREAM_MASK,
    FrameType,
    read_goaway,
    read_reset,
    read_settings,
)
from duplexmock.wire.happenings import (
    Answered,
    Drained,
    GoAwayReceived,
    Happening,
    PingAcknowledged,
    SettingsAcknowledged,
    SettingsReceived,
)
from duplexmock.wire.headers import Body, ignore
from duplexmock.wire.limits import DEFAULT_FRAME_BYTES, DEFAULT_WINDOW_BYTES, Config, Granting
from duplexmock.wire.messages import MESSAGE_KIND, WHOLE, Messages
from duplexmock.wire.sender import Sender
from duplexmock.wire.settings import check_settings
from duplexmock.wire.shapes import check_shape
from duplexmock.wire.streams import Closed, Stream, Streams
from duplexmock.wire.wellformed import answer, answer_without_body, client_trailers, request, trailers


class Receiver:
    """Reads what the peer of `role` says.

    `happened` collects what concerns the connection. `ignore_above` is the last stream we have promised to look at,
    once we have said GOAWAY.
    """

    def __init__(self, role: Side, config: Config, streams: Streams, sender: Sender) -> None:
        self.happened: list[Happening] = []
        self.ignore_above: int | None = None
        self.goaway_received = False
        self.unacknowledged: deque[int] = deque()
        self._role = role
        self._peer = role.other
        self._message = MESSAGE_KIND[role.other]
        self._config = config
        self._limits = config.limits
        self._streams = streams
        self._sender = sender
        self._direction = Direction(self._peer, streams.lanes, self, _HANDLERS, DEFAULT_FRAME_BYTES)
        self._blocks = Blocks(config.limits)
        self._credit = Credit(config.connection_window_bytes)
        self._ahead = max(0, DEFAULT_WINDOW_BYTES - self.stream_window_bytes)
        self._touched: dict[int, Stream] = {}
        self._settings_received = False
        self._unfinished_bytes = 0
        self._empty_frames = 0
        self._fruitless = 0
        self._progress = 0

    @property
    def stream_window_bytes(self) -> int:
        """Return the window that a stream begins with."""
        return 0 if self._config.granting is Granting.STEP else self._config.stream_window_bytes

    def read(self, chunk: bytes, rows: list[Row]) -> None:
        """Read the next bytes; ProtocolError where the connection is in error. Call `settle` afterwards."""
        self._direction.read(chunk, rows)

    def new_stream(self, stream_id: int) -> Stream:
        """Make a stream; it is not open yet."""
        credit = Credit(self.stream_window_bytes)
        return Stream(stream_id, credit, Outbox(stream_id, self._config.packing), self._sender.initial_window)

    def settle(self, groups: Iterable[tuple[int, Sequence[Row]]]) -> None:
        """Count what a read has brought, by stream, and let the peer send as much more."""
        for stream_id, rows in groups:
            stream = self._streams.get(stream_id)
            if stream is None:
                continue
            self._touched[stream_id] = stream
            if self._config.granting is Granting.STEP:
                stream.arrived += sum(row[0] == self._message for row in rows)
        for stream in self._touched.values():
            self._collect(stream)
            self.credit(stream)
        self._touched.clear()
        if groups:
            self._empty_frames = 0
        if (due := self._credit.due()) > 0:
            self._sender.write(framing.window_update(0, due))
        if self._unfinished_bytes > self._limits.max_unfinished_bytes:
            text = f"{self._unfinished_bytes} bytes of messages that do not end"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)

    def credit(self, stream: Stream) -> None:
        """Let the peer send more on a stream, as far as it may now."""
        if not stream.is_open or stream.end_received:
            return
        if self._config.granting is Granting.READ:
            due = stream.credit.due()
        elif stream.messages is not None and stream.arrived < stream.granted and not stream.credit.held:
            due = stream.messages.needed - stream.credit.left
            if due > 0:
                stream.credit.left += due
        else:
            return
        if due > 0:
            self._sender.write(framing.window_update(stream.stream_id, due))

    def forget(self, stream: Stream) -> None:
        """Note that a stream has been closed from our side, between reads."""
        self._unfinished_bytes -= stream.counted_bytes
        stream.counted_bytes = 0

    # What Direction tells.

    def data_began(self, side: Side, stream_id: int, length: int, padded: int, rows: list[Row]) -> None:
        """A DATA frame begins."""
        self._credit.spend(length, 0)
        if length > padded:
            self._empty_frames = 0
        else:
            self._empty_frames += 1
            if self._empty_frames > self._limits.max_empty_frames:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"{self._empty_frames} empty DATA frames in a row")
        try:
            stream = self._streams.receive(stream_id, FrameType.DATA, self._initiated(stream_id))
            if stream is None or not stream.listens:
                return
            if stream.theirs is LaneState.IDLE:
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA before HEADERS")
            stream.credit.spend(length, self._ahead)
            stream.body_bytes += length - padded
            self._touched[stream_id] = stream
        except StreamFault as fault:
            self._refuse(fault, rows)

    def data_ended(self, side: Side, stream_id: int, rows: list[Row]) -> None:
        """A DATA frame with END_STREAM has been read."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.listens:
            return
        try:
            self._end_received(stream)
        except StreamFault as fault:
            self._refuse(fault, rows)
            return
        if self._role is Side.SERVER:
            self._tell(stream, (RowKind.CLIENT_HALF_CLOSE, stream_id, _HALF_CLOSE), rows)
        else:
            self._tell(stream, (RowKind.SERVER_TRAILER, stream_id, ServerTrailer(None)), rows)

    def frame(self, side: Side, kind: int, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        """Take a whole frame other than DATA."""
        if not self._settings_received and (kind != FrameType.SETTINGS or flags & ACK):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} before SETTINGS")
        check_shape(kind, flags, stream_id, len(payload))
        try:
            _HANDLERS[kind](self, flags, stream_id, payload, rows)
        except StreamFault as fault:
            self._refuse(fault, rows)

    # One method a type of frame.

    def _on_headers(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        self._take_block(self._blocks.begin(flags, stream_id, payload), rows)

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        self._take_block(self._blocks.go_on(flags, payload), rows)

    def _on_priority(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        if int.from_bytes(payload[:4], "big") & STREAM_MASK == stream_id:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")

    def _on_reset(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        stream = self._streams.receive(stream_id, FrameType.RST_STREAM, self._initiated(stream_id))
        if stream is None or stream.reset_received:
            return
        code = read_reset(payload)
        stream.reset_received = True
        if self._role is Side.SERVER:
            if stream.is_open and stream.ours is LaneState.IDLE:
                self._count_fruitless()
            self._tell(stream, (RowKind.CANCEL, stream_id, Cancel(code)), rows)
        elif stream.theirs is LaneState.ENDED:
            self._tell(stream, (RowKind.RESET_AFTER, stream_id, code), rows)
        else:
            self._tell(stream, (RowKind.RESET, stream_id, Reset(code)), rows)
        stream.theirs = LaneState.ENDED
        self._touched[stream_id] = stream
        self._sender.close(stream, Closed.PEER)
        self._streams.deafen(stream)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        if flags & ACK:
            if self.unacknowledged:
                self._ahead = 0
                self.happened.append(SettingsAcknowledged(self.unacknowledged.popleft()))
            return
        self._settings_received = True
        values = read_settings(payload)
        check_settings(values, self._peer)
        self._sender.obey(values)
        self._sender.answer(framing.SETTINGS_ACK)  # before anything that only they allow (6.5.3)
        drained = self._sender.flush_all()
        self.happened.append(SettingsReceived(values))
        self.happened.extend(Drained(stream.stream_id) for stream in drained)

    def _on_push(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE, which nobody has allowed")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        if flags & ACK:
            self.happened.append(PingAcknowledged(payload))
        else:
            self._sender.answer(framing.ping(payload, ACK))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        last, code, debug = read_goaway(payload)
        self.goaway_received = True
        lost: list[int] = []
        if self._role is Side.CLIENT:
            for stream in [stream for stream in self._streams if stream.stream_id > last]:
                lost.append(stream.stream_id)
                self._touched[stream.stream_id] = stream
                self._sender.close(stream, Closed.PEER)
        self.happened.append(GoAwayReceived(last, code, debug, tuple(lost)))

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        increment = int.from_bytes(payload, "big") & STREAM_MASK
        stream: Stream | None = None
        if stream_id:
            stream = self._streams.receive(stream_id, FrameType.WINDOW_UPDATE, self._initiated(stream_id))
            if stream is None or not stream.is_open:
                return
        if not increment:
            if stream_id:
                raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
        self.happened.extend(Drained(drained.stream_id) for drained in self._sender.widen(stream, increment))

    # Header blocks.

    def _take_block(self, block: Block | None, rows: list[Row]) -> None:
        self._direction.expect_continuation(self._blocks.expects_continuation_on)
        if block is None:
            return
        try:
            if self._role is Side.SERVER:
                self._client_block(block, rows)
            else:
                self._server_block(block, rows)
        except StreamFault:
            if not block.is_decoded:
                block.decode(ignore)
            raise

    def _client_block(self, block: Block, rows: list[Row]) -> None:
        stream_id = block.stream_id
        if not self._initiated(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a client opens stream {stream_id}, which is even")
        if stream_id > self._streams.last_id:
            self._open_call(block, rows)
            return
        stream = self._streams.receive(stream_id, FrameType.HEADERS, True)
        if stream is None or not stream.listens:
            block.decode(ignore)
            return
        fault = block.decode(client_trailers)
        if not block.ends:
            fault = "a second header block that does not end the stream"
        self._check(stream_id, fault)
        self._end_received(stream)
        self._tell(stream, (RowKind.CLIENT_HALF_CLOSE, stream_id, _HALF_CLOSE), rows)

    def _open_call(self, block: Block, rows: list[Row]) -> None:
        stream_id = block.stream_id
        opening = block.decode(request)
        stream = self.new_stream(stream_id)
        stream.silent = True
        full = len(self._streams) >= self._limits.max_streams
        self._streams.open(stream)
        if self.ignore_above is not None and stream_id > self.ignore_above:
            self._sender.close(stream, Closed.OURS)
            self._streams.deafen(stream)
            return
        self._check(stream_id, "a stream that depends on itself" if block.depends_on_itself else opening.fault)
        if full:
            text = f"more than {self._limits.max_streams} streams"
            raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM, text)
        stream.theirs = LaneState.OPEN
        stream.content_length = opening.content_length
        if block.ends:
            self._end_received(stream)
        if opening.header is None:
            refuse(stream, opening.foreign_status, self._sender)
            self.happened.append(Answered(stream_id, opening.foreign_status))
            return
        stream.silent = False
        rows.append((RowKind.CLIENT_HEADER, stream_id, opening.header, 0, stream_id))
        if block.ends:
            rows.append((RowKind.CLIENT_HALF_CLOSE, stream_id, _HALF_CLOSE))
        else:
            self._expect_messages(stream)

    def _server_block(self, block: Block, rows: list[Row]) -> None:
        stream_id = block.stream_id
        stream = self._streams.receive(stream_id, FrameType.HEADERS, self._initiated(stream_id))
        if stream is None or not stream.listens:
            block.decode(ignore)
        elif block.ends:
            spelled = answer_without_body if stream.theirs is LaneState.IDLE else trailers
            ending = block.decode(spelled)
            self._check(stream_id, ending.fault)
            self._end_received(stream)
            self._tell(stream, (RowKind.SERVER_TRAILER, stream_id, ending.trailer), rows)
        elif stream.theirs is LaneState.IDLE:
            answered = block.decode(answer)
            self._check(stream_id, answered.fault)
            if answered.header is None:
                return
            stream.theirs = LaneState.OPEN
            stream.content_length = answered.content_length
            self._tell(stream, (RowKind.SERVER_HEADER, stream_id, answered.header), rows)
            if answered.body is Body.MESSAGES:
                self._expect_messages(stream)
        else:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "a second header block that does not end the stream")

    def _check(self, stream_id: int, fault: str) -> None:
        if fault:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, fault)

    # Streams.

    def _initiated(self, stream_id: int) -> bool:
        """Tell whether a client may have opened the stream; servers open none here."""
        return stream_id % 2 == 1

    def _expect_messages(self, stream: Stream) -> None:
        lane = Messages(self._peer, stream.stream_id, WHOLE, self._limits.max_message_bytes)
        stream.messages = self._streams.lanes[stream.stream_id] = lane
        self.credit(stream)

    def _collect(self, stream: Stream) -> None:
        """Count the DATA that was read at a glance, and what is there of an unfinished message."""
        lane = stream.messages
        if lane is None:
            return
        if lane.glanced_bytes:
            self._credit.spend(lane.glanced_bytes, 0)
            stream.credit.spend(lane.glanced_bytes, self._ahead)
            stream.body_bytes += lane.glanced_bytes
            lane.glanced_bytes = 0
        held = lane.held_bytes if stream.listens else 0
        self._unfinished_bytes += held - stream.counted_bytes
        stream.counted_bytes = held

    def _end_received(self, stream: Stream) -> None:
        """The peer's lane is at its end; StreamFault where it ends too early."""
        self._collect(stream)
        messages = stream.messages
        if messages is not None and not messages.between:
            raise StreamFault(
                stream.stream_id, ErrorCode.PROTOCOL_ERROR, f"END_STREAM behind {messages.progress} of a message"
            )
        if stream.content_length is not None and stream.content_length != stream.body_bytes:
            self._check(stream.stream_id, f"{stream.body_bytes} bytes, not content-length {stream.content_length}")
        self._streams.deafen(stream)
        stream.end_received = True
        stream.theirs = LaneState.HALF_CLOSED if self._role is Side.SERVER else LaneState.ENDED
        if stream.end_sent:
            self._sender.close(stream, Closed.ENDS)

    def _refuse(self, fault: StreamFault, rows: list[Row]) -> None:
        """End a stream that the peer has broken the rules on."""
        self._sender.answer(framing.reset(fault.stream_id, fault.code))
        stream = self._streams.get(fault.stream_id)
        if stream is not None:
            if stream.is_open or stream.listens:
                self._tell(stream, (RowKind.DAMAGED, fault.stream_id, fault.reason), rows)
            stream.silent = True
            self._touched[fault.stream_id] = stream
            self._sender.close(stream, Closed.OURS)
            self._streams.deafen(stream)
        if self._role is Side.SERVER:
            self._count_fruitless()

    def _count_fruitless(self) -> None:
        if self._progress != self._sender.progress:
            self._progress = self._sender.progress
            self._fruitless = 0
        self._fruitless += 1
        if self._fruitless > self._limits.max_fruitless_resets:
            text = f"{self._fruitless} streams in a row that were reset before any answer"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text)

    def _tell(self, stream: Stream, row: Row, rows: list[Row]) -> None:
        if not stream.silent:
            rows.append(row)


_HALF_CLOSE = ClientHalfClose()

_Handler = Callable[[Receiver, int, int, bytes, list[Row]], None]

_HANDLERS: dict[int, _Handler] = {
    FrameType.HEADERS: Receiver._on_headers,
    FrameType.PRIORITY: Receiver._on_priority,
    FrameType.RST_STREAM: Receiver._on_reset,
    FrameType.SETTINGS: Receiver._on_settings,
    FrameType.PUSH_PROMISE: Receiver._on_push,
    FrameType.PING: Receiver._on_ping,
    FrameType.GOAWAY: Receiver._on_goaway,
    FrameType.WINDOW_UPDATE: Receiver._on_window_update,
    FrameType.CONTINUATION: Receiver._on_continuation,
}
