"""How a call ends: gRPC's status codes, HTTP/2's error codes, and what a client makes of an answer without a status.

Sources: gRPC's doc/statuscodes.md, RFC 9113 section 7, gRPC's doc/http-grpc-status-mapping.md and PROTOCOL-HTTP2
("Errors").
"""

from __future__ import annotations

from enum import IntEnum

from duplexmock.core.value import value


class Code(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ErrorCode(IntEnum):
    """HTTP/2's error codes, as RST_STREAM and GOAWAY carry them."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


@value
class Status:
    """What `grpc-status`, `grpc-message` and `grpc-status-details-bin` said.

    `code` is a number because a peer may send one that gRPC does not name.
    """

    code: int
    message: str = ""
    details: bytes | None = None


def code_name(code: int) -> str:
    """Name a status code: `NOT_FOUND`, or `code 42` where gRPC has no name."""
    return Code(code).name if 0 <= code <= Code.UNAUTHENTICATED else f"code {code}"


def error_name(code: int) -> str:
    """Name an HTTP/2 error code: `CANCEL`, or `error 0x2a` where RFC 9113 has no name."""
    return ErrorCode(code).name if 0 <= code <= ErrorCode.HTTP_1_1_REQUIRED else f"error 0x{code:x}"


def code_of_http_status(http_status: int) -> Code:
    """Derive the code for an answer without `grpc-status` (http-grpc-status-mapping.md)."""
    return _OF_HTTP_STATUS.get(http_status, Code.UNKNOWN)


def code_of_reset(error: int) -> Code:
    """Derive the code a client reports when the server resets the stream (PROTOCOL-HTTP2, "Errors")."""
    return _OF_RESET.get(error, Code.UNKNOWN)


_OF_HTTP_STATUS: dict[int, Code] = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}

_OF_RESET: dict[int, Code] = {
    ErrorCode.NO_ERROR: Code.INTERNAL,
    ErrorCode.PROTOCOL_ERROR: Code.INTERNAL,
    ErrorCode.INTERNAL_ERROR: Code.INTERNAL,
    ErrorCode.FLOW_CONTROL_ERROR: Code.INTERNAL,
    ErrorCode.SETTINGS_TIMEOUT: Code.INTERNAL,
    ErrorCode.FRAME_SIZE_ERROR: Code.INTERNAL,
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.COMPRESSION_ERROR: Code.INTERNAL,
    ErrorCode.CONNECT_ERROR: Code.INTERNAL,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
