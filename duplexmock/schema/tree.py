"""What a reading says, as a tree that knows nothing of protobuf; text.py and jsonform.py write it down.

A node is a leaf, or Entries, or Items; both of these are read once, from the start, so that whoever writes only the
first two hundred characters of a message does not pay for the rest. Protobuf's well-known types become what they mean:
a Timestamp is a Word, a Struct is Entries, a wrapper is its value. Fields that the descriptors do not know stand behind
those they do, by number. Source: protobuf.dev, "ProtoJSON Format".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from duplexmock.schema.descriptors import PROTOBUFS_OWN
from duplexmock.schema.reader import Reading
from duplexmock.schema.wireformat import MAX_DEPTH, Field, Fixed, Value, decode, guess


@dataclass(frozen=True, slots=True)
class Word:
    """Text that needs no quotes: an enum's name, a Timestamp, a Duration."""

    text: str


@dataclass(frozen=True, slots=True)
class Name:
    """A field's name; fields are ordered by `number`.

    `absent` is what it means that the field is not there: its default, or None where that is a meaning of its own.
    """

    text: str
    number: int
    absent: Leaf = None


@dataclass(frozen=True, slots=True)
class Long:
    """An integer of 64 bits by its descriptor; JSON writes it as a string."""

    value: int


@dataclass(frozen=True, slots=True)
class Entries:
    """A message or a map: keys and what they stand for.

    A field's key is a Name, or an int where no descriptor knows it, which may occur more than once. The keys of what
    `is_map` are values.
    """

    pairs: Iterator[tuple[Key, Node]]
    is_map: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A repeated field or a list."""

    nodes: Iterator[Node]


@dataclass(frozen=True, slots=True)
class Unread:
    """Bytes that no descriptor calls bytes."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Deeper:
    """Messages nested more than MAX_DEPTH deep, which are not followed."""


Leaf = str | bytes | bool | int | float | None | Word | Long | Unread | Deeper
Node = Leaf | Entries | Items
Key = Name | Leaf


def tree(reading: Reading) -> Node:
    """Return what the reading says."""
    return _message(reading, 0) if isinstance(reading, Message) else _by_number(reading, 0)


def _message(message: Message, depth: int) -> Node:
    if depth >= MAX_DEPTH:
        return Deeper()
    kind = message.DESCRIPTOR
    if kind.file.name in PROTOBUFS_OWN and kind.full_name in _WELL_KNOWN:
        return _WELL_KNOWN[kind.full_name](message, depth)
    return Entries(_fields(message, depth))


def _fields(message: Message, depth: int) -> Iterator[tuple[Key, Node]]:
    for field, value in message.ListFields():
        yield _name(field), _field(field, value, depth)
    for unknown in _unknown(UnknownFieldSet(message)):
        yield unknown.number, _by_number(unknown.value, depth + 1)


def _name(field: FieldDescriptor) -> Name:
    text = f"[{field.full_name}]" if field.is_extension else field.name
    default = field.default_value
    if field.has_presence or isinstance(default, list):
        return Name(text, field.number)
    return Name(text, field.number, _scalar(field, default))


def _field(field: FieldDescriptor, value: object, depth: int) -> Node:
    # Messages come first: a Struct counts as a mapping and a ListValue as a sequence.
    if isinstance(value, Message):
        return _message(value, depth + 1)
    if isinstance(value, MutableMapping):
        assert field.message_type is not None
        of_value = field.message_type.fields_by_name["value"]
        # protobuf gives a map's entries in no stable order.
        return Entries(((key, _field(of_value, value[key], depth)) for key in sorted(value)), is_map=True)
    if isinstance(value, MutableSequence):
        return Items(_field(field, item, depth) for item in value)
    return _scalar(field, value)


def _scalar(field: FieldDescriptor, value: object) -> Leaf:
    match value:
        case bool() | str() | bytes():
            return value
        case float():
            return _shortest(value) if field.type == FieldDescriptor.TYPE_FLOAT else value
        case int() if field.type == FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            named = field.enum_type.values_by_number.get(value)
            return Word(named.name) if named else value
        case int():
            return Long(value) if field.type in _OF_64_BITS else value
        case _:
            raise TypeError(f"{field.full_name}: protobuf gave a {type(value).__name__}")


def _shortest(value: float) -> float:
    """Return the double with the fewest digits that is this float32: 0.1, not 0.10000000149011612."""
    if not math.isfinite(value):
        return value
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack("<f", struct.pack("<f", short))[0] == value:
                return short
        except OverflowError:  # the largest float32, rounded up
            continue
    return float(f"{value:.9g}")


