"""The words that scripts are written in. Each makes a part, a frozen value; parts stand one after another.

    client(e, ...)  server(e, ...)      what one side says, one event after another
    turn(match, reply=e)                the client says one message, the server answers
    sequence(s, t)                      one after another, as one part
    any_order(s, t)                     both, however they mix; each keeps its own order
    repeat(s, least, most)              again and again
    every("5s", s)                      again and again, by the clock, until what follows can happen
    after("100ms")  after("1s", s)      what follows, or s, waits so long
    optional(s)  one_of(s, t)           perhaps; either

An event `e` is a message as in given.py, `half_close()`, `status("OK")`, `cancel()`, `reset()` or `header({...})`. What
is always so need not be written: the headers, a half-close once no more client messages are needed, and status OK when
all has happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.given import Pattern, pattern_of
from duplexmock.core.matching import shown
from duplexmock.core.metadata import Metadata
from duplexmock.core.parts import (
    PARTS,
    After,
    AnyOrder,
    Every,
    Header,
    Line,
    OneOf,
    Optional,
    Part,
    Pause,
    Repeat,
    Said,
    Sequence,
    Turn,
    code_text,
)
from duplexmock.core.span import span_ns
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.errors import ScriptError


def client(*said: object) -> Line:
    """The client says these, one after another; ScriptError for what it cannot say."""
    return Line(Side.CLIENT, _said(Side.CLIENT, said))


def server(*said: object) -> Line:
    """The server says these, one after another; ScriptError for what it cannot say."""
    return Line(Side.SERVER, _said(Side.SERVER, said))


def turn(match: object, *, reply: object) -> Turn:
    """The client says one message, and the server answers.

    `reply` is a message or a list of what the server says, or a function: it is given the message that came, as an
    object of its protobuf type where descriptors are known and as bytes elsewhere, and returns a message, a list of
    some, or None for no answer.
    """
    pattern = _pattern(match, "turn")
    if callable(reply) and not isinstance(reply, type) and not hasattr(reply, "SerializeToString"):
        _check_is_no_word(reply)
        return Turn(pattern, reply)
    return Turn(pattern, _said(Side.SERVER, reply if isinstance(reply, list | tuple) else (reply,)))


def sequence(*parts: object) -> Sequence:
    """Parts one after another, as one: `repeat(sequence(client(a), server(b)))`."""
    flat: list[Part] = []
    for part in _parts(parts, "sequence"):
        flat += part.parts if isinstance(part, Sequence) else (part,)
    return Sequence(tuple(flat))


def any_order(*parts: object) -> AnyOrder:
    """All of the parts, however they mix; each keeps its own order."""
    return AnyOrder(_parts(parts, "any_order"))


def repeat(part: object, least: int = 0, most: int | None = None) -> Repeat:
    """A part again and again: `least` times at least, `most` at most, or as often as it likes.

    Who says the first event of a round decides whether there is another one. A seat of ours that may go on for ever
    has one round, or the least.
    """
    counts = [least] if most is None else [least, most]
    if any(type(count) is not int for count in counts) or least < 0:
        raise ScriptError(f"repeat(…, {least!r}, {most!r}): times are counted by whole numbers from 0")
    if most is not None and least > most:
        raise ScriptError(f"repeat(…, {least}, {most}): at least {least} times and at most {most} is never")
    if most == 0:
        raise ScriptError("repeat(…, 0, 0): what happens 0 times is left out")
    return Repeat(_part(part, "repeat"), least, most)


def every(period: str, part: object) -> Every:
    """A part again and again, the first time after `period` ("5s"), until what follows can happen."""
    return Every(span_ns(period, "every"), _part(part, "every"))


def after(delay: str, part: object = None) -> After | Pause:
    """Let a part, or what follows, wait for `delay` ("100ms") from when it could have happened.

    What we say waits; what the peer says is not judged by its time.
    """
    ns = span_ns(delay, "after")
    return Pause(ns) if part is None else After(ns, _part(part, "after"))


def optional(part: object) -> Optional:
    """A part, or nothing: who says its first event decides."""
    return Optional(_part(part, "optional"))


def one_of(*parts: object) -> OneOf:
    """One of the parts: who says its first event decides, and the first one where that is us."""
    if not parts:
        raise ScriptError("one_of(): there is nothing to choose from")
    return OneOf(_parts(parts, "one_of"))


def half_close() -> ClientHalfClose:
    """The client says no more messages."""
    return ClientHalfClose()


def status(
    code: str | int | None = "OK",
    message: str = "",
    metadata: Mapping[str, str | bytes] | None = None,
    *,
    details: bytes | None = None,
) -> ServerTrailer:
    """The server ends the call: `status("NOT_FOUND", "no such room")`, and trailing metadata.

    None for a code is an end without a status. Where the server is the peer, its message and details are compared only
    if they are given here.
    """
    if code is None:
        return ServerTrailer(None, metadata_of(metadata))
    return ServerTrailer(Status(_code(code, Code, "status"), message, details), metadata_of(metadata))


def cancel(code: str | int = "CANCEL") -> Cancel:
    """The client gives the call up, by RST_STREAM with this code."""
    return Cancel(_code(code, ErrorCode, "cancel"))


def reset(code: str | int = "CANCEL") -> Reset:
    """The server gives the call up without a status, by RST_STREAM with this code."""
    return Reset(_code(code, ErrorCode, "reset"))


def header(metadata: Mapping[str, str | bytes] | None = None) -> Header:
    """Initial metadata: of the client, where it stands first in a script, or of the server."""
    return Header(metadata_of(metadata))


def metadata_of(given: object) -> Metadata:
    """Return metadata that was given as a dict, or as pairs where keys repeat."""
    pairs = given.items() if isinstance(given, Mapping) else (given or ())
    try:
        return Metadata(tuple((str(key), text) for key, text in pairs))  # type: ignore[attr-defined]
    except (TypeError, ValueError) as exc:
        raise ScriptError(f"metadata {shown(given)}: {exc}") from exc


def check_are_parts(parts: tuple[object, ...], method: str) -> None:
    """Raise ScriptError where a script is given what is no part, or none."""
    if not parts:
        raise ScriptError(f"{method}: a script without a part says nothing")
    _parts(parts, "Script")


def _code(given: object, kind: type[Code] | type[ErrorCode], what: str) -> int:
    if isinstance(given, str):
        try:
            return kind[given]
        except KeyError:
            names = ", ".join(each.name for each in kind)
            raise ScriptError(f"{what}({given!r}): there is no such code; there are {names}") from None
    number = getattr(given, "value", given)
    number = number[0] if isinstance(number, tuple) else number  # grpc.StatusCode's
    if type(number) is not int or number < 0:
        raise ScriptError(f"{what}({given!r}): a code is its name or its number")
    return kind(number) if any(number == each for each in kind) else number


def _said(side: Side, said: Any) -> tuple[Said, ...]:
    word = side.name.lower()
    if not said:
        raise ScriptError(f"{word}(): nothing is said")
    return tuple([_event(side, each) for each in said])


def _event(side: Side, given: object) -> Said:
    word = side.name.lower()
    match given:
        case Header(metadata):
            return ClientHeader("", metadata) if side is Side.CLIENT else ServerHeader(metadata)
        case ClientHalfClose() | Cancel() | ClientHeader() | ClientMessage() if side is Side.SERVER:
            raise ScriptError(f"server({_short(given)}): that is the client's to say")
        case ServerTrailer() | Reset() | ServerHeader() | ServerMessage() if side is Side.CLIENT:
            raise ScriptError(f"client({_short(given)}): that is the server's to say")
        case ClientMessage(payload, flags) | ServerMessage(payload, flags):
            if flags:
                raise ScriptError(f"{word}(…): a message is given without its compression")
            return payload
        case ClientHeader():
            return replace(given, method="")
        case ClientHalfClose() | Cancel() | ServerTrailer() | Reset() | ServerHeader():
            return given
        case _:
            return _pattern(given, word)


def _pattern(given: object, word: str) -> Pattern:
    _check_is_no_word(given)
    if isinstance(given, PARTS):
        raise ScriptError(f"{word}(…): a part is no event; write it beside {word}(…), not in it")
    if isinstance(given, list | tuple):
        raise ScriptError(f"{word}({shown(given)}): events are given one by one: {word}(a, b)")
    try:
        return pattern_of(given)
    except ScriptError as exc:
        raise ScriptError(f"{word}(…): {exc}") from None


def _check_is_no_word(given: object) -> None:
    name = getattr(given, "__name__", "")
    if callable(given) and given is globals().get(name):
        raise ScriptError(f"{name} is a function: write {name}({'…' if name in _NEEDS else ''})")


def _parts(parts: tuple[object, ...], word: str) -> tuple[Part, ...]:
    return tuple([_part(part, word) for part in parts])


def _part(given: object, word: str) -> Part:
    if isinstance(given, PARTS):
        return given
    if isinstance(given, list | tuple):
        raise ScriptError(f"{word}([…]): parts one after another are written sequence(s, t)")
    _check_is_no_word(given)
    raise ScriptError(f"{word}({_short(given)}): a part says whose it is: client({_short(given)}) or server(…)")


def _short(given: object) -> str:
    match given:
        case ClientHalfClose():
            return "half_close()"
        case Cancel():
            return "cancel()"
        case ServerTrailer(Status(code)):
            return f"status({code_text(code, Code)!r})"
        case Reset():
            return "reset()"
        case Header() | ClientHeader() | ServerHeader():
            return "header(…)"
        case _:
            return shown(given)


_NEEDS = ("client", "server", "turn", "sequence", "any_order", "repeat", "every", "after", "optional", "one_of")
