"""The deadline a client announces with `grpc-timeout` (PROTOCOL-HTTP2: at most 8 digits and a unit)."""

from __future__ import annotations

import re

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")

_NS = {"H": 3_600_000_000_000, "M": 60_000_000_000, "S": 1_000_000_000, "m": 1_000_000, "u": 1_000, "n": 1}


def timeout_ns(value: str) -> int | None:
    """Parse a `grpc-timeout` value into nanoseconds; None where it is not one."""
    match = _TIMEOUT.fullmatch(value)
    return int(match[1]) * _NS[match[2]] if match else None
