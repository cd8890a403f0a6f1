"""The fields of many messages of one lane, as they are compared and bound: by descriptors, or by number.

Without descriptors the wire does not tell a nested message from text or bytes. Here all messages of a lane are known,
and a field is taken for a message where each of its values parses as one, no number in it has two wire types, and it
does not look like text. What a message says by them is in said.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from duplexmock.core.events import Side
from duplexmock.schema.descriptors import PROTOBUFS_OWN, Descriptors
from duplexmock.schema.fieldpath import MAP_VALUE, MethodPath, Step, TypePath, is_map
from duplexmock.schema.scalars import Scalar
from duplexmock.schema.selection import ANY_URL, ANY_VALUE
from duplexmock.schema.wirescan import GROUP_START, LENGTH_DELIMITED, NotAMessageError, Place, scan

MAX_DEPTH = 64
"""Messages nested deeper are single values, as in wireformat.py."""

MAX_SCANNED_BYTES = 256 * 1024
"""Larger messages are not looked into: what is no protobuf at all may scan as a field for every few bytes."""

Known = Any
"""A Descriptor, FieldDescriptor or None, whose types only schema/ imports."""


@dataclass(frozen=True, slots=True, eq=False)
class LaneField:
    """One field of the messages that one side sends on one method; the same one for the same field.

    `path` says it by the method, `type_path` by the message type that holds it, None where no descriptor knows that.
    `above` is the field whose message holds it. `absent` is what it means that it is not there, None where that is a
    meaning of its own. `may_be_bound` is False where a bind cannot or must not lead here: messages, enums, booleans.
    """

    path: MethodPath
    type_path: TypePath | None
    above: LaneField | None
    is_list: bool | None
    absent: Scalar | None
    may_be_bound: bool
    is_timestamp: bool = False

    @property
    def side(self) -> Side:
        """Return who sends it."""
        return self.path.side

    def all_above(self) -> Iterator[LaneField]:
        """Yield the fields whose messages hold it, the nearest first."""
        above = self.above
        while above is not None:
            yield above
            above = above.above


@dataclass(slots=True, eq=False)
class Shape:
    """What the messages at one place hold, by field number: each field, and the Shapes of those that are messages.

    A map's Shape is that of its entries. `choices` are the numbers that stand in a oneof. `in_any` are the Shapes of
    what a google.protobuf.Any holds, by its `type_url`.
    """

    fields: dict[int, LaneField] = field(default_factory=dict)
    known: dict[int, Known] = field(default_factory=dict)
    into: dict[int, Shape] = field(default_factory=dict)
    maps: set[int] = field(default_factory=set)
    choices: frozenset[int] = frozenset()
    in_any: dict[bytes, Shape] | None = None


def shape_of(method: str, side: Side, payloads: Sequence[bytes], descriptors: Descriptors | None) -> Shape:
    """Return the Shape of all that `side` says on `method`; payloads are decompressed ones."""
    kind = descriptors.type_sent(method, side) if descriptors is not None else None
    return _shape(_At(method, side, kind, descriptors, typed=_named(kind)), payloads, MAX_DEPTH)


@dataclass(frozen=True, slots=True)
class _At:
    """Where a message stands: the steps to it by its method, and by the last type that is not protobuf's own.

    `by_name` are the steps where a name follows: behind a map it stands for a field of the values.
    """

    method: str
    side: Side
    kind: Known
    descriptors: Descriptors | None
    steps: tuple[Step, ...] = ()
    by_name: tuple[Step, ...] = ()
    typed: tuple[Step, ...] = ()
    above: LaneField | None = None
    is_entry: bool = False
    is_in_any: bool = False

    def field(self, number: int, known: Known, *, is_message: bool) -> LaneField:
        """Return the field of this number here."""
        # A map's entry has numbers only, and so has what lies behind the bytes of an Any.
        has_name = known is not None and not self.is_entry
        step: Step = known.name if has_name else number
        steps = (*self.by_name, step) if has_name and not self.is_in_any else (*self.steps, number)
        is_list = isinstance(known.default_value, list) if known is not None else None
        absent = None
        if known is not None and not is_list and known.message_type is None and not known.has_presence:
            default = known.default_value
            absent = default.encode() if isinstance(default, str) else _number(default)
        is_choice = known is not None and known.type in (known.TYPE_BOOL, known.TYPE_ENUM)
        return LaneField(
            MethodPath(self.method, self.side, steps),
            TypePath((*self.typed, step)) if self.typed else None,
            self.above,
            is_list,
            absent,
            may_be_bound=not (is_message or is_choice or (known is not None and is_of_json(known.message_type))),
            is_timestamp=known is not None
            and known.message_type is not None
            and known.message_type.full_name == "google.protobuf.Timestamp",
        )

    def within(self, here: LaneField, number: int, known: Known) -> _At:
        """Return where the messages of a field stand."""
        kind = known.message_type if known is not None else None
        steps = here.path.steps
        typed = here.type_path.steps if here.type_path is not None else ()
        is_entry = known is not None and is_map(known)
        if kind is not None and not is_entry:
            typed = _named(kind) or typed
        return replace(
            self,
            kind=kind,
            steps=steps,
            by_name=steps[:-1] if self.is_entry and number == MAP_VALUE else steps,
            typed=typed,
            above=here,
            is_entry=is_entry,
        )

    def in_any(self, here: LaneField, url: bytes) -> _At:
        """Return where the message that an Any holds stands."""
        name = url.decode("utf-8", "replace").rpartition("/")[2]
        kind = self.descriptors.message_type(name) if self.descriptors is not None else None
        within = self.within(here, ANY_VALUE, None)
        return replace(within, kind=kind, typed=_named(kind) or within.typed, is_in_any=True)


def _shape(at: _At, payloads: Sequence[bytes], depth: int) -> Shape:
    """Return what all these messages hold; those that do not parse are left out."""
    kind = at.kind
    found: dict[int, list[tuple[int, bytes]]] = {}
    by_url: dict[bytes, list[bytes]] = {}
    is_any = kind is not None and kind.full_name == _ANY
    for payload in payloads:
        places = scanned(payload) or []
        for place in places:
            found.setdefault(place.number, []).append((place.wire_type, raw_of(payload, place)))
        if is_any:
            url, value = url_of(payload, places), [raw_of(payload, each) for each in places if each.number == ANY_VALUE]
            by_url.setdefault(url, []).extend(value)
    shape = Shape()
    if kind is not None:
        of_choices = [oneof for oneof in kind.oneofs if len(oneof.fields) > 1]
        shape.choices = frozenset(each.number for oneof in of_choices for each in oneof.fields)
    for number, pieces in sorted(found.items()):
        known = kind.fields_by_number.get(number) if kind is not None else None
        goes_on = depth > 0 and not (is_any and number == ANY_VALUE) and _is_message(known, pieces)
        shape.known[number] = known
        shape.fields[number] = here = at.field(number, known, is_message=goes_on)
        if goes_on:
            shape.into[number] = _shape(at.within(here, number, known), [raw for _, raw in pieces], depth - 1)
            if known is not None and is_map(known):
                shape.maps.add(number)
    if is_any and ANY_VALUE in shape.fields and depth:
        here = shape.fields[ANY_VALUE]
        shape.in_any = {url: _shape(at.in_any(here, url), raws, depth - 1) for url, raws in sorted(by_url.items())}
    return shape


def _is_message(known: Known, pieces: Sequence[tuple[int, bytes]]) -> bool:
    """Tell whether a field is to be looked into."""
    if known is not None:
        kind = known.message_type
        return kind is not None and (kind.file.name not in PROTOBUFS_OWN or kind.full_name == _ANY)
    wire_types: dict[int, int] = {}
    looks_like_text = True
    for wire_type, raw in pieces:
        if wire_type == GROUP_START:
            looks_like_text = False
        elif wire_type != LENGTH_DELIMITED:
            return False
        places = scanned(raw)
        if places is None or any(
            wire_types.setdefault(each.number, each.wire_type) != each.wire_type for each in places
        ):
            return False
        looks_like_text = looks_like_text and _is_printable(raw)
    # Text parses by chance, if it is short; texts that all do, each with the lengths it has to have, are none.
    return not looks_like_text or len({raw for _, raw in pieces if len(raw) >= _TOO_LONG_FOR_CHANCE}) > 1


def scanned(payload: bytes) -> list[Place] | None:
    """Return where the fields of a message are; None where it is none, or too large."""
    if len(payload) > MAX_SCANNED_BYTES:
        return None
    try:
        return scan(payload, 0, len(payload))
    except NotAMessageError:
        return None


def raw_of(payload: bytes, place: Place) -> bytes:
    """Return what stands behind a field's tag."""
    return payload[place.value_start : place.value_end]


