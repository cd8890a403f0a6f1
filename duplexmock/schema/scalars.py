"""Single values of a message, between the wire and Python (protobuf.dev, "Encoding").

Integers and enums are int, booleans 0 and 1, floats and doubles float, text, bytes and messages bytes. Where no
descriptor knows the field, a varint is a signed integer and a fixed value an unsigned one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from google.protobuf.descriptor import FieldDescriptor

from duplexmock.schema.wirescan import FIXED_32, FIXED_64, LENGTH_DELIMITED, VARINT, NotAMessageError, varint, varint_at

Scalar = int | float | bytes


def read(wire_type: int, raw: bytes, field: FieldDescriptor | None) -> tuple[Scalar, ...]:
    """Return the values of one field on the wire: several where it is packed, none where they cannot be read."""
    if wire_type == LENGTH_DELIMITED:
        packed = _PACKED.get(field.type) if field is not None else None
        return (raw,) if packed is None else _unpacked(packed, raw, field)
    if wire_type == VARINT:
        return (_integer(varint_at(raw, 0, len(raw))[0], field),)
    if wire_type in _FIXED_BYTES:
        return (_fixed(raw, field),)
    return ()


def write(wire_type: int, values: Sequence[Scalar], field: FieldDescriptor | None) -> bytes | None:
    """Return what stands behind the tag; None where a value does not fit the field. The inverse of `read`."""
    if wire_type == LENGTH_DELIMITED:
        packed = _PACKED.get(field.type) if field is not None else None
        pieces = [_bytes(value, field) if packed is None else _single(packed, value, field) for value in values]
    else:
        pieces = [_single(wire_type, value, field) for value in values]
    whole = [piece for piece in pieces if piece is not None]
    if len(whole) < len(pieces):
        return None
    joined = b"".join(whole)
    return varint(len(joined)) + joined if wire_type == LENGTH_DELIMITED else joined


def _unpacked(wire_type: int, raw: bytes, field: FieldDescriptor | None) -> tuple[Scalar, ...]:
    values: list[Scalar] = []
    at = 0
    if wire_type != VARINT:
        size = _FIXED_BYTES[wire_type]
        if len(raw) % size:
            return ()
        return tuple(_fixed(raw[at : at + size], field) for at in range(0, len(raw), size))
    try:
        while at < len(raw):
            number, at = varint_at(raw, at, len(raw))
            values.append(_integer(number, field))
    except NotAMessageError:
        return ()
    return tuple(values)


def _integer(number: int, field: FieldDescriptor | None) -> int:
    kind = field.type if field is not None else FieldDescriptor.TYPE_INT64
    if kind in _ZIGZAG:
        return number >> 1 ^ -(number & 1)
    if kind in _UNSIGNED:
        return number
    return number - (1 << 64) if number >> 63 else number


def _fixed(raw: bytes, field: FieldDescriptor | None) -> Scalar:
    layout = _LAYOUT.get(field.type) if field is not None else None
    if layout is None or struct.calcsize(layout) != len(raw):
        return int.from_bytes(raw, "little")
    value: int | float = struct.unpack(layout, raw)[0]
    return value


def _single(wire_type: int, value: Scalar, field: FieldDescriptor | None) -> bytes | None:
    if isinstance(value, bytes):
        return None
    if wire_type == VARINT:
        return _varint(value, field) if isinstance(value, int) else None
    size = _FIXED_BYTES.get(wire_type)
    if size is None:
        return None
    layout = _LAYOUT.get(field.type) if field is not None else None
    if layout is None:
        layout = _UNKNOWN_FLOAT[size] if isinstance(value, float) else _UNKNOWN_INT[size]
    try:
        raw = struct.pack(layout, value)
    except (struct.error, OverflowError):
        return None
    return raw if len(raw) == size else None


def _varint(value: int, field: FieldDescriptor | None) -> bytes | None:
    kind = field.type if field is not None else FieldDescriptor.TYPE_INT64
    low, high = _RANGES[kind]
    if not low <= value <= high:
        return None
    if kind in _ZIGZAG:
        value = value << 1 ^ value >> 63
    return varint(value & _UINT64)


def _bytes(value: Scalar, field: FieldDescriptor | None) -> bytes | None:
    if not isinstance(value, bytes):
        return None
    if field is not None and field.type == FieldDescriptor.TYPE_STRING:
        try:
            value.decode()
        except UnicodeDecodeError:
            return None
    return value


_FIXED_BYTES = {FIXED_64: 8, FIXED_32: 4}
_UINT64 = (1 << 64) - 1
_ZIGZAG = {FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SINT64}
_UNSIGNED = {FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_BOOL}
_INT32, _INT64 = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1)
_RANGES = {
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: (0, _UINT64),
    FieldDescriptor.TYPE_ENUM: _INT32,
    FieldDescriptor.TYPE_BOOL: (0, 1),
}
_LAYOUT = {
    FieldDescriptor.TYPE_DOUBLE: "<d",
    FieldDescriptor.TYPE_FLOAT: "<f",
    FieldDescriptor.TYPE_FIXED64: "<Q",
    FieldDescriptor.TYPE_SFIXED64: "<q",
    FieldDescriptor.TYPE_FIXED32: "<I",
    FieldDescriptor.TYPE_SFIXED32: "<i",
}
_UNKNOWN_FLOAT = {8: "<d", 4: "<f"}
_UNKNOWN_INT = {8: "<Q", 4: "<I"}
_PACKED = dict.fromkeys(_RANGES, VARINT) | {
    kind: FIXED_64 if struct.calcsize(layout) == 8 else FIXED_32 for kind, layout in _LAYOUT.items()
}
"""The wire type of a packed field's elements; text, bytes and messages cannot be packed."""