def _by_number(value: Value, depth: int) -> Node:
    match value:
        case tuple():
            return Deeper() if depth >= MAX_DEPTH else Entries(_numbered(value, depth))
        case Fixed():
            likely = value.likely
            return _shortest(likely) if isinstance(likely, float) and len(value.raw) == 4 else likely
        case bytes():
            return Unread(value)
        case _:
            return value


def _numbered(fields: Iterable[Field], depth: int) -> Iterator[tuple[Key, Node]]:
    for field in fields:
        yield field.number, _by_number(field.value, depth + 1)


def _unknown(fields: UnknownFieldSet) -> Iterator[Field]:
    """Read what a parsed message did not know; protobuf gives the wire's own numbers and bytes."""
    for position in range(len(fields)):
        field = fields[position]
        value: Value
        match field.wire_type, field.data:
            case 0, int(number):
                value = number - (1 << 64) if number >> 63 else number
            case 1, int(number):
                value = Fixed(number.to_bytes(8, "little"))
            case 5, int(number):
                value = Fixed(number.to_bytes(4, "little"))
            case 2, bytes(raw):
                value = guess(raw)
            case _, group:
                value = tuple(_unknown(group))
        yield Field(field.field_number, value)


# Their fields are made at run time, as their descriptors say.
_WellKnown = Any


def _any(message: _WellKnown, depth: int) -> Node:
    """Unpack by the types of the same set; by number where the type is not among them."""
    url, value = message.type_url, message.value
    return Entries(_any_pairs(message.DESCRIPTOR, url, value, depth))


def _any_pairs(any_type: Any, url: str, value: bytes, depth: int) -> Iterator[tuple[Key, Node]]:
    yield Name("@type", 0), url
    node: Node
    try:
        kind = any_type.file.pool.FindMessageTypeByName(url.rpartition("/")[2])
        node = _message(GetMessageClass(kind).FromString(value), depth + 1)
        means_more = kind.full_name in _WELL_KNOWN
    except (KeyError, DecodeError):
        fields = decode(value)
        node = _by_number(guess(value) if fields is None else fields, depth + 1)
        means_more = False
    # A Struct's keys are its own, and an Any in an Any has an "@type" too: what means more than its fields is a value.
    if isinstance(node, Entries) and not means_more:
        yield from node.pairs
    else:
        yield Name("value", 2), node


def _timestamp(message: _WellKnown, depth: int) -> Node:
    seconds, nanos = message.seconds, message.nanos
    if not (_YEAR_1 <= seconds <= _YEAR_9999 and 0 <= nanos < 1_000_000_000):
        return Entries(_fields(message, depth))
    moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)
    return Word(f"{moment.isoformat()}{_fraction(nanos)}Z")


def _duration(message: _WellKnown, depth: int) -> Node:
    seconds, nanos = message.seconds, message.nanos
    if abs(nanos) >= 1_000_000_000 or seconds * nanos < 0:
        return Entries(_fields(message, depth))
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return Word(f"{sign}{abs(seconds)}{_fraction(abs(nanos))}s")


def _fraction(nanos: int) -> str:
    """Write a fraction of a second with 0, 3, 6 or 9 digits."""
    digits = f"{nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}" if digits else ""


def _wrapper(message: _WellKnown, depth: int) -> Node:
    return _scalar(message.DESCRIPTOR.fields_by_name["value"], message.value)


def _struct(message: _WellKnown, depth: int) -> Node:
    fields = message.fields
    return Entries(((key, _message(fields[key], depth + 1)) for key in sorted(fields)), is_map=True)


def _list_value(message: _WellKnown, depth: int) -> Node:
    return Items(_message(value, depth + 1) for value in message.values)


def _value(message: _WellKnown, depth: int) -> Node:
    kind = message.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    value = getattr(message, kind)
    if isinstance(value, Message):
        return _message(value, depth + 1)
    # A Struct knows only doubles, and 3 is what was meant by 3.0.
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53
    return int(value) if whole else _scalar(message.DESCRIPTOR.fields_by_name[kind], value)


def _field_mask(message: _WellKnown, depth: int) -> Node:
    return ",".join(message.paths)


_YEAR_1, _YEAR_9999 = -62_135_596_800, 253_402_300_799
"""The seconds that a Timestamp may have (google/protobuf/timestamp.proto)."""

_OF_64_BITS = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}

_WELL_KNOWN: Mapping[str, Callable[[_WellKnown, int], Node]] = {
    "google.protobuf.Any": _any,
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.FieldMask": _field_mask,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _value,
    "google.protobuf.ListValue": _list_value,
} | {
    f"google.protobuf.{name}Value": _wrapper
    for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
}
