"""What speaks at the other end, by what it says first: HTTP/2, or what else it may be (RFC 9113 section 3.4).

The guess at what it is instead rests on few bytes, so that it does not depend on how they were cut.
"""

from __future__ import annotations

from duplexmock.wire.frames import ACK, HEAD, HEAD_BYTES, PREFACE, FrameType


def foreign_client(beginning: bytes) -> str:
    """Say what a client speaks that begins like this; empty while it may be HTTP/2."""
    if PREFACE.startswith(beginning[: len(PREFACE)]):
        return ""
    if beginning[:1] == _TLS_HANDSHAKE:
        return "TLS"
    return "HTTP/1.1" if beginning[:1] in _METHOD_INITIALS else "not HTTP/2"


def foreign_server(beginning: bytes) -> str:
    """Say what a server speaks that begins like this; empty while it may be HTTP/2."""
    if beginning[:1] in (_TLS_HANDSHAKE, _TLS_ALERT):
        return "TLS"
    if beginning.startswith((b"HTTP/", b"<")):  # a page without a status line answers a preface as well
        return "HTTP/1.1"
    if len(beginning) < HEAD_BYTES:
        return ""
    head, flags, stream_id = HEAD.unpack_from(beginning)
    if head & 0xFF == FrameType.SETTINGS and not flags & ACK and not stream_id:
        return ""
    return "not HTTP/2"


_METHOD_INITIALS = tuple(bytes((letter,)) for letter in b"CDGHOPT")  # CONNECT, DELETE, GET, HEAD, OPTIONS, POST, TRACE
_TLS_ALERT = b"\x15"
_TLS_HANDSHAKE = b"\x16"
