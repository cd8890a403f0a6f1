"""What no call can do: a script that could never be played is refused, with the step that makes it so.

The parts are walked with all states that the two lanes may be in (call.py's, as far as they matter here). A step has to
be possible in each of them: what may stand behind an ending is as wrong as what does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from duplexmock.core import parts as written
from duplexmock.core.events import Cancel, ClientHalfClose, ClientHeader, Reset, ServerHeader, ServerTrailer, Side
from duplexmock.core.matching import shown
from duplexmock.core.parts import Part, Said, split_header
from duplexmock.core.source import part_text, said_text
from duplexmock.errors import ScriptError


class _State(NamedTuple):
    """What has been said that forbids something: by its text, empty where it has not."""

    half_closed: str = ""
    answered: str = ""
    ended: str = ""


_States = frozenset[_State]


def check_method(method: object) -> None:
    """Raise ScriptError where this is no method's name."""
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        raise ScriptError(f"method {shown(method)}: a method is written /package.Service/Method")


def check_parts(method: str, parts: tuple[Part, ...]) -> None:
    """Raise ScriptError where a call of `method` could never go as the parts say."""
    _, others = split_header(parts)
    states = _walk_line(method, others, frozenset((_State(),)))
    _check_every(method, others, states)


def _walk_line(method: str, parts: Sequence[Part], states: _States) -> _States:
    for part in parts:
        states = _walk(method, part, states)
    return states


def _walk(method: str, part: Part, states: _States) -> _States:
    match part:
        case written.Line(side, said):
            for each in said:
                states = frozenset(_said(method, side, each, state) for state in states)
            return states
        case written.Turn(match, reply):
            states = frozenset(_said(method, Side.CLIENT, match, state) for state in states)
            if not isinstance(reply, tuple):
                reply = (b"",)  # whatever it is, it is messages
            return _walk(method, written.Line(Side.SERVER, reply), states) if reply else states
        case written.Sequence(inner):
            return _walk_line(method, inner, states)
        case written.AnyOrder(inner):
            # Whatever the others have said may have been said before.
            for place, branch in enumerate(inner):
                reached = states
                for other in inner[:place] + inner[place + 1 :]:
                    reached = reached | _walk(method, other, reached)
                _walk(method, branch, reached)
            return _walk_line(method, inner, states)
        case written.Repeat(inner, least, most):
            once = _walk(method, inner, states)
            if most != 1:
                once = once | _walk(method, inner, once)
            return once if least else once | states
        case written.Every(_, inner):
            once = _walk(method, inner, states)
            return states | once | _walk(method, inner, once)
        case written.After(_, inner):
            return _walk(method, inner, states)
        case written.Pause():
            return states
        case written.Optional(inner):
            return states | _walk(method, inner, states)
        case written.OneOf(inner):
            return frozenset().union(*(_walk(method, each, states) for each in inner))
        case _:
            raise TypeError(f"{part!r} is no part")


def _said(method: str, side: Side, said: Said, state: _State) -> _State:
    text = f"{side.name.lower()}({said_text(said)})"
    if state.ended:
        raise _refusal(method, text, state.ended, "ends the call")
    match said:
        case ClientHeader():
            raise ScriptError(f"{method}: {text}: the client's header comes first of all")
        case ClientHalfClose() if not state.half_closed:
            return state._replace(half_closed=text)
        case Cancel() | ServerTrailer() | Reset():
            return state._replace(ended=text)
        case ServerHeader() if state.answered:
            raise ScriptError(f"{method}: {text}: the server's header comes before its messages, and once")
        case _ if side is Side.CLIENT and state.half_closed:
            raise _refusal(method, text, state.half_closed, "is the last that the client says")
        case _:
            return state._replace(answered=text) if side is Side.SERVER else state


def _refusal(method: str, text: str, ended: str, why: str) -> ScriptError:
    return ScriptError(f"{method}: {text} can never come behind {ended}, which {why}")


def _check_every(method: str, parts: Sequence[Part], states: _States) -> None:
    """Refuse an `every` whose side has something else to say at once, or never ends it."""
    for part, behind in _everies(parts, ()):
        side = _begins(part.part)
        text = part_text(part)
        if side is None:
            raise ScriptError(f"{method}: {text}: nothing is said in it")
        follows = next((each for each in behind if not isinstance(each, written.Pause)), None)
        if behind and isinstance(behind[0], written.Pause):
            continue  # it goes on for so long
        if follows is not None and _begins(follows) is side:
            raise ScriptError(
                f"{method}: {text} would never be said: what follows, {part_text(follows)}, can be said at once; "
                'write after("…") before it, or any_order(…)'
            )
        may_end = any(state.ended for state in states)
        is_half_closed = all(state.half_closed for state in states)
        if follows is None and side is Side.CLIENT and not may_end:
            raise ScriptError(f"{method}: {text} has no end: nothing that the server says ends it; use repeat(…)")
        if follows is None and side is Side.SERVER and is_half_closed and not may_end and _is_last(parts, part):
            raise ScriptError(
                f"{method}: {text} would never be said: the client has half-closed before, so that the server's "
                "status can be said at once"
            )


def _is_last(parts: Sequence[Part], part: Part) -> bool:
    """Tell whether a part is the last of all, and no branch beside others."""
    last = parts[-1]
    return last is part or (isinstance(last, written.Sequence) and _is_last(last.parts, part))


def _everies(parts: Sequence[Part], behind: tuple[Part, ...]) -> Iterable[tuple[written.Every, tuple[Part, ...]]]:
    for place, part in enumerate(parts):
        rest = (*parts[place + 1 :], *behind)
        match part:
            case written.Every(_, inner):
                yield part, rest
                yield from _everies((inner,), (part,))
            case written.Sequence(inner):
                yield from _everies(inner, rest)
            case written.Optional(inner) | written.After(_, inner):
                yield from _everies((inner,), rest)
            case written.Repeat(inner):
                yield from _everies((inner,), (inner, *rest))
            case written.OneOf(inner):
                for each in inner:
                    yield from _everies((each,), rest)
            case written.AnyOrder(inner):
                for number, each in enumerate(inner):
                    others = inner[:number] + inner[number + 1 :]
                    # It ends when all others are through: what they say last is what it waits for.
                    yield from _everies((each,), (written.Pause(1), *others, *rest))


def _begins(part: Part) -> Side | None:
    """Return who says the first event of a part; None where nothing is said in it."""
    match part:
        case written.Line(side):
            return side
        case written.Turn():
            return Side.CLIENT
        case written.Sequence(inner) | written.AnyOrder(inner) | written.OneOf(inner):
            return next((side for side in map(_begins, inner) if side is not None), None)
        case written.Pause():
            return None
        case written.Repeat(inner) | written.Optional(inner) | written.Every(_, inner) | written.After(_, inner):
            return _begins(inner)
        case _:
            raise TypeError(f"{part!r} is no part")


_METHOD = re.compile(r"/[^/\s]+/[^/\s]+")
