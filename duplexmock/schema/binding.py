"""Values bound from what arrived: an id that the client chose comes back in the reply.

A bind says FROM where a value is learned, and where it is used in its place:

    /chat.ChatService/Chat>1=/chat.ChatService/Chat<2.1

What stands at FROM in a message that was expected, and in the one that came, is a recorded value and the actual one.
Where a message of ours has that recorded value at TO, it says the actual one instead. Values are looked up by what they
are, so that a list or a second id in flight is no trouble, and one that was never learned stays as recorded. A 0 or an
empty text that an encoder left out is not on the wire, and neither learned nor replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import FieldPath, InMessages, MetadataPath, check, parse, routes
from duplexmock.schema.rewriting import replaced, values
from duplexmock.schema.scalars import Scalar
from duplexmock.schema.selection import Selection


@dataclass(frozen=True, slots=True)
class Bind:
    """From where in a received message to where in a sent one."""

    source: InMessages
    target: InMessages

    def __str__(self) -> str:
        return f"{self.source}={self.target}"


def parse_bind(text: str, what: str = "bind") -> Bind:
    """Read `FROM=TO`, two field paths; ScriptError, which begins with `what`, where it is none."""
    source, separator, target = text.partition("=")
    if not separator:
        raise ScriptError(f"{what} {text!r}: not FROM=TO, two field paths")
    return Bind(_in_messages(parse(source, what), what), _in_messages(parse(target, what), what))


def check_bind(bind: Bind, descriptors: Descriptors | None, what: str = "bind") -> None:
    """Raise ScriptError where one of the paths cannot lead anywhere, as fieldpath.check does."""
    check(bind.source, descriptors, what)
    check(bind.target, descriptors, what)


def check_expectations(ignore: Iterable[str], bind: Iterable[tuple[str, str]]) -> None:
    """Raise ScriptError where one of these is no field path: before it is stored, or played."""
    for text in ignore:
        parse(text, "ignore")
    for source, path in bind:
        parse_bind(f"{source}={path}")


class Bindings:
    """The binds of a play, and the values learned so far: those of one call (`of_call`), and those of all.

    Give `received` every message that came and its expected one, also where they are equal, if `learns` from such;
    give `bound` each message of ours before it is sent, if it `concerns` such. Payloads are decompressed ones.

    What is `tried` is bound as well, and where its values are learned is compared.
    """

    def __init__(
        self, binds: Iterable[Bind] = (), descriptors: Descriptors | None = None, tried: Iterable[Bind] = ()
    ) -> None:
        self._routes = _routes(tuple(binds), descriptors, tuple(tried))
        self._of_play: tuple[_Learned, ...] = tuple({} for _ in self._routes.sources)
        self._of_call: tuple[_Learned, ...] = self._of_play
        self._is_shared = True
        self._before: tuple[_Learned, ...] = ()

    @property
    def ignored(self) -> tuple[FieldPath, ...]:
        """Return the paths that are not to be compared, because values are learned there."""
        return self._routes.ignored

    def of_call(self) -> Bindings:
        """Return the bindings of one call: they use what it said before what others did, and learn for it alone.

        From `share` on they learn for all, until `withdraw`.
        """
        call = Bindings()
        call._routes = self._routes
        call._of_play = self._of_play
        call._of_call = tuple({} for _ in self._of_play)
        call._before = tuple({} for _ in self._of_play)
        call._is_shared = False
        return call

    def share(self) -> None:
        """Let all calls know what this one has learned, and what it will."""
        if not self._is_shared:
            self._is_shared = True
            for number, of_call in enumerate(self._of_call):
                for key, actual in of_call.items():
                    self._tell(number, key, actual)

    def withdraw(self) -> None:
        """Take back what all calls know by this one alone: it was another call than it was taken for."""
        if self._is_shared and self._of_call is not self._of_play:
            self._is_shared = False
            for of_call, of_play, before in zip(self._of_call, self._of_play, self._before, strict=True):
                for key, actual in of_call.items():
                    if of_play.get(key) != actual:
                        continue  # another call has said otherwise in the meantime
                    if key in before:
                        of_play[key] = before[key]
                    else:
                        del of_play[key]
                before.clear()

    def _tell(self, number: int, key: tuple[type, Scalar], actual: Scalar) -> None:
        of_play = self._of_play[number]
        if self._before and key in of_play and of_play[key] != self._of_call[number].get(key):
            self._before[number].setdefault(key, of_play[key])
        of_play[key] = actual

    def learns(self, method: str, side: Side) -> bool:
        """Tell whether the messages that `side` sends on `method` may hold a value at FROM."""
        return any(source.of(method, side) is not None for source in self._routes.sources)

    def concerns(self, method: str, side: Side) -> bool:
        """Tell whether the messages that `side` sends on `method` may hold a value at TO."""
        return any(target.of(method, side) is not None for target, _ in self._routes.targets)

    def received(self, method: str, side: Side, expected: bytes, actual: bytes) -> None:
        """Learn which value came for which recorded one; they are paired by where they stand in the message."""
        for number, source in enumerate(self._routes.sources):
            spot = source.of(method, side)
            if spot is None:
                continue
            came = values(actual, spot)
            for where, recorded in values(expected, spot).items():
                if where in came:
                    if self._is_shared:
                        self._tell(number, _key(recorded), came[where])
                    self._of_call[number][_key(recorded)] = came[where]

    def bound(self, method: str, side: Side, payload: bytes) -> bytes:
        """Return the payload with the actual values for the recorded ones; the same object where nothing changes.

        An actual value that does not fit its field, as text for a number, leaves it as recorded.
        """
        for target, sources in self._routes.targets:
            spot = target.of(method, side)
            if spot is not None:
                of_call = [self._of_call[number] for number in sources]
                of_play = [self._of_play[number] for number in sources]
                payload = replaced(payload, spot, partial(_actual, (*of_call, *of_play)))
        return payload


_Learned = dict[tuple[type, Scalar], Scalar]
"""Actual values by the recorded ones and their types: 1 and 1.0 are two values."""


@dataclass(frozen=True, slots=True)
class _Routes:
    """The binds, resolved: where each learns, and each distinct TO with the binds that lead to it, by position."""

    ignored: tuple[FieldPath, ...]
    sources: tuple[Selection, ...]
    targets: tuple[tuple[Selection, tuple[int, ...]], ...]


def _routes(binds: tuple[Bind, ...], descriptors: Descriptors | None, tried: tuple[Bind, ...]) -> _Routes:
    every = (*binds, *tried)
    by_target: dict[InMessages, list[int]] = {}
    for number, bind in enumerate(every):
        by_target.setdefault(bind.target, []).append(number)
    return _Routes(
        ignored=tuple(dict.fromkeys(bind.source for bind in binds)),
        sources=tuple(_selection(bind.source, descriptors) for bind in every),
        targets=tuple((_selection(target, descriptors), tuple(numbers)) for target, numbers in by_target.items()),
    )


def _selection(path: InMessages, descriptors: Descriptors | None) -> Selection:
    return Selection([route.to_values() for route in routes([path], descriptors)], descriptors)


def _actual(learned: Iterable[_Learned], value: Scalar) -> Scalar | None:
    """Return what to say for a recorded value: by the first that knows; None where it is to stay."""
    key = _key(value)
    for known in learned:
        if key in known:
            return known[key] if _key(known[key]) != key else None
    return None


def _key(value: Scalar) -> tuple[type, Scalar]:
    return type(value), value


def _in_messages(path: FieldPath, what: str) -> InMessages:
    if isinstance(path, MetadataPath):
        raise ScriptError(f"{what} '{path}': values are bound from and to fields of messages, not metadata")
    return path
