"""What a peer chose, as people are shown it: no control character of it reaches a terminal."""

from __future__ import annotations


def escaped(text: str) -> str:
    """Return the text as it is where it can be printed, else as Python writes it."""
    return text if text.isprintable() else repr(text)
