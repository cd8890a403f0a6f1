"""A Schedule: the choices of one run, in their order. Everything that is needed to repeat it, as a value and as text.

A run in memory goes on until nothing can happen by itself, and then one thing is chosen. Each choice is written with
one letter or two, and a schedule is their row:

    >  <      deliver the next event of the client's lane to the server; of the server's lane to the client
    w> w<     let a write of the client return; of the server
    f> f<     let it fail, because the call had ended before the write was noticed
    t         let the earliest timer go off
    x d r     the client cancels the call; its deadline is up; the network resets it
    q         the server is stopped, with its grace

A number before it says which call it belongs to, where that is not call 1 (`2>`; of `t` and `q`, which belong to none,
there is no number), and `+` behind it that the next thing happened before this one was digested (a burst):
`>><w>t+<`. Spaces are ignored. The word of a call is what is left of the schedule where only its `>` and `<` are kept.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from duplexmock.core.events import Side
from duplexmock.core.value import value
from duplexmock.errors import ScriptError


class Kind(Enum):
    """What is chosen; the value is its letter."""

    DELIVER = ""
    ACCEPT = "w"
    REFUSE = "f"
    TIMER = "t"
    CANCEL = "x"
    DEADLINE = "d"
    RESET = "r"
    DRAIN = "q"

    # Members are singletons. Enum's own hash is a function of Python, which the tables of a run would wait for.
    __hash__ = object.__hash__


class Step(NamedTuple):
    """One choice: of which call (0: of none), on whose lane, and whether the next comes before it is digested."""

    kind: Kind
    call: int = 0
    side: Side | None = None
    is_burst: bool = False

    def __str__(self) -> str:
        number = self.call if self.call > 1 else ""
        arrow = self.side.value if self.side else ""
        return f"{number}{self.kind.value}{arrow}{'+' if self.is_burst else ''}"


@value
class Schedule:
    """The steps of a run, from its beginning; what comes behind the last of them is not said."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read what `str` wrote; ScriptError where it is no schedule."""
        squeezed = "".join(text.split())
        steps = []
        position = 0
        while position < len(squeezed):
            match = _STEP.match(squeezed, position)
            if match is None:
                raise ScriptError(
                    f"schedule {text!r}: {squeezed[position:][:8]!r} is no choice; one is like > 2< w> t or x"
                )
            steps.append(_step(match))
            position = match.end()
        return cls(tuple(steps))

    def __str__(self) -> str:
        return "".join(map(str, self.steps))

    def __len__(self) -> int:
        return len(self.steps)

    def word(self, call: int = 1) -> str:
        """Return in which order the events of this call were delivered, `>` to the server and `<` to the client."""
        return "".join(
            step.side.value for step in self.steps if step.kind is Kind.DELIVER and step.call == call and step.side
        )


def _step(match: re.Match[str]) -> Step:
    number, on_lane, arrow, other, burst = match.groups()
    kind = _KINDS[on_lane or ""] if arrow else _KINDS[other]
    has_call = kind not in (Kind.TIMER, Kind.DRAIN)
    return Step(kind, int(number or 1) if has_call else 0, _SIDES.get(arrow), bool(burst))


_STEP = re.compile(r"([1-9][0-9]*)?(?:([wf])?([<>])|([xdr]|(?<![0-9])[tq]))(\+)?")
_KINDS = {kind.value: kind for kind in Kind}
_SIDES = {side.value: side for side in Side}
