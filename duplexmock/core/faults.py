"""Faults: what is done instead of an event, or behind it, as people write it: `reset(CANCEL)@server:2`.

    NAME[(ARGUMENTS)]@[after:]PLACE[#CALLS]

    client:header   client:2   client:*   client:half-close   client:cancel   client:deadline
    server:header   server:2   server:*   server:trailer

PLACE is an event of a call. Messages count from 1 in their lane, and `*` is each of them; `server:trailer` is the
server's last word, a reset too; `client:deadline` is what ends the call when the client's deadline is up, the client's
cancel or the server's DEADLINE_EXCEEDED. The fault is done in its place: when we were to say it, or when it has come.
With `after:` it is done behind it.

CALLS says which calls it concerns, in each of which it is done: `#2` the second one of the play, in the order in which
they are opened, `#GLOB` those of these methods, `/package.Service/Method`; all calls without it. Names and arguments
are those of the table in faultkinds.py.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from duplexmock.core import parameters
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    side_of,
)
from duplexmock.core.faultkinds import KINDS, Kind
from duplexmock.core.method import is_chosen
from duplexmock.core.parameters import Argument
from duplexmock.core.value import value
from duplexmock.errors import ScriptError


@value
class Place:
    """An event of a call: `what` is one of WHATS; `number` that of a message, from 1, or 0 for each of them.

    `is_behind` tells that the place is behind the event.
    """

    side: Side
    what: str
    number: int = 0
    is_behind: bool = False

    def __str__(self) -> str:
        what = self.what if self.what != "message" else str(self.number or "*")
        return f"{'after:' if self.is_behind else ''}{self.side.name.lower()}:{what}"

    @property
    def event_name(self) -> str:
        """Name the event as a timeline does: `ServerMessage #2`."""
        side = self.side.name.title()
        match self.what:
            case "message":
                return f"{side}Message #{self.number}" if self.number else f"a {side}Message"
            case "deadline":
                return "the client's deadline"
            case _:
                return _NAMES[self.side, self.what]

    def fits(self, event: Event, number: int, is_by_deadline: bool) -> bool:
        """Tell whether an event is here; `number` is its number where it is a message."""
        if self.what == "deadline":
            return is_by_deadline
        if self.side is not side_of(event) or self.what != _WHAT[type(event)]:
            return False
        return self.what != "message" or self.number in (0, number)


@value
class Fault:
    """A fault: its kind by `name`, a value for each of the kind's parameters, its place, and which calls it concerns.

    `calls` is a call's number, from 1, or a glob of methods; None are all. Made by `parse`; `str` writes it so that
    this reads an equal one. ScriptError where there is no such fault, or not at such a place.
    """

    name: str
    place: Place
    arguments: tuple[Argument, ...] = ()
    calls: int | str | None = None

    def __post_init__(self) -> None:
        kind = _kind(self.name)
        if not self.arguments and kind.parameters:
            object.__setattr__(self, "arguments", parameters.read(kind.parameters, ""))
        category = _category(self.place)
        if category not in kind.said | kind.heard:
            raise ScriptError(f"a fault {self.name} is not at {self.place}; {_where(kind)}")
        if self.place.is_behind and kind.only_at:
            raise ScriptError(f"a fault {self.name} stands in the place of an event, not after it")

    def __str__(self) -> str:
        calls = "" if self.calls is None else f"#{self.calls}"
        return f"{self.name}{parameters.write(self.kind.parameters, self.arguments)}@{self.place}{calls}"

    @property
    def kind(self) -> Kind:
        """Return its row of the table."""
        return KINDS[self.name]

    @property
    def seed(self) -> int:
        """Return what its chance is seeded with."""
        names = [each.name for each in self.kind.parameters]
        return int(self.arguments[names.index("seed")] or 0) if "seed" in names else 0

    def check(self, side: Side) -> None:
        """Raise ScriptError where it cannot be done by who plays this side."""
        kind, place = self.kind, self.place
        who = side.name.lower()
        if kind.of is not None and kind.of is not side:
            raise ScriptError(f"fault {self}: only a server can do this, and the {who} is played here")
        category = _category(place)
        if place.side is side:
            # A client's header opens the call: what ends it can only come behind.
            is_possible = category in kind.said or (place.is_behind and category == "client header")
        else:
            is_possible = category in kind.heard
        if is_possible:
            return
        if place.side is side:
            behind = "" if kind.only_at else f"; after:{place} stands behind it"
            raise ScriptError(f"fault {self}: this cannot be done in the place of what the {who} is to say{behind}")
        raise ScriptError(
            f"fault {self}: the {who} is played here, and cannot change what the {side.other.name.lower()} says"
        )

    def concerns(self, number: int, method: str) -> bool:
        """Tell whether it concerns a call: the one of this number, of this method."""
        match self.calls:
            case None:
                return True
            case int():
                return self.calls == number
            case _:
                return is_chosen(method, (self.calls,))


def parse(written: object) -> Fault:
    """Read a fault; one that is read already is itself. ScriptError, in one sentence, for what is none."""
    if isinstance(written, Fault):
        return written
    found = _FAULT.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is None:
        raise ScriptError(f"fault {written!r}: a fault is written NAME(ARGUMENTS)@PLACE, as in reset(CANCEL)@server:2")
    name, arguments, place, calls = found.groups()
    try:
        kind = _kind(name)
        return Fault(name, _place(place), parameters.read(kind.parameters, arguments or ""), _calls(calls))
    except ScriptError as exc:
        raise ScriptError(f"fault {written!r}: {exc}") from None


def _kind(name: str) -> Kind:
    if name in KINDS:
        return KINDS[name]
    close = get_close_matches(name, KINDS, 1)
    hint = f"; is {close[0]!r} meant?" if close else ""
    raise ScriptError(f"there is no fault {name!r}{hint or '; there are ' + ', '.join(KINDS)}")


def _place(written: str) -> Place:
    is_behind = written.startswith("after:")
    side_name, _, what = written.removeprefix("after:").partition(":")
    side = _SIDES.get(side_name)
    if side is None:
        raise ScriptError(f"place {written!r} begins with client: or server:, as in server:2 or client:half-close")
    if what == "*":
        return Place(side, "message", 0, is_behind)
    if re.fullmatch(r"\d+", what):
        if not int(what):
            raise ScriptError(f"place {written!r}: messages count from 1")
        return Place(side, "message", int(what), is_behind)
    if what in _WHATS[side]:
        return Place(side, what, 0, is_behind)
    raise ScriptError(
        f"place {written!r}: of the {side_name} there are {', '.join(_WHATS[side])}, the number of a message, or *"
    )


def _calls(written: str | None) -> int | str | None:
    if written is None:
        return None
    if re.fullmatch(r"\d+", written):
        if not int(written):
            raise ScriptError("calls count from 1")
        return int(written)
    if not written:
        raise ScriptError("behind # stands the number of a call, or a glob of methods")
    return written


def _category(place: Place) -> str:
    """Return the name of a place as the table has it."""
    return f"{place.side.name.lower()} header" if place.what == "header" else place.what


def _where(kind: Kind) -> str:
    places = sorted(kind.said | kind.heard)
    named = ["a message" if each == "message" else _PLACES.get(each, each) for each in places]
    return f"it is at {', or '.join((', '.join(named[:-1]), named[-1])) if len(named) > 1 else named[0]}"


_SIDES = {"client": Side.CLIENT, "server": Side.SERVER}

_WHATS = {Side.CLIENT: ("header", "half-close", "cancel", "deadline"), Side.SERVER: ("header", "trailer")}

_WHAT: dict[type[Event], str] = {
    ClientHeader: "header",
    ClientMessage: "message",
    ClientHalfClose: "half-close",
    Cancel: "cancel",
    ServerHeader: "header",
    ServerMessage: "message",
    ServerTrailer: "trailer",
    Reset: "trailer",
}

_NAMES = {
    (Side.CLIENT, "header"): "ClientHeader",
    (Side.CLIENT, "half-close"): "ClientHalfClose",
    (Side.CLIENT, "cancel"): "Cancel",
    (Side.SERVER, "header"): "ServerHeader",
    (Side.SERVER, "trailer"): "ServerTrailer",
}

_PLACES = {
    "client header": "client:header",
    "server header": "server:header",
    "half-close": "client:half-close",
    "cancel": "client:cancel",
    "deadline": "client:deadline",
    "trailer": "server:trailer",
}

_FAULT = re.compile(
    r"([a-z][a-z-]*)\s*(?:\(((?:[^'\"()]|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")*)\))?\s*@\s*([^#\s]+)\s*(?:#\s*(.*))?",
    re.DOTALL,
)
