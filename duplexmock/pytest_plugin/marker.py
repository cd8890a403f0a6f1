"""What a test asks for: the arguments of the marker `duplexmock`, and of the calls of the fixture that override them.

    @pytest.mark.duplexmock("chat/three.duplex", upstream="localhost:50051", ignore=["chat.ChatMessage.timestamp"])

Markers stand on functions, classes and modules. Each argument is that of the nearest marker that gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

from duplexmock.errors import ScriptError

if TYPE_CHECKING:
    from duplexmock.core.faults import Fault
    from duplexmock.schema.sources import Source
    from duplexmock.store.header import Expect

NAME = "duplexmock"

Unplayed = Literal["fail", "warn", "ignore"]
"""What is done about sessions that a test did not play."""

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
        for name in ("ignore", "bind", "sessions", "methods", "redact", "faults"):
            if isinstance(getattr(self, name), str):
                raise ScriptError(f"{name}={getattr(self, name)!r}: a list of them, also where there is one")
        if self.unplayed is not None and self.unplayed not in get_args(Unplayed):
            raise ScriptError(f"unplayed={self.unplayed!r}: {_one_of(get_args(Unplayed))}")

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


def _one_of(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
