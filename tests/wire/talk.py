"""A conversation written by hand: frames as bytes, who sent them, and what the tap makes of them.

talk = Talk().client(PREFACE, settings(), headers(1, REQUEST)).server(settings(), headers(1, ANSWER))
assert talk.rows() == [...]
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from duplexmock.core.connection import Settings
from duplexmock.core.events import ClientHeader, Side
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import Row, RowKind
from duplexmock.wire.frames import PREFACE, FrameType
from duplexmock.wire.tap import Tap

END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20

REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/chat.ChatService/Chat"),
    (":authority", "localhost:1"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)
ANSWER = ((":status", "200"), ("content-type", "application/grpc"))
TRAILERS = (("grpc-status", "0"),)

OPENED: list[Row] = [
    (
        RowKind.CLIENT_HEADER,
        1,
        ClientHeader(
            "/chat.ChatService/Chat",
            Metadata((("content-type", "application/grpc"), ("te", "trailers"))),
            "localhost:1",
            "http",
        ),
        7,
        1,
    ),
    (RowKind.SETTINGS, 7, Settings(5, Side.SERVER, ())),
]

Pairs = Iterable[tuple[str, str | bytes]]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame; the reserved bit of the stream identifier is the caller's to set."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def literal(name: str, value: str | bytes) -> bytes:
    """Return a field that leaves the table alone: literal without indexing, new name, no Huffman (RFC 7541 6.2.2)."""
    octets = value if isinstance(value, bytes) else value.encode("latin-1")
    assert max(len(name), len(octets)) < 127, "one byte of length each"
    return bytes((0x00, len(name))) + name.encode() + bytes((len(octets),)) + octets


def block(pairs: Pairs) -> bytes:
    return b"".join(literal(name, value) for name, value in pairs)


def headers(stream_id: int, pairs: Pairs, flags: int = 0) -> bytes:
    return frame(FrameType.HEADERS, flags | END_HEADERS, stream_id, block(pairs))


def data(stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(FrameType.DATA, flags, stream_id, payload)


def padded(stream_id: int, payload: bytes, pad: int, flags: int = 0) -> bytes:
    return data(stream_id, bytes((pad,)) + payload + bytes(pad), flags | PADDED)


def message(payload: bytes, flags: int = 0) -> bytes:
    return bytes((flags,)) + len(payload).to_bytes(4, "big") + payload


def reset(stream_id: int, code: int) -> bytes:
    return frame(FrameType.RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


def settings(*values: tuple[int, int]) -> bytes:
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values)
    return frame(FrameType.SETTINGS, 0, 0, payload)


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    return frame(FrameType.GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + debug)


def counting() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def tap() -> Tap:
    """Return the tap of connection 7, which records every call."""
    numbers = counting()
    return Tap(7, lambda method: next(numbers))


class Talk:
    """Who sent which bytes, in order; each call of `client` or `server` is one read."""

    def __init__(self) -> None:
        self.chunks: list[tuple[Side, bytes]] = []

    def client(self, *frames: bytes) -> Talk:
        self.chunks.append((Side.CLIENT, b"".join(frames)))
        return self

    def server(self, *frames: bytes) -> Talk:
        self.chunks.append((Side.SERVER, b"".join(frames)))
        return self

    def rows(self, of: Tap | None = None) -> list[Row]:
        """Return what a tap says, messages joined; fails where the tap gives up."""
        said = of or tap()
        rows = taken(said, self.chunks)
        assert (said.fault, said.foreign) == ("", "")
        return rows


def opened(request: Pairs = REQUEST, flags: int = 0) -> Talk:
    """Return a talk in which call 1 has been opened on stream 1 and the server has begun; `OPENED` are its rows."""
    return Talk().client(PREFACE, headers(1, request, flags)).server(settings())


Parts = dict[tuple[RowKind, int], bytes]
"""What has come of messages that are under way, by kind of row and call."""


def taken(of: Tap, chunks: Iterable[tuple[Side, bytes]], parts: Parts | None = None) -> list[Row]:
    """Return what a tap says of these reads, joined."""
    return joined((row for side, chunk in chunks for row in of.take(side, chunk, 5)), parts)


def joined(rows: Iterable[Row], parts: Parts | None = None) -> list[Row]:
    """Return the rows with the parts of each message put into its message row.

    What is left of messages that are not whole stays in `parts`, for the rows that follow.
    """
    whole: list[Row] = []
    parts = {} if parts is None else parts
    closing = {RowKind.CLIENT_MESSAGE: RowKind.CLIENT_PART, RowKind.SERVER_MESSAGE: RowKind.SERVER_PART}
    for row in rows:
        match row:
            case (RowKind.CLIENT_PART | RowKind.SERVER_PART as kind, call, piece):
                assert piece, "a part without bytes"
                parts[kind, call] = parts.get((kind, call), b"") + piece
            case (RowKind.CLIENT_MESSAGE | RowKind.SERVER_MESSAGE as kind, call, flags, piece):
                whole.append((kind, call, flags, parts.pop((closing[kind], call), b"") + piece))
            case _:
                whole.append(row)
    return whole


def examples(count: int) -> hypothesis_settings:
    """Return settings that draw the same `count` examples at each run, and thirty times as many others in a soak."""
    soak = bool(os.environ.get("DUPLEXMOCK_SOAK"))
    return hypothesis_settings(
        max_examples=count * (30 if soak else 1),
        derandomize=not soak,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
