"""How a call ends, as people give it: code, details and metadata, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from duplexmock.core.matching import shown
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, Status
from duplexmock.errors import ScriptError

Pairs = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
"""Metadata as people give it: keys in lower case, and values that are text, or bytes where the key ends in `-bin`."""


def status_code(code: Any) -> int:
    """Return the number of a status code, given by number, by name, or as an enum that has gRPC's names."""
    if isinstance(code, int) and not isinstance(code, bool):
        return int(code)
    name = code if isinstance(code, str) else getattr(code, "name", None)
    if isinstance(name, str) and name.upper() in Code.__members__:
        return Code[name.upper()]
    raise ScriptError(f"code {shown(code)}: no status code of gRPC's; they are {', '.join(Code.__members__)}")


def metadata(given: Pairs) -> Metadata:
    """Return it as Metadata; ScriptError where a key or a value cannot be."""
    pairs = tuple(given.items()) if isinstance(given, Mapping) else tuple(given)
    try:
        made = Metadata(pairs)
        for key, text in pairs:
            if not isinstance(text, bytes if key.endswith("-bin") else str):
                raise ValueError(f"metadata key {key!r}: its value is {'bytes' if key.endswith('-bin') else 'text'}")
    except (ValueError, TypeError, AttributeError) as exc:
        raise ScriptError(f"{shown(pairs)} is no metadata, pairs of key and value: {exc}") from exc
    return made


def ending(code: Any, details: str, trailing: Pairs) -> tuple[Status, Metadata]:
    """Return the status and the metadata of a trailer; `grpc-status-details-bin` is a part of the status."""
    pairs = metadata(trailing)
    blob = pairs.first(_DETAILS)
    rest = Metadata(tuple([pair for pair in pairs if pair[0] != _DETAILS]))
    return Status(status_code(code), details, blob if isinstance(blob, bytes) else None), rest


_DETAILS = "grpc-status-details-bin"
