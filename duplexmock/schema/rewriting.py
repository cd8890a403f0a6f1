"""Taking selected fields out of a message, reading them, replacing them; all else of it stays byte for byte.

It is done on the wire, by field number: a message that no descriptor knows whole, or that another encoder wrote in its
own way, keeps what it has. Lengths of enclosing messages are put right. What does not parse where a message should be
is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.descriptor import FieldDescriptor

from duplexmock.schema.fieldpath import MAP_KEY
from duplexmock.schema.scalars import Scalar, read, write
from duplexmock.schema.selection import ANY_URL, ANY_VALUE, Spot
from duplexmock.schema.wirescan import GROUP_START, LENGTH_DELIMITED, NotAMessageError, Place, scan, varint

Where = tuple[tuple[int, Scalar | None], ...]
"""Steps to a value: a field's number, and its position among the fields of that number, or its key in a map."""

Edit = Callable[[Place, FieldDescriptor | None], bytes | None]
"""Returns what stands in a selected field's place, its tag included; None keeps it."""

MAX_DEPTH = 100
"""Messages nested deeper are not looked into; protobuf's own parsers stop there."""


def without(payload: bytes, spot: Spot) -> bytes:
    """Return the message without the selected fields."""
    edited = _edited(payload, 0, len(payload), spot, lambda place, field: b"", MAX_DEPTH)
    return payload if edited is None else edited


def values(payload: bytes, spot: Spot) -> dict[Where, Scalar]:
    """Return the selected values, by where they stand."""
    found: dict[Where, Scalar] = {}
    _collect(payload, 0, len(payload), spot, (), found, MAX_DEPTH)
    return found


def replaced(payload: bytes, spot: Spot, new: Callable[[Scalar], Scalar | None]) -> bytes:
    """Return the message with each selected value replaced by `new(value)`.

    None keeps a value, and so does a new one that does not fit its field.
    """

    def edit(place: Place, field: FieldDescriptor | None) -> bytes | None:
        old = read(place.wire_type, payload[place.value_start : place.value_end], field)
        changed = [new(value) for value in old]
        if all(value is None for value in changed):
            return None
        chosen = [value if change is None else change for value, change in zip(old, changed, strict=True)]
        written = write(place.wire_type, chosen, field)
        return None if written is None else _tag(place) + written

    edited = _edited(payload, 0, len(payload), spot, edit, MAX_DEPTH)
    return payload if edited is None else edited


def _edited(payload: bytes, start: int, end: int, spot: Spot, edit: Edit, depth: int) -> bytes | None:
    """Return the message between `start` and `end` with its edits; None where there are none."""
    try:
        places = scan(payload, start, end)
    except NotAMessageError:
        return None
    in_any = _in_any(payload, places, spot)
    pieces: list[bytes] = []
    copied = start
    for place in places:
        new = edit(place, spot.selected[place.number]) if place.number in spot.selected else None
        deeper = _deeper(place, spot, in_any)
        if new is None and deeper is not None and depth:
            inner = _edited(payload, place.value_start, place.value_end, deeper, edit, depth - 1)
            if inner is not None:
                new = _enclosed(payload, place, inner)
        if new is not None:
            pieces += (payload[copied : place.start], new)
            copied = place.end
    return b"".join((*pieces, payload[copied:end])) if pieces else None


def _collect(
    payload: bytes, start: int, end: int, spot: Spot, above: Where, found: dict[Where, Scalar], depth: int
) -> None:
    try:
        places = scan(payload, start, end)
    except NotAMessageError:
        return
    in_any = _in_any(payload, places, spot)
    counts: dict[int, int] = {}
    for place in places:
        raw = payload[place.value_start : place.value_end]
        position = counts.get(place.number, 0)
        read_here: tuple[Scalar, ...] = ()
        if place.number in spot.selected:
            read_here = read(place.wire_type, raw, spot.selected[place.number])
            for offset, value in enumerate(read_here):
                found[(*above, (place.number, position + offset))] = value
        counts[place.number] = position + max(1, len(read_here))
        deeper = _deeper(place, spot, in_any)
        if deeper is not None and depth:
            which = _key(raw) if place.number in spot.maps else position
            here = (*above, (place.number, which))
            _collect(payload, place.value_start, place.value_end, deeper, here, found, depth - 1)


def _deeper(place: Place, spot: Spot, in_any: Spot | None) -> Spot | None:
    """Return the spot of the message that this field holds; None where nothing in it is selected."""
    if place.wire_type not in (LENGTH_DELIMITED, GROUP_START):
        return None
    if in_any is not None and place.number == ANY_VALUE:
        return in_any
    return spot.into.get(place.number)


def _in_any(payload: bytes, places: list[Place], spot: Spot) -> Spot | None:
    """Return the spot of what a google.protobuf.Any holds."""
    if spot.packed is None:
        return None
    urls = [place for place in places if place.number == ANY_URL and place.wire_type == LENGTH_DELIMITED]
    if not urls:
        return None
    return spot.packed(payload[urls[-1].value_start : urls[-1].value_end].decode("utf-8", "replace"))


def _key(entry: bytes) -> Scalar | None:
    """Return the key of a map's entry; None for one that is 0 or empty, which encoders may leave out."""
    try:
        keys = [place for place in scan(entry, 0, len(entry)) if place.number == MAP_KEY]
    except NotAMessageError:
        return None
    if not keys:
        return None
    read_key = read(keys[-1].wire_type, entry[keys[-1].value_start : keys[-1].value_end], None)
    return (read_key[0] or None) if read_key else None


def _enclosed(payload: bytes, place: Place, inner: bytes) -> bytes:
    if place.wire_type == GROUP_START:
        return payload[place.start : place.value_start] + inner + payload[place.value_end : place.end]
    return _tag(place) + varint(len(inner)) + inner


def _tag(place: Place) -> bytes:
    return varint(place.number << 3 | place.wire_type)
