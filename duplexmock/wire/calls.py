"""The calls of one connection: where both lanes of each stand, and the rows that say so.

What ends a call: both its lanes have ended, or either side has sent RST_STREAM. It is not forgotten then. The other
side may not know yet: a deadline's Cancel crosses the trailer, messages under way cross a reset, and a server's
RST_STREAM(NO_ERROR) follows its trailers. All of it was said and all of it is kept, so the LINGERING newest of the
ended calls stay known; a later frame of an older one is dropped.

What a lane may not say (DATA after END_STREAM, a second header block, half a message) is a fault of that call only. It
gives one DAMAGED row, and no row of the call after that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from duplexmock.core.call import LaneState
from duplexmock.core.events import Cancel, ClientHalfClose, ClientHeader, Reset, ServerHeader, ServerTrailer, Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.wire.headers import Body
from duplexmock.wire.messages import Messages

LINGERING = 1_000
"""Ended calls still known: what crosses does so within a round trip, which few connections end a thousand calls in."""


class Call:
    """A gRPC call on a stream; `number` is that of its session, 0 where it is not recorded or no longer."""

    __slots__ = ("client", "number", "reset", "server", "stream_id")

    def __init__(self, stream_id: int, number: int) -> None:
        self.stream_id = stream_id
        self.number = number
        self.client = LaneState.OPEN
        self.server = LaneState.IDLE
        self.reset = False  # the server has sent RST_STREAM

    def lane(self, side: Side) -> LaneState:
        """Return where the lane of `side` stands."""
        return self.client if side is Side.CLIENT else self.server


class Calls:
    """The calls of one connection, by stream.

    `messages` holds, for each side, the recorded lanes whose DATA is messages. The reader of frames (direction.py)
    hands DATA to them without asking here, as long as nothing else comes with it.
    """

    def __init__(self, connection: int, admit: Callable[[str], int | None]) -> None:
        self.messages: dict[Side, dict[int, Messages]] = {Side.CLIENT: {}, Side.SERVER: {}}
        self._connection = connection
        self._admit = admit
        self._open: dict[int, Call] = {}
        self._ended: OrderedDict[int, Call] = OrderedDict()

    def __len__(self) -> int:
        """Count the calls that are open, recorded or not."""
        return len(self._open)

    @property
    def open_numbers(self) -> tuple[int, ...]:
        """Return the sessions of the calls that are open and recorded, in the order in which they were opened."""
        return tuple(call.number for call in self._open.values() if call.number)

    def get(self, stream_id: int) -> Call | None:
        """Return the call on a stream, open or lately ended."""
        return self._open.get(stream_id) or self._ended.get(stream_id)

    def opened(self, stream_id: int, header: ClientHeader, rows: list[Row]) -> Call:
        """The client opened a call."""
        call = Call(stream_id, self._admit(header.method) or 0)
        self._open[stream_id] = call
        if call.number:
            rows.append((RowKind.CLIENT_HEADER, call.number, header, self._connection, stream_id))
            self.messages[Side.CLIENT][stream_id] = Messages(Side.CLIENT, call.number)
        return call

    def ended_by_data(self, call: Call, side: Side, rows: list[Row]) -> None:
        """The side sent END_STREAM on a DATA frame: a half-close, or the end of an answer without trailers."""
        if call.lane(side) in (LaneState.HALF_CLOSED, LaneState.ENDED):
            return
        if side is Side.CLIENT:
            self.half_closed(call, rows)
        else:
            self.finished(call, ServerTrailer(None), rows)

    def half_closed(self, call: Call, rows: list[Row]) -> None:
        """The client sent END_STREAM, on whatever frame."""
        self._end_messages(call, Side.CLIENT, rows)
        call.client = LaneState.HALF_CLOSED
        if call.number:
            rows.append((RowKind.CLIENT_HALF_CLOSE, call.number, ClientHalfClose()))
        if call.server is LaneState.ENDED:
            self._end(call)

    def cancelled(self, call: Call, code: int, rows: list[Row]) -> None:
        """The client sent RST_STREAM, which may break off a message."""
        if call.client is LaneState.ENDED:
            return
        self.messages[Side.CLIENT].pop(call.stream_id, None)
        call.client = LaneState.ENDED
        if call.number:
            rows.append((RowKind.CANCEL, call.number, Cancel(code)))
        self._end(call)

    def answered(self, call: Call, header: ServerHeader, body: Body, rows: list[Row]) -> None:
        """The server sent its initial metadata."""
        call.server = LaneState.OPEN
        if call.number:
            rows.append((RowKind.SERVER_HEADER, call.number, header))
            if body is Body.MESSAGES:
                self.messages[Side.SERVER][call.stream_id] = Messages(Side.SERVER, call.number)

    def finished(self, call: Call, trailer: ServerTrailer, rows: list[Row]) -> None:
        """The server sent END_STREAM, with trailers or without."""
        self._end_messages(call, Side.SERVER, rows)
        call.server = LaneState.ENDED
        if call.number:
            rows.append((RowKind.SERVER_TRAILER, call.number, trailer))
        if call.client is not LaneState.OPEN:
            self._end(call)

    def reset(self, call: Call, code: int, rows: list[Row]) -> None:
        """The server sent RST_STREAM, before its trailers or behind them; before, it may break off a message."""
        if call.reset:
            return
        call.reset = True
        self.messages[Side.SERVER].pop(call.stream_id, None)
        if call.number:
            if call.server is LaneState.ENDED:
                rows.append((RowKind.RESET_AFTER, call.number, code))
            else:
                rows.append((RowKind.RESET, call.number, Reset(code)))
        call.server = LaneState.ENDED
        self._end(call)

    def check_open(self, call: Call, side: Side, frame: str, rows: list[Row]) -> None:
        """Damage the call unless the side's lane is open, which is where a `frame` of it belongs."""
        state = call.lane(side)
        if state is not LaneState.OPEN:
            when = "before its headers" if state is LaneState.IDLE else "after its end of the stream"
            self.damaged(call, f"{frame} from the {side.name.lower()} {when}", rows)

    def damaged(self, call: Call, reason: str, rows: list[Row]) -> None:
        """Nothing more of the call can be told: say why, once, and record no more of it."""
        if call.number:
            rows.append((RowKind.DAMAGED, call.number, reason))
            self._record_no_more(call)

    def give_up(self, reason: str, rows: list[Row]) -> None:
        """Nothing more of the connection can be told: every open call is damaged, and all are forgotten."""
        for call in self._open.values():
            self.damaged(call, reason, rows)
        self._open.clear()
        self._ended.clear()

    def _end_messages(self, call: Call, side: Side, rows: list[Row]) -> None:
        messages = self.messages[side].pop(call.stream_id, None)
        if messages is not None and not messages.between:
            sender = side.name.lower()
            self.damaged(call, f"END_STREAM from the {sender} behind {messages.progress} of a message", rows)

    def _record_no_more(self, call: Call) -> None:
        call.number = 0
        for messages in self.messages.values():
            messages.pop(call.stream_id, None)

    def _end(self, call: Call) -> None:
        if self._open.pop(call.stream_id, None) is None:
            return
        self._ended[call.stream_id] = call
        if len(self._ended) > LINGERING:
            _, oldest = self._ended.popitem(last=False)
            self._record_no_more(oldest)
