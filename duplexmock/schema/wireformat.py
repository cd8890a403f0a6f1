"""Reading a protobuf message without its descriptors: by field number, the values by guess.

The wire says a field's number and one of six wire types, and no more (protobuf.dev, "Encoding"). So

    varint            an int; with bit 63 set a negative one, as int32 and int64 write them
    fixed 64 and 32   a Fixed: an integer or a float, nobody can tell; it knows both
    length-delimited  text, if it is UTF-8 and all of it can be printed; else a nested message, if it parses as one;
                      else text of several lines; else bytes
    group             its fields

Nothing here raises: what is not a message is None. Cost is bounded by MAX_FIELDS, guesses that failed included, and
MAX_DEPTH.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_DEPTH = 64
"""Messages nested deeper stay bytes; protobuf's own parsers stop at 100, groups and guesses cost us more stack."""

MAX_FIELDS = 20_000
"""Fields looked at in one payload, about 30 ms of work; beyond them nested messages stay bytes."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value of 4 or 8 bytes, little-endian: fixed, sfixed, float or double."""

    raw: bytes

    @property
    def as_int(self) -> int:
        """Return it read as an unsigned integer."""
        return int.from_bytes(self.raw, "little")

    @property
    def as_float(self) -> float:
        """Return it read as a float or double (IEEE 754)."""
        value: float = struct.unpack("<f" if len(self.raw) == 4 else "<d", self.raw)[0]
        return value

    @property
    def likely(self) -> int | float:
        """Return the float where it is of a size that people write down, from 1e-6 to 1e12, else the integer."""
        return self.as_float if 1e-6 <= abs(self.as_float) <= 1e12 else self.as_int


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, and the value that was guessed."""

    number: int
    value: Value


Value = int | Fixed | str | bytes | tuple[Field, ...]


def decode(payload: bytes) -> tuple[Field, ...] | None:
    """Read a payload as a message; None where it is not one, or is one of more than MAX_FIELDS fields."""
    try:
        fields, _ = _Reader(payload).fields(0, len(payload), MAX_DEPTH, 0)
    except _NotAMessageError:
        return None
    return fields


def guess(payload: bytes, depth: int = MAX_DEPTH) -> str | bytes | tuple[Field, ...]:
    """Read bytes of unknown meaning: text, a message, or bytes, as the module's table says."""
    return _Reader(payload).guessed(0, len(payload), depth)


class _NotAMessageError(Exception):
    """These bytes do not parse. It never leaves this file."""


class _Reader:
    """The bytes, and how many fields may still be looked at."""

    def __init__(self, payload: bytes) -> None:
        self._bytes = payload
        self._fields_left = MAX_FIELDS

    def fields(self, start: int, end: int, depth: int, group: int) -> tuple[tuple[Field, ...], int]:
        """Read fields up to `end`, or to the end of the group with this number; return them and where they end."""
        if not depth:
            raise _NotAMessageError
        found: list[Field] = []
        at = start
        while at < end:
            tag, at = self._varint(at, end)
            number, wire_type = tag >> 3, tag & 7
            self._fields_left -= 1
            if not 1 <= number <= _MAX_NUMBER or self._fields_left < 0:
                raise _NotAMessageError
            value: Value
            if wire_type == _VARINT:
                value, at = self._varint(at, end)
                if value >> 63:
                    value -= 1 << 64
            elif wire_type in _FIXED_BYTES:
                start, at = at, at + _FIXED_BYTES[wire_type]
                value = Fixed(self._slice(start, at, end))
            elif wire_type == _LENGTH_DELIMITED:
                length, start = self._varint(at, end)
                at = start + length
                if at > end:
                    raise _NotAMessageError
                value = self.guessed(start, at, depth - 1)
            elif wire_type == _GROUP_START:
                value, at = self.fields(at, end, depth - 1, number)
            elif wire_type == _GROUP_END and number == group:
                return tuple(found), at
            else:
                raise _NotAMessageError
            found.append(Field(number, value))
        if group:
            raise _NotAMessageError
        return tuple(found), at

    def guessed(self, start: int, end: int, depth: int) -> str | bytes | tuple[Field, ...]:
        """Guess what a length-delimited value is."""
        raw = self._bytes[start:end]
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = None
        if text is not None and text.isprintable():
            return text
        try:
            fields, _ = self.fields(start, end, depth, 0)
        except _NotAMessageError:
            return raw if text is None or not text.translate(_LINES).isprintable() else text
        return fields

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self._bytes[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _UINT64, at
            shift += 7
        raise _NotAMessageError

    def _slice(self, start: int, stop: int, end: int) -> bytes:
        if stop > end:
            raise _NotAMessageError
        return self._bytes[start:stop]


_VARINT, _LENGTH_DELIMITED, _GROUP_START, _GROUP_END = 0, 2, 3, 4
_FIXED_BYTES = {1: 8, 5: 4}
_MAX_NUMBER = (1 << 29) - 1
_UINT64 = (1 << 64) - 1
_LINES = str.maketrans("", "", "\t\r\n")