def url_of(payload: bytes, places: Sequence[Place]) -> bytes:
    """Return the `type_url` of an Any."""
    urls = [raw_of(payload, place) for place in places if place.number == ANY_URL]
    return urls[-1] if urls else b""


def _is_printable(raw: bytes) -> bool:
    try:
        return raw.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _named(kind: Known) -> tuple[Step, ...]:
    """Return the steps of a type path to this type; none for protobuf's own, which mean something else everywhere."""
    return () if kind is None or kind.file.name in PROTOBUFS_OWN else tuple(kind.full_name.split("."))


def is_of_json(kind: Known) -> bool:
    """Tell whether a type is one of google/protobuf/struct.proto's."""
    return kind is not None and kind.full_name in OF_JSON


def _number(default: object) -> Scalar:
    assert isinstance(default, bool | int | float | bytes)
    return int(default) if isinstance(default, bool) else default


_TOO_LONG_FOR_CHANCE = 8
_ANY = "google.protobuf.Any"
STRUCT = "google.protobuf.Struct"
OF_JSON: Mapping[str, Mapping[int, str]] = {
    STRUCT: {1: "entry"},
    "entry": {2: "google.protobuf.Value"},
    "google.protobuf.Value": {5: STRUCT, 6: "google.protobuf.ListValue"},
    "google.protobuf.ListValue": {1: "google.protobuf.Value"},
}
"""What google/protobuf/struct.proto has of messages, by field number."""
