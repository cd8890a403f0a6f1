"""Two endpoints joined by a fake wire: every event through both, flow control, stepping, going away."""

from __future__ import annotations

import pytest

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.errors import ProtocolError, ScriptError
from duplexmock.wire import framing
from duplexmock.wire.endpoint import Endpoint
from duplexmock.wire.fields import GRPC_ANSWER, GRPC_REQUEST
from duplexmock.wire.framed import Framed
from duplexmock.wire.frames import HEAD, HEAD_BYTES, FrameType
from duplexmock.wire.happenings import (
    Answered,
    Drained,
    GoAwayReceived,
    PingAcknowledged,
    SettingsAcknowledged,
)
from duplexmock.wire.limits import Config, Granting, Limits, Packing
from tests.wire.joined import HEADER, REQUEST, TRAILER, joined, said
from tests.wire.talk import PREFACE, headers, settings

ONE = Limits(max_streams=1)


def frames(octets: bytes) -> list[tuple[FrameType, int, int, bytes]]:
    """Cut bytes into type, flags, stream and payload."""
    found = []
    while octets:
        head, flags, stream_id = HEAD.unpack_from(octets)
        end = HEAD_BYTES + (head >> 8)
        found.append((FrameType(head & 0xFF), flags, stream_id, octets[HEAD_BYTES:end]))
        octets = octets[end:]
    return found


@pytest.mark.parametrize("cut", [1, 7, 65_536])
def test_a_duplex_call_arrives_as_it_was_sent(cut: int) -> None:
    pair = joined(cut=cut)
    header = ClientHeader(
        "/chat.ChatService/Chat",
        Metadata((*GRPC_REQUEST.pairs, ("grpc-timeout", "1S"), ("trace-bin", b"\x00\xff"), ("x", "caf\xe9"))),
        "localhost:1",
    )
    trailer = ServerTrailer(Status(Code.NOT_FOUND, "100 % näher\n", b"\x08\x05"), Metadata((("left", "1"),)))
    stream = pair.client.open(header)
    pair.client.send(stream, [ClientMessage(b"one"), ClientMessage(b"", 1)])
    assert pair.flow() == [(1, header), (1, ClientMessage(b"one")), (1, ClientMessage(b"", 1))]
    pair.server.send(stream, [HEADER, ServerMessage(b"reply")])
    assert pair.flow() == [(1, HEADER), (1, ServerMessage(b"reply"))]
    pair.client.send(stream, [ClientHalfClose()])
    assert pair.flow() == [(1, ClientHalfClose())]
    pair.server.send(stream, [trailer])
    assert pair.flow() == [(1, trailer)]
    assert pair.client.open_streams == pair.server.open_streams == ()


def test_one_read_gives_one_group_a_call() -> None:
    pair = joined()
    first, second = pair.client.open(REQUEST), pair.client.open(REQUEST)
    pair.client.send(first, [ClientMessage(b"a")])
    pair.client.send(second, [ClientMessage(b"b"), ClientHalfClose()])
    pair.client.send(first, [ClientMessage(b"c")])
    groups = pair.server.receive(pair.client.take())
    assert [(stream_id, [RowKind(row[0]).name for row in rows]) for stream_id, rows in groups] == [
        (1, ["CLIENT_HEADER", "CLIENT_MESSAGE", "CLIENT_MESSAGE"]),
        (3, ["CLIENT_HEADER", "CLIENT_MESSAGE", "CLIENT_HALF_CLOSE"]),
    ]


def test_trailers_only() -> None:
    pair = joined()
    stream = pair.client.open(REQUEST)
    pair.client.send(stream, [ClientHalfClose()])
    pair.flow()
    pair.server.send(stream, [ServerTrailer(Status(Code.UNIMPLEMENTED, "no such method"), GRPC_ANSWER)])
    assert pair.flow() == [
        (1, ServerTrailer(Status(Code.UNIMPLEMENTED, "no such method"), GRPC_ANSWER, http_status=200))
    ]


def test_an_answer_without_trailers_is_an_empty_end_of_the_stream() -> None:
    pair = joined()
    stream = pair.client.open(REQUEST)
    pair.flow()
    pair.server.send(stream, [HEADER, ServerMessage(b"x"), ServerTrailer(None)])
    assert pair.flow() == [(1, HEADER), (1, ServerMessage(b"x")), (1, ServerTrailer(None))]


def test_half_close_is_on_the_last_data() -> None:
    client = Endpoint(Side.CLIENT)
    stream = client.open(REQUEST)
    client.take()
    client.send(stream, [ClientMessage(b"abc"), ClientHalfClose()])
    assert frames(client.take()) == [(FrameType.DATA, 1, 1, b"\0\0\0\0\3abc")]


