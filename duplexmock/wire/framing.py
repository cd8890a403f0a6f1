"""Bytes of frames: the building blocks of whatever is sent, also on purpose wrongly (RFC 9113 sections 4.1 and 6).

Nothing is checked here. A test that wants a frame that no library would send builds it with `frame`, and passes it to
Endpoint.inject.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from duplexmock.wire.frames import ACK, END_HEADERS, HEAD, FrameType
from duplexmock.wire.messages import PREFIX

_NUMBER = Struct(">I")
_SETTING = Struct(">HI")
_GOAWAY = Struct(">II")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame of whatever type; `payload` may be as long as 24 bits say."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def message(payload: bytes, flags: int = 0) -> bytes:
    """Return a message with its prefix, for use as (part of) the payload of DATA (PROTOCOL-HTTP2)."""
    return PREFIX.pack(flags, len(payload)) + payload


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    """Return a DATA frame (6.1)."""
    return frame(FrameType.DATA, flags, stream_id, payload)


def headers(stream_id: int, block: bytes, flags: int, max_bytes: int) -> bytes:
    """Return HEADERS and the CONTINUATION frames it needs for a field block; END_HEADERS is added (6.2, 6.10)."""
    if len(block) <= max_bytes:
        return frame(FrameType.HEADERS, flags | END_HEADERS, stream_id, block)
    frames = [frame(FrameType.HEADERS, flags, stream_id, block[:max_bytes])]
    for start in range(max_bytes, len(block), max_bytes):
        last = END_HEADERS if start + max_bytes >= len(block) else 0
        frames.append(frame(FrameType.CONTINUATION, last, stream_id, block[start : start + max_bytes]))
    return b"".join(frames)


def reset(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM frame (6.4)."""
    return frame(FrameType.RST_STREAM, 0, stream_id, _NUMBER.pack(code))


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Return a SETTINGS frame (6.5)."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values))


def ping(opaque: bytes, flags: int = 0) -> bytes:
    """Return a PING frame; `opaque` are eight bytes, and ACK in `flags` makes it an answer (6.7)."""
    return frame(FrameType.PING, flags, 0, opaque)


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """Return a GOAWAY frame (6.8)."""
    return frame(FrameType.GOAWAY, 0, 0, _GOAWAY.pack(last_stream_id, code) + debug)


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection (6.9)."""
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, _NUMBER.pack(increment))


SETTINGS_ACK = frame(FrameType.SETTINGS, ACK, 0)
