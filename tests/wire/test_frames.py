"""Payloads of frames, from RFC 9113 section 6 and with each of their errors."""

import pytest

from duplexmock.errors import ProtocolError
from duplexmock.wire.frames import (
    HEAD,
    PADDED,
    PRIORITY,
    SMALL,
    FrameType,
    block_fragment,
    padding,
    read_goaway,
    read_reset,
    read_settings,
)


def test_a_head_is_length_and_type_then_flags_then_stream() -> None:
    assert HEAD.unpack(bytes.fromhex("00000f 01 05 00000001")) == (15 << 8 | FrameType.HEADERS, 5, 1)


def test_a_small_frame_is_a_head_and_a_message_prefix() -> None:
    assert SMALL.unpack(bytes.fromhex("00000f 00 00 00000001 01 0000000a")) == (15 << 8, 0, 1, 1, 10)


@pytest.mark.parametrize(
    ("kind", "flags", "payload", "fragment"),
    [
        pytest.param(FrameType.HEADERS, 0, "8286", "8286", id="bare"),
        pytest.param(FrameType.HEADERS, 0, "", "", id="empty"),
        pytest.param(FrameType.HEADERS, PADDED, "02 8286 0000", "8286", id="padded"),
        pytest.param(FrameType.HEADERS, PADDED, "00 8286", "8286", id="padded with nothing"),
        pytest.param(FrameType.HEADERS, PADDED, "02 0000", "", id="padding only"),
        pytest.param(FrameType.HEADERS, PRIORITY, "80000003 0f 8286", "8286", id="priority"),
        pytest.param(FrameType.HEADERS, PADDED | PRIORITY, "01 80000003 0f 8286 00", "8286", id="padded priority"),
        pytest.param(FrameType.HEADERS, PRIORITY, "80000003 0f", "", id="priority only"),
        pytest.param(FrameType.PUSH_PROMISE, 0, "00000002 8286", "8286", id="push"),
        pytest.param(FrameType.PUSH_PROMISE, PADDED, "01 00000002 8286 00", "8286", id="padded push"),
        pytest.param(FrameType.PUSH_PROMISE, PRIORITY, "00000002 8286", "8286", id="push has no priority"),
        pytest.param(FrameType.CONTINUATION, PADDED | PRIORITY, "8286", "8286", id="continuation has neither"),
    ],
)
def test_a_fragment_is_what_is_between_priority_and_padding(
    kind: FrameType, flags: int, payload: str, fragment: str
) -> None:
    assert block_fragment(kind, flags, bytes.fromhex(payload)) == bytes.fromhex(fragment)


@pytest.mark.parametrize(
    ("kind", "flags", "payload", "text"),
    [
        (FrameType.HEADERS, PADDED, "", "padding as long as the frame's 0 bytes or longer"),
        (FrameType.HEADERS, PADDED, "03 8286", "padding as long as the frame's 3 bytes or longer"),
        (FrameType.HEADERS, PRIORITY, "80000003", "a HEADERS frame of 4 bytes is too short for its flags"),
        (
            FrameType.HEADERS,
            PADDED | PRIORITY,
            "01 80000003 0f",
            "a HEADERS frame of 6 bytes is too short for its flags",
        ),
        (FrameType.PUSH_PROMISE, 0, "000000", "a PUSH_PROMISE frame of 3 bytes is too short for its flags"),
    ],
)
def test_a_fragment_that_its_flags_leave_no_room_for_is_an_error(
    kind: FrameType, flags: int, payload: str, text: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        block_fragment(kind, flags, bytes.fromhex(payload))
    assert str(caught.value) == text


def test_padding_may_fill_a_frame_but_for_its_own_length() -> None:
    assert padding(b"\x04", 5) == 4
    with pytest.raises(ProtocolError):
        padding(b"\x05", 5)


def test_settings_are_pairs_in_their_order_repeated_and_unknown_ones_included() -> None:
    payload = bytes.fromhex("0001 00001000  fff0 ffffffff  0001 00000000")
    assert read_settings(payload) == ((1, 4096), (0xFFF0, 0xFFFF_FFFF), (1, 0))
    assert read_settings(b"") == ()


def test_a_reset_is_its_code() -> None:
    assert read_reset(bytes.fromhex("00000008")) == 8


def test_a_goaway_is_a_stream_without_the_reserved_bit_then_a_code_then_what_is_left() -> None:
    assert read_goaway(bytes.fromhex("80000005 0000000b") + b"too_many_pings") == (5, 11, b"too_many_pings")
    assert read_goaway(bytes(8)) == (0, 0, b"")


def test_payloads_of_the_wrong_length_are_errors() -> None:
    with pytest.raises(ProtocolError, match=r"^a SETTINGS frame of 7 bytes, which is not a multiple of 6$"):
        read_settings(bytes(7))
    with pytest.raises(ProtocolError, match=r"^a RST_STREAM frame of 5 bytes instead of 4$"):
        read_reset(bytes(5))
    with pytest.raises(ProtocolError, match=r"^a GOAWAY frame of 7 bytes instead of at least 8$"):
        read_goaway(bytes(7))