def test_an_empty_half_close_is_an_empty_frame() -> None:
    client = Endpoint(Side.CLIENT)
    stream = client.open(REQUEST)
    client.take()
    client.send(stream, [ClientMessage(b"abc")])
    client.send(stream, [ClientHalfClose()])
    assert frames(client.take()) == [(FrameType.DATA, 0, 1, b"\0\0\0\0\3abc"), (FrameType.DATA, 1, 1, b"")]


def test_messages_share_frames_or_have_one_each() -> None:
    run = Framed.alike([b"a", b"b", b"c"])
    for packing, payloads in (
        (Packing.FULL, [b"\0\0\0\0\1a\0\0\0\0\1b\0\0\0\0\1c"]),
        (Packing.MESSAGE, [b"\0\0\0\0\1a", b"\0\0\0\0\1b", b"\0\0\0\0\1c"]),
    ):
        client = Endpoint(Side.CLIENT, Config(packing=packing))
        stream = client.open(REQUEST)
        client.take()
        client.send(stream, [run])
        assert [frame[3] for frame in frames(client.take())] == payloads


def test_a_message_longer_than_a_frame_is_cut() -> None:
    client = Endpoint(Side.CLIENT, Config(packing=Packing.MESSAGE))
    stream = client.open(REQUEST)
    client.take()
    client.send(stream, [ClientMessage(bytes(20_000)), ClientMessage(b"b"), ClientHalfClose()])
    assert [(flags, len(payload)) for _, flags, _, payload in frames(client.take())] == [
        (0, 16_384),
        (0, 3_621),
        (1, 6),
    ]


def test_a_long_header_goes_in_continuations() -> None:
    pair = joined()
    header = ClientHeader("/a/b", Metadata((*GRPC_REQUEST.pairs, ("long", "v" * 40_000))), "localhost:1")
    pair.client.open(header)
    sent = pair.client.take()
    assert [(kind.name, flags) for kind, flags, _, _ in frames(sent)] == [
        ("HEADERS", 0),
        ("CONTINUATION", 0),
        ("CONTINUATION", 4),
    ]
    assert said(pair.server.receive(sent)) == [(1, header)]


def test_a_server_that_ends_first_resets_behind_its_trailer_and_the_cancel_that_crosses_is_told() -> None:
    pair = joined()
    stream = pair.client.open(REQUEST)
    pair.flow()
    ending = ServerTrailer(Status(Code.OK), reset_after=ErrorCode.NO_ERROR)
    pair.server.send(stream, [HEADER, ending])
    pair.client.send(stream, [ClientMessage(b"crosses"), Cancel(ErrorCode.CANCEL)])
    assert pair.flow() == [
        (1, ClientMessage(b"crosses")),
        (1, Cancel(ErrorCode.CANCEL)),
        (1, HEADER),
        (1, ServerTrailer(Status(Code.OK))),
        (1, "reset_after: 0"),
    ]
    other = pair.client.open(REQUEST)
    pair.flow()
    pair.server.send(other, [HEADER, ending])
    assert pair.flow() == [(3, HEADER), (3, ServerTrailer(Status(Code.OK))), (3, "reset_after: 0")]


def test_reset_and_cancel() -> None:
    pair = joined()
    first, second = pair.client.open(REQUEST), pair.client.open(REQUEST)
    pair.flow()
    pair.server.send(first, [Reset(ErrorCode.ENHANCE_YOUR_CALM)])
    pair.client.send(second, [ClientHalfClose(), Cancel(ErrorCode.CANCEL)])
    assert sorted(pair.flow(), key=lambda told: told[0]) == [
        (1, Reset(ErrorCode.ENHANCE_YOUR_CALM)),
        (3, ClientHalfClose()),
        (3, Cancel(ErrorCode.CANCEL)),
    ]
    assert pair.client.open_streams == pair.server.open_streams == ()


# Flow control.


def test_trailers_and_an_ordered_reset_wait_behind_data_that_waits() -> None:
    pair = joined(client=Config(stream_window_bytes=10))
    stream = pair.client.open(REQUEST)
    pair.flow()
    pair.client.hold(stream)
    pair.server.send(stream, [HEADER, ServerMessage(b"0123456789"), ServerMessage(b"end"), TRAILER])
    assert pair.server.unsent_bytes(stream) == 13
    assert pair.flow() == [(1, HEADER)]
    pair.client.release(stream)
    assert pair.flow() == [
        (1, ServerMessage(b"0123456789")),
        (0, Drained(1)),
        (1, ServerMessage(b"end")),
        (1, TRAILER),
    ]


