"""Length-prefixed messages, cut everywhere: which rows go out, and when."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.wire.messages import HOLD_BYTES, Messages
from tests.wire.talk import examples, joined, message

HELLO, EMPTY, GZIPPED = b"Hello", b"", b"\x1f\x8b\x08"


def lane(side: Side = Side.CLIENT) -> Messages:
    return Messages(side, 3)


def rows_of(lane: Messages, pieces: Iterable[bytes]) -> list[Row]:
    rows: list[Row] = []
    for piece in pieces:
        lane.take(piece, 0, len(piece), rows)
    return rows


@pytest.mark.parametrize(
    ("side", "kind"), [(Side.CLIENT, RowKind.CLIENT_MESSAGE), (Side.SERVER, RowKind.SERVER_MESSAGE)]
)
def test_a_message_is_flags_and_length_and_payload(side: Side, kind: RowKind) -> None:
    octets = bytes.fromhex("00 00000005 48656c6c6f  00 00000000  01 00000003 1f8b08")
    assert rows_of(lane(side), [octets]) == [(kind, 3, 0, HELLO), (kind, 3, 0, EMPTY), (kind, 3, 1, GZIPPED)]


def test_a_flags_byte_is_kept_whatever_it_is() -> None:
    assert rows_of(lane(), [bytes.fromhex("fe 00000001 61")]) == [(RowKind.CLIENT_MESSAGE, 3, 0xFE, b"a")]


def test_only_the_bytes_between_start_and_stop_are_taken() -> None:
    rows: list[Row] = []
    messages = lane()
    octets = b"????" + message(HELLO) + b"????"
    messages.take(octets, 4, 4 + 7, rows)
    messages.take(octets, 4 + 7, 4 + 10, rows)
    assert rows == [(RowKind.CLIENT_MESSAGE, 3, 0, HELLO)]


def test_small_messages_stay_one_row_each_however_they_are_cut() -> None:
    octets = message(HELLO) + message(EMPTY) + message(GZIPPED, 1) + message(EMPTY) + message(b"x" * 40)
    whole = rows_of(lane(), [octets])
    assert len(whole) == 5
    for first in range(len(octets) + 1):
        for second in range(first, len(octets) + 1):
            assert rows_of(lane(), [octets[:first], octets[first:second], octets[second:]]) == whole, (first, second)
    assert rows_of(lane(), [bytes((octet,)) for octet in octets]) == whole


def test_a_row_goes_out_with_the_last_byte_of_its_message() -> None:
    messages, octets, counts = lane(), message(b"ab") + message(EMPTY) + message(b"c"), []
    rows: list[Row] = []
    for position in range(len(octets)):
        messages.take(octets, position, position + 1, rows)
        counts.append(len(rows))
    assert counts == [0] * 6 + [1] * 5 + [2] * 6 + [3]


def test_between_is_true_where_the_next_byte_begins_a_message() -> None:
    messages, octets, seen = lane(), message(b"ab") + message(EMPTY) + message(b"c"), []
    seen.append(messages.between)
    for position in range(len(octets)):
        messages.take(octets, position, position + 1, [])
        seen.append(messages.between)
    assert [position for position, between in enumerate(seen) if between] == [0, 7, 12, 18]


def test_nothing_taken_changes_nothing() -> None:
    octets = message(HELLO)
    for cut in range(len(octets)):
        messages = lane()
        rows = rows_of(messages, [octets[:cut], b"", b"", octets[cut:], b""])
        assert (rows, messages.between) == ([(RowKind.CLIENT_MESSAGE, 3, 0, HELLO)], True)


@pytest.mark.parametrize(
    ("octets", "progress"),
    [
        (b"\0", "1 of 5 prefix bytes"),
        (b"\0\0\0\0", "4 of 5 prefix bytes"),
        (b"\0\0\0\0\x0a", "0 of 10 bytes"),
        (b"\0\0\0\0\x0aabc", "3 of 10 bytes"),
        (message(HELLO) + b"\0\0", "2 of 5 prefix bytes"),
        (b"\1\xff\xff\xff\xffabc", "3 of 4294967295 bytes"),
    ],
)
def test_progress_says_how_far_a_message_has_come(octets: bytes, progress: str) -> None:
    for pieces in ([octets], [bytes((octet,)) for octet in octets]):
        messages = lane()
        rows_of(messages, pieces)
        assert (messages.progress, messages.between) == (progress, False)


# Parts


@pytest.mark.parametrize("side", Side)
def test_a_long_message_goes_out_as_it_comes(side: Side) -> None:
    whole, part = (
        (RowKind.CLIENT_MESSAGE, RowKind.CLIENT_PART)
        if side is Side.CLIENT
        else (RowKind.SERVER_MESSAGE, RowKind.SERVER_PART)
    )
    payload = bytes(range(250)) * 60
    octets = message(payload, 1)
    assert rows_of(lane(side), [octets[:5005], octets[5005:10_005], octets[10_005:]]) == [
        (part, 3, payload[:5000]),
        (part, 3, payload[5000:10_000]),
        (whole, 3, 1, payload[10_000:]),
    ]


@pytest.mark.parametrize(
    ("pieces", "lengths"),
    [
        ([HOLD_BYTES - 1, 1, 100], [HOLD_BYTES, 100]),
        ([HOLD_BYTES, 1, 100], [HOLD_BYTES, 101]),
        ([1, HOLD_BYTES, 100], [HOLD_BYTES + 1, 100]),
        ([HOLD_BYTES - 1, 100], [HOLD_BYTES + 99]),
        ([100, 100, 100], [300]),
        ([100, HOLD_BYTES], [HOLD_BYTES + 100]),
        ([HOLD_BYTES, HOLD_BYTES], [HOLD_BYTES, HOLD_BYTES]),
    ],
)
def test_little_of_a_message_is_held_and_much_is_not(pieces: list[int], lengths: list[int]) -> None:
    prefix = message(bytes(sum(pieces)))[:5]
    rows = rows_of(lane(), [prefix, *(b"x" * length for length in pieces)])
    assert [row[0] for row in rows] == [RowKind.CLIENT_PART] * (len(lengths) - 1) + [RowKind.CLIENT_MESSAGE]
    assert [len(row[-1]) for row in rows] == lengths


def test_what_is_held_is_bounded_however_long_the_message_and_small_the_pieces() -> None:
    messages = lane()
    rows = rows_of(messages, [b"\0\x06\x40\x00\x00", *[b"x"] * 10_000])
    assert [len(row[-1]) for row in rows] == [HOLD_BYTES] * 2
    assert messages.progress == "10000 of 104857600 bytes"


def test_empty_frames_inside_a_message_are_not_held() -> None:
    messages = lane()
    rows_of(messages, [message(HELLO)[:7], *[b""] * 1000])
    assert messages.held_bytes == 2


@examples(150)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 5, 100, 4000, 5000, 9000]), st.integers(0, 255)), max_size=5),
    st.lists(st.integers(0, 30_000), max_size=12),
    st.sampled_from(list(Side)),
)
def test_joined_rows_are_the_messages_wherever_they_are_cut(
    sizes: list[tuple[int, int]], cuts: list[int], side: Side
) -> None:
    sent = [(bytes((number,)) * size, flags) for number, (size, flags) in enumerate(sizes)]
    octets = b"".join(message(payload, flags) for payload, flags in sent)
    places = sorted(min(cut, len(octets)) for cut in cuts)
    pieces = [octets[start:stop] for start, stop in zip([0, *places], [*places, len(octets)], strict=True)]
    messages = lane(side)
    kind = RowKind.CLIENT_MESSAGE if side is Side.CLIENT else RowKind.SERVER_MESSAGE
    assert joined(rows_of(messages, pieces)) == [(kind, 3, flags, payload) for payload, flags in sent]
    assert messages.between
