"""Whole conversations, as bytes and as rows; each is also read cut at every position, and byte by byte."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.connection import GoAway, Settings
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    Reset,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.recorder import Recorder
from duplexmock.core.rows import FIRST_OF_CONNECTION, Row, RowKind
from duplexmock.core.status import Status
from duplexmock.wire.frames import PREFACE, FrameType
from duplexmock.wire.headers import MAX_BLOCK_BYTES
from duplexmock.wire.tap import Tap
from tests.wire.talk import (
    ANSWER,
    END_HEADERS,
    END_STREAM,
    OPENED,
    PADDED,
    PRIORITY,
    REQUEST,
    TRAILERS,
    Pairs,
    Talk,
    block,
    data,
    examples,
    frame,
    goaway,
    headers,
    message,
    opened,
    padded,
    reset,
    settings,
    taken,
    tap,
)

GRPC = Metadata((("content-type", "application/grpc"),))
STATUS = Status(0)


def header_row(call: int = 1, stream_id: int = 1, metadata: Pairs = (), method: str = "/chat.ChatService/Chat") -> Row:
    pairs = (("content-type", "application/grpc"), ("te", "trailers"), *metadata)
    header = ClientHeader(method, Metadata(pairs), "localhost:1", "http")
    return RowKind.CLIENT_HEADER, call, header, 7, stream_id


def said(payload: bytes, flags: int = 0, call: int = 1) -> Row:
    return RowKind.CLIENT_MESSAGE, call, flags, payload


def replied(payload: bytes, flags: int = 0, call: int = 1) -> Row:
    return RowKind.SERVER_MESSAGE, call, flags, payload


def half_closed(call: int = 1) -> Row:
    return RowKind.CLIENT_HALF_CLOSE, call, ClientHalfClose()


def cancelled(code: int = 8, call: int = 1) -> Row:
    return RowKind.CANCEL, call, Cancel(code)


def answered(call: int = 1) -> Row:
    return RowKind.SERVER_HEADER, call, ServerHeader(GRPC, 200)


def finished(call: int = 1) -> Row:
    return RowKind.SERVER_TRAILER, call, ServerTrailer(STATUS)


def reset_row(code: int, call: int = 1) -> Row:
    return RowKind.RESET, call, Reset(code)


def request(*more: tuple[str, str | bytes], method: str = "/chat.ChatService/Chat") -> Pairs:
    return (*((name, method if name == ":path" else value) for name, value in REQUEST), *more)


def split(kind: int, flags: int, stream_id: int, octets: bytes, *cuts: int) -> bytes:
    """Return a field block as a frame of `kind` and CONTINUATION frames, cut at these positions."""
    pieces = [octets[start:stop] for start, stop in zip((0, *cuts), (*cuts, len(octets)), strict=True)]
    frames = [frame(kind, flags, stream_id, pieces[0])]
    frames += [frame(FrameType.CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    return b"".join((*frames, frame(FrameType.CONTINUATION, END_HEADERS, stream_id, pieces[-1])))


FINISH = headers(1, TRAILERS, END_STREAM)
HALF_CLOSE = data(1, b"", END_STREAM)
HI, HELLO = message(b"Hi"), message(b"Hello")


class Told(NamedTuple):
    """A conversation and what the tap says of it."""

    talk: Talk
    rows: list[Row]


def after_opening(talk: Talk, rows: list[Row]) -> Told:
    return Told(talk, OPENED + rows)


CONVERSATIONS: dict[str, Told] = {
    "unary": after_opening(
        opened()
        .client(data(1, HI, END_STREAM))
        .server(headers(1, ANSWER), data(1, HELLO), FINISH),
        [said(b"Hi"), half_closed(), answered(), replied(b"Hello"), finished()],
    ),
    "client streaming": after_opening(
        opened()
        .client(data(1, HI), data(1, HELLO), HALF_CLOSE)
        .server(headers(1, ANSWER), data(1, HELLO), FINISH),
        [said(b"Hi"), said(b"Hello"), half_closed(), answered(), replied(b"Hello"), finished()],
    ),
    "server streaming": after_opening(
        opened()
        .client(data(1, HI, END_STREAM))
        .server(headers(1, ANSWER), data(1, HELLO))
        .server(data(1, HI), data(1, message(b"")), FINISH),
        [said(b"Hi"), half_closed(), answered(), replied(b"Hello"), replied(b"Hi"), replied(b""), finished()],
    ),
    "duplex": after_opening(
        opened()
        .server(headers(1, ANSWER))
        .client(data(1, HI))
        .server(data(1, HELLO))
        .client(data(1, HELLO))
        .server(data(1, HI), data(1, HI))
        .client(HALF_CLOSE)
        .server(data(1, HELLO), FINISH),
        [
            answered(), said(b"Hi"), replied(b"Hello"), said(b"Hello"), replied(b"Hi"), replied(b"Hi"), half_closed(),
            replied(b"Hello"), finished(),
        ],
    ),
    "a server that speaks first": after_opening(
        opened().server(headers(1, ANSWER), data(1, HELLO)).client(data(1, HI)),
        [answered(), replied(b"Hello"), said(b"Hi")],
    ),
    "a half-close on the headers": Told(
        opened(flags=END_STREAM).server(headers(1, ANSWER), FINISH),
        [OPENED[0], half_closed(), OPENED[1], answered(), finished()],
    ),
    "a half-close by flag on the last message": after_opening(
        opened().client(data(1, HI, END_STREAM)),
        [said(b"Hi"), half_closed()],
    ),
    "a half-close by an empty frame": after_opening(
        opened().client(data(1, HI)).client(HALF_CLOSE),
        [said(b"Hi"), half_closed()],
    ),
    "a half-close by an empty frame with padding": after_opening(
        opened().client(data(1, HI), padded(1, b"", 7, END_STREAM)),
        [said(b"Hi"), half_closed()],
    ),
    "a half-close by headers": after_opening(
        opened().client(data(1, HI), headers(1, (("x", "1"),), END_STREAM)),
        [said(b"Hi"), half_closed()],
    ),
    "messages split over frames": after_opening(
        opened()
        .client(data(1, HI[:2]), data(1, HI[2:6]), data(1, HI[6:] + HELLO[:5]), data(1, HELLO[5:]))
        .server(headers(1, ANSWER), data(1, HELLO[:7]), data(1), data(1, HELLO[7:])),
        [said(b"Hi"), said(b"Hello"), answered(), replied(b"Hello")],
    ),
    "several messages in a frame": after_opening(
        opened().client(data(1, HI + HELLO + message(b"") + HI)).server(headers(1, ANSWER), data(1, HELLO * 2)),
        [said(b"Hi"), said(b"Hello"), said(b""), said(b"Hi"), answered(), replied(b"Hello"), replied(b"Hello")],
    ),
    "a fragment in the middle of a message that looks like a message": after_opening(
        opened().client(data(1, message(b"a" + HELLO)[:6]), data(1, HELLO), data(1, HI)),
        [said(b"a" + HELLO), said(b"Hi")],
    ),
    "a fragment of four bytes": after_opening(
        opened().client(data(1, message(b"a\xff\xff\xffb")[:6]), data(1, b"\xff\xff\xff\x62"), data(1, HI)),
        [said(b"a\xff\xff\xffb"), said(b"Hi")],
    ),
    "padding": after_opening(
        opened()
        .client(padded(1, HI, 3), padded(1, HI[:4], 0), padded(1, HI[4:], 5, END_STREAM))
        .server(
            frame(FrameType.HEADERS, END_HEADERS | PADDED, 1, b"\x04" + block(ANSWER) + bytes(4)), padded(1, HELLO, 2)
        ),
        [said(b"Hi"), said(b"Hi"), half_closed(), answered(), replied(b"Hello")],
    ),
    "priority in headers": after_opening(
        opened().server(frame(FrameType.HEADERS, END_HEADERS | PRIORITY, 1, b"\0\0\0\0\x0f" + block(ANSWER))),
        [answered()],
    ),
    "CONTINUATION": Told(
        Talk()
        .client(PREFACE, split(FrameType.HEADERS, END_STREAM, 1, block(REQUEST), 0, 3, 3, 40))
        .server(settings(), split(FrameType.HEADERS, 0, 1, block(ANSWER), 10), data(1, HELLO))
        .server(split(FrameType.HEADERS, END_STREAM, 1, block(TRAILERS), 5)),
        [OPENED[0], half_closed(), OPENED[1], answered(), replied(b"Hello"), finished()],
    ),
    "compressed messages": after_opening(
        opened().client(data(1, message(b"\x1f\x8b", 1))).server(headers(1, ANSWER), data(1, message(b"\x78", 1) + HI)),
        [said(b"\x1f\x8b", 1), answered(), replied(b"\x78", 1), replied(b"Hi")],
    ),
    "trailers only": after_opening(
        opened().server(headers(1, (*ANSWER, ("grpc-status", "5"), ("grpc-message", "no%20such")), END_STREAM)),
        [(RowKind.SERVER_TRAILER, 1, ServerTrailer(Status(5, "no such"), GRPC, 200))],
    ),
    "END_STREAM without trailers": after_opening(
        opened().server(headers(1, ANSWER), data(1, HELLO, END_STREAM)),
        [answered(), replied(b"Hello"), (RowKind.SERVER_TRAILER, 1, ServerTrailer(None))],
    ),
    "trailers without a status": after_opening(
        opened().server(headers(1, ANSWER), headers(1, (("x", "1"),), END_STREAM)),
        [answered(), (RowKind.SERVER_TRAILER, 1, ServerTrailer(None, Metadata((("x", "1"),))))],
    ),
    "a proxy's error page": after_opening(
        opened().server(
            headers(1, ((":status", "503"), ("content-type", "text/html"))), data(1, HELLO), data(1, b"p", END_STREAM)
        ),
        [
            (RowKind.SERVER_HEADER, 1, ServerHeader(Metadata((("content-type", "text/html"),)), 503)),
            (RowKind.SERVER_TRAILER, 1, ServerTrailer(None)),
        ],
    ),
    "an interim answer": after_opening(
        opened().server(headers(1, ((":status", "103"), ("link", "x"))), headers(1, ANSWER), data(1, HI)),
        [answered(), replied(b"Hi")],
    ),
    "metadata": Told(
        Talk()
        .client(
            PREFACE,
            headers(1, request(("grpc-timeout", "250m"), ("k", "2"), ("id-bin", "AP8="), ("k", "1"), ("id-bin", "AQ"))),
        )
        .server(settings(), headers(1, (*ANSWER, ("id-bin", "AP8,AQ"), ("k", "caf\xe9"), ("k", ""))))
        .server(headers(1, (*TRAILERS, ("grpc-status-details-bin", "CAU"), ("k", "b"), ("k", "a")), END_STREAM)),
        [
            header_row(
                metadata=(("grpc-timeout", "250m"), ("k", "2"), ("id-bin", b"\0\xff"), ("k", "1"), ("id-bin", b"\1"))
            ),
            OPENED[1],
            (
                RowKind.SERVER_HEADER,
                1,
                ServerHeader(Metadata((*GRPC, ("id-bin", b"\0\xff"), ("id-bin", b"\1"), ("k", "café"), ("k", "")))),
            ),
            (
                RowKind.SERVER_TRAILER,
                1,
                ServerTrailer(Status(0, "", b"\x08\x05"), Metadata((("k", "b"), ("k", "a")))),
            ),
        ],
    ),
    "RST_STREAM from the client": after_opening(
        opened().server(headers(1, ANSWER)).client(data(1, HI[:4])).client(reset(1, 8)).server(data(1, HELLO)),
        [answered(), cancelled(), replied(b"Hello")],
    ),
    "RST_STREAM from the server": after_opening(
        opened().server(headers(1, ANSWER), data(1, HELLO[:6]), reset(1, 2)).client(data(1, HI), HALF_CLOSE),
        [answered(), reset_row(2), said(b"Hi"), half_closed()],
    ),
    "a refused stream": after_opening(
        opened().server(reset(1, 7)),
        [reset_row(7)],
    ),
    "RST_STREAM with a code that has no name": after_opening(
        opened().client(reset(1, 0xFFFF_FFFF)),
        [cancelled(0xFFFF_FFFF)],
    ),
    "a cancel after the half-close": after_opening(
        opened().client(data(1, HI, END_STREAM)).server(headers(1, ANSWER)).client(reset(1, 8)),
        [said(b"Hi"), half_closed(), answered(), cancelled()],
    ),
    "a trailer and RST_STREAM(NO_ERROR) before the half-close": after_opening(
        opened().server(headers(1, ANSWER), FINISH, reset(1, 0)).client(data(1, HI)),
        [answered(), finished(), (RowKind.RESET_AFTER, 1, 0), said(b"Hi")],
    ),
    "trailers only and RST_STREAM(NO_ERROR)": after_opening(
        opened().server(headers(1, (*ANSWER, *TRAILERS), END_STREAM), reset(1, 0)),
        [(RowKind.SERVER_TRAILER, 1, ServerTrailer(STATUS, GRPC, 200)), (RowKind.RESET_AFTER, 1, 0)],
    ),
    "a cancel that crosses the trailer": after_opening(
        opened().server(headers(1, ANSWER), FINISH).client(reset(1, 8)),
        [answered(), finished(), cancelled()],
    ),
    "a cancel that crosses the end of the whole call": after_opening(
        opened().client(HALF_CLOSE).server(headers(1, ANSWER), FINISH).client(reset(1, 8)),
        [half_closed(), answered(), finished(), cancelled()],
    ),
    "resets that cross": after_opening(
        opened().server(reset(1, 2)).client(reset(1, 8)),
        [reset_row(2), cancelled()],
    ),
    "two calls at once": after_opening(
        opened()
        .client(headers(3, request(method="/chat.ChatService/Other")), data(1, HI), data(3, HELLO, END_STREAM))
        .server(headers(3, ANSWER), headers(1, ANSWER), data(3, HI), data(1, HELLO[:6]))
        .server(headers(3, TRAILERS, END_STREAM), data(1, HELLO[6:])),
        [
            header_row(2, 3, method="/chat.ChatService/Other"), said(b"Hi"), said(b"Hello", call=2), half_closed(2),
            answered(2), answered(1), replied(b"Hi", call=2), finished(2), replied(b"Hello"),
        ],
    ),
    "SETTINGS": after_opening(
        opened()
        .client(settings((1, 0), (3, 100), (0xF0F0, 7)), frame(FrameType.SETTINGS, 1, 0))
        .server(frame(FrameType.SETTINGS, 1, 0), settings((5, 16_777_215))),
        [
            (RowKind.SETTINGS, 7, Settings(5, Side.CLIENT, ((1, 0), (3, 100), (0xF0F0, 7)))),
            (RowKind.SETTINGS, 7, Settings(5, Side.SERVER, ((5, 16_777_215),))),
        ],
    ),
    "GOAWAY": after_opening(
        opened()
        .server(headers(1, ANSWER), goaway(0x7FFF_FFFF, 0), goaway(1, 11, b"too_many_pings"))
        .client(goaway(0, 0), data(1, HI)),
        [
            answered(),
            (RowKind.GOAWAY, 7, GoAway(5, Side.SERVER, 0x7FFF_FFFF, 0)),
            (RowKind.GOAWAY, 7, GoAway(5, Side.SERVER, 1, 11, b"too_many_pings")),
            (RowKind.GOAWAY, 7, GoAway(5, Side.CLIENT, 0, 0)),
            said(b"Hi"),
        ],
    ),
    "keepalive, windows, priorities and what is not known": after_opening(
        opened()
        .client(frame(FrameType.PING, 0, 0, b"12345678"), frame(FrameType.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
        .server(frame(FrameType.PING, 1, 0, b"12345678"), frame(0xFA, 0xFF, 1, b"?"), frame(FrameType.DATA, 0, 9, HI))
        .client(frame(FrameType.PRIORITY, 0, 1, b"\0\0\0\0\1"), data(1, HI)),
        [said(b"Hi")],
    ),
    "a push": after_opening(
        opened().server(
            frame(FrameType.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + b"\x40\x01a\x01b" + block(REQUEST)),
            headers(2, ANSWER),
            data(2, HELLO, END_STREAM),
            frame(FrameType.HEADERS, END_HEADERS, 1, b"\xbe" + block(ANSWER)),
        ),
        [(RowKind.SERVER_HEADER, 1, ServerHeader(Metadata((("a", "b"), *GRPC)), 200))],
    ),
    "a header table that grows, shrinks and empties": Told(
        Talk()
        .client(
            PREFACE,
            frame(FrameType.HEADERS, END_HEADERS, 1, b"\x40\x01a\x011" + block(REQUEST)),
            frame(FrameType.HEADERS, END_HEADERS, 3, b"\x3f\xe1\xff\x03" + b"\xbe\x40\x01b\x012" + block(REQUEST)),
            frame(FrameType.HEADERS, END_HEADERS, 5, b"\x3f\x03" + b"\xbe" + block(REQUEST)),  # room for one
            frame(FrameType.HEADERS, END_HEADERS, 7, b"\x20\x3f\xe1\x1f" + b"\x40\x01c\x013\xbe" + block(REQUEST)),
        )
        .server(settings((1, 65_536))),
        [
            (RowKind.CLIENT_HEADER, call, ClientHeader(
                "/chat.ChatService/Chat",
                Metadata((*first, ("content-type", "application/grpc"), ("te", "trailers"))),
                "localhost:1",
            ), 7, 2 * call - 1)
            for call, first in enumerate(
                [(("a", "1"),), (("a", "1"), ("b", "2")), (("b", "2"),), (("c", "3"), ("c", "3"))], start=1
            )
        ] + [(RowKind.SETTINGS, 7, Settings(5, Side.SERVER, ((1, 65_536),)))],
    ),
    "a request that is not gRPC's, whose fields are remembered": Told(
        Talk()
        .client(
            PREFACE,
            frame(FrameType.HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x01a\x011" + block(((":method", "GET"),))),
            frame(FrameType.HEADERS, END_HEADERS, 3, b"\xbe" + block(REQUEST)),
        )
        .server(
            settings(),
            frame(FrameType.HEADERS, END_HEADERS, 1, b"\x40\x01b\x012" + block(((":status", "200"),))),
            data(1, HELLO, END_STREAM),
            frame(FrameType.HEADERS, END_HEADERS, 3, b"\xbe" + block(ANSWER)),
        ),
        [
            (RowKind.CLIENT_HEADER, 1, ClientHeader(
                "/chat.ChatService/Chat",
                Metadata((("a", "1"), ("content-type", "application/grpc"), ("te", "trailers"))),
                "localhost:1",
            ), 7, 3),
            OPENED[1],
            (RowKind.SERVER_HEADER, 1, ServerHeader(Metadata((("b", "2"), *GRPC)), 200)),
        ],
    ),
    # Faults of one call
    "DATA after the end of the stream": after_opening(
        opened().client(HALF_CLOSE, data(1, HI), headers(3, REQUEST)),
        [half_closed(), damaged := (RowKind.DAMAGED, 1, "DATA from the client after its end of the stream"),
         header_row(2, 3)],
    ),
    "DATA before the headers": after_opening(
        opened().server(data(1, HELLO), headers(1, ANSWER)).client(data(1, HI)),
        [(RowKind.DAMAGED, 1, "DATA from the server before its headers")],
    ),
    "DATA after a reset of one's own": after_opening(
        opened().client(reset(1, 8), data(1, HI)).server(FINISH),
        [cancelled(), damaged],
    ),
    "half a message": after_opening(
        opened().client(data(1, HELLO[:8], END_STREAM)).server(headers(1, ANSWER)),
        [(RowKind.DAMAGED, 1, "END_STREAM from the client behind 3 of 5 bytes of a message")],
    ),
    "half a prefix": after_opening(
        opened().server(headers(1, ANSWER), data(1, HELLO[:2]), FINISH),
        [answered(), (RowKind.DAMAGED, 1, "END_STREAM from the server behind 2 of 5 prefix bytes of a message")],
    ),
    "two headers of a client": after_opening(
        opened().client(headers(1, REQUEST), data(1, HI)),
        [(RowKind.DAMAGED, 1, "a second header block from the client")],
    ),
    "headers of a client after its half-close": after_opening(
        opened().client(HALF_CLOSE, headers(1, REQUEST, END_STREAM)),
        [half_closed(), (RowKind.DAMAGED, 1, "a second header block from the client")],
    ),
    "two headers of a server": after_opening(
        opened().server(headers(1, ANSWER), headers(1, ANSWER), FINISH),
        [answered(), (RowKind.DAMAGED, 1, "a second header block from the server")],
    ),
    "two headers of a server, whose fields are remembered": after_opening(
        opened()
        .client(headers(3, REQUEST))
        .server(
            headers(1, ANSWER),
            frame(FrameType.HEADERS, END_HEADERS, 1, b"\x40\x01a\x011" + block(ANSWER)),
            frame(FrameType.HEADERS, END_HEADERS, 3, b"\xbe" + block(ANSWER)),
        ),
        [
            header_row(2, 3),
            answered(),
            (RowKind.DAMAGED, 1, "a second header block from the server"),
            (RowKind.SERVER_HEADER, 2, ServerHeader(Metadata((("a", "1"), *GRPC)), 200)),
        ],
    ),
    "headers of a server after its trailer": after_opening(
        opened().server(headers(1, ANSWER), FINISH, headers(1, ANSWER)).client(data(1, HI)),
        [answered(), finished(), (RowKind.DAMAGED, 1, "a second header block from the server")],
    ),
    "an answer on a stream that nobody opened": after_opening(
        opened().server(headers(5, ANSWER), data(5, HELLO), reset(5, 0), headers(1, ANSWER)).client(reset(9, 8)),
        [answered()],
    ),
}  # fmt: skip

CONVERSATION = pytest.mark.parametrize("told", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())


@CONVERSATION
def test_the_rows_are_what_was_said(told: Told) -> None:
    assert told.talk.rows() == told.rows


@CONVERSATION
def test_the_rows_do_not_depend_on_how_the_bytes_were_cut(told: Told) -> None:
    chunks, rows = told.talk.chunks, told.rows
    byte_by_byte = [(side, chunk[at : at + 1]) for side, chunk in chunks for at in range(len(chunk))]
    assert taken(tap(), byte_by_byte) == rows
    for number, (side, chunk) in enumerate(chunks):
        for cut in range(1, len(chunk)):
            pieces = [(side, chunk[:cut]), (side, chunk[cut:])]
            assert taken(tap(), [*chunks[:number], *pieces, *chunks[number + 1 :]]) == rows, (number, cut)


@CONVERSATION
def test_reads_of_one_side_may_be_joined(told: Told) -> None:
    chunks: list[tuple[Side, bytes]] = []
    for side, chunk in told.talk.chunks:
        if chunks and chunks[-1][0] is side:
            chunks[-1] = (side, chunks[-1][1] + chunk)
        else:
            chunks.append((side, chunk))
    assert taken(tap(), chunks) == told.rows


@CONVERSATION
def test_a_recorder_takes_the_rows_of_every_call(told: Told) -> None:
    record(told.rows)


def record(rows: Iterable[Row]) -> dict[int, Recorder]:
    """Give each call's rows to a Recorder, which refuses what cannot come next."""
    recorders: dict[int, Recorder] = {}
    for row in rows:
        if row[0] == RowKind.CLIENT_HEADER:
            recorders[row[1]] = Recorder(row[1], row[4], row[2], 5)
        elif row[0] < FIRST_OF_CONNECTION:
            recorders[row[1]].add(5, row)
    return recorders