def test_reset_at_once_drops_what_waits() -> None:
    pair = joined(client=Config(stream_window_bytes=0))
    stream = pair.client.open(REQUEST)
    pair.flow()
    pair.server.send(stream, [HEADER, ServerMessage(b"never"), TRAILER])
    pair.server.reset(stream, ErrorCode.CANCEL)
    assert pair.flow() == [(1, HEADER), (1, Reset(ErrorCode.CANCEL))]
    pair.server.reset(stream, ErrorCode.CANCEL)
    pair.server.send(stream, [])
    assert pair.flow() == []


def test_a_window_may_become_negative() -> None:
    server = Endpoint(Side.SERVER)
    server.receive(PREFACE + settings((4, 8)) + headers(1, _request_pairs()))
    server.send(1, [HEADER])
    server.take()
    server.send(1, [ServerMessage(b"0123456789")])
    assert [payload for *_, payload in frames(server.take())] == [b"\0\0\0\0\n012"]
    server.receive(settings((4, 3)))  # 8 of 3 bytes are spent: -5
    server.receive(framing.window_update(1, 5))
    assert [kind.name for kind, *_ in frames(server.take())] == ["SETTINGS"]
    server.receive(framing.window_update(1, 7))
    assert frames(server.take()) == [(FrameType.DATA, 0, 1, b"3456789")]


def test_calls_take_turns_at_the_connections_window() -> None:
    server = Endpoint(Side.SERVER)
    server.receive(PREFACE + settings((4, 2**31 - 1)) + headers(1, _request_pairs()) + headers(3, _request_pairs()))
    server.send(1, [HEADER, Framed.octets(bytes(300_000))])
    server.send(3, [HEADER, Framed.octets(bytes(300_000))])
    server.take()
    server.receive(framing.window_update(0, 200_000))
    order = [(stream_id, len(payload)) for _, _, stream_id, payload in frames(server.take())]
    assert sum(length for _, length in order) == 200_000
    assert [stream_id for stream_id, _ in order] == [1] * 4 + [3] * 4 + [1] * 4 + [3]


def test_turns_go_round_over_several_updates() -> None:
    server = Endpoint(Side.SERVER)
    server.receive(PREFACE + settings((4, 2**31 - 1)) + headers(1, _request_pairs()) + headers(3, _request_pairs()))
    for stream in (1, 3):
        server.send(stream, [HEADER, Framed.octets(bytes(300_000))])
    server.take()
    turns = []
    for _ in range(4):
        server.receive(framing.window_update(0, 16_384))
        turns += [stream_id for *_, stream_id, _ in frames(server.take())]
    assert turns == [1, 3, 1, 3]


def test_a_held_call_stops_no_other() -> None:
    config = Config(stream_window_bytes=1_000, connection_window_bytes=65_535)
    pair = joined(server=config)
    held, free = pair.client.open(REQUEST), pair.client.open(REQUEST)
    pair.flow()
    pair.server.hold(held)
    pair.client.send(held, [Framed.alike([bytes(995)] * 1_000)])
    pair.client.send(free, [Framed.alike([bytes(995)] * 1_000)])
    told = pair.flow()
    assert [told.count((stream, ClientMessage(bytes(995)))) for stream in (held, free)] == [1, 1_000]
    assert pair.client.unsent_bytes(held) == 999_000
    pair.server.release(held)
    assert pair.flow().count((held, ClientMessage(bytes(995)))) == 999


def test_a_message_longer_than_every_window_arrives() -> None:
    pair = joined(server=Config(stream_window_bytes=1_000, connection_window_bytes=65_535))
    stream = pair.client.open(REQUEST)
    pair.client.send(stream, [ClientMessage(bytes(500_000)), ClientHalfClose()])
    assert [what for _, what in pair.flow() if not isinstance(what, Drained)] == [
        REQUEST,
        ClientMessage(bytes(500_000)),
        ClientHalfClose(),
    ]


# Stepping.


def test_step_lets_one_message_out_at_a_time() -> None:
    pair = joined(server=Config(granting=Granting.STEP))
    stream = pair.client.open(REQUEST)
    pair.client.send(stream, [Framed.alike([b"one", b"", b"three" * 9_000]), ClientHalfClose()])
    assert pair.flow() == [(1, REQUEST)]
    pair.server.step(stream)
    assert pair.flow() == [(1, ClientMessage(b"one"))]
    pair.server.step(stream)
    assert pair.flow() == [(1, ClientMessage(b""))]
    assert pair.flow() == []
    pair.server.step(stream)
    assert pair.flow() == [(0, Drained(1)), (1, ClientMessage(b"three" * 9_000)), (1, ClientHalfClose())]


