"""The tap: both directions of one connection, read passively. Chunks in, rows out (core/rows.py).

    bytes --Direction--> frames --Tap--> field blocks --headers--> events --Calls--> rows
                         DATA --Calls--> messages ------------------------------/

The bytes have been passed on before they come here, so there is nothing to answer and nobody to refuse. A tap states
what was said, keeps no more of it than it needs to read on, and where it cannot read on it says so and stays quiet: it
never raises. Flow control, PING, priorities and limits are the peers' own business.

What is not HTTP/2 is seen in what each side says first: the client its preface, the server a SETTINGS frame (RFC 9113
section 3.4). The guess at what it is instead rests on few bytes, so that it does not depend on how they were cut.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from duplexmock.core.call import LaneState
from duplexmock.core.connection import GoAway, Settings
from duplexmock.core.events import Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.errors import ProtocolError
from duplexmock.wire.calls import Calls
from duplexmock.wire.direction import Direction
from duplexmock.wire.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    PREFACE,
    FrameType,
    block_fragment,
    read_goaway,
    read_reset,
    read_settings,
)
from duplexmock.wire.headers import (
    MAX_BLOCK_BYTES,
    HeaderReader,
    client_header,
    ignore,
    server_header,
    server_trailer,
    trailers_only,
)
from duplexmock.wire.opening import foreign_client, foreign_server


class Tap:
    """Both directions of one connection, read passively.

    `connection` is its number. `admit(method)` is asked once for each gRPC call, and answers with the number of the
    new session, or with None: then the call passes and gives no rows.

    `fault` says why decoding stopped, empty while it goes on. `foreign` says what the connection is where it is not
    HTTP/2 ("HTTP/1.1", "TLS", "not HTTP/2"). `foreign_streams` counts HTTP/2 requests that were not gRPC.
    """

    def __init__(self, connection: int, admit: Callable[[str], int | None]) -> None:
        self.fault = ""
        self.foreign = ""
        self.foreign_streams = 0
        self._connection = connection
        self._calls = Calls(connection, admit)
        self._sides = {side: _Said(side, Direction(side, self._calls.messages[side], self, HANDED_ON)) for side in Side}
        self._last_stream_id = 0  # the highest that the client has opened
        self._at_ns = 0

    def take(self, side: Side, chunk: bytes, at_ns: int) -> list[Row]:
        """Read the next bytes that `side` sent, seen at `at_ns`; return what they say, in order.

        Never raises. Where the bytes cannot be read, each open recorded call gives a DAMAGED row, `fault` or `foreign`
        is set, and later chunks give no rows.
        """
        rows: list[Row] = []
        if self.fault or self.foreign:
            return rows
        self._at_ns = at_ns
        said = self._sides[side]
        try:
            if said.began:
                said.direction.read(chunk, rows)
            else:
                self._begin(said, chunk, rows)
        except ProtocolError as exc:
            self.fault = f"the {side.name.lower()}'s bytes cannot be read: {exc}"
        except Exception as exc:
            # The tap's edge: our own bug must not end the conversation. The text of the exception might quote secrets.
            at = traceback.extract_tb(exc.__traceback__)[-1]
            self.fault = f"a bug of the tap, please report it: {type(exc).__name__} at {at.name}, line {at.lineno}"
        if self.fault:
            self._calls.give_up(self.fault, rows)
        return rows

    @property
    def open_calls(self) -> int:
        """Return how many gRPC calls, recorded or not, have not ended; 0 once decoding has stopped."""
        return len(self._calls)

    def open_numbers(self) -> tuple[int, ...]:
        """Return the numbers of the sessions that are recorded and have not ended, in the order they were opened."""
        return self._calls.open_numbers

    def _begin(self, said: _Said, chunk: bytes, rows: list[Row]) -> None:
        """Read what a side says first, once enough of it is there."""
        said.beginning += chunk
        beginning = said.beginning
        foreign = foreign_client(beginning) if said.side is Side.CLIENT else foreign_server(beginning)
        if foreign:
            self.foreign = foreign
            self._calls.give_up(f"what the {said.side.name.lower()} says is not HTTP/2", rows)
        elif len(beginning) >= _OPENING_BYTES[said.side]:
            said.began, said.beginning = True, b""
            said.direction.read(beginning[_PREFACE_BYTES[said.side] :], rows)

    def data_began(self, side: Side, stream_id: int, length: int, padded: int, rows: list[Row]) -> None:
        """A DATA frame that needs a second look begins; part of reading, as the next two."""
        call = self._calls.get(stream_id)
        if call is not None:
            self._calls.check_open(call, side, "DATA", rows)

    def data_ended(self, side: Side, stream_id: int, rows: list[Row]) -> None:
        """A DATA frame with END_STREAM has been read."""
        call = self._calls.get(stream_id)
        if call is not None:
            self._calls.ended_by_data(call, side, rows)

    def frame(self, side: Side, kind: int, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        """Take a whole frame of one side, of those that Direction hands on."""
        match kind:
            case FrameType.HEADERS | FrameType.PUSH_PROMISE | FrameType.CONTINUATION:
                self._fragment(self._sides[side], kind, flags, stream_id, payload, rows)
            case FrameType.RST_STREAM:
                self._reset(side, stream_id, read_reset(payload), rows)
            case FrameType.SETTINGS if not flags & ACK:
                settings = Settings(self._at_ns, side, read_settings(payload))
                rows.append((RowKind.SETTINGS, self._connection, settings))
            case FrameType.GOAWAY:
                goaway = GoAway(self._at_ns, side, *read_goaway(payload))
                rows.append((RowKind.GOAWAY, self._connection, goaway))

    def _fragment(self, said: _Said, kind: int, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        """Take one frame of a field block, and the block when it is whole (RFC 9113 section 4.3)."""
        if kind != FrameType.CONTINUATION:
            said.block = _Block(kind, flags, stream_id)
        elif said.block is None:
            raise ProtocolError("a CONTINUATION frame with no header block before it")
        block = said.block
        block.fragments += block_fragment(kind, flags, payload)
        if len(block.fragments) > MAX_BLOCK_BYTES:
            raise ProtocolError(f"a header block of more than {MAX_BLOCK_BYTES} bytes")
        if not flags & END_HEADERS:
            said.direction.expect_continuation(stream_id)
            return
        said.block = None
        said.direction.expect_continuation(None)
        if block.kind == FrameType.PUSH_PROMISE:
            said.headers.read(bytes(block.fragments), ignore)
        elif said.side is Side.CLIENT:
            self._client_block(said.headers, block, rows)
        else:
            self._server_block(said.headers, block, rows)

    def _client_block(self, headers: HeaderReader, block: _Block, rows: list[Row]) -> None:
        stream_id, fragments, ends = block.stream_id, bytes(block.fragments), block.flags & END_STREAM
        if stream_id > self._last_stream_id:
            self._last_stream_id = stream_id
            header = headers.read(fragments, client_header)
            if header is None:
                self.foreign_streams += 1
                return
            call = self._calls.opened(stream_id, header, rows)
            if ends:
                self._calls.half_closed(call, rows)
            return
        # Trailers of a client, which gRPC does not have: they say no more than END_STREAM.
        headers.read(fragments, ignore)
        known = self._calls.get(stream_id)
        if known is None:
            return
        if known.client is LaneState.OPEN and ends:
            self._calls.half_closed(known, rows)
        else:
            self._calls.damaged(known, "a second header block from the client", rows)

    def _server_block(self, headers: HeaderReader, block: _Block, rows: list[Row]) -> None:
        fragments, ends = bytes(block.fragments), block.flags & END_STREAM
        call = self._calls.get(block.stream_id)
        if call is None:
            headers.read(fragments, ignore)
        elif call.server is LaneState.IDLE:
            if ends:
                self._calls.finished(call, headers.read(fragments, trailers_only), rows)
            elif (answer := headers.read(fragments, server_header)) is not None:
                self._calls.answered(call, *answer, rows)
        elif call.server is LaneState.OPEN and ends:
            self._calls.finished(call, headers.read(fragments, server_trailer), rows)
        else:
            headers.read(fragments, ignore)
            self._calls.damaged(call, "a second header block from the server", rows)

    def _reset(self, side: Side, stream_id: int, code: int, rows: list[Row]) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            return
        if side is Side.CLIENT:
            self._calls.cancelled(call, code, rows)
        else:
            self._calls.reset(call, code, rows)


class _Said:
    """What one side has said so far, as far as it is needed to read on."""

    __slots__ = ("began", "beginning", "block", "direction", "headers", "side")

    def __init__(self, side: Side, direction: Direction) -> None:
        self.side = side
        self.direction = direction
        self.headers = HeaderReader()
        self.block: _Block | None = None
        self.began = False
        self.beginning = b""  # until the side has begun: all that it said


class _Block:
    """A field block under way; `kind` and `flags` are those of the frame that began it."""

    __slots__ = ("flags", "fragments", "kind", "stream_id")

    def __init__(self, kind: int, flags: int, stream_id: int) -> None:
        self.kind = kind
        self.flags = flags
        self.stream_id = stream_id
        self.fragments = bytearray()


HANDED_ON = frozenset(
    (
        FrameType.HEADERS,
        FrameType.RST_STREAM,
        FrameType.SETTINGS,
        FrameType.PUSH_PROMISE,
        FrameType.GOAWAY,
        FrameType.CONTINUATION,
    )
)

_OPENING_BYTES = {Side.CLIENT: len(PREFACE), Side.SERVER: HEAD_BYTES}
_PREFACE_BYTES = {Side.CLIENT: len(PREFACE), Side.SERVER: 0}
