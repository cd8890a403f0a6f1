"""HTTP/2 frames: the nine bytes in front of each, and what the payloads hold that a reader needs (RFC 9113 4.1, 6).

    +-----------------------------------------------+
    |                 length (24)                   |
    +---------------+---------------+---------------+
    |   type (8)    |   flags (8)   |
    +-+-------------+---------------+-------------------------------+
    |R|                 stream identifier (31)                      |
    +-+-------------------------------------------------------------+
    |                   payload (length bytes)                    ...

Functions take whole payloads and raise ProtocolError where RFC 9113 says that the connection is in error. What a peer
would merely refuse by its own settings (a frame longer than it allows, a stream too many) is no business of a reader.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from duplexmock.errors import ProtocolError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113 section 3.4)."""

HEAD = Struct(">IBI")
"""The head of a frame as (length << 8 | type, flags, stream identifier with the reserved bit)."""

HEAD_BYTES = HEAD.size

SMALL = Struct(">IBIBI")
"""A head and the prefix of a message behind it, which is how most DATA frames of most gRPC calls begin."""

SMALL_BYTES = SMALL.size

STREAM_MASK = 0x7FFF_FFFF


class FrameType(IntEnum):
    """The types of RFC 9113 section 6."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


# Flags are plain integers: IntFlag builds an object at each `&`, and these are tested for every frame.
ACK = 0x1
END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20

_PRIORITY_BYTES = 5
_SETTING = Struct(">HI")
_CODE = Struct(">I")
_GOAWAY = Struct(">II")


def block_fragment(kind: int, flags: int, payload: bytes) -> bytes:
    """Return the piece of a field block that a HEADERS, PUSH_PROMISE or CONTINUATION frame carries (6.2, 6.6, 6.10)."""
    start, stop = 0, len(payload)
    if kind == FrameType.CONTINUATION:
        return payload
    if flags & PADDED:
        start, stop = 1, stop - padding(payload[:1], stop)
    if kind == FrameType.PUSH_PROMISE:
        start += _CODE.size
    elif flags & PRIORITY:
        start += _PRIORITY_BYTES
    if start > stop:
        raise ProtocolError(f"a {FrameType(kind).name} frame of {len(payload)} bytes is too short for its flags")
    return payload[start:stop]


def padding(first: bytes, length: int) -> int:
    """Return how many bytes at the end of a padded payload of `length` are padding; `first` is its first byte (6.1)."""
    if not first or first[0] >= length:
        raise ProtocolError(f"padding as long as the frame's {length} bytes or longer")
    return first[0]


def read_settings(payload: bytes) -> tuple[tuple[int, int], ...]:
    """Return the pairs of identifier and value of a SETTINGS frame, unknown ones included (6.5)."""
    if len(payload) % _SETTING.size:
        raise ProtocolError(f"a SETTINGS frame of {len(payload)} bytes, which is not a multiple of {_SETTING.size}")
    return tuple(_SETTING.iter_unpack(payload))


def read_reset(payload: bytes) -> int:
    """Return the error code of a RST_STREAM frame (6.4)."""
    if len(payload) != _CODE.size:
        raise ProtocolError(f"a RST_STREAM frame of {len(payload)} bytes instead of {_CODE.size}")
    code: int = _CODE.unpack(payload)[0]
    return code


def read_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """Return the last stream identifier, the error code and the debug bytes of a GOAWAY frame (6.8)."""
    if len(payload) < _GOAWAY.size:
        raise ProtocolError(f"a GOAWAY frame of {len(payload)} bytes instead of at least {_GOAWAY.size}")
    last, code = _GOAWAY.unpack_from(payload)
    return last & STREAM_MASK, code, payload[_GOAWAY.size :]
