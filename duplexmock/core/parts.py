"""The parts of a script: frozen values. People make them by the words of words.py."""

from __future__ import annotations

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    Reset,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.given import Function, Pattern
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, ErrorCode
from duplexmock.core.value import value


@value
class Line:
    """What one side says, one event after another."""

    side: Side
    said: tuple[Said, ...]


@value
class Turn:
    """The client says one message, the server answers: with these, or with what a function makes of the message."""

    match: Pattern
    reply: tuple[Said, ...] | Function


@value
class Sequence:
    """Parts one after another."""

    parts: tuple[Part, ...]


@value
class AnyOrder:
    """Parts that mix freely."""

    parts: tuple[Part, ...]


@value
class Repeat:
    """A part at least `least` times, at most `most` times; None is as often as it likes."""

    part: Part
    least: int = 0
    most: int | None = None


@value
class Every:
    """A part again and again, each time so long after the time before was due."""

    ns: int
    part: Part


@value
class After:
    """A part, so long after it could have happened."""

    ns: int
    part: Part


@value
class Pause:
    """What follows, so long after it could have happened."""

    ns: int


@value
class Optional:
    """A part, or nothing."""

    part: Part


@value
class OneOf:
    """One of these."""

    parts: tuple[Part, ...]


@value
class Header:
    """Metadata, of whichever side says it."""

    metadata: Metadata = Metadata()


Ending = ClientHalfClose | Cancel | ServerTrailer | Reset
Said = Pattern | ClientHeader | ServerHeader | Ending
Part = Line | Turn | Sequence | AnyOrder | Repeat | Every | After | Pause | Optional | OneOf
PARTS = (Line, Turn, Sequence, AnyOrder, Repeat, Every, After, Pause, Optional, OneOf)


def split_header(parts: tuple[Part, ...]) -> tuple[ClientHeader | None, tuple[Part, ...]]:
    """Return the client's header where a script begins with it, and the parts without it."""
    match parts:
        case (Line(Side.CLIENT, (ClientHeader() as header, *said)), *others):
            line = (Line(Side.CLIENT, tuple(said)),) if said else ()
            return header, (*line, *others)
        case (Sequence(inner), *others):
            header_inside, left = split_header(inner)
            return header_inside, (*left, *others)
        case every:
            return None, every


def code_text(code: int, kind: type[Code] | type[ErrorCode]) -> str | int:
    """Return a code's name, to be written in a script; the number where it has none."""
    return next((each.name for each in kind if each == code), code)
