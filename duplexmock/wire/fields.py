"""Events to header fields, and fields to HPACK: the way out of what headers.py reads (RFC 7541; PROTOCOL-HTTP2).

Metadata goes out as it stands, in its order: nothing is added to it, not even a content-type, so that a recording is
played as it came. `gRPC` peers refuse a header without `content-type`; GRPC_REQUEST and GRPC_ANSWER are the least they
want to see.

**Blocks that repeat.** What headers.py says of reading holds for writing: a block of indexed fields only (all bytes >=
0x80) leaves the table as it is, so the next one for the same event can be the same bytes until another block changes
the table. The first block for an event puts its fields into the table, and the second is such a block.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Hashable
from typing import TypeVar

import hpack

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.metadata import GRPC_ANSWER as GRPC_ANSWER
from duplexmock.core.metadata import GRPC_REQUEST as GRPC_REQUEST
from duplexmock.core.metadata import Metadata
from duplexmock.errors import ScriptError

Fields = list[tuple[bytes, bytes]]
E = TypeVar("E", bound=Hashable)

_CACHED_BLOCKS = 128
_DEFAULT_TABLE_BYTES = 4096


class HeaderWriter:
    """Encodes the field blocks of one direction of a connection, in the order in which they are written."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._size = self._smallest = _DEFAULT_TABLE_BYTES
        self._known: dict[tuple[Callable[..., Fields], Hashable], bytes] = {}

    def write(self, event: E, convert: Callable[[E], Fields]) -> bytes:
        """Return the block of the fields that `convert`, a pure function, makes of the event."""
        key = (convert, event)
        block = self._known.get(key)
        return self._encode(key, convert(event)) if block is None else block

    def resize(self, max_bytes: int) -> None:
        """Follow the peer's HEADER_TABLE_SIZE; we use no more than the 4 KiB that every peer has to offer at first.

        Of several changes between two blocks the smallest and the last are announced (RFC 7541 section 4.2): those
        between may be more than the peer allows by now.
        """
        self._size = min(max_bytes, _DEFAULT_TABLE_BYTES)
        self._smallest = min(self._smallest, self._size)
        self._known.clear()

    def _encode(self, key: tuple[Callable[..., Fields], Hashable], fields: Fields) -> bytes:
        for size in (self._smallest, self._size):
            if size != self._encoder.header_table_size:
                self._encoder.header_table_size = size
        self._smallest = self._size
        block: bytes = self._encoder.encode(fields, huffman=False)  # bytes are cheaper than the CPU to squeeze them
        if not block or min(block) < 0x80:
            self._known.clear()
        elif len(self._known) < _CACHED_BLOCKS:
            self._known[key] = block
        return block


def request_fields(header: ClientHeader) -> Fields:
    """Spell the header that opens a call."""
    pseudo = [
        (b":method", b"POST"),
        (b":scheme", _value(":scheme", header.scheme)),
        (b":path", _value(":path", header.method)),
    ]
    if header.authority:
        pseudo.append((b":authority", _value(":authority", header.authority)))
    return pseudo + _custom(header.metadata)


def answer_fields(header: ServerHeader) -> Fields:
    """Spell a server's initial metadata."""
    return [(b":status", b"%d" % header.http_status), *_custom(header.metadata)]


def trailer_fields(trailer: ServerTrailer) -> Fields:
    """Spell trailers that follow a ServerHeader."""
    fields: Fields = []
    status = trailer.status
    if status is not None:
        fields.append((b"grpc-status", b"%d" % status.code))
        if status.message:
            fields.append((b"grpc-message", message_octets(status.message)))
        if status.details is not None:
            fields.append((b"grpc-status-details-bin", _base64(status.details)))
    return fields + _custom(trailer.metadata)


def trailers_only_fields(trailer: ServerTrailer) -> Fields:
    """Spell an answer that is one block; `:status` is 200 where the trailer names none."""
    http_status = 200 if trailer.http_status is None else trailer.http_status
    return [(b":status", b"%d" % http_status), *_custom(trailer.metadata), *trailer_fields(_bare(trailer))]


def message_octets(message: str) -> bytes:
    """Percent-encode a status message: all of its UTF-8 but printable ASCII, and the percent sign."""
    raw = message.encode("utf-8", "surrogatepass")
    return _ESCAPED.sub(lambda octet: b"%%%02X" % ord(octet[0]), raw)


def _bare(trailer: ServerTrailer) -> ServerTrailer:
    return ServerTrailer(trailer.status)


def _custom(metadata: Metadata) -> Fields:
    fields: Fields = []
    for key, value in metadata:
        if not _NAME.fullmatch(key):
            raise ScriptError(f"metadata key {key!r} cannot be sent: it has a character that no header name may have")
        fields.append((key.encode("ascii"), _base64(value) if isinstance(value, bytes) else _value(key, value)))
    return fields


def _value(key: str, value: str) -> bytes:
    try:
        octets = value.encode("latin-1")
    except UnicodeEncodeError:
        octets = None
    if octets is None or _FORBIDDEN.search(octets):
        raise ScriptError(f"the value of {key!r} cannot be sent: it has a line break, a NUL or no latin-1")
    return octets


def _base64(value: bytes) -> bytes:
    return binascii.b2a_base64(value, newline=False).rstrip(b"=")  # gRPC's libraries send it unpadded


_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+", re.ASCII)  # RFC 9110's token, in lower case (RFC 9113 8.2.1)
_FORBIDDEN = re.compile(rb"[\0\r\n]")
_ESCAPED = re.compile(rb"[^\x20-\x24\x26-\x7e]")
