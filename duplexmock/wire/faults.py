"""How a peer breaks the rules: in a way that ends the connection, or in one that ends a stream (RFC 9113 section 5.4).

A ProtocolError of frames.py or headers.py carries no error code, because a passive reader sends none. Where the
endpoint meets one, it ends the connection with PROTOCOL_ERROR.
"""

from __future__ import annotations

from duplexmock.core.status import ErrorCode
from duplexmock.errors import ProtocolError


class ConnectionFault(ProtocolError):
    """Ends the connection: GOAWAY with `code`, then close (5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFault(ProtocolError):
    """Ends one stream: RST_STREAM with `code` (5.4.2)."""

    def __init__(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.stream_id = stream_id
        self.code = code
        self.reason = reason
