"""Bytes of one side to frames and messages, cut everywhere."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import ClientHeader, ServerHeader, Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.errors import ProtocolError
from duplexmock.wire.calls import Calls
from duplexmock.wire.direction import MAX_HELD_BYTES, Direction
from duplexmock.wire.frames import HEAD_BYTES, FrameType
from duplexmock.wire.headers import Body
from duplexmock.wire.tap import HANDED_ON as TAKEN
from tests.wire.talk import END_HEADERS, END_STREAM, PADDED, counting, data, examples, frame, joined, message, padded

RESERVED = 0x8000_0000
HALF_CLOSE = RowKind.CLIENT_HALF_CLOSE

Frame = tuple[Side, int, int, int, bytes]


class Reading:
    """One direction, calls 1 and 2 open on streams 1 and 3 for both sides, and what it hands on."""

    def __init__(self, side: Side = Side.CLIENT) -> None:
        self.frames: list[Frame] = []
        self.rows: list[Row] = []
        numbers = counting()
        self.calls = Calls(7, lambda method: next(numbers))
        for stream_id in (1, 3):
            call = self.calls.opened(stream_id, ClientHeader("/a.B/C"), [])
            self.calls.answered(call, ServerHeader(), Body.MESSAGES, [])
        self.direction = Direction(side, self.calls.messages[side], self, TAKEN)

    def read(self, *chunks: bytes) -> Reading:
        for chunk in chunks:
            self.direction.read(chunk, self.rows)
        return self

    def said(self) -> list[tuple[object, ...]]:
        """Return each row as its kind, call and payload."""
        return [(row[0], row[1], row[-1] if isinstance(row[-1], bytes) else "") for row in joined(self.rows)]

    def data_began(self, side: Side, stream_id: int, length: int, padded: int, rows: list[Row]) -> None:
        if call := self.calls.get(stream_id):
            self.calls.check_open(call, side, "DATA", rows)

    def data_ended(self, side: Side, stream_id: int, rows: list[Row]) -> None:
        if call := self.calls.get(stream_id):
            self.calls.ended_by_data(call, side, rows)

    def frame(self, side: Side, kind: int, flags: int, stream_id: int, payload: bytes, rows: list[Row]) -> None:
        self.frames.append((side, kind, flags, stream_id, payload))
        # Only HEADERS and CONTINUATION without END_HEADERS leave a block open.
        if kind in (FrameType.HEADERS, FrameType.CONTINUATION):
            self.direction.expect_continuation(None if flags & END_HEADERS else stream_id)


def told(call: int, payload: bytes) -> tuple[RowKind, int, bytes]:
    return RowKind.CLIENT_MESSAGE, call, payload


def cut_everywhere(octets: bytes) -> Iterable[list[bytes]]:
    yield [octets[position : position + 1] for position in range(len(octets))]
    for cut in range(len(octets) + 1):
        yield [octets[:cut], octets[cut:]]
        yield [octets[:cut], octets[cut : cut + 1], octets[cut + 1 :]]


# DATA


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        pytest.param([data(1, message(b"Hello"))], [told(1, b"Hello")], id="one message a frame"),
        pytest.param([data(1, message(b""))], [told(1, b"")], id="an empty message"),
        pytest.param([data(1)], [], id="an empty frame"),
        pytest.param(
            [data(1, message(b"a") + message(b"") + message(b"b"))],
            [told(1, b"a"), told(1, b""), told(1, b"b")],
            id="several messages in a frame",
        ),
        pytest.param(
            [data(1, message(b"Hello")[:7]), data(1, message(b"Hello")[7:])], [told(1, b"Hello")], id="split payload"
        ),
        pytest.param(
            [data(1, message(b"Hello")[:3]), data(1, message(b"Hello")[3:])], [told(1, b"Hello")], id="split prefix"
        ),
        pytest.param(
            [data(1, message(b"a") + message(b"bc")[:6]), data(3, message(b"d")), data(1, b"c" + message(b"e"))],
            [told(1, b"a"), told(2, b"d"), told(1, b"bc"), told(1, b"e")],
            id="split between frames of another stream",
        ),
        pytest.param(
            [data(1, message(b"Hello")), data(3, message(b"Hi")), data(1, message(b"Bye"))],
            [told(1, b"Hello"), told(2, b"Hi"), told(1, b"Bye")],
            id="streams in turn",
        ),
        pytest.param([padded(1, message(b"Hello"), 9)], [told(1, b"Hello")], id="padding"),
        pytest.param([padded(1, message(b"Hello"), 0)], [told(1, b"Hello")], id="padding of nothing"),
        pytest.param([padded(1, b"", 4)], [], id="nothing but padding"),
        pytest.param(
            [padded(1, message(b"Hello")[:6], 3), padded(1, message(b"Hello")[6:], 255)],
            [told(1, b"Hello")],
            id="padding inside a message",
        ),
        pytest.param([data(1 | RESERVED, message(b"Hello"))], [told(1, b"Hello")], id="the reserved bit"),
        pytest.param([data(1, message(b"Hello"), 0x80)], [told(1, b"Hello")], id="an unknown flag"),
        pytest.param([data(5, message(b"Hello")), data(0, b"x")], [], id="streams that are no calls"),
        pytest.param(
            [data(1, message(b"Hello"), END_STREAM)], [told(1, b"Hello"), (HALF_CLOSE, 1, "")], id="END_STREAM"
        ),
        pytest.param([data(1, b"", END_STREAM)], [(HALF_CLOSE, 1, "")], id="END_STREAM on an empty frame"),
        pytest.param(
            [padded(1, message(b"Hello"), 3, END_STREAM)],
            [told(1, b"Hello"), (HALF_CLOSE, 1, "")],
            id="END_STREAM behind padding",
        ),
        pytest.param(
            [data(1, message(b"a")[:4]), data(1, message(b"a")[4:5]), data(1, b"a", END_STREAM)],
            [told(1, b"a"), (HALF_CLOSE, 1, "")],
            id="four bytes, one and one",
        ),
    ],
)
def test_messages_are_found_wherever_frames_and_reads_were_cut(frames: list[bytes], said: list[object]) -> None:
    octets = b"".join(frames)
    assert Reading().read(octets).said() == said
    for chunks in cut_everywhere(octets):
        assert Reading().read(*chunks).said() == said, chunks


def test_inside_a_message_a_frame_that_looks_like_a_small_message_is_not_one() -> None:
    inside = message(b"looks right")  # the second half of the payload, in a frame of its own
    assert len(inside) == int.from_bytes(inside[1:5], "big") + 5
    payload = b"begin" + inside + b"end"
    octets = message(payload)
    frames = [data(1, octets[:10]), data(1, inside), data(1, b"end"), data(1, message(b"next"))]
    assert Reading().read(b"".join(frames)).said() == [told(1, payload), told(1, b"next")]


def test_a_prefix_may_be_cut_by_frames_everywhere() -> None:
    octets = message(b"Hi") + message(b"there")
    for first in range(1, 12):
        for second in range(first, 12):
            frames = [data(1, octets[:first]), data(1, octets[first:second]), data(1, octets[second:])]
            assert Reading().read(b"".join(frames)).said() == [told(1, b"Hi"), told(1, b"there")], (first, second)


def test_four_bytes_of_a_message_and_the_head_behind_them_are_not_a_prefix() -> None:
    # Read on into the next head, the fragment announces 0xffffffff bytes: five more are four, if one counts in 32 bits.
    fragment, rest = b"a\xff\xff\xff", b"b" * 0xFF_0000
    octets = message(b"begin" + fragment + rest)
    frames = [data(1, octets[:10]), data(1, fragment), data(1, rest), data(1, message(b"next"))]
    assert Reading().read(b"".join(frames)).said() == [told(1, octets[5:]), told(1, b"next")]


def test_any_four_bytes_of_a_message_are_four_bytes_of_it() -> None:
    octets = message(bytes(range(40)))
    for start in range(len(octets) - 3):
        frames = [data(1, octets[:start]), data(1, octets[start : start + 4]), data(1, octets[start + 4 :])]
        assert Reading().read(b"".join(frames)).said() == [told(1, bytes(range(40)))], start


def test_a_message_of_many_frames_goes_out_in_parts_before_it_is_whole() -> None:
    reading = Reading()
    piece = b"x" * 16_384
    reading.read(data(1, (4 * 16_384).to_bytes(5, "big")), *[data(1, piece)] * 3)
    assert reading.rows == [(RowKind.CLIENT_PART, 1, piece)] * 3
    reading.read(data(1, piece, END_STREAM))
    assert [row[0] for row in reading.rows[3:]] == [RowKind.CLIENT_MESSAGE, HALF_CLOSE]


def test_a_part_of_a_frame_is_taken_at_once() -> None:
    reading = Reading()
    whole = data(1, message(b"x" * 20_000))
    reading.read(whole[:10_014])
    assert reading.rows == [(RowKind.CLIENT_PART, 1, b"x" * 10_000)]
    reading.read(whole[10_014:])
    assert reading.rows[1:] == [(RowKind.CLIENT_MESSAGE, 1, 0, b"x" * 10_000)]


def test_the_server_reads_its_own_lane() -> None:
    reading = Reading(Side.SERVER).read(data(1, message(b"Hello")), data(3, message(b"Bye"), END_STREAM))
    assert [row[:2] for row in reading.rows] == [
        (RowKind.SERVER_MESSAGE, 1),
        (RowKind.SERVER_MESSAGE, 2),
        (RowKind.SERVER_TRAILER, 2),
    ]


# Other frames


HANDED_ON = [
    frame(FrameType.HEADERS, END_HEADERS | 0x80, 5, b"block"),
    frame(FrameType.HEADERS, 0, 7, b"begun"),
    frame(FrameType.CONTINUATION, 0, 7, b""),
    frame(FrameType.CONTINUATION, END_HEADERS, 7, b"ended"),
    frame(FrameType.RST_STREAM, 0, 1 | RESERVED, b"\0\0\0\x08"),
    frame(FrameType.SETTINGS, 0, 0, b"\0\x01\0\0\x10\0"),
    frame(FrameType.SETTINGS, 1, 0),
    frame(FrameType.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02"),
    frame(FrameType.GOAWAY, 0, 0, bytes(8) + b"bye"),
]
NOT_READ = [
    frame(FrameType.PING, 0, 0, b"12345678"),
    frame(FrameType.WINDOW_UPDATE, 0, 1, b"\0\0\x10\0"),
    frame(FrameType.PRIORITY, 0, 1, b"\0\0\0\0\x0f"),
    frame(0x42, 0xFF, 1, b"unknown"),
    frame(0x42, 0, 0),
]


def test_frames_that_somebody_reads_are_handed_on_whole_and_others_are_passed_over() -> None:
    octets = b"".join((*NOT_READ, *HANDED_ON, *NOT_READ, data(1, message(b"Hello"))))
    expected: list[Frame] = [
        (Side.CLIENT, FrameType.HEADERS, END_HEADERS | 0x80, 5, b"block"),
        (Side.CLIENT, FrameType.HEADERS, 0, 7, b"begun"),
        (Side.CLIENT, FrameType.CONTINUATION, 0, 7, b""),
        (Side.CLIENT, FrameType.CONTINUATION, END_HEADERS, 7, b"ended"),
        (Side.CLIENT, FrameType.RST_STREAM, 0, 1, b"\0\0\0\x08"),
        (Side.CLIENT, FrameType.SETTINGS, 0, 0, b"\0\x01\0\0\x10\0"),
        (Side.CLIENT, FrameType.SETTINGS, 1, 0, b""),
        (Side.CLIENT, FrameType.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02"),
        (Side.CLIENT, FrameType.GOAWAY, 0, 0, bytes(8) + b"bye"),
    ]
    for chunks in ([octets], *cut_everywhere(octets)):
        reading = Reading().read(*chunks)
        assert (reading.frames, reading.said()) == (expected, [told(1, b"Hello")]), chunks


@pytest.mark.parametrize("kind", [FrameType.PING, FrameType.WINDOW_UPDATE, FrameType.PRIORITY, 0x42])
def test_a_frame_that_nobody_reads_is_never_held(kind: int) -> None:
    reading = Reading()
    reading.read(frame(kind, 0, 0, bytes(16_000_000))[: HEAD_BYTES + 15_000_000])
    assert len(reading.direction._held) == 0
    reading.read(bytes(1_000_000), data(1, message(b"Hello")))
    assert reading.said() == [told(1, b"Hello")]


def test_a_frame_that_somebody_reads_is_held_up_to_a_limit() -> None:
    goaway = frame(FrameType.GOAWAY, 0, 0, bytes(MAX_HELD_BYTES))
    assert Reading().read(goaway[:-1], goaway[-1:]).frames == [
        (Side.CLIENT, FrameType.GOAWAY, 0, 0, bytes(MAX_HELD_BYTES))
    ]
    with pytest.raises(ProtocolError) as caught:
        Reading().read(frame(FrameType.GOAWAY, 0, 0, bytes(MAX_HELD_BYTES + 1))[:HEAD_BYTES])
    assert str(caught.value) == "a GOAWAY frame of 262145 bytes, more than 262144"


# Errors


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (data(1, b"", PADDED), "padding as long as the frame's 0 bytes or longer"),
        (data(1, b"\x01", PADDED), "padding as long as the frame's 1 bytes or longer"),
        (data(1, b"\x05abcd", PADDED), "padding as long as the frame's 5 bytes or longer"),
        (
            frame(FrameType.HEADERS, 0, 5, b"x") + data(5),
            "a frame of type 0 inside the header block of stream 5",
        ),
        (
            frame(FrameType.HEADERS, 0, 5, b"x") + frame(FrameType.PING, 0, 0, bytes(8)),
            "a frame of type 6 inside the header block of stream 5",
        ),
        (
            frame(FrameType.HEADERS, 0, 5, b"x") + frame(FrameType.CONTINUATION, END_HEADERS, 7, b"y"),
            "a frame of type 9 inside the header block of stream 5",
        ),
        (
            frame(FrameType.HEADERS, 0, 5, b"x") + frame(FrameType.CONTINUATION, 0, 5, b"y") + data(1, message(b"a")),
            "a frame of type 0 inside the header block of stream 5",
        ),
    ],
)
def test_what_is_not_http_2_is_refused_wherever_it_was_cut(octets: bytes, text: str) -> None:
    for chunks in ([octets], *cut_everywhere(octets)):
        with pytest.raises(ProtocolError) as caught:
            Reading().read(*chunks)
        assert str(caught.value) == text, chunks


def test_a_message_that_looks_right_does_not_hide_an_open_header_block() -> None:
    # Long enough for the glance, on a stream whose lane is between messages.
    with pytest.raises(ProtocolError) as caught:
        Reading().read(frame(FrameType.HEADERS, 0, 5, b"x"), data(1, message(b"Hello there")))
    assert str(caught.value) == "a frame of type 0 inside the header block of stream 5"


# Any frames, cut anywhere


@examples(150)
@given(
    st.lists(st.tuples(st.sampled_from((1, 3)), st.sampled_from((0, 1, 9, 4091, 4096, 9000))), max_size=6),
    st.lists(
        st.tuples(
            st.sampled_from((1, 3)),
            st.sampled_from((0, 1, 4, 5, 9, 14, 4096, 16_384)),
            st.sampled_from((None, None, 0, 200)),
        ),
        max_size=16,
    ),
    st.lists(st.integers(0, 20_000), max_size=16),
)
def test_frames_and_reads_of_any_size_give_the_messages_that_were_sent(
    messages: list[tuple[int, int]], pieces: list[tuple[int, int, int | None]], cuts: list[int]
) -> None:
    sent: dict[int, list[bytes]] = {1: [], 3: []}
    left: dict[int, bytes] = {1: b"", 3: b""}
    for number, (stream_id, size) in enumerate(messages):
        sent[stream_id].append(bytes((number,)) * size)
        left[stream_id] += message(sent[stream_id][-1])
    frames: list[bytes] = []
    for stream_id, size, pad in (*pieces, (1, 99_999, None), (3, 99_999, None)):
        piece, left[stream_id] = left[stream_id][:size], left[stream_id][size:]
        frames.append(data(stream_id, piece) if pad is None else padded(stream_id, piece, pad))
    octets = b"".join(frames)
    places = sorted(min(cut, len(octets)) for cut in cuts)
    chunks = [octets[start:stop] for start, stop in zip([0, *places], [*places, len(octets)], strict=True)]
    said = Reading().read(*chunks).said()
    assert {1: [row[2] for row in said if row[1] == 1], 3: [row[2] for row in said if row[1] == 2]} == sent