# What is recorded


def test_calls_that_are_not_admitted_pass_and_leave_no_trace_but_in_the_header_table() -> None:
    asked: list[str] = []

    def admit(method: str) -> int | None:
        asked.append(method)
        return 4 if method == "/chat.ChatService/Chat" else None

    of = Tap(7, admit)
    talk = (
        Talk()
        .client(
            PREFACE,
            frame(
                FrameType.HEADERS, END_HEADERS, 1, b"\x40\x01a\x011" + block(request(method="/chat.ChatService/Other"))
            ),
            frame(FrameType.HEADERS, END_HEADERS, 3, b"\xbe" + block(REQUEST)),
            data(1, HI, END_STREAM),
            data(3, HI),
        )
        .server(
            settings(),
            frame(FrameType.HEADERS, END_HEADERS, 1, b"\x40\x01b\x012" + block(ANSWER)),
            data(1, HI),
            frame(FrameType.HEADERS, END_HEADERS, 3, b"\xbe" + block(ANSWER)),
        )
    )
    rows = talk.rows(of)
    assert asked == ["/chat.ChatService/Other", "/chat.ChatService/Chat"]
    assert [row[:2] for row in rows] == [
        (RowKind.CLIENT_HEADER, 4), (RowKind.CLIENT_MESSAGE, 4), (RowKind.SETTINGS, 7), (RowKind.SERVER_HEADER, 4),
    ]  # fmt: skip
    assert rows[3][2].metadata == Metadata((("b", "2"), *GRPC))
    assert (of.open_calls, of.open_numbers()) == (2, (4,))


