"""The deadline a client announces with `grpc-timeout` (PROTOCOL-HTTP2: at most 8 digits and a unit)."""

from __future__ import annotations

import re

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")

_MOST = 99_999_999

_NS = {"H": 3_600_000_000_000, "M": 60_000_000_000, "S": 1_000_000_000, "m": 1_000_000, "u": 1_000, "n": 1}


def timeout_ns(value: str) -> int | None:
    """Parse a `grpc-timeout` value into nanoseconds; None where it is not one."""
    match = _TIMEOUT.fullmatch(value)
    return int(match[1]) * _NS[match[2]] if match else None


def timeout_value(ns: int) -> str:
    """Write a `grpc-timeout` value that is no shorter, in ms where eight digits are enough for that."""
    for unit in "mSMH":
        value = -(-ns // _NS[unit])
        if value <= _MOST:
            return f"{value}{unit}"
    return f"{_MOST}H"  # ten thousand years


def is_up(timeout_ns: int, passed_ns: int) -> bool:
    """Tell whether a deadline was up, `passed_ns` after the header that announced it was seen.

    It may be a little before header + grpc-timeout: gRPC's C core rounds the timeout up to two or three digits, which
    is one part in a hundred, and a header is seen later than its timeout was counted, by what the client had to do in
    between.
    """
    return passed_ns >= timeout_ns - timeout_ns // 100 - min(timeout_ns // 10, _MAX_HEADER_DELAY_NS)


_MAX_HEADER_DELAY_NS = 10_000_000
"""Node's takes 3 ms while it starts; a cancel of the application's own in the last 10 ms is rarer than that."""
