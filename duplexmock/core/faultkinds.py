"""The kinds of faults: what each has done in the place of an event. A new one is a function, and a row of the table.

A function is given where it stands (At) and its arguments, and returns Acts (acts.py); it is pure, and whatever it
leaves to chance it draws from `at.draw`, which is seeded. The table at the foot says how its arguments are called, and
which events it is for: those that are said, and those that are heard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from struct import Struct
from typing import NamedTuple

from duplexmock.core.acts import Act, Anyway, Cut, GoAway, Keep, Octets, Pause, Repeat, Sever, Turn, Withhold
from duplexmock.core.events import (
    Cancel,
    ClientMessage,
    Event,
    Reset,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.parameters import (
    Argument,
    Parameter,
    count,
    error_code,
    number,
    span,
    status_code,
    text,
    word,
)
from duplexmock.core.status import Code, ErrorCode, Status

MS = 1_000_000


class At(NamedTuple):
    """Where a fault is: at an `event` of a call in which we play `side`.

    `is_ours` tells whether we are to say it, or heard it. `has_header` tells whether our header has been said, `last`
    is the message of ours that was said last, if any.
    """

    side: Side
    event: Event
    is_ours: bool
    has_header: bool
    last: Event | None
    draw: Random


# Of time


def delay(at: At, ns: int) -> Sequence[Act]:
    return Pause(ns), at.event


def jitter(at: At, most_ns: int, seed: int) -> Sequence[Act]:
    return Pause(round(at.draw.random() * most_ns)), at.event


def late_header(at: At, messages: int) -> Sequence[Act]:
    return (Keep(at.event, messages),)


def slow(at: At, ns: int) -> Sequence[Act]:
    return Withhold(ns), Pause(ns), at.event


def no_window(at: At, ns: int | None) -> Sequence[Act]:
    return Withhold(ns), at.event


# Of what is said


def drop(at: At) -> Sequence[Act]:
    return ()


def duplicate(at: At, times: int) -> Sequence[Act]:
    return (at.event,) * (times + 1)


def reorder(at: At) -> Sequence[Act]:
    return (Keep(at.event, 1),)


def corrupt(at: At, octets: int | None, seed: int) -> Sequence[Act]:
    payload = bytearray(_message(at.event).payload)
    if octets is None or octets >= len(payload):
        places: Sequence[int] = range(len(payload))
    else:
        places = at.draw.sample(range(len(payload)), octets)
    for place in places:
        payload[place] ^= 0xFF
    return (replace(_message(at.event), payload=bytes(payload) or b"\xff"),)


def length(at: At, more: int) -> Sequence[Act]:
    message = _message(at.event)
    told = min(max(len(message.payload) + more, 0), 2**32 - 1)
    return (Octets(_PREFIX.pack(message.flags, told) + message.payload),)


def cut(at: At, octets: int | None) -> Sequence[Act]:
    return Cut(at.event, octets), Turn.ENDED


def endless(at: At, ns: int) -> Sequence[Act]:
    is_message = isinstance(at.event, ClientMessage | ServerMessage)
    repeated = at.event if is_message else at.last or ServerMessage(b"")
    return Repeat(repeated, ns), Turn.STALLED


# Of the end


def status(at: At, code: int, message: str) -> Sequence[Act]:
    return _trailer(at, Status(code, message)), Turn.ENDED


def early_trailer(at: At, code: int, message: str) -> Sequence[Act]:
    return _trailer(at, Status(code, message)), Turn.OVERRUN, at.event


def no_trailers(at: At) -> Sequence[Act]:
    return (ServerTrailer(None),)


def no_status(at: At) -> Sequence[Act]:
    metadata = at.event.metadata if isinstance(at.event, ServerTrailer) else Metadata()
    return Anyway(ServerTrailer(None, metadata)), Turn.ENDED


def reset(at: At, code: int) -> Sequence[Act]:
    return Reset(code) if at.side is Side.SERVER else Cancel(code), Turn.ENDED


def stall(at: At) -> Sequence[Act]:
    return (Turn.STALLED,)


def ignore(at: At, ns: int) -> Sequence[Act]:
    # What we are to say here is the server's own DEADLINE_EXCEEDED.
    return () if at.is_ours else (Turn.OVERRUN, Pause(ns), at.event)


# Of the connection


def goaway(at: At, code: int, last: int | None) -> Sequence[Act]:
    return GoAway(code, last), at.event


def abrupt_goaway(at: At, code: int, last: int | None) -> Sequence[Act]:
    return GoAway(code, last), Sever(), Turn.ENDED


def lose(at: At, how: str) -> Sequence[Act]:
    return Sever(by_reset=how == "reset"), Turn.ENDED


def _message(event: Event) -> ClientMessage | ServerMessage:
    assert isinstance(event, ClientMessage | ServerMessage)
    return event


def _trailer(at: At, ending: Status) -> ServerTrailer:
    return ServerTrailer(ending, Metadata() if at.has_header else GRPC_ANSWER)


_PREFIX = Struct(">BI")


class Kind(NamedTuple):
    """A kind of fault, what it does, and which events it is for: those we say, and those we hear.

    `of` is the side that alone can do it, None where both can. One that is `only_at` an event stands in its place;
    others can stand behind it as well. `line` says what it is.
    """

    does: Callable[..., Sequence[Act]]
    line: str
    parameters: tuple[Parameter, ...] = ()
    said: frozenset[str] = frozenset()
    heard: frozenset[str] = frozenset()
    of: Side | None = None
    only_at: bool = True


_MESSAGES = frozenset(("message",))
_ENDING = frozenset(("server header", "message", "half-close", "trailer"))
_HEARD = frozenset(("client header", "server header", "message", "half-close"))
_ALL = frozenset(("client header", "server header", "message", "half-close", "cancel", "deadline", "trailer"))

KINDS: dict[str, Kind] = {
    "delay": Kind(delay, "it comes that much later", (span("time"),), _ALL, _ALL),
    "jitter": Kind(jitter, "it comes later, by up to that much", (span("most"), count("seed", 0, 0)), _ALL, _ALL),
    "late-header": Kind(
        late_header,
        "the initial metadata waits until there is something else to say; or comes behind so many messages",
        (count("messages", 0, 0),),
        frozenset(("server header",)),
    ),
    "slow": Kind(
        slow,
        "each message is taken that much later, and no window is given meanwhile",
        (span("time"),),
        heard=_MESSAGES,
    ),
    "no-window": Kind(
        no_window,
        "no more window is given on the call, for that long or for good",
        (span("time", None),),
        _ALL,
        _ALL,
        only_at=False,
    ),
    "drop": Kind(
        drop,
        "it is not said; or not heard",
        (),
        frozenset(("server header", "message", "half-close", "cancel", "deadline", "trailer")),
        frozenset(("message", "half-close")),
    ),
    "duplicate": Kind(duplicate, "it is said again, so many times", (count("times", 1, 1),), _MESSAGES),
    "reorder": Kind(reorder, "it changes places with the next message", (), _MESSAGES),
    "corrupt": Kind(
        corrupt,
        "its payload is inverted: all of it, or so many bytes",
        (count("bytes", 1, None), count("seed", 0, 0)),
        _MESSAGES,
    ),
    "length": Kind(length, "its prefix announces so many bytes more, or less", (number("more", 1),), _MESSAGES),
    "cut": Kind(
        cut,
        "its frame is cut, in the middle or behind so many bytes, and the connection closed",
        (count("bytes", 0, None),),
        _MESSAGES,
    ),
    "endless": Kind(
        endless,
        "it, or the last message, is said again and again until the peer ends the call",
        (span("every", 10 * MS),),
        frozenset(("message", "trailer")),
    ),
    "status": Kind(
        status,
        "the call ends with this status",
        (status_code("code"), text("message", "")),
        frozenset(("server header", "message", "trailer")),
        _HEARD,
        Side.SERVER,
        only_at=False,
    ),
    "early-trailer": Kind(
        early_trailer,
        "the status is said here, and what was to be said goes out behind it all the same",
        (status_code("code", int(Code.OK)), text("message", "")),
        _MESSAGES,
        of=Side.SERVER,
    ),
    "trailers-only": Kind(
        status,
        "the call ends with this status before any header",
        (status_code("code"), text("message", "")),
        frozenset(("server header",)),
        of=Side.SERVER,
    ),
    "no-trailers": Kind(no_trailers, "the call ends without trailers", (), frozenset(("trailer",)), of=Side.SERVER),
    "no-status": Kind(no_status, "the trailers have no grpc-status", (), frozenset(("trailer",)), of=Side.SERVER),
    "reset": Kind(
        reset,
        "RST_STREAM, with any code",
        (error_code("code", int(ErrorCode.INTERNAL_ERROR)),),
        _ENDING,
        _HEARD,
        only_at=False,
    ),
    "stall": Kind(stall, "nothing more is said, and nothing ends the call", (), _ENDING, _HEARD, only_at=False),
    "ignore-cancel": Kind(
        ignore,
        "the server goes on for so long, as if it had not heard it",
        (span("time", 1000 * MS),),
        heard=frozenset(("cancel",)),
        of=Side.SERVER,
    ),
    "ignore-deadline": Kind(
        ignore,
        "the server goes on for so long, as if it had no clock",
        (span("time", 1000 * MS),),
        heard=frozenset(("deadline",)),
        of=Side.SERVER,
    ),
    "goaway": Kind(
        goaway,
        "GOAWAY: no new calls on this connection; last is the last stream that will be answered",
        (error_code("code", int(ErrorCode.NO_ERROR)), count("last", 0, None)),
        _ENDING,
        _HEARD,
        only_at=False,
    ),
    "abrupt-goaway": Kind(
        abrupt_goaway,
        "GOAWAY, and the connection is closed",
        (error_code("code", int(ErrorCode.INTERNAL_ERROR)), count("last", 0, None)),
        _ENDING,
        _HEARD,
        only_at=False,
    ),
    "lose": Kind(
        lose,
        "the connection is lost, closed or reset",
        (word("how", ("close", "reset"), "close"),),
        _ENDING,
        _HEARD,
        only_at=False,
    ),
}
"""By the names that people write."""

__all__ = ["KINDS", "Argument", "At", "Kind"]
