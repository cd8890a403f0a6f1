"""Field blocks: HPACK to pairs, and pairs to the events that begin and end a call (RFC 7541; PROTOCOL-HTTP2).

**Following an encoder.** The blocks of one direction share a table, so a reader has to decode each of them, in order:
also those of streams that were refused, reset or are not recorded. What an encoder has in its table is decided by the
blocks alone: it announces each change of the table's size at the start of a block (RFC 7541 section 4.2).
SETTINGS_HEADER_TABLE_SIZE says only which sizes its peer lets it announce, and the peer is the one that enforces it.
Whoever listens passively and bounds sizes by SETTINGS gains nothing, and has to guess when they took effect. So this
reader follows every announced size up to MAX_TABLE_BYTES, which bounds memory.

**Blocks that change nothing.** A block whose bytes are all >= 0x80 consists of indexed fields only. It does not touch
the table, so as long as no other block comes in between, it means what it meant before; calls made over and over send
nothing else. A multi-byte index ends in a byte < 0x80 and is therefore not among them.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar

import hpack

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Status
from duplexmock.errors import ProtocolError

MAX_BLOCK_BYTES = 256 * 1024
"""Of one block over all its frames; gRPC libraries refuse metadata of more than 8 to 16 KiB by default."""

MAX_LIST_BYTES = 1024 * 1024
"""Of one decoded block, counted as in RFC 9113 section 6.5.2: one byte of a block can stand for a whole table entry."""

MAX_TABLE_BYTES = 1024 * 1024
"""Of a dynamic table; 4 KiB is HTTP/2's default and 64 KiB the most that browsers and servers are known to use."""

Fields = Sequence[tuple[bytes, bytes]]
T = TypeVar("T")

_CACHED_BLOCKS = 128
_CACHED_LIST_BYTES = 8 * 1024
_FIELD_BYTES = 32


class Body(Enum):
    """What an answer's DATA is: messages, or what a server that is not gRPC's says, a proxy's error page for one."""

    MESSAGES = "messages"
    FOREIGN = "foreign"


