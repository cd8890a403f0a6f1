"""Input made to cost: each ends its connection with the right error, and what it holds until then is bounded."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator

import pytest

from duplexmock.core.events import Side
from duplexmock.core.status import ErrorCode
from duplexmock.wire import framing
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.frames import PREFACE
from duplexmock.wire.limits import Config, Limits
from tests.wire.joined import HEADER
from tests.wire.talk import PADDED, REQUEST, block, data, frame, headers, literal, message, reset, settings

CHUNK = 64 * 1024
MAX_BYTES = 8 * 1024 * 1024  # what any of these may hold at its worst; most stay far below

# 4 KiB of a table, and a block that says it over and over: one byte a time (the HPACK bomb)
BOMB = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4_000


def forever(*frames: bytes) -> Iterator[bytes]:
    return itertools.cycle(frames)


def rapid_resets() -> Iterator[bytes]:
    for stream_id in range(3, 2**31, 2):
        yield headers(stream_id, REQUEST) + reset(stream_id, 8)


def malformed_requests() -> Iterator[bytes]:
    for stream_id in range(3, 2**31, 2):
        yield headers(stream_id, REQUEST[1:])


def announced(length: int) -> bytes:
    return data(1, b"\0" + length.to_bytes(4, "big"))


LONG_BLOCK = "a header block of more than 262144 bytes"
LONG_LIST = "a header list of more than 262144 bytes"
case = pytest.param
CALM = ErrorCode.ENHANCE_YOUR_CALM
FLOODS = [
    case(frame(1, 0, 3), forever(frame(9, 0, 3)), CALM, "a header block of 65 CONTINUATIONs", id="CONTINUATION"),
    case(
        frame(1, 0, 3),
        forever(frame(9, 0, 3, bytes(16_384))),
        CALM,
        LONG_BLOCK,
        id="header block",
    ),
    case(b"", forever(frame(1, 4, 3, b"\x82" * 16_000)), CALM, LONG_LIST, id="header list"),
    case(b"", iter([frame(1, 4, 3, BOMB + b"\xbe" * 12_000)]), CALM, LONG_LIST, id="bomb"),
    case(b"", rapid_resets(), CALM, "1001 streams in a row", id="rapid resets"),
    case(b"", malformed_requests(), CALM, "1001 streams in a row", id="malformed"),
    case(b"", forever(framing.ping(bytes(8))), CALM, "10001 answers wait to be written", id="PING"),
    case(b"", forever(settings()), CALM, "10001 answers wait to be written", id="SETTINGS"),
    case(reset(1, 8), forever(data(1, b"x")), CALM, "1001 streams in a row", id="DATA after a reset"),
    case(b"", forever(framing.window_update(1, 0)), None, "", id="faults of one stream"),
    case(b"", forever(data(1)), CALM, "1001 empty DATA frames in a row", id="empty DATA"),
    case(b"", forever(data(1, b"\x09" + bytes(9), PADDED)), CALM, "1001 empty DATA frames in a row", id="padding"),
    case(announced(2**32 - 1), forever(), CALM, "a message of 4294967295 bytes, more than 268435456", id="4 GB"),
    case(announced(64 * 1024 * 1024), forever(), None, "", id="64 MB announced"),
    case(b"", forever(data(1, message(b"x" * 1_000))), None, "", id="messages"),
    case(b"", forever(frame(2, 0, 1, bytes(5))), None, "", id="PRIORITY"),
    case(b"", forever(frame(99, 0, 1, bytes(500))), None, "", id="unknown"),
]


@pytest.mark.parametrize(("first", "flood", "code", "reason"), FLOODS)
def test_floods(first: bytes, flood: Iterator[bytes], code: ErrorCode | None, reason: str) -> None:
    other = opened()
    endpoint = opened()
    tracemalloc.start()
    try:
        endpoint.receive(first)
        for octets in itertools.islice(chunked(flood), 10):
            endpoint.receive(octets)
            if code is None:
                endpoint.take()  # a peer that reads may go on
            if endpoint.failed:
                break
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if code is None:
        assert endpoint.failed is None
    else:
        assert endpoint.failed is not None
        assert (endpoint.failed.code, endpoint.failed.reason[: len(reason)]) == (code, reason)
    assert peak < MAX_BYTES
    assert other.receive(data(1, message(b"served"))) == [(1, [(0, 1, 0, b"served")])]


def test_a_window_that_is_overrun_ends_the_connection() -> None:
    for config in (Config(stream_window_bytes=1_000), Config(connection_window_bytes=65_535)):
        endpoint = opened(config)
        endpoint.hold(1)
        endpoint.receive(framing.SETTINGS_ACK)
        endpoint.receive(data(1, bytes(16_384)) * 80)
        assert endpoint.failed is not None
        assert endpoint.failed.code == ErrorCode.FLOW_CONTROL_ERROR


def test_messages_that_do_not_end_are_bounded_over_all_calls() -> None:
    limits = Limits(max_unfinished_bytes=100_000)
    endpoint = opened(Config(limits=limits))
    for stream_id in range(3, 100, 2):
        endpoint.receive(headers(stream_id, REQUEST) + data(stream_id, message(bytes(9_000))[:-1]))
        if endpoint.failed:
            break
    assert endpoint.failed is not None
    assert endpoint.failed.reason == "107988 bytes of messages that do not end"
    assert stream_id == 25


def test_what_is_unfinished_is_given_back_when_the_call_ends() -> None:
    endpoint = opened(Config(limits=Limits(max_unfinished_bytes=20_000)))
    for stream_id in range(3, 300, 6):
        for call in (stream_id, stream_id + 2, stream_id + 4):
            endpoint.receive(headers(call, REQUEST) + data(call, message(bytes(9_000))[:-1]))
            if call == stream_id:
                endpoint.receive(reset(call, 8))
            elif call == stream_id + 2:
                endpoint.reset(call, 8)
                endpoint.receive(reset(call, 8))
            else:
                endpoint.receive(data(call, b"x"))
    assert endpoint.failed is None


def test_empty_frames_between_others_are_no_flood() -> None:
    endpoint = opened()
    for _ in range(2_000):
        endpoint.receive(data(1) + data(1, message(b"a") + message(b"b")))
    assert endpoint.failed is None


def test_resets_with_answers_in_between_are_no_flood() -> None:
    endpoint = opened()
    for stream_id in range(3, 6_001, 2):
        endpoint.receive(headers(stream_id, REQUEST) + reset(stream_id, 8))
        if stream_id % 1_000 == 1:
            endpoint.send(1, [HEADER] if stream_id == 1_001 else [])
            endpoint.receive(headers(stream_id + 2, REQUEST))
            endpoint.send(stream_id + 2, [HEADER])
        endpoint.take()
    assert endpoint.failed is None


def test_field_that_is_longer_than_a_table_is_taken() -> None:
    endpoint = opened()
    long = b"\x40\x01b\x7f\x81\x3e" + b"x" * 8_064
    assert endpoint.receive(frame(1, 4, 3, block(REQUEST) + long + literal("c", "d")))[0][0] == 3


def chunked(flood: Iterator[bytes]) -> Iterator[bytes]:
    """Join frames to reads."""
    chunk = bytearray()
    for octets in flood:
        chunk += octets
        if len(chunk) >= CHUNK:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def opened(config: Config | None = None) -> Endpoint:
    """Return a server with an open call on stream 1."""
    endpoint = Endpoint(Side.SERVER, config)
    endpoint.receive(PREFACE + settings() + headers(1, REQUEST))
    endpoint.take()
    return endpoint
