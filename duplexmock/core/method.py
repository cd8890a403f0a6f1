"""Methods, as a call names them: `/package.Service/Method`; and the globs by which people choose some of them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def is_chosen(method: str, globs: Sequence[str]) -> bool:
    """Tell whether one of the globs matches, with the leading slash or without: `chat.*/Chat`. None choose all."""
    return not globs or any(fnmatchcase(method, glob) or fnmatchcase(method.removeprefix("/"), glob) for glob in globs)
