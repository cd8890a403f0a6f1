"""The header: there and back, unknown keys skipped, newer versions and damage refused with what to do."""

import msgpack
import pytest

from duplexmock.store.header import Expectations, Header, header_fields, header_from
from tests.store.fixtures import BARE, HEADER


@pytest.mark.parametrize("header", [HEADER, BARE], ids=["full", "bare"])
def test_a_header_comes_back_as_it_was(header):
    assert header_from(msgpack.unpackb(msgpack.packb(header_fields(header)))) == header


def test_the_fields_are_those_of_the_specification_in_its_order():
    assert list(header_fields(HEADER).items()) == [
        ("format", "duplexmock"),
        ("version", 1),
        ("started_at_ns", 1_795_348_800_000_000_001),
        ("upstream", "127.0.0.1:50051"),
        ("descriptors", HEADER.descriptors),
        ("redacted_keys", ("authorization", "cookie")),
        (
            "expectations",
            {"ignore": ("chat.ChatMessage.timestamp",), "bind": (("a.B.id", "a.C.id"),), "expect": "order"},
        ),
        ("notes", {"made by": "the tests", "for": "the reader"}),
    ]


def test_unknown_keys_are_skipped():
    assert header_from(as_read(HEADER) | {"later": [1, 2]}) == HEADER


def test_a_newer_version_is_refused_and_says_what_to_do():
    assert refusal(version=2) == (
        "it has version 2 of the fixture format, and this duplexmock reads up to 1; "
        "a newer duplexmock reads it (pip install --upgrade duplexmock)"
    )


@pytest.mark.parametrize("version", [0, -1, True, "1", None, 1.0])
def test_a_version_that_is_none_is_damage(version):
    assert refusal(version=version) == f"its version is {version!r}; the file is damaged or was edited by hand"


@pytest.mark.parametrize(
    "change",
    [
        {"started_at_ns": "1"},
        {"upstream": b"127.0.0.1:1"},
        {"descriptors": "text"},
        {"redacted_keys": "authorization"},
        {"redacted_keys": [1]},
        {"expectations": None},
        {"expectations": {"ignore": [], "bind": []}},
        {"expectations": {"ignore": [1], "bind": [], "expect": None}},
        {"expectations": {"ignore": [], "bind": [["a"]], "expect": None}},
        {"expectations": {"ignore": [], "bind": [["a", 1]], "expect": None}},
        {"expectations": {"ignore": [], "bind": ["ab"], "expect": None}},
        {"expectations": {"ignore": [], "bind": [], "expect": "most"}},
        {"expectations": {"ignore": [], "bind": [], "expect": ["lanes"]}},
        {"notes": ["a"]},
        {"notes": {"a": 1}},
        {"notes": {b"a": "1"}},
    ],
    ids=str,
)
def test_a_field_of_a_wrong_type_is_damage(change):
    assert refusal(**change) == (
        "its header lacks a field or has one of a wrong type; it is damaged or was edited by hand"
    )


@pytest.mark.parametrize("key", ["started_at_ns", "upstream", "descriptors", "redacted_keys", "expectations", "notes"])
def test_a_field_that_is_not_there_is_damage(key):
    fields = as_read(HEADER)
    del fields[key]
    with pytest.raises(ValueError, match="lacks a field"):
        header_from(fields)


def test_expectations_are_none_by_default():
    assert Header(1, "a:1").expectations == Expectations((), (), None)


def as_read(header):
    return msgpack.unpackb(msgpack.packb(header_fields(header)))


def refusal(**change):
    with pytest.raises(ValueError) as caught:
        header_from(as_read(HEADER) | change)
    return str(caught.value)
