"""What a test asks for: the arguments of the marker `duplexmock`, and of the calls of the fixture that override them.

    @pytest.mark.duplexmock("chat/three.duplex", upstream="localhost:50051", ignore=["chat.ChatMessage.timestamp"])

Markers stand on functions, classes and modules. Each argument is that of the nearest marker that gives it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from duplexmock.errors import ScriptError

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.net.replay import Unplayed
    from duplexmock.schema.sources import Source
    from duplexmock.store.header import Expect

NAME = "duplexmock"

Upstream = str | int | Sequence[str] | Callable[..., Any]
"""The live server that a recording is made of (upstreams.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for; None is not said.

    `path` is the fixture, `upstream` the live server to record. `redact` is of a recording; `expect`, `ignore` and
    `bind` go into it and count where it is played. The rest is as in `duplexmock.replay`.
    """

    path: Path | str | None = None
    upstream: Upstream | None = None
    expect: Expect | None = None
    ignore: Sequence[str] | None = None
    bind: Sequence[tuple[str, str]] | None = None
    speed: float | None = None
    unplayed: Unplayed | None = None
    metadata: Mapping[str, str] | None = None
    sessions: Sequence[int] | None = None
    methods: Sequence[str] | None = None
    timeout_s: float | None = None
    descriptors: Source | None = None
    redact: Sequence[str] | None = None
    faults: Sequence[str | Fault] | None = None

    def __post_init__(self) -> None:
        for name, (is_right, wanted) in _WANTED.items():
            value = getattr(self, name)
            if value is not None and not is_right(value):
                raise ScriptError(f"{name}={value!r}: {wanted}")

    def over(self, other: Asked) -> Asked:
        """Return this, and where it says nothing the other."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        return Asked(**{name: getattr(other, name) if value is None else value for name, value in said.items()})


def asked_by(item: pytest.Item) -> Asked:
    """Return what the markers of a test ask for; ScriptError where one has an argument that there is not."""
    asked = Asked()
    for mark in _nearest_first(item):
        asked = asked.over(_read(mark))
    return asked


def _nearest_first(item: pytest.Item) -> list[pytest.Mark]:
    marks = list(item.iter_markers(NAME))
    case = getattr(item, "callspec", None)
    own = () if case is None else tuple(case.marks)  # pytest.param(..., marks=...) is nearer than the function
    return sorted(marks, key=lambda mark: not any(mark is each for each in own))


def _read(mark: pytest.Mark) -> Asked:
    known = [each.name for each in fields(Asked)]
    for name in mark.kwargs:
        if name not in known:
            raise ScriptError(f"the marker {NAME} has no argument {name!r}; it has {', '.join(known)}")
    if len(mark.args) > 1 or (mark.args and "path" in mark.kwargs):
        raise ScriptError(f"the marker {NAME} takes one path, and other arguments by name: {mark.args!r}")
    return Asked(**{"path": mark.args[0] if mark.args else None, **mark.kwargs})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _are_texts(value: object) -> bool:
    return _are(value, lambda each: isinstance(each, str))


def _are_numbers(value: object) -> bool:
    return _are(value, lambda each: isinstance(each, int) and not isinstance(each, bool))


def _are_pairs(value: object) -> bool:
    return _are(value, lambda each: _are_texts(each) and len(each) == 2)


def _are(value: object, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping) and all(map(is_right, value))


def _is_list(value: object) -> bool:
    return _are(value, lambda each: True)


def _is_metadata(value: object) -> bool:
    return isinstance(value, Mapping) and _are_texts([*value, *value.values()])


def _is_one_of(*words: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in words, f"{', '.join(words[:-1])} or {words[-1]}"


_EXPECT = ("lanes", "order", "strict")
_UNPLAYED = ("fail", "warn", "ignore")
"""Those of store/header.py and net/replay.py, which a run that uses no fixture does not load."""

_LIST = "a list of them, also where there is one"

_WANTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "path": (_is_path, "a path, as a text or a pathlib.Path"),
    "expect": _is_one_of(*_EXPECT),
    "ignore": (_are_texts, _LIST),
    "bind": (_are_pairs, "a list of pairs: the field that is received, and the one that is sent with its value"),
    "speed": (_is_number, "a number"),
    "unplayed": _is_one_of(*_UNPLAYED),
    "metadata": (_is_metadata, "a dict of texts: the key and its value"),
    "sessions": (_are_numbers, "a list of their numbers, also where there is one"),
    "methods": (_are_texts, _LIST),
    "timeout_s": (_is_number, "a number"),
    "redact": (_are_texts, _LIST),
    "faults": (_is_list, _LIST),
}
"""What an argument has to be, and how that is said. What is told only where it is used is not here."""