class HeaderReader:
    """Decodes the field blocks of one direction of a connection.

    An endpoint passes the bounds that it has announced; whoever listens passively, those that bound memory.
    """

    def __init__(self, max_list_bytes: int = MAX_LIST_BYTES, max_table_bytes: int = MAX_TABLE_BYTES) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=max_list_bytes)
        self._decoder.max_allowed_table_size = max_table_bytes
        self._seen: dict[tuple[Callable[[Fields], Any], bytes], Any] = {}

    def read(self, block: bytes, convert: Callable[[Fields], T]) -> T:
        """Decode the next block and return what `convert`, a pure function, makes of it.

        Raises ProtocolError where the block cannot be decoded; the table is then unusable, and the direction with it.
        """
        key = (convert, block)
        try:
            known: T = self._seen[key]
        except KeyError:
            return self._decode(key, block, convert)
        return known

    def _decode(self, key: tuple[Callable[[Fields], T], bytes], block: bytes, convert: Callable[[Fields], T]) -> T:
        try:
            fields = [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.HPACKError as exc:
            # hpack's own texts quote the block, and with it what may be secret.
            raise ProtocolError(f"a header block cannot be decoded ({type(exc).__name__})") from exc
        converted = convert(fields)
        if not block or min(block) < 0x80:
            self._seen.clear()
        elif len(self._seen) < _CACHED_BLOCKS and _list_bytes(fields) <= _CACHED_LIST_BYTES:
            self._seen[key] = converted
        return converted


def ignore(fields: Fields) -> None:
    """Convert to nothing: for blocks that are read for the table's sake."""


def client_header(fields: Fields) -> ClientHeader | None:
    """Make the event that opens a call; None where the request is not gRPC's (PROTOCOL-HTTP2, "Requests")."""
    pseudo, metadata = _split(fields)
    method = pseudo.get(":path", "")
    if not method or pseudo.get(":method") != "POST" or not _is_grpc(metadata):
        return None
    return ClientHeader(method, metadata, pseudo.get(":authority", ""), pseudo.get(":scheme", ""))


def server_header(fields: Fields) -> tuple[ServerHeader, Body] | None:
    """Make the event of a server's initial metadata, and tell what follows; None for an interim (1xx) answer."""
    pseudo, metadata = _split(fields)
    http_status = _http_status(pseudo)
    if 100 <= http_status < 200:
        return None
    grpc = _is_grpc(metadata) or (http_status == 200 and metadata.first("content-type") is None)
    return ServerHeader(metadata, http_status), Body.MESSAGES if grpc else Body.FOREIGN


def server_trailer(fields: Fields) -> ServerTrailer:
    """Make the event that ends a call behind a ServerHeader."""
    _, metadata = _split(fields)
    return _trailer(metadata, None)


def trailers_only(fields: Fields) -> ServerTrailer:
    """Make the event of an answer that is one block: its initial metadata are its trailers."""
    pseudo, metadata = _split(fields)
    return _trailer(metadata, _http_status(pseudo))


def _list_bytes(fields: Fields) -> int:
    """Count as MAX_LIST_BYTES does: 32 bytes a field on top, so that thousands of empty ones are not nothing."""
    return sum(len(name) + len(value) + _FIELD_BYTES for name, value in fields)


def _split(fields: Fields) -> tuple[dict[str, str], Metadata]:
    pseudo: dict[str, str] = {}
    pairs: list[tuple[str, str | bytes]] = []
    for raw_name, raw_value in fields:
        # Upper case is malformed (RFC 9113 section 8.2.1) and refused by the peer, which is not the reader's business.
        name = raw_name.decode("latin-1").lower()
        if name.startswith(":"):
            pseudo[name] = raw_value.decode("latin-1")
        elif name.endswith("-bin"):
            pairs.extend((name, value) for value in binary_values(raw_value))
        else:
            pairs.append((name, raw_value.decode("latin-1")))
    return pseudo, Metadata(tuple(pairs))


def binary_values(value: bytes) -> Sequence[str | bytes]:
    """Decode the value of a `-bin` key: base64 with padding or without, several joined by commas.

    A leading NUL byte says that the rest is the value itself (gRFC G1). What is none of these stays text.
    """
    if value.startswith(b"\0"):
        return [value[1:]]
    try:
        return [_from_base64(part.strip(b" ")) for part in value.split(b",")]
    except binascii.Error:
        return [value.decode("latin-1")]


def _from_base64(text: bytes) -> bytes:
    bare = text.rstrip(b"=")
    if len(text) - len(bare) > 2:
        raise binascii.Error("excess padding")
    return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)


def message_text(value: str) -> str:
    """Decode a `grpc-message`: percent-encoded UTF-8; an escape that is broken or no UTF-8 is kept as it stands."""
    raw = _ESCAPE.sub(lambda escape: bytes((int(escape[1], 16),)), value.encode("latin-1"))
    text = raw.decode("utf-8", "surrogateescape")
    return _NOT_UTF8.sub(lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", text)


def _trailer(metadata: Metadata, http_status: int | None) -> ServerTrailer:
    code = metadata.first("grpc-status")
    if not isinstance(code, str) or not _STATUS.fullmatch(code):
        return ServerTrailer(None, metadata, http_status)
    message = metadata.first("grpc-message")
    details = metadata.first("grpc-status-details-bin")
    said: dict[str, str | bytes | None] = {
        "grpc-status": code,
        "grpc-message": message,
        "grpc-status-details-bin": details if isinstance(details, bytes) else None,
    }
    rest = []
    for key, value in metadata:
        if said.get(key) is None:
            rest.append((key, value))
        else:
            said[key] = None  # the first one is the status; what repeats it stays metadata
    return ServerTrailer(
        Status(
            int(code),
            message_text(message) if isinstance(message, str) else "",
            details if isinstance(details, bytes) else None,
        ),
        Metadata(tuple(rest)),
        http_status,
    )


def _http_status(pseudo: dict[str, str]) -> int:
    """Return `:status`; 0, which no server means, where it is missing or not a number."""
    status = pseudo.get(":status", "")
    return int(status) if _STATUS.fullmatch(status) else 0


def _is_grpc(metadata: Metadata) -> bool:
    """Tell whether the content is gRPC's: `application/grpc`, then nothing, `+codec` or `;parameters`."""
    content_type = metadata.first("content-type")
    return isinstance(content_type, str) and _GRPC.match(content_type) is not None


_STATUS = re.compile(r"[0-9]{1,9}", re.ASCII)
_GRPC = re.compile(r"application/grpc(?:$|[+; ])", re.IGNORECASE)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
