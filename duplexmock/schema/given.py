"""What a caller gave for descriptors, read where there is any: who gives none does not wait for protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.sources import Source


def given(source: Source | None) -> Descriptors | None:
    """Return the descriptors of a source (sources.py), None where there is none; ScriptError where it is none."""
    if source is None:
        return None
    from duplexmock.schema import sources

    return sources.given(source)
