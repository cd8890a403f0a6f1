"""Every error that RFC 9113 names, in bytes: which end the connection, which end a stream, which are none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from duplexmock.core.events import ClientHalfClose, ClientHeader, Side
from duplexmock.core.status import ErrorCode
from duplexmock.wire import framing
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.frames import PREFACE, FrameType, read_goaway
from tests.wire.joined import HEADER, REQUEST, TRAILER, said
from tests.wire.talk import (
    END_HEADERS,
    END_STREAM,
    PADDED,
    PRIORITY,
    Pairs,
    block,
    data,
    frame,
    goaway,
    headers,
    message,
    padded,
    reset,
    settings,
)
from tests.wire.talk import REQUEST as PAIRS

case = pytest.param
CLOSED, FLOW, PROTOCOL, SIZE = (
    ErrorCode.STREAM_CLOSED,
    ErrorCode.FLOW_CONTROL_ERROR,
    ErrorCode.PROTOCOL_ERROR,
    ErrorCode.FRAME_SIZE_ERROR,
)
FRAME_SIZE = 5  # SETTINGS_MAX_FRAME_SIZE


def without(name: str) -> Pairs:
    return tuple(pair for pair in PAIRS if pair[0] != name)


def server() -> Endpoint:
    """Return a server with calls on streams 1 (open), 3 (half-closed), 5 (ended) and 7 (reset by the client)."""
    endpoint = Endpoint(Side.SERVER)
    endpoint.receive(PREFACE + settings() + headers(1, PAIRS) + headers(3, PAIRS, END_STREAM))
    endpoint.receive(headers(5, PAIRS, END_STREAM) + headers(7, PAIRS) + reset(7, 8))
    endpoint.send(5, [HEADER, TRAILER])
    endpoint.take()
    return endpoint


def client() -> Endpoint:
    """Return a client with calls on streams 1 (not answered), 3 (answered) and 5 (ended)."""
    endpoint = Endpoint(Side.CLIENT)
    for _ in range(3):
        endpoint.send(endpoint.open(REQUEST), [ClientHalfClose()])
    endpoint.receive(settings() + headers(3, _ANSWER) + headers(5, _ANSWER) + headers(5, _OK, END_STREAM))
    endpoint.take()
    return endpoint


@pytest.mark.parametrize(
    ("octets", "code", "reason"),
    [
        # 4.1, 4.2: length, and streams that frames belong to
        case(frame(0, 0, 1, bytes(16_385)), SIZE, "a frame of 16385 bytes", id="DATA too long"),
        case(data(1, message(bytes(16_380))), SIZE, "a frame of 16385", id="message too long"),
        case(frame(9, 4, 1, b""), PROTOCOL, "CONTINUATION without a header block", id="lone"),
        case(frame(1, 4, 0, block(PAIRS)), PROTOCOL, "HEADERS on stream 0", id="HEADERS on 0"),
        case(data(0, b"x"), PROTOCOL, "DATA on stream 0", id="DATA on 0"),
        case(reset(0, 8), PROTOCOL, "RST_STREAM on stream 0", id="RST_STREAM on 0"),
        case(frame(2, 0, 0, bytes(5)), PROTOCOL, "PRIORITY on stream 0", id="PRIORITY on 0"),
        case(frame(4, 0, 1), PROTOCOL, "SETTINGS on stream 1", id="SETTINGS on 1"),
        case(frame(6, 0, 1, bytes(8)), PROTOCOL, "PING on stream 1", id="PING on 1"),
        case(frame(7, 0, 1, bytes(8)), PROTOCOL, "GOAWAY on stream 1", id="GOAWAY on 1"),
        case(frame(2, 0, 1, bytes(4)), SIZE, "PRIORITY of 4 bytes", id="PRIORITY of 4"),
        case(frame(3, 0, 1, bytes(5)), SIZE, "RST_STREAM of 5 bytes", id="RST_STREAM of 5"),
        case(frame(4, 0, 0, bytes(5)), SIZE, "SETTINGS of 5 bytes", id="SETTINGS of 5"),
        case(frame(4, 1, 0, bytes(6)), SIZE, "SETTINGS of 6 bytes", id="SETTINGS ACK of 6"),
        case(frame(6, 0, 0, bytes(7)), SIZE, "PING of 7 bytes", id="PING of 7"),
        case(frame(7, 0, 0, bytes(7)), SIZE, "GOAWAY of 7 bytes", id="GOAWAY of 7"),
        case(frame(8, 0, 1, bytes(3)), SIZE, "WINDOW_UPDATE of 3", id="WINDOW_UPDATE of 3"),
        case(frame(0, PADDED, 1, b"\2x"), PROTOCOL, "padding as long as", id="padding"),
        # 4.3, 6.10: header blocks
        case(frame(1, 0, 9, b"") + frame(6, 0, 0, bytes(8)), PROTOCOL, "a frame of type 6", id="in a block"),
        case(frame(1, 0, 9, b"") + frame(9, 4, 11), PROTOCOL, "a frame of type 9", id="other block"),
        case(frame(1, 0, 9, b"") + frame(99, 0, 9), PROTOCOL, "a frame of type 99", id="unknown in a block"),
        case(frame(1, 4, 9, b"\x80"), ErrorCode.COMPRESSION_ERROR, "a header block cannot be decoded", id="HPACK"),
        # 5.1: states
        case(data(9, b"x"), PROTOCOL, "DATA on stream 9, which is idle", id="DATA on idle"),
        case(reset(9, 8), PROTOCOL, "RST_STREAM on stream 9, which is idle", id="RST_STREAM on idle"),
        case(framing.window_update(9, 1), PROTOCOL, "WINDOW_UPDATE on stream 9", id="update on idle"),
        case(reset(2, 8), PROTOCOL, "RST_STREAM on stream 2, which is idle", id="even"),
        case(headers(8, PAIRS), PROTOCOL, "a client opens stream 8, which is even", id="opens even"),
        case(headers(11, PAIRS) + headers(9, PAIRS), PROTOCOL, "HEADERS on stream 9 below 11", id="below"),
        case(data(5, b""), CLOSED, "DATA on stream 5, which has ended", id="DATA on ended"),
        case(headers(5, PAIRS), CLOSED, "HEADERS on stream 5, which has ended", id="HEADERS on ended"),
        # 6.5, 6.6, 6.9
        case(settings((2, 2)), PROTOCOL, "ENABLE_PUSH is 2", id="ENABLE_PUSH"),
        case(settings((4, 2**31)), FLOW, "INITIAL_WINDOW_SIZE is", id="INITIAL_WINDOW_SIZE"),
        case(settings((FRAME_SIZE, 16_383)), PROTOCOL, "MAX_FRAME_SIZE is 16383", id="MAX_FRAME_SIZE low"),
        case(settings((FRAME_SIZE, 2**24)), PROTOCOL, "MAX_FRAME_SIZE is", id="MAX_FRAME_SIZE high"),
        case(frame(5, 4, 1, bytes(4)), PROTOCOL, "PUSH_PROMISE", id="PUSH_PROMISE"),
        case(framing.window_update(0, 0), PROTOCOL, "a WINDOW_UPDATE of 0", id="update of 0"),
        case(framing.window_update(0, 2**31 - 1), FLOW, "the connection's window", id="overflow"),
        case(
            framing.window_update(1, 2**31 - 1 - 65_535) + settings((4, 65_536)),
            FLOW,
            "INITIAL_WINDOW_SIZE moves a window past",
            id="overflow by SETTINGS",
        ),
    ],
)
@pytest.mark.parametrize("cut", [1, 100_000])
def test_what_ends_a_servers_connection(octets: bytes, code: ErrorCode, reason: str, cut: int) -> None:
    endpoint = server()
    for start in range(0, len(octets), cut):
        endpoint.receive(octets[start : start + cut])
    failed = endpoint.failed
    assert failed is not None
    assert failed.code == code
    assert failed.reason.startswith(reason)
    last = endpoint.take()[-(17 + len(failed.reason.encode())) :]
    assert last[3] == FrameType.GOAWAY
    assert read_goaway(last[9:])[1:] == (code, failed.reason.encode())
    assert endpoint.receive(headers(101, PAIRS)) == []


@pytest.mark.parametrize(
    ("octets", "code", "reason"),
    [
        case(settings((2, 1)), PROTOCOL, "ENABLE_PUSH is 1", id="a server that allows push"),
        case(headers(9, ((":status", "200"),)), PROTOCOL, "HEADERS on stream 9, which", id="idle"),
        case(headers(2, ((":status", "200"),)), PROTOCOL, "HEADERS on stream 2, which is idle", id="pushed"),
        case(frame(5, 4, 1, bytes(4)), PROTOCOL, "PUSH_PROMISE", id="PUSH_PROMISE"),
    ],
)
def test_what_ends_a_clients_connection(octets: bytes, code: ErrorCode, reason: str) -> None:
    endpoint = client()
    endpoint.receive(octets)
    assert endpoint.failed is not None
    assert (endpoint.failed.code, endpoint.failed.reason[: len(reason)]) == (code, reason)


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"GET / HTTP/1.1\r\n", "but HTTP/1.1"),
        (b"\x16\x03\x01", "but TLS"),
        (PREFACE[:10] + b"x", "but HTTP/1.1"),
        (b"\0\0", "and not HTTP/2"),
    ],
)
def test_a_bad_preface_ends_the_connection(first: bytes, what: str) -> None:
    endpoint = Endpoint(Side.SERVER)
    endpoint.receive(first)
    assert endpoint.failed is not None
    assert endpoint.failed.reason == f"the client's first bytes are not HTTP/2's preface, {what}"


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1"),
        (b"<!DOCTYPE HTML>", "HTTP/1.1"),
        (bytes.fromhex("15030300020246"), "TLS"),
    ],
)
@pytest.mark.parametrize("cut", [1, 100])
def test_a_server_that_answers_in_another_protocol_is_told_by_its_name(first: bytes, what: str, cut: int) -> None:
    endpoint = Endpoint(Side.CLIENT)
    for start in range(0, len(first), cut):
        endpoint.receive(first[start : start + cut])
    assert endpoint.failed is not None
    assert endpoint.failed.reason == f"it answers {what}, not HTTP/2"


def test_settings_come_first() -> None:
    for role, beginning in ((Side.SERVER, PREFACE), (Side.CLIENT, b"")):
        for first in (framing.SETTINGS_ACK, framing.ping(bytes(8)), goaway(0, 0)):
            endpoint = Endpoint(role)
            endpoint.receive(beginning + first)
            assert endpoint.failed is not None
            assert endpoint.failed.reason.endswith("before SETTINGS")


@pytest.mark.parametrize(
    ("stream_id", "octets", "code", "reason"),
    [
        case(3, data(3, b"x"), CLOSED, "DATA behind END_STREAM", id="DATA when half-closed"),
        case(3, headers(3, PAIRS), CLOSED, "HEADERS behind END_STREAM", id="HEADERS when half-closed"),
        case(1, framing.window_update(1, 0), PROTOCOL, "a WINDOW_UPDATE of 0", id="update of 0"),
        case(
            1,
            framing.window_update(1, 2**31 - 1),
            FLOW,
            "the stream's window passes",
            id="overflow",
        ),
        case(1, headers(1, PAIRS, 1), PROTOCOL, "pseudo-header b':method' has no", id="second header"),
        case(1, headers(1, ()), PROTOCOL, "a second header block that does not end", id="no end"),
        case(1, data(1, b"\0\0", 1), PROTOCOL, "END_STREAM behind 2 of 5 prefix bytes", id="cut prefix"),
        case(1, data(1, message(b"12345")[:-2], 1), PROTOCOL, "END_STREAM behind 3 of 5 bytes", id="cut"),
        case(1, frame(2, 0, 1, b"\0\0\0\1\0"), PROTOCOL, "a stream that depends on itself", id="itself"),
    ],
)
def test_what_ends_a_stream(stream_id: int, octets: bytes, code: ErrorCode, reason: str) -> None:
    endpoint = server()
    told = said(endpoint.receive(octets))
    assert [(stream, str(what)[: len(reason) + 9]) for stream, what in told] == [(stream_id, f"damaged: {reason}")]
    assert endpoint.take() == framing.reset(stream_id, code)
    assert said(endpoint.receive(data(1 if stream_id == 3 else 3, b"", 1)))[:1] != []
    assert endpoint.failed is None


@pytest.mark.parametrize(
    ("pairs", "flags"),
    [
        case((*PAIRS, (":path", "/b")), 0, id="pseudo behind others"),
        case((PAIRS[0], *PAIRS), 0, id="pseudo twice"),
        case(((":status", "200"), *PAIRS), 0, id="pseudo of an answer"),
        case(((":unknown", ""), *PAIRS), 0, id="unknown pseudo"),
        case(without(":method"), 0, id="no :method"),
        case(without(":scheme"), 0, id="no :scheme"),
        case(without(":path"), 0, id="no :path"),
        case((*without(":path")[:2], (":path", ""), *PAIRS[4:]), 0, id="empty :path"),
        case((*PAIRS, ("Upper", "1")), 0, id="upper case"),
        case((*PAIRS, ("a b", "1")), 0, id="a space in a name"),
        case((*PAIRS, ("", "1")), 0, id="no name"),
        case((*PAIRS, ("a", "1\n2")), 0, id="a line break in a value"),
        case((*PAIRS, ("a", " 1")), 0, id="a space before a value"),
        case((*PAIRS, ("connection", "close")), 0, id="connection"),
        case((*PAIRS, ("transfer-encoding", "chunked")), 0, id="transfer-encoding"),
        case((*without("te"), ("te", "gzip")), 0, id="te"),
        case((*PAIRS, ("content-length", "1"), ("content-length", "2")), 0, id="two content-lengths"),
        case((*PAIRS, ("content-length", "x")), 0, id="no length"),
        case((*PAIRS, ("content-length", "5")), END_STREAM, id="no body"),
    ],
)
def test_a_malformed_request_opens_no_call(pairs: Pairs, flags: int) -> None:
    endpoint = server()
    assert endpoint.receive(headers(9, pairs, flags) + data(9, b"x") * (not flags)) == []
    assert endpoint.take() == framing.reset(9, ErrorCode.PROTOCOL_ERROR)
    assert said(endpoint.receive(headers(11, PAIRS)))[0][0] == 11  # the table has followed


def test_a_block_that_is_refused_counts_for_the_table() -> None:
    endpoint = server()
    indexed = bytes.fromhex("4001 6101 31")  # a: 1, and the newest entry of the table from now on
    told = said(endpoint.receive(frame(1, END_HEADERS, 3, indexed) + frame(1, END_HEADERS, 9, block(PAIRS) + b"\xbe")))
    assert told[0] == (3, "damaged: HEADERS behind END_STREAM")
    opening = told[1][1]
    assert isinstance(opening, ClientHeader)
    assert opening.metadata.first("a") == "1"


def test_a_body_has_its_content_length() -> None:
    endpoint = server()
    five = (*PAIRS, ("content-length", "6"))
    told = said(endpoint.receive(headers(9, five) + data(9, message(b"1")) + data(9, b"", 1) + headers(11, five)))
    assert len(told) == 4
    told = said(endpoint.receive(data(11, message(b"12")) + data(11, b"", 1)))
    assert told[1] == (11, "damaged: 7 bytes, not content-length 6")


@pytest.mark.parametrize(
    ("stream_id", "octets", "reason"),
    [
        (1, data(1, message(b"x")), "DATA before HEADERS"),
        (1, headers(1, (("content-type", "application/grpc"),)), "no :status of three digits"),
        (1, headers(1, ((":status", "20"),), END_STREAM), "no :status of three digits"),
        (3, headers(3, ((":status", "200"),), END_STREAM), "pseudo-header b':status' has no place here"),
        (3, headers(3, (("a", "b"),)), "a second header block that does not end the stream"),
        (3, data(3, message(b"12")[:-1], END_STREAM), "END_STREAM behind 1 of 2 bytes of a message"),
    ],
)
def test_what_ends_a_stream_of_a_client(stream_id: int, octets: bytes, reason: str) -> None:
    endpoint = client()
    assert said(endpoint.receive(octets)) == [(stream_id, f"damaged: {reason}")]
    assert endpoint.take()[-13:] == framing.reset(stream_id, ErrorCode.PROTOCOL_ERROR)


NOTHING: Sequence[bytes] = (
    frame(99, 0xFF, 0x80000001, b"unknown"),  # 4.1: unknown types are ignored, and so is the reserved bit
    settings((99, 1)),
    framing.SETTINGS_ACK,
    frame(2, 0, 99, bytes(5)),  # PRIORITY of an idle stream
    frame(2, 0, 5, bytes(5)),
    reset(5, 8) + reset(7, 8),
    framing.window_update(5, 1) + framing.window_update(7, 1),
    framing.window_update(7, 2**31 - 1),
    padded(1, b"", 200),
    data(1),
)


@pytest.mark.parametrize("octets", NOTHING)
def test_what_is_no_error(octets: bytes) -> None:
    endpoint = server()
    told = [what for stream, what in said(endpoint.receive(octets)) if stream and stream != 5]
    assert (told, endpoint.failed) == ([], None)
    assert framing.reset(1, 1) not in endpoint.take()


def test_padding_counts_and_is_no_message() -> None:
    endpoint = server()
    told = said(endpoint.receive(padded(1, message(b"abc"), 255) + padded(1, message(b"d"), 0, END_STREAM)))
    assert [stream for stream, _ in told] == [1, 1, 1]


def test_a_header_block_with_priority_and_padding() -> None:
    endpoint = server()
    octets = b"\x03" + b"\0\0\0\0\x10" + block(PAIRS) + bytes(3)
    told = said(endpoint.receive(frame(1, END_HEADERS | PADDED | PRIORITY, 9, octets)))
    assert [stream for stream, _ in told] == [9]


_ANSWER = ((":status", "200"), ("content-type", "application/grpc"))
_OK = (("grpc-status", "0"),)