def test_open_calls_are_those_that_have_not_ended() -> None:
    of = tap()
    opened().client(headers(3, REQUEST), headers(5, REQUEST)).rows(of)
    assert (of.open_calls, of.open_numbers()) == (3, (1, 2, 3))
    of.take(Side.SERVER, reset(3, 7), 6)
    assert (of.open_calls, of.open_numbers()) == (2, (1, 3))
    of.take(Side.CLIENT, HALF_CLOSE, 7)
    of.take(Side.SERVER, headers(1, (*ANSWER, *TRAILERS), END_STREAM), 8)
    assert (of.open_calls, of.open_numbers()) == (1, (3,))


def test_what_is_said_of_a_connection_carries_its_time_and_number() -> None:
    of = Tap(9, lambda method: 1)
    assert of.take(Side.CLIENT, PREFACE + settings()[:-1], 100) == []
    assert of.take(Side.CLIENT, settings()[-1:], 101) == [(RowKind.SETTINGS, 9, Settings(101, Side.CLIENT, ()))]
    assert of.take(Side.CLIENT, goaway(0, 2), 102) == [(RowKind.GOAWAY, 9, GoAway(102, Side.CLIENT, 0, 2))]


def test_a_stream_that_is_opened_again_is_no_new_call() -> None:
    talk = opened().client(HALF_CLOSE).server(headers(1, ANSWER), FINISH).client(headers(1, REQUEST), data(1, HI))
    assert talk.rows() == [
        *OPENED, half_closed(), answered(), finished(),
        (RowKind.DAMAGED, 1, "a second header block from the client"),
    ]  # fmt: skip


