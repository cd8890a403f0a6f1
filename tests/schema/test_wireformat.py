import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.schema.wireformat import MAX_DEPTH, MAX_FIELDS, Field, Fixed, decode, guess
from tests.schema.protos import chat_message, everything
from tests.wire.talk import examples


def _varint(number):
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _encode(fields):
    return b"".join(_encode_field(field) for field in fields)


def _encode_field(field):
    def tag(wire_type):
        return _varint(field.number << 3 | wire_type)

    match field.value:
        case int(number):
            return tag(0) + _varint(number)
        case Fixed(raw):
            return tag(1 if len(raw) == 8 else 5) + raw
        case str(text):
            raw = text.encode()
        case bytes(raw):
            pass
        case nested:
            raw = _encode(nested)
    return tag(2) + _varint(len(raw)) + raw


_numbers = st.integers(1, 20) | st.integers(1, (1 << 29) - 1)
_unmistakable = (
    st.integers(-(1 << 63), (1 << 63) - 1)
    | st.binary(min_size=4, max_size=4).map(Fixed)
    | st.binary(min_size=8, max_size=8).map(Fixed)
    | st.text(max_size=20).filter(str.isprintable)
    | st.binary(max_size=20).map(lambda raw: b"\x07" + raw)  # field number 0: no message, and no text
)
_leaves = st.builds(Field, _numbers, _unmistakable)
# A first field with the tag 0x08, a control character: a message that is no text.
_messages = st.recursive(
    st.lists(_leaves, max_size=4).map(tuple),
    lambda nested: st.lists(
        _leaves | st.builds(Field, _numbers, nested.map(lambda fields: (Field(1, 1), *fields))), max_size=4
    ).map(tuple),
    max_leaves=20,
)


@examples(150)
@given(_messages)
def test_a_message_is_read_as_it_was_written(fields):
    assert decode(_encode(fields)) == fields


@examples(300)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(range(32)), max_size=60).map(bytes))
def test_any_bytes_are_read_or_are_no_message(payload):
    fields = decode(payload)

    assert fields is None or isinstance(fields, tuple)
    assert isinstance(guess(payload), str | bytes | tuple)


def test_a_chat_message_is_read_by_number():
    assert decode(chat_message("Client", "Hi there!").SerializeToString()) == (
        Field(1, "Client"),
        Field(2, "Hi there!"),
        Field(3, 1795348800),
    )


def test_every_wire_type_has_its_value():
    message = everything(a_double=1.5, a_float=0.5, a_int32=-1, a_bytes=b"\xff\xfe", nested=everything(a_int32=7))

    assert decode(message.SerializeToString()) == (
        Field(1, Fixed(struct.pack("<d", 1.5))),
        Field(2, Fixed(struct.pack("<f", 0.5))),
        Field(3, -1),
        Field(15, b"\xff\xfe"),
        Field(21, (Field(3, 7),)),
    )


def test_a_group_holds_its_fields():
    assert decode(b"\x0b\x10\x05\x0c\x18\x01") == (Field(1, (Field(2, 5),)), Field(3, 1))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"", ""),
        (b"Hi there!", "Hi there!"),
        ("für alle 🎉".encode(), "für alle 🎉"),
        (b"\x08\x01", (Field(1, 1),)),
        (b"\x0a\x20" + b"x" * 32, (Field(1, "x" * 32),)),
        (b"Hello,\nworld\n", "Hello,\nworld\n"),
        (b"\x1b[31mred", b"\x1b[31mred"),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_bytes_of_unknown_meaning_are_guessed(raw, value):
    assert guess(raw) == value


@pytest.mark.parametrize(
    "payload",
    [
        b"\x08",  # a tag without its value
        b"\x08" + b"\x80" * 10 + b"\x01",  # a varint of more than ten bytes
        b"\x00\x01",  # field number 0
        b"\x0e\x01",  # wire type 6
        b"\x0a\x05Hi",  # longer than what is there
        b"\x09\x01\x02",  # half of a fixed 64
        b"\x0b\x10\x05",  # a group without its end
        b"\x0c",  # an end without its group
        b"\x0b\x14",  # the end of another group
    ],
)
def test_what_does_not_parse_is_no_message(payload):
    assert decode(payload) is None


@pytest.mark.parametrize(
    ("fixed", "likely"),
    [
        (Fixed(struct.pack("<d", 3.25)), 3.25),
        (Fixed(struct.pack("<f", -0.5)), -0.5),
        (Fixed(struct.pack("<d", float("nan"))), 0x7FF8_0000_0000_0000),
        (Fixed(struct.pack("<Q", 7)), 7),
        (Fixed(struct.pack("<I", 1795348800)), 1795348800),
        (Fixed(bytes(8)), 0),
    ],
)
def test_a_fixed_value_is_the_likelier_of_float_and_integer(fixed, likely):
    assert (fixed.likely, type(fixed.likely)) == (likely, type(likely))


def test_nesting_ends_at_a_depth():
    payload = b"\x08\x01"
    for _ in range(3 * MAX_DEPTH):
        payload = b"\x0a" + _varint(len(payload)) + payload

    value, depth = decode(payload), 0
    while isinstance(value, tuple):
        value, depth = value[0].value, depth + 1

    assert (depth, type(value)) == (MAX_DEPTH, bytes)


def test_groups_cannot_be_nested_without_end():
    assert decode(b"\x0b" * 100_000) is None


def test_a_message_of_too_many_fields_is_none():
    assert len(decode(b"\x08\x01" * MAX_FIELDS)) == MAX_FIELDS
    assert decode(b"\x08\x01" * (MAX_FIELDS + 1)) is None
