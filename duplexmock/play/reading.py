"""How a play reads messages: each fixture by its descriptors, without its ignored fields, bound as it says.

Messages that are equal byte for byte need none of this, so what reads descriptors is loaded, and they are read, when
the first two differ, or a path has to be understood (bench: `cold start`, `first reply`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING

from duplexmock.core.events import (
    ClientHeader,
    ClientMessage,
    Event,
    ServerHeader,
    ServerMessage,
    Side,
)
from duplexmock.core.lanes import Lanes, Step
from duplexmock.core.matching import Difference
from duplexmock.core.metadata import Metadata
from duplexmock.errors import ProtocolError, ScriptError
from duplexmock.play.repertoire import CallReading
from duplexmock.schema.matching import CallMatcher
from duplexmock.schema.payload import COMPRESSED, encoding, plain
from duplexmock.store.fixture import Fixture
from duplexmock.store.redact import is_redacted

if TYPE_CHECKING:
    from duplexmock.schema.binding import Bindings
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.fieldpath import FieldPath
    from duplexmock.schema.payloads import Payloads
    from duplexmock.schema.reader import Reader


class FixtureReading:
    """Reads the messages of one fixture.

    `descriptors` come before the fixture's own, `ignore` and `bind` are added to those it carries. What is `tried` is
    bound as well, and still compared: whether the call is the recorded one is not for a guess to say. ScriptError for a
    path that is none; one that leads nowhere here may be meant for another fixture, and does nothing.
    """

    def __init__(
        self,
        fixture: Fixture,
        name: str,
        descriptors: Descriptors | None = None,
        ignore: Sequence[str] = (),
        bind: Sequence[tuple[str, str]] = (),
        tried: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._name = name
        self._given = descriptors
        self._serialized = fixture.descriptors
        self._ignored: Sequence[FieldPath] = ()
        self._ignored_keys: frozenset[str] = frozenset()
        self._bindings: Bindings | None = None
        self._payloads = lambda: self._compared
        self._encodings: dict[int, str] = {}
        self._offered: dict[int, Lanes] = {}
        expectations = fixture.expectations
        ignore, bind = (*expectations.ignore, *ignore), (*expectations.bind, *bind)
        if ignore or bind or tried:
            self._read_paths(ignore, bind, tried)

    @cached_property
    def descriptors(self) -> Descriptors | None:
        """Return what is known of the messages, as one set; ScriptError where the fixture's own cannot be read."""
        from duplexmock.schema.descriptors import Descriptors

        known = self._known
        return reduce(Descriptors.merge, known) if known else None

    @cached_property
    def reader(self) -> Reader:
        """Return what reads the messages; ScriptError as for `descriptors`."""
        from duplexmock.schema.reader import Reader

        return Reader(*self._known)

    def of_call(self, lanes: Lanes, side: Side) -> CallReading:
        """Return what one call that plays `side` is read by."""
        match = CallMatcher(lanes.method, self._payloads, self._ignored_keys, is_redacted)
        if self._bindings is None:
            return CallReading(match)
        learns = self._bindings.learns(lanes.method, side.other)
        concerns = self._bindings.concerns(lanes.method, side)
        if not learns and not concerns:
            return CallReading(match)
        bindings = self._bindings.of_call()
        heard, said = _Spoken(), _Spoken()

        def match_and_learn(expected: Event, actual: Event) -> Iterable[Difference]:
            # A message that differs elsewhere teaches too: a probe goes on, and is of this call if no other one fits.
            found = tuple(match(expected, actual))
            heard.note(expected, actual)
            if isinstance(expected, ClientMessage | ServerMessage) and type(actual) is type(expected):
                wanted, came = heard.plain(expected, heard.expected), heard.plain(actual, heard.actual)
                bindings.received(lanes.method, side.other, wanted, came)
            return found

        def bind(event: Event) -> Event:
            said.note(event, event)
            if not isinstance(event, ClientMessage | ServerMessage):
                return event
            payload = said.plain(event, said.expected)
            bound = bindings.bound(lanes.method, side, payload)
            return event if bound == payload else replace(event, payload=bound, flags=event.flags & ~COMPRESSED)

        return CallReading(
            match_and_learn if learns else match,
            bind if concerns else None,
            learns,
            bindings.share,
            bindings.withdraw,
        )

    def offered(self, lanes: Lanes, header: ClientHeader) -> Lanes:
        """Return the lanes as a server may play them to this client: in no encoding that it does not accept."""
        used = self._encodings.get(lanes.number)
        if used is None:
            used = self._encodings[lanes.number] = _encoding(lanes)
        if not used or used == "identity" or used in _listed(header.metadata.every("grpc-accept-encoding")):
            return lanes
        if lanes.number not in self._offered:
            plainly = tuple(_plainly(step, used) for step in lanes.server)
            self._offered[lanes.number] = replace(lanes, server=plainly)
        return self._offered[lanes.number]

    @cached_property
    def _known(self) -> Sequence[Descriptors]:
        from duplexmock.schema.descriptors import Descriptors

        own = Descriptors(self._serialized, f"{self._name}: descriptors") if self._serialized else None
        return [each for each in (self._given, own) if each is not None]

    @cached_property
    def _compared(self) -> Payloads:
        from duplexmock.schema.payloads import Payloads

        return Payloads(self.descriptors, self._ignored)

    def _read_paths(
        self, ignore: Sequence[str], bind: Sequence[tuple[str, str]], tried: Sequence[tuple[str, str]]
    ) -> None:
        from duplexmock.schema import fieldpath
        from duplexmock.schema.binding import Bindings, parse_bind

        binds, guesses = ([parse_bind(f"{source}={path}") for source, path in each] for each in (bind, tried))
        self._bindings = Bindings(binds, self.descriptors, guesses)
        ignored = [fieldpath.parse(text, "ignore") for text in ignore]
        self._ignored = [*ignored, *self._bindings.ignored]
        self._ignored_keys = fieldpath.metadata_keys(self._ignored)


