"""What a frame may look like before its payload is read: whose it is and how long (RFC 9113 section 6).

    type            stream                  bytes
    HEADERS         a stream                any
    PRIORITY        a stream                5
    RST_STREAM      a stream                4
    SETTINGS        the connection (0)      a multiple of 6; none with ACK
    PUSH_PROMISE    a stream                any
    PING            the connection          8
    GOAWAY          the connection          8 or more
    WINDOW_UPDATE   either                  4
    CONTINUATION    a stream                any

A frame on the wrong stream is a PROTOCOL_ERROR, one of the wrong length a FRAME_SIZE_ERROR; both end the connection.
DATA has no row: it belongs to a stream, which streams.py sees to, and has any length.
"""

from __future__ import annotations

from duplexmock.core.status import ErrorCode
from duplexmock.wire.faults import ConnectionFault
from duplexmock.wire.frames import ACK, FrameType


def check_shape(kind: int, flags: int, stream_id: int, length: int) -> None:
    """ConnectionFault where a frame of a known type does not look like one."""
    if (kind in _OF_CONNECTIONS and stream_id) or (kind in _OF_STREAMS and not stream_id):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} on stream {stream_id}")
    if kind == _SETTINGS:
        fits = not length if flags & ACK else length % _SETTING_BYTES == 0
    elif kind == _GOAWAY:
        fits = length >= _LEAST_GOAWAY_BYTES
    else:
        fits = length == _BYTES.get(kind, length)
    if not fits:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{FrameType(kind).name} of {length} bytes")


_OF_CONNECTIONS = frozenset((FrameType.SETTINGS, FrameType.PING, FrameType.GOAWAY))
_OF_STREAMS = frozenset(FrameType) - _OF_CONNECTIONS - {FrameType.WINDOW_UPDATE, FrameType.DATA}
_BYTES: dict[int, int] = {
    FrameType.PRIORITY: 5,
    FrameType.RST_STREAM: 4,
    FrameType.PING: 8,
    FrameType.WINDOW_UPDATE: 4,
}
_SETTINGS, _GOAWAY = int(FrameType.SETTINGS), int(FrameType.GOAWAY)
_SETTING_BYTES = 6
_LEAST_GOAWAY_BYTES = 8
