"""Spans of time, as people write them in scripts: `5s`, `100ms`, `1.5s`, `2m`, `1h`."""

from __future__ import annotations

import re

from duplexmock.core.matching import shown
from duplexmock.errors import ScriptError


def span_ns(text: object, what: str) -> int:
    """Return nanoseconds; ScriptError, which begins with `what`, where it is no span, or none that passes."""
    found = _SPAN.fullmatch(text) if isinstance(text, str) else None
    ns = round(float(found[1]) * _NS[found[2]]) if found else 0
    if not ns:
        raise ScriptError(f"{what} {shown(text)}: a time is written '5s', '100ms', '1.5s', '2m' or '1h'")
    return ns


def span_text(ns: int) -> str:
    """Write a span so that `span_ns` reads it again."""
    unit = next((unit for unit in ("h", "m", "s", "ms", "us") if ns % _NS[unit] == 0), "ns")
    return f"{ns // _NS[unit]}{unit}"


_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h)")
_NS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
