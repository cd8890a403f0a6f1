"""Compressing and decompressing one message, as PROTOCOL-HTTP2 ("Compressed-Flag", "Message-Encoding") says.

Bit 0 of a message's flags says that it is compressed, its side's `grpc-encoding` says how: `gzip` (RFC 1952) or
`deflate`, which is zlib's format (RFC 1950). What a message may become is bounded, because a few bytes can ask for
gigabytes.
"""

from __future__ import annotations

import zlib

from duplexmock.core.metadata import Metadata
from duplexmock.errors import ProtocolError, ScriptError

COMPRESSED = 1
"""The bit of a message's flags that says it is compressed."""

MAX_PLAIN_BYTES = 256 * 1024 * 1024
"""The most that a compressed message becomes here: sixty-four times what gRPC libraries accept by default."""

MAX_MEMBERS = 100
"""The most that one message is made of: gRPC writes one, and what follows each member is copied."""


def plain(payload: bytes, flags: int, encoding: str, max_bytes: int = MAX_PLAIN_BYTES) -> bytes:
    """Return the message without its compression; one that is not compressed comes back as it is, whatever its size.

    `encoding` is the value of `grpc-encoding`, empty where none came. ProtocolError says in a few words why a message
    cannot be decompressed, or that it would be longer than `max_bytes`.
    """
    if not flags & COMPRESSED or encoding == "identity":
        return payload
    if not encoding:
        raise ProtocolError("compressed, without a grpc-encoding")
    window = _WINDOW_BITS.get(encoding)
    if window is None:
        raise ProtocolError("unknown encoding")
    return _inflate(payload, window, max_bytes)


def encoding(metadata: Metadata) -> str:
    """Return how a side compresses its messages, by its header: `grpc-encoding`, empty where there is none."""
    return _text(metadata, "grpc-encoding")


def codec(metadata: Metadata) -> str:
    """Return what a side's messages are, by its header: what stands behind the plus in `content-type`, else `proto`."""
    media_type = _text(metadata, "content-type").partition(";")[0].strip()
    return media_type.partition("+")[2].lower() or "proto"


def _text(metadata: Metadata, key: str) -> str:
    value = metadata.first(key)
    return value if isinstance(value, str) else ""


def compressed(payload: bytes, encoding: str) -> bytes:
    """Return the message compressed, to be sent with COMPRESSED in its flags; the same bytes at each run.

    ScriptError for an encoding other than `gzip` and `deflate`.
    """
    window = _WINDOW_BITS.get(encoding)
    if window is None:
        raise ScriptError(f"messages cannot be compressed as {encoding!r}: gzip and deflate are known")
    deflater = zlib.compressobj(wbits=window)
    return deflater.compress(payload) + deflater.flush()


def _inflate(payload: bytes, window: int, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    room = max_bytes
    while payload or not pieces:
        inflater = zlib.decompressobj(window)
        try:
            piece = inflater.decompress(payload, room + 1)  # one too many tells "just fits" from "too long"
        except zlib.error as exc:
            raise ProtocolError("damaged") from exc
        room -= len(piece)
        if room < 0:
            raise ProtocolError(f"longer than {max_bytes} bytes when decompressed")
        if not inflater.eof:
            raise ProtocolError("cut short")
        pieces.append(piece)
        if len(pieces) > MAX_MEMBERS:
            raise ProtocolError(f"more than {MAX_MEMBERS} gzip members")
        payload = inflater.unused_data  # a gzip file may have several members (RFC 1952 section 2.2)
    return b"".join(pieces)


_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
