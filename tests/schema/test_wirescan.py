import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.schema.wirescan import NotAMessageError, Place, scan, varint, varint_at
from tests.schema.protos import chat_message
from tests.wire.talk import examples


@examples(200)
@given(st.integers(0, (1 << 64) - 1))
def test_a_varint_is_read_as_it_was_written(number):
    raw = varint(number)
    assert varint_at(b"\xff" + raw + b"\xff", 1, 1 + len(raw)) == (number, 1 + len(raw))


def test_the_fields_of_a_message_are_found():
    payload = chat_message("Client", "Hi", timestamp=300).SerializeToString()

    assert scan(payload, 0, len(payload)) == [
        Place(1, 2, 0, 2, 8, 8),
        Place(2, 2, 8, 10, 12, 12),
        Place(3, 0, 12, 13, 15, 15),
    ]


def test_a_group_ends_before_its_end_tag():
    assert scan(b"\x0b\x10\x05\x1b\x1c\x0c\x18\x01", 0, 8) == [Place(1, 3, 0, 1, 5, 6), Place(3, 0, 6, 7, 8, 8)]


def test_groups_nest_without_end():
    payload = b"\x0b" * 100_000 + b"\x0c" * 100_000
    assert scan(payload, 0, len(payload)) == [Place(1, 3, 0, 1, len(payload) - 1, len(payload))]


@pytest.mark.parametrize(
    "payload",
    [
        b"\x08",
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x00\x01",
        b"\x0e\x01",
        b"\x0a\x05Hi",
        b"\x09\x01\x02",
        b"\x0d\x01\x02",
        b"\x0b\x10\x05",
        b"\x0b\x00",
        b"\x0c",
        b"\x0b\x14",
    ],
)
def test_what_does_not_parse_is_no_message(payload):
    with pytest.raises(NotAMessageError):
        scan(payload, 0, len(payload))


@examples(300)
@given(st.binary(max_size=60) | st.lists(st.sampled_from(range(32)), max_size=60).map(bytes))
def test_fields_lie_one_behind_the_other(payload):
    try:
        places = scan(payload, 0, len(payload))
    except NotAMessageError:
        return
    assert [place.start for place in places] == [0, *(place.end for place in places)][: len(places)]
    assert (places[-1].end if places else 0) == len(payload)