def test_step_grants_five_bytes_then_what_they_announce() -> None:
    server = Endpoint(Side.SERVER, Config(granting=Granting.STEP))
    server.receive(PREFACE + settings() + headers(1, _request_pairs()) + framing.SETTINGS_ACK)
    server.take()
    server.step(1, 2)
    assert server.take() == framing.window_update(1, 5)
    server.receive(framing.data(1, b"\0\0"))
    assert server.take() == b""
    server.receive(framing.data(1, b"\0\0\3"))
    assert server.take() == framing.window_update(1, 3)
    server.receive(framing.data(1, b"abc"))
    assert server.take() == framing.window_update(1, 5)


def test_what_comes_before_our_settings_were_seen_is_counted() -> None:
    server = Endpoint(Side.SERVER, Config(granting=Granting.STEP))
    early = framing.data(1, framing.message(b"a") + framing.message(b"b"))
    told = said(server.receive(PREFACE + settings() + headers(1, _request_pairs()) + early))
    assert [what for stream, what in told if stream][1:] == [ClientMessage(b"a"), ClientMessage(b"b")]
    assert server.early(1) == 2
    server.receive(framing.SETTINGS_ACK)
    server.take()
    server.step(1, 2)  # the two that are there
    assert (server.early(1), server.take()) == (0, b"")
    server.step(1)
    assert server.take() == framing.window_update(1, 12 + 5)
    server.receive(framing.data(1, framing.message(b"longer than five bytes")))
    assert server.failed is not None
    assert server.failed.code == ErrorCode.FLOW_CONTROL_ERROR


def test_a_barrier_is_settings_and_their_acknowledgement() -> None:
    pair = joined()
    number = pair.server.barrier()
    assert number == 2
    pair.client.receive(pair.server.take())
    assert said(pair.server.receive(pair.client.take())) == [(0, SettingsAcknowledged(2))]


# The connection.


def test_ping_is_answered() -> None:
    pair = joined()
    pair.client.ping(b"12345678")
    assert pair.flow() == [(0, PingAcknowledged(b"12345678"))]


def test_more_calls_than_the_server_allows_wait_their_turn() -> None:
    pair = joined(server=Config(limits=ONE))
    streams = [pair.client.open(REQUEST) for _ in range(3)]
    for stream in streams:
        pair.client.send(stream, [ClientMessage(b"m"), ClientHalfClose()])
    assert pair.flow() == [(1, REQUEST), (1, ClientMessage(b"m")), (1, ClientHalfClose())]
    assert pair.client.open_streams == (1, 3, 5)
    pair.client.reset(3, ErrorCode.CANCEL)  # it has never been opened: nothing to say
    pair.server.send(1, [TRAILER])
    assert [what for stream, what in pair.flow() if stream == 5] == [REQUEST, ClientMessage(b"m"), ClientHalfClose()]


def test_a_call_that_waited_has_the_window_of_its_opening() -> None:
    client = Endpoint(Side.CLIENT)
    client.receive(settings((3, 0)))
    client.send(client.open(REQUEST), [ClientMessage(b"0123456789")])
    client.take()
    client.receive(settings((4, 7)))
    client.take()
    client.receive(settings((3, 1)))
    assert [payload for kind, *_, payload in frames(client.take()) if kind is FrameType.DATA] == [b"\0\0\0\0\n01"]


def test_a_stream_too_many_is_refused() -> None:
    server = Endpoint(Side.SERVER, Config(limits=ONE))
    server.receive(PREFACE + settings())
    server.take()
    told = said(server.receive(headers(1, _request_pairs()) + headers(3, _request_pairs())))
    assert [stream for stream, _ in told] == [1]
    assert server.take() == framing.reset(3, ErrorCode.REFUSED_STREAM)


def test_goaway_gives_back_the_calls_above_it() -> None:
    pair = joined(server=Config(limits=Limits(max_streams=2)))
    for _ in range(3):
        pair.client.open(REQUEST)
    pair.flow()
    pair.server.goaway(ErrorCode.NO_ERROR, b"restart", last_stream_id=1)
    assert pair.flow() == [(0, GoAwayReceived(1, ErrorCode.NO_ERROR, b"restart", (3, 5)))]
    assert pair.client.open_streams == (1,)
    with pytest.raises(ProtocolError, match="takes no more calls"):
        pair.client.open(REQUEST)
    pair.server.send(1, [TRAILER])
    assert [stream for stream, _ in pair.flow()] == [1]


