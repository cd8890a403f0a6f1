"""What grpcio can send: metadata and messages of the right types, and metadata that HTTP/2 has room for.

Of the wrong type is a TypeError, at once and with grpcio's text. Metadata that is not legal (PROTOCOL-HTTP2: keys of
`[0-9a-z_.-]`, values of printable ASCII, unless the key ends in `-bin`) ends the call with INTERNAL `Invalid metadata`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from duplexmock.sim.parts import Pairs

INVALID = "Invalid metadata"


def metadata_of(given: Any) -> Pairs:
    """Return metadata as it arrives: text where the key does not end in `-bin`; TypeError for what is neither."""
    if not given:
        return ()
    pairs: list[tuple[str, str | bytes]] = []
    for key, value in given:
        name = _text(key)
        if name.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f'Binary metadata key="{name}" expected bytes, got {type(value)}')
            pairs.append((name, value))
        else:
            pairs.append((name, _text(value)))
    return tuple(pairs)


def is_legal(metadata: Pairs) -> bool:
    """Tell whether HTTP/2 can carry it."""
    return not metadata or all(_KEY(key) and (isinstance(value, bytes) or _VALUE(value)) for key, value in metadata)


def written(message: Any, serialize: Callable[[Any], Any] | None) -> bytes:
    """Return what a server writes: text is UTF-8, and None is nothing; TypeError for what does not come to bytes."""
    if isinstance(message, str):
        message = message.encode()
    payload = serialize(message) if serialize else message
    if isinstance(payload, bytes):
        return payload
    if payload is None:
        return b""
    raise TypeError(f"Expected bytes, got {type(payload).__name__}")


def _text(given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, bytes):
        return given.decode("latin-1")
    raise TypeError(f"Expected str, not {type(given)}")


_KEY = re.compile(r"[0-9a-z_.-]+").fullmatch
_VALUE = re.compile(r"[ -~]*").fullmatch
