"""Header blocks that a peer sends: put together from HEADERS and CONTINUATION, and decoded (RFC 9113 section 4.3).

A block has to be decoded whatever becomes of its stream, because the table is the connection's. What one may cost is
bounded by its bytes, by the list it unfolds to, and by how many CONTINUATIONs carry it (CVE-2024-27316).
"""

from __future__ import annotations

from collections.abc import Callable

import hpack

from duplexmock.core.status import ErrorCode
from duplexmock.errors import ProtocolError
from duplexmock.wire.faults import ConnectionFault
from duplexmock.wire.frames import END_HEADERS, END_STREAM, PADDED, PRIORITY, STREAM_MASK, FrameType, block_fragment
from duplexmock.wire.headers import Fields, HeaderReader, T
from duplexmock.wire.limits import Limits

TABLE_BYTES = 4096
"""Of the peer's header table: HTTP/2's default, which we leave as it is."""


class Block:
    """A header block; `ends` is END_STREAM of the frame that began it. `decode` works once."""

    __slots__ = ("_reader", "continuations", "depends_on_itself", "ends", "fragments", "is_decoded", "stream_id")

    def __init__(self, reader: Blocks, stream_id: int, ends: bool, depends_on_itself: bool) -> None:
        self.stream_id = stream_id
        self.ends = ends
        self.depends_on_itself = depends_on_itself
        self.fragments = bytearray()
        self.continuations = 0
        self.is_decoded = False
        self._reader = reader

    def decode(self, convert: Callable[[Fields], T]) -> T:
        """Return what `convert` makes of it; ConnectionFault where it cannot be decoded or unfolds too far."""
        self.is_decoded = True
        return self._reader.decode(bytes(self.fragments), convert)


class Blocks:
    """Puts blocks together, one at a time, as frames carry them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._headers = HeaderReader(limits.max_header_bytes, TABLE_BYTES)
        self._block: Block | None = None

    @property
    def expects_continuation_on(self) -> int | None:
        """Return the stream on which the next frame must be a CONTINUATION, or None."""
        return None if self._block is None else self._block.stream_id

    def begin(self, flags: int, stream_id: int, payload: bytes) -> Block | None:
        """Take a HEADERS frame; return its block if that is all of it."""
        depends_on_itself = False
        if flags & PRIORITY:
            at = 1 if flags & PADDED else 0
            depends_on_itself = int.from_bytes(payload[at : at + 4], "big") & STREAM_MASK == stream_id
        self._block = Block(self, stream_id, bool(flags & END_STREAM), depends_on_itself)
        return self._add(self._block, flags, block_fragment(FrameType.HEADERS, flags, payload))

    def go_on(self, flags: int, payload: bytes) -> Block | None:
        """Take a CONTINUATION frame; return the block if it is whole now."""
        block = self._block
        if block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without a header block before it")
        block.continuations += 1
        if block.continuations > self._limits.max_continuations:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"a header block of {block.continuations} CONTINUATIONs")
        return self._add(block, flags, payload)

    def decode(self, fragments: bytes, convert: Callable[[Fields], T]) -> T:
        """Decode a whole block; blocks come in their order."""
        try:
            return self._headers.read(fragments, convert)
        except ProtocolError as exc:
            if isinstance(exc.__cause__, hpack.OversizedHeaderListError):
                text = f"a header list of more than {self._limits.max_header_bytes} bytes"
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, text) from exc
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(exc)) from exc

    def _add(self, block: Block, flags: int, fragment: bytes) -> Block | None:
        block.fragments += fragment
        if len(block.fragments) > self._limits.max_header_bytes:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM, f"a header block of more than {self._limits.max_header_bytes} bytes"
            )
        if not flags & END_HEADERS:
            return None
        self._block = None
        return block