def check_paths(every: Sequence[Descriptors | None], ignore: Sequence[str], bind: Sequence[tuple[str, str]]) -> None:
    """Raise ScriptError for a path that leads nowhere in any fixture; `every` are their descriptors."""
    from duplexmock.schema import fieldpath

    for what, text in (*(("ignore", path) for path in ignore), *(("bind", path) for pair in bind for path in pair)):
        path = fieldpath.parse(text, what)
        refusals = []
        for descriptors in every:
            try:
                fieldpath.check(path, descriptors, what)
            except ScriptError as exc:
                refusals.append(exc)
        if refusals and len(refusals) == len(every):
            raise refusals[0]


@dataclass(slots=True)
class _Spoken:
    """How the messages of the lane that is looked at are compressed, in the recording and here."""

    expected: str = ""
    actual: str = ""

    def note(self, expected: Event, actual: Event) -> None:
        if isinstance(expected, ClientHeader | ServerHeader) and isinstance(actual, ClientHeader | ServerHeader):
            self.expected, self.actual = encoding(expected.metadata), encoding(actual.metadata)

    def plain(self, event: Event, spoken: str) -> bytes:
        """Return the message decompressed, or as it came where that cannot be done."""
        assert isinstance(event, ClientMessage | ServerMessage)
        try:
            return plain(event.payload, event.flags, spoken)
        except ProtocolError:
            return event.payload


def _encoding(lanes: Lanes) -> str:
    """Return how the server of a call compresses its messages."""
    answer = next((step.event for step in lanes.server if isinstance(step.event, ServerHeader)), None)
    return encoding(answer.metadata) if answer is not None else ""


def _plainly(step: Step, used: str) -> Step:
    match step.event:
        case ServerHeader() as header:
            kept = Metadata(tuple(pair for pair in header.metadata if pair[0] != "grpc-encoding"))
            return replace(step, event=replace(header, metadata=kept))
        case ServerMessage(payload, flags) if flags & COMPRESSED:
            try:
                return replace(step, event=ServerMessage(plain(payload, flags, used), flags & ~COMPRESSED))
            except ProtocolError:
                return step  # as it was recorded: what the client made of it then, it makes of it now
        case _:
            return step


def _listed(values: Iterable[str | bytes]) -> set[str]:
    return {each.strip() for value in values if isinstance(value, str) for each in value.split(",")}
