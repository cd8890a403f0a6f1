"""SETTINGS: identifiers, and which values a peer may give them (RFC 9113 section 6.5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from duplexmock.core.events import Side
from duplexmock.core.status import ErrorCode
from duplexmock.wire.faults import ConnectionFault
from duplexmock.wire.limits import DEFAULT_FRAME_BYTES, MAX_WINDOW_BYTES


class Setting(IntEnum):
    """The identifiers of RFC 9113."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


def check_settings(values: Iterable[tuple[int, int]], sender: Side) -> None:
    """ConnectionFault where `sender` gives a setting a value that it may not have; unknown settings have any."""
    for identifier, value in values:
        allowed = _ALLOWED.get((identifier, sender)) or _ALLOWED.get((identifier, None))
        if allowed is not None and not allowed[0] <= value <= allowed[1]:
            low, high, code = allowed
            raise ConnectionFault(code, f"{Setting(identifier).name} is {value}, not one of {low} to {high}")


_ALLOWED: dict[tuple[int, Side | None], tuple[int, int, ErrorCode]] = {
    (Setting.ENABLE_PUSH, Side.CLIENT): (0, 1, ErrorCode.PROTOCOL_ERROR),
    (Setting.ENABLE_PUSH, Side.SERVER): (0, 0, ErrorCode.PROTOCOL_ERROR),
    (Setting.INITIAL_WINDOW_SIZE, None): (0, MAX_WINDOW_BYTES, ErrorCode.FLOW_CONTROL_ERROR),
    (Setting.MAX_FRAME_SIZE, None): (DEFAULT_FRAME_BYTES, 2**24 - 1, ErrorCode.PROTOCOL_ERROR),
}