def test_calls_above_our_goaway_are_ignored() -> None:
    pair = joined()
    pair.client.open(REQUEST)
    pair.flow()
    pair.server.goaway()
    stream = pair.client.open(REQUEST)
    pair.client.send(stream, [ClientMessage(b"late"), ClientHalfClose()])
    assert pair.flow() == [(0, GoAwayReceived(1, ErrorCode.NO_ERROR, b"", (3,)))]


def test_a_request_that_is_not_grpcs_is_answered() -> None:
    server = Endpoint(Side.SERVER)
    server.receive(PREFACE + settings())
    server.take()
    get = ((":method", "GET"), (":scheme", "http"), (":path", "/"))
    post = ((":method", "POST"), (":scheme", "http"), (":path", "/"), ("content-type", "application/json"))
    assert said(server.receive(headers(1, get, 1) + headers(3, post) + framing.data(3, b"{}", 1))) == [
        (0, Answered(1, 405)),
        (0, Answered(3, 415)),
    ]
    assert [payload for kind, _, _, payload in frames(server.take()) if kind is FrameType.DATA] == [
        b"This is a gRPC server: it takes POST only.\n",
        b"This is a gRPC server: it takes the content-type application/grpc only.\n",
    ]
    assert server.open_streams == ()


def test_an_interim_answer_and_a_foreign_body_are_passed_over() -> None:
    client = Endpoint(Side.CLIENT)
    client.open(REQUEST)
    page = ((":status", "502"), ("content-type", "text/html"))
    told = said(
        client.receive(
            settings()
            + headers(1, ((":status", "103"),))
            + headers(1, page)
            + framing.data(1, b"<html>")
            + framing.data(1, b"", 1)
        )
    )
    assert told[:2] == [
        (1, ServerHeader(Metadata((("content-type", "text/html"),)), 502)),
        (1, ServerTrailer(None)),
    ]


# On purpose wrong.


def test_injected_bytes_go_out_as_they_are() -> None:
    pair = joined()
    stream = pair.client.open(REQUEST)
    pair.flow()
    pair.server.inject(framing.reset(stream, 0x2A))
    assert pair.flow() == [(1, Reset(0x2A))]


def test_a_prefix_that_lies_is_sent_under_flow_control() -> None:
    pair = joined()
    stream = pair.client.open(REQUEST)
    pair.flow()
    pair.server.send(stream, [HEADER, Framed.octets(b"\0\0\0\0\x09short"), TRAILER])
    assert pair.flow() == [
        (1, HEADER),
        (1, "damaged: END_STREAM behind 5 of 9 bytes of a message"),
        (1, Cancel(ErrorCode.PROTOCOL_ERROR)),
    ]


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([ServerMessage(b"")], "a message on stream 1, where the server's lane is idle"),
        ([HEADER, HEADER], "ServerHeader on stream 1, where the server's lane is open"),
        ([HEADER, TRAILER, TRAILER], "ServerTrailer on stream 1, where the server's lane is ended"),
        ([HEADER, TRAILER, Framed.alike([b""])], "a message on stream 1, where the server's lane is ended"),
        ([ClientHalfClose()], "ClientHalfClose on stream 1, where the server's lane is idle"),
        ([ClientMessage(b"")], "ClientMessage on stream 1, where the server's lane is idle"),
        (
            [ServerHeader(Metadata((("a b", ""),)))],
            "metadata key 'a b' cannot be sent: it has a character that no header name may have",
        ),
        (
            [ServerHeader(Metadata((("a", "\n"),)))],
            "the value of 'a' cannot be sent: it has a line break, a NUL or no latin-1",
        ),
    ],
)
def test_what_may_not_be_sent_is_refused(events: list[ServerHeader], text: str) -> None:
    pair = joined()
    pair.client.open(REQUEST)
    pair.flow()
    with pytest.raises(ScriptError) as refused:
        pair.server.send(1, events)
    assert str(refused.value) == text


def test_streams_that_are_not_there_are_refused() -> None:
    pair = joined()
    with pytest.raises(ScriptError, match="there is no stream 7"):
        pair.client.send(7, [])
    with pytest.raises(ScriptError, match="a server opens no calls"):
        pair.server.open(REQUEST)


def _request_pairs() -> tuple[tuple[str, str], ...]:
    return (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a/b"),
        ("content-type", "application/grpc"),
    )