def test_a_message_of_many_megabytes_is_passed_on_in_parts() -> None:
    of = tap()
    opened().rows(of)
    size = 20_000_000
    piece = data(1, b"x" * 16_384)
    tracemalloc.start()
    try:
        count = len(of.take(Side.CLIENT, data(1, b"\0" + size.to_bytes(4, "big")), 6))
        for _ in range(size // 16_384):
            rows = of.take(Side.CLIENT, piece, 6)
            assert [row[:2] for row in rows] == [(RowKind.CLIENT_PART, 1)]
            count += len(rows[0][2])
        rows = of.take(Side.CLIENT, data(1, b"y" * (size % 16_384)), 6)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == [said(b"y" * (size % 16_384))]
    assert count == size - size % 16_384
    assert peak_bytes < 1_000_000


# What is not HTTP/2, and what is not gRPC


@pytest.mark.parametrize(
    ("chunks", "foreign"),
    [
        ([(Side.CLIENT, b"GET /metrics HTTP/1.1\r\n")], "HTTP/1.1"),
        ([(Side.CLIENT, b"POST / HTTP/1.1\r\n")], "HTTP/1.1"),
        ([(Side.CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX")], "HTTP/1.1"),
        ([(Side.CLIENT, bytes.fromhex("16030100f1010000ed0303"))], "TLS"),
        ([(Side.CLIENT, b"\0\0\0\x04\0\0\0\0\0")], "not HTTP/2"),
        ([(Side.CLIENT, b"\x13\x37")], "not HTTP/2"),
        ([(Side.SERVER, b"HTTP/1.1 400 Bad Request\r\n")], "HTTP/1.1"),
        ([(Side.SERVER, b"<html><title>400</title></html>")], "HTTP/1.1"),
        ([(Side.SERVER, bytes.fromhex("15030300020246"))], "TLS"),
        ([(Side.SERVER, b"220 mail.example.com ESMTP")], "not HTTP/2"),
        ([(Side.SERVER, frame(FrameType.SETTINGS, 1, 0))], "not HTTP/2"),
        ([(Side.SERVER, frame(FrameType.SETTINGS, 0, 1))], "not HTTP/2"),
        ([(Side.SERVER, headers(1, ANSWER))], "not HTTP/2"),
    ],
)
def test_a_connection_that_is_not_http_2_makes_no_session(chunks: list[tuple[Side, bytes]], foreign: str) -> None:
    cut = [(side, chunk[at : at + 1]) for side, chunk in chunks for at in range(len(chunk))]
    for pieces in (chunks, cut):
        of = tap()
        assert taken(of, pieces) == []
        assert (of.foreign, of.fault, of.open_calls) == (foreign, "", 0)
        assert taken(of, opened().chunks) == []


def test_a_beginning_that_may_become_http_2_is_waited_for() -> None:
    of = tap()
    assert of.take(Side.CLIENT, PREFACE[:-1], 5) == []
    assert of.take(Side.SERVER, settings()[:-1], 5) == []
    assert (of.foreign, of.fault) == ("", "")
    assert of.take(Side.CLIENT, PREFACE[-1:] + headers(1, REQUEST), 5) == OPENED[:1]
    assert of.take(Side.SERVER, settings()[-1:], 5) == OPENED[1:]


def test_a_server_that_does_not_speak_http_2_damages_the_calls_that_its_client_began() -> None:
    of = tap()
    chunks = Talk().client(PREFACE, headers(1, REQUEST)).server(b"HTTP/1.1 505 Not Supported\r\n").client(HI).chunks
    assert taken(of, chunks) == [OPENED[0], (RowKind.DAMAGED, 1, "what the server says is not HTTP/2")]
    assert (of.foreign, of.open_calls) == ("HTTP/1.1", 0)


def test_requests_that_are_not_grpcs_are_counted_and_make_no_session() -> None:
    of = tap()
    get = ((":method", "GET"), (":scheme", "http"), (":path", "/metrics"), (":authority", "localhost:1"))
    web = tuple((name, "application/grpc-web" if name == "content-type" else value) for name, value in REQUEST)
    talk = (
        Talk()
        .client(PREFACE, headers(1, get, END_STREAM), headers(3, web), data(3, HI, END_STREAM))
        .server(settings(), headers(1, ((":status", "200"),)), data(1, b"up 1", END_STREAM))
        .server(headers(3, ANSWER), data(3, HI), headers(3, TRAILERS, END_STREAM))
        .client(headers(1, TRAILERS, END_STREAM), reset(3, 8))
    )
    assert talk.rows(of) == OPENED[1:]
    assert (of.foreign_streams, of.open_calls) == (2, 0)


# Faults of a connection


FAULTS: dict[str, tuple[Talk, str]] = {
    "a header block that does not decode": (
        opened().server(frame(FrameType.HEADERS, END_HEADERS, 1, b"\xff\xff")),
        "the server's bytes cannot be read: a header block cannot be decoded (HPACKDecodingError)",
    ),
    "a header block of a stream that is no call": (
        opened().client(frame(FrameType.HEADERS, END_HEADERS, 1, b"\xbe")),
        "the client's bytes cannot be read: a header block cannot be decoded (InvalidTableIndex)",
    ),
    "a CONTINUATION out of place": (
        opened().client(frame(FrameType.CONTINUATION, END_HEADERS, 1, block(REQUEST))),
        "the client's bytes cannot be read: a CONTINUATION frame with no header block before it",
    ),
    "DATA inside a header block": (
        opened().client(frame(FrameType.HEADERS, 0, 3, block(REQUEST)), data(1, HELLO)),
        "the client's bytes cannot be read: a frame of type 0 inside the header block of stream 3",
    ),
    "too long a header block": (
        opened().client(
            frame(FrameType.HEADERS, 0, 3, bytes(100)),
            frame(FrameType.CONTINUATION, 0, 3, bytes(MAX_BLOCK_BYTES - 100)),
            frame(FrameType.CONTINUATION, 0, 3, b"\0"),
        ),
        "the client's bytes cannot be read: a header block of more than 262144 bytes",
    ),
    "a header block that is as long as may be, of too many fields": (
        opened().client(
            frame(FrameType.HEADERS, 0, 3, bytes(100)),
            frame(FrameType.CONTINUATION, END_HEADERS, 3, bytes(MAX_BLOCK_BYTES - 100)),
        ),
        "the client's bytes cannot be read: a header block cannot be decoded (OversizedHeaderListError)",
    ),
    "padding that is too long": (
        opened().client(data(1, b"\x05abc", PADDED)),
        "the client's bytes cannot be read: padding as long as the frame's 4 bytes or longer",
    ),
    "a reset of the wrong length": (
        opened().server(frame(FrameType.RST_STREAM, 0, 1, bytes(5))),
        "the server's bytes cannot be read: a RST_STREAM frame of 5 bytes instead of 4",
    ),
    "settings of the wrong length": (
        opened().server(frame(FrameType.SETTINGS, 0, 0, bytes(7))),
        "the server's bytes cannot be read: a SETTINGS frame of 7 bytes, which is not a multiple of 6",
    ),
    "a goaway of the wrong length": (
        opened().server(frame(FrameType.GOAWAY, 0, 0, bytes(7))),
        "the server's bytes cannot be read: a GOAWAY frame of 7 bytes instead of at least 8",
    ),
    "too long a frame": (
        opened().client(frame(FrameType.SETTINGS, 0, 0, bytes(262_146))),
        "the client's bytes cannot be read: a SETTINGS frame of 262146 bytes, more than 262144",
    ),
}
FAULT = pytest.mark.parametrize(("talk", "fault"), FAULTS.values(), ids=FAULTS.keys())


@FAULT
def test_where_reading_cannot_go_on_the_tap_says_so_once(talk: Talk, fault: str) -> None:
    of = tap()
    rows = taken(of, talk.chunks)
    assert rows == [*OPENED, (RowKind.DAMAGED, 1, fault)]
    assert (of.fault, of.foreign, of.open_calls, of.open_numbers()) == (fault, "", 0, ())
    assert taken(of, Talk().client(data(1, HI)).server(headers(1, ANSWER)).chunks) == []


@FAULT
def test_a_fault_does_not_depend_on_how_the_bytes_were_cut(talk: Talk, fault: str) -> None:
    *before, (side, chunk) = talk.chunks
    every = range(1, len(chunk)) if len(chunk) < 1000 else (1, 8, 9, 10, 109, 117, 118, 119, len(chunk) - 1)
    for cut in every:
        of = tap()
        rows = taken(of, [*before, (side, chunk[:cut]), (side, chunk[cut:])])
        assert (rows, of.fault) == ([*OPENED, (RowKind.DAMAGED, 1, fault)], fault), cut


def test_what_was_said_before_the_fault_in_the_same_read_is_kept() -> None:
    of = tap()
    rows = taken(of, opened().client(data(1, HI), headers(3, REQUEST), frame(FrameType.RST_STREAM, 0, 1, b"")).chunks)
    fault = "the client's bytes cannot be read: a RST_STREAM frame of 0 bytes instead of 4"
    assert rows == [
        *OPENED, said(b"Hi"), header_row(2, 3), (RowKind.DAMAGED, 1, fault), (RowKind.DAMAGED, 2, fault)
    ]  # fmt: skip


def test_a_bug_ends_the_reading_and_not_the_conversation_and_quotes_nothing() -> None:
    def admit(method: str) -> int:
        raise RuntimeError("Bearer sesame")

    of = Tap(7, admit)
    assert taken(of, opened().chunks) == []
    assert re.fullmatch(r"a bug of the tap, please report it: RuntimeError at admit, line \d+", of.fault)


# Any bytes


STREAMS = st.sampled_from((1, 1, 1, 3, 5))
BLOCKS = st.sampled_from([*map(block, (REQUEST, ANSWER, TRAILERS, (*ANSWER, *TRAILERS))), b"\x40\x01a\x01b", b""])
PIECES = st.sampled_from([HI, HI, HELLO[:7], HELLO[7:], message(HELLO, 1) + HI, b""])
ENDS = st.sampled_from((0, 0, 0, END_STREAM))
GOOD_FRAMES = st.one_of(
    st.builds(data, STREAMS, PIECES, ENDS),
    st.builds(data, STREAMS, PIECES, ENDS),
    st.builds(padded, STREAMS, PIECES, st.sampled_from((0, 3)), ENDS),
    st.builds(frame, st.just(FrameType.HEADERS), ENDS.map(lambda end: end | END_HEADERS), STREAMS, BLOCKS),
    st.builds(frame, st.just(FrameType.HEADERS), ENDS.map(lambda end: end | END_HEADERS), STREAMS, BLOCKS),
    st.builds(
        lambda stream_id, end, octets: split(FrameType.HEADERS, end, stream_id, octets, len(octets) // 2),
        STREAMS, ENDS, BLOCKS,
    ),
    st.builds(reset, STREAMS, st.sampled_from((0, 8))),
    st.just(settings((1, 0))),
    st.just(goaway(1, 0)),
    st.just(frame(FrameType.PING, 0, 0, bytes(8))),
)  # fmt: skip
ODD_FRAMES = st.builds(
    frame,
    st.sampled_from((*FrameType, 0x42)),
    st.sampled_from((0, END_STREAM, END_HEADERS, END_HEADERS | END_STREAM, PADDED, PRIORITY | END_HEADERS)),
    st.sampled_from((0, 1, 2, 3)),
    BLOCKS | PIECES | st.binary(max_size=12),
)


def check_any(chunks: list[tuple[Side, bytes]]) -> str:
    """Check that the rows can be recorded, and do not depend on the cut; return the fault, which is not our own."""
    of = tap()
    rows = taken(of, chunks)
    assert "bug" not in of.fault
    record(rows)
    again = tap()
    assert taken(again, [(side, chunk[at : at + 1]) for side, chunk in chunks for at in range(len(chunk))]) == rows
    assert (again.fault, again.foreign) == (of.fault, of.foreign)
    return of.fault


@examples(400)
@given(st.lists(st.tuples(st.sampled_from(list(Side)), GOOD_FRAMES), max_size=12), st.sampled_from((False, True)))
def test_frames_in_any_order_give_rows_that_can_be_recorded(sent: list[tuple[Side, bytes]], answered: bool) -> None:
    talk = opened().client(headers(3, REQUEST)).server(headers(1, ANSWER) if answered else b"")
    assert check_any([*talk.chunks, *sent]) == ""


@examples(200)
@given(st.lists(st.tuples(st.sampled_from(list(Side)), GOOD_FRAMES | ODD_FRAMES), max_size=8))
def test_frames_that_make_no_sense_are_told_and_never_raised(sent: list[tuple[Side, bytes]]) -> None:
    check_any([*opened().server(headers(1, ANSWER)).chunks, *sent])


@examples(300)
@given(
    st.sampled_from(list(CONVERSATIONS.values())), st.lists(st.integers(0, 1 << 16), min_size=1, max_size=3), st.data()
)
def test_damage_anywhere_is_told_and_never_raised(told: Told, places: list[int], drawn: st.DataObject) -> None:
    octets = [bytearray(chunk) for _, chunk in told.talk.chunks]
    for place in places:
        chunk = octets[place % len(octets)]
        chunk[place % len(chunk)] = drawn.draw(st.integers(0, 255))
    check_any([(side, bytes(chunk)) for (side, _), chunk in zip(told.talk.chunks, octets, strict=True)])


@examples(200)
@given(st.lists(st.tuples(st.sampled_from(list(Side)), st.binary(min_size=1, max_size=60)), max_size=8))
def test_any_bytes_are_read_or_refused(sent: list[tuple[Side, bytes]]) -> None:
    check_any([*opened().chunks, *sent])
    check_any(sent)
