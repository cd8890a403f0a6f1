"""What one message says: its values by field, as the wire has them; and how two messages differ.

Values have the types that binds go by (scalars.py). Protobuf's own types, a Timestamp or a Struct, are single values;
what an Any holds is looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from duplexmock.learn.fields import MAX_DEPTH, OF_JSON, STRUCT, LaneField, Shape, is_of_json, raw_of, scanned, url_of
from duplexmock.schema.fieldpath import MAP_KEY, MAP_VALUE
from duplexmock.schema.scalars import Scalar, read
from duplexmock.schema.selection import ANY_VALUE
from duplexmock.schema.wirescan import GROUP_START, LENGTH_DELIMITED, Place


@dataclass(slots=True, eq=False)
class Said:
    """What one message says: its values by field number, those of a map by their key."""

    shape: Shape
    values: dict[int, list[Value]] = field(default_factory=dict)
    maps: dict[int, dict[Scalar, Value]] = field(default_factory=dict)


Value = Scalar | Said

Differing = tuple[LaneField, Scalar | None, Scalar | None]
"""A field and both values; None and None where messages, keys or list items are there in one of both only."""


def said(payload: bytes, shape: Shape) -> Said | None:
    """Return what a message says; None where it does not parse."""
    places = scanned(payload)
    return None if places is None else _said(payload, places, shape)


def leaves(message: Said) -> Iterator[tuple[LaneField, Scalar | None]]:
    """Yield every field and value, in the order of the numbers; None for the value of what is a message."""
    for number in sorted(message.values.keys() | message.maps.keys()):
        here = message.shape.fields[number]
        if number in message.maps:
            entry = message.shape.into[number]
            for key, value in message.maps[number].items():
                yield here, key
                yield from _leaves(entry.fields.get(MAP_VALUE, here), value)
        for value in message.values.get(number, ()):
            yield from _leaves(here, value)


def differences(one: Said, other: Said) -> Iterator[Differing]:
    """Yield where two messages differ, as replay compares them."""
    for number in sorted(one.values.keys() | other.values.keys()):
        yield from _of_field(one.shape.fields[number], one.values.get(number, []), other.values.get(number, []))
    for number in sorted(one.maps.keys() | other.maps.keys()):
        here, entry = one.shape.fields[number], one.shape.into[number]
        entries, others = one.maps.get(number, {}), other.maps.get(number, {})
        if entries.keys() != others.keys():
            yield here, None, None
            continue
        for key, value in entries.items():
            yield from _of_values(entry.fields.get(MAP_VALUE, here), value, others[key])


def _said(payload: bytes, places: Sequence[Place], shape: Shape) -> Said:
    message = Said(shape)
    in_any = shape.in_any.get(url_of(payload, places)) if shape.in_any is not None else None
    for place in places:
        raw, number = raw_of(payload, place), place.number
        deeper = in_any if in_any is not None and number == ANY_VALUE else shape.into.get(number)
        inner = scanned(raw) if deeper is not None and place.wire_type in (LENGTH_DELIMITED, GROUP_START) else None
        if number in shape.maps:
            if inner is not None and deeper is not None:
                _add_entry(message.maps.setdefault(number, {}), _said(raw, inner, deeper))
        elif inner is not None and deeper is not None:
            message.values.setdefault(number, []).append(_said(raw, inner, deeper))
        else:
            known = shape.known[number]
            read_here: Sequence[Scalar] = read(place.wire_type, raw, known)
            if known is not None and is_of_json(known.message_type):
                name = known.message_type.full_name
                read_here = [_settled(each, name) if isinstance(each, bytes) else each for each in read_here]
            message.values.setdefault(number, []).extend(read_here)
    return message


def _add_entry(entries: dict[Scalar, Value], entry: Said) -> None:
    """Add a map's entry; encoders may leave out a key or a value that is 0 or empty."""
    shape = entry.shape
    key = entry.values.get(MAP_KEY, [b""])[-1]
    if MAP_VALUE in entry.values:
        value = entry.values[MAP_VALUE][-1]
    elif MAP_VALUE in shape.into:
        value = Said(shape.into[MAP_VALUE])
    else:
        value = b""
    if not isinstance(key, Said):
        entries[key or b""] = value


def _leaves(here: LaneField, value: Value) -> Iterator[tuple[LaneField, Scalar | None]]:
    if isinstance(value, Said):
        yield here, None
        yield from leaves(value)
    else:
        yield here, value


def _of_field(here: LaneField, ours: Sequence[Value], theirs: Sequence[Value]) -> Iterator[Differing]:
    is_list = here.is_list or (here.is_list is None and max(len(ours), len(theirs)) > 1)
    if not is_list:
        ours, theirs = ours[-1:], theirs[-1:]  # the last one counts (protobuf.dev, "Last One Wins")
        if here.absent is not None:
            ours, theirs = ours or (here.absent,), theirs or (here.absent,)
    if len(ours) != len(theirs):
        yield here, None, None
        return
    for one, other in zip(ours, theirs, strict=True):
        yield from _of_values(here, one, other)


def _of_values(here: LaneField, one: Value, other: Value) -> Iterator[Differing]:
    if isinstance(one, Said) and isinstance(other, Said):
        if one.shape is other.shape:
            yield from differences(one, other)
        else:
            yield here.above or here, None, None  # an Any that holds another type
    elif isinstance(one, Said) or isinstance(other, Said):
        yield here, None, None
    elif one != other and (one == one or other == other) and (one or other):  # one NaN is like the other
        yield here, one, other


def _settled(raw: bytes, kind: str, depth: int = MAX_DEPTH) -> bytes:
    """Return the bytes of a Struct, or of what is in one, in one order: encoders write the entries of a map in any."""
    places = scanned(raw) if depth else None
    if not places:
        return raw
    pieces = []
    for place in places:
        inner, below = raw_of(raw, place), OF_JSON[kind].get(place.number)
        settled = inner if below is None else _settled(inner, below, depth - 1)
        pieces.append(raw[place.start : place.value_start] + settled)
    return b"".join(sorted(pieces) if kind == STRUCT else pieces)
