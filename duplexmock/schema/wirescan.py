"""Where the fields of a protobuf message lie on the wire (protobuf.dev, "Encoding"); nothing is said of what they mean.

wireformat.py reads a message for people; this finds its fields for those who change one and leave the others.
"""

from __future__ import annotations

from typing import NamedTuple

VARINT, FIXED_64, LENGTH_DELIMITED, GROUP_START, GROUP_END, FIXED_32 = range(6)


class Place(NamedTuple):
    """One field: its tag begins at `start`, its value lies from `value_start` to `value_end`, the next is at `end`.

    A length stands before `value_start`; a group's end tag behind `value_end`.
    """

    number: int
    wire_type: int
    start: int
    value_start: int
    value_end: int
    end: int


class NotAMessageError(Exception):
    """These bytes do not parse; whoever scans them leaves them as they are."""


def scan(payload: bytes, start: int, end: int) -> list[Place]:
    """Return the fields between `start` and `end`; NotAMessageError where these are no message."""
    found = []
    at = start
    while at < end:
        place = _place(payload, at, end)
        found.append(place)
        at = place.end
    return found


def varint_at(payload: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a varint; return it, unsigned, and where it ends. NotAMessageError where it does not end."""
    value = shift = 0
    while at < end and shift < 70:
        byte = payload[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64, at
        shift += 7
    raise NotAMessageError


def varint(value: int) -> bytes:
    """Write an unsigned integer as a varint."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _place(payload: bytes, start: int, end: int) -> Place:
    tag, at = varint_at(payload, start, end)
    number, wire_type = tag >> 3, tag & 7
    if not 1 <= number <= _MAX_NUMBER:
        raise NotAMessageError
    if wire_type == GROUP_START:
        value_end, after = _end_of_group(payload, at, end, number)
        return Place(number, wire_type, start, at, value_end, after)
    value_start, value_end = _value(payload, at, end, wire_type)
    return Place(number, wire_type, start, value_start, value_end, value_end)


def _value(payload: bytes, at: int, end: int, wire_type: int) -> tuple[int, int]:
    if wire_type == VARINT:
        return at, varint_at(payload, at, end)[1]
    if wire_type == LENGTH_DELIMITED:
        length, at = varint_at(payload, at, end)
        stop = at + length
    elif wire_type == FIXED_64:
        stop = at + 8
    elif wire_type == FIXED_32:
        stop = at + 4
    else:
        raise NotAMessageError
    if stop > end:
        raise NotAMessageError
    return at, stop


def _end_of_group(payload: bytes, at: int, end: int, number: int) -> tuple[int, int]:
    """Return where a group's end tag begins and ends; a list of those open in it, as they nest without end."""
    open_groups = [number]
    while at < end:
        start = at
        tag, at = varint_at(payload, at, end)
        inner, wire_type = tag >> 3, tag & 7
        if not 1 <= inner <= _MAX_NUMBER:
            raise NotAMessageError
        if wire_type == GROUP_START:
            open_groups.append(inner)
        elif wire_type == GROUP_END:
            if open_groups.pop() != inner:
                raise NotAMessageError
            if not open_groups:
                return start, at
        else:
            _, at = _value(payload, at, end, wire_type)
    raise NotAMessageError


_MAX_NUMBER = (1 << 29) - 1
_UINT64 = (1 << 64) - 1
