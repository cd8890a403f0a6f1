"""Rows as the file has them: every kind there and back through msgpack, and what is not a row refused by its reason."""

import msgpack
import pytest

from duplexmock.core.connection import Closed, Closing, Connection
from duplexmock.core.events import ClientHeader, ClientMessage, ServerTrailer, Side
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Status
from duplexmock.store.flat import flatten, restore
from tests.store.fixtures import LEARNED, RICH

ROWS = [*(row for _, rows in RICH for row in rows), *LEARNED]


def there_and_back(row):
    packed = msgpack.packb(row, default=flatten, unicode_errors="surrogateescape")
    return restore(msgpack.unpackb(packed, unicode_errors="surrogateescape"))


def test_there_is_a_row_of_every_kind():
    assert {row[0] for row in ROWS} == set(RowKind)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0].name}-{row[1]}")
def test_a_row_comes_back_as_it_was(row):
    assert there_and_back(row) == row


@pytest.mark.parametrize(
    "row",
    [
        (RowKind.SERVER_TRAILER, 1, ServerTrailer(Status(0))),
        (
            RowKind.SERVER_TRAILER,
            1,
            ServerTrailer(Status(2**32, "", b""), Metadata((("grpc-status", "x"),)), 0, 2**32 - 1),
        ),
        (RowKind.CLIENT_HEADER, 2**40, ClientHeader("", Metadata((("k-bin", "no base64"),)), "\xff", ""), 1, 2**31 - 1),
        (RowKind.OPENED, 1, Connection(1, "unix:", "unix:/\udc80", 5)),
        (RowKind.CLOSED, 1, Closed(0, Closing.STOPPED, None)),
        (RowKind.CLOSED, 1, Closed(2**63, Closing.REFUSED, Side.CLIENT, "x")),
        (RowKind.CLIENT_MESSAGE, 1, 255, b""),
        (RowKind.SERVER_PART, 1, b""),
    ],
    ids=lambda row: row[0].name,
)
def test_values_at_the_edge_come_back_as_they_were(row):
    assert there_and_back(row) == row


@pytest.mark.parametrize("value", [ClientMessage(b"x"), {"a": 1}, object, None])
def test_what_has_no_place_in_a_fixture_is_refused(value):
    with pytest.raises(TypeError) as caught:
        flatten(value)
    assert str(caught.value) == f"{value!r} has no place in a fixture"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (7, "something that is not a row"),
        (None, "something that is not a row"),
        (b"\0\0\0\0", "something that is not a row"),
        ("0123", "something that is not a row"),
        ([], "something that is not a row"),
        (["0", 1, 0, b""], "something that is not a row"),
        ([16, 1, []], "a row of kind 16 that is not as its kind demands"),
        ([-1, 1, []], "a row of kind -1 that is not as its kind demands"),
        ([0, 1, 0, "text"], "a row of kind 0 that is not as its kind demands"),
        ([0, 1, b""], "a row of kind 0 that is not as its kind demands"),
        ([0, 1, 0, b"", 0], "a row of kind 0 that is not as its kind demands"),
        ([2, 1, 0, b""], "a row of kind 2 that is not as its kind demands"),
        ([10, 1, None], "a row of kind 10 that is not as its kind demands"),
        ([11, 1, b"reason"], "a row of kind 11 that is not as its kind demands"),
        ([4, 1, ["/m", "a", "http", []], 1], "a row of kind 4 that is not as its kind demands"),
        ([4, 1, ["/m", "a", []], 1, 1], "a row of kind 4 that is not as its kind demands"),
        ([4, 1, ["/\udc80", "a", "http", []], 1, 1], "a method that is not text"),
        ([4, 1, ["/m", "a", "http", 5], 1, 1], "metadata that is not pairs of a key and a value"),
        ([4, 1, ["/m", "a", "http", [["k"]]], 1, 1], "metadata that is not pairs of a key and a value"),
        ([4, 1, ["/m", "a", "http", [["k", 1]]], 1, 1], "metadata that is not pairs of a key and a value"),
        ([4, 1, ["/m", "a", "http", [["K", "v"]]], 1, 1], "metadata key 'K': gRPC's keys are lower case"),
        (
            [4, 1, ["/m", "a", "http", [["k", b"v"]]], 1, 1],
            "metadata key 'k': only keys that end in -bin have bytes for a value",
        ),
        ([5, 1, [1]], "a CLIENT_HALF_CLOSE that is not as its kind demands"),
        ([5, 1, 1], "a row of kind 5 that is not as its kind demands"),
        ([6, 1, []], "a CANCEL that is not as its kind demands"),
        ([7, 1, ["200", []]], "a SERVER_HEADER that is not as its kind demands"),
        ([8, 1, [[0, ""], [], None, None]], "a status that is not a code, a message and details"),
        ([8, 1, [None, [], "200", None]], "a SERVER_TRAILER that is not as its kind demands"),
        ([9, 1, [None]], "a RESET that is not as its kind demands"),
        ([12, 1, ["a", "b"]], "a OPENED that is not as its kind demands"),
        ([13, 1, [5, ">", [[1]]]], "a setting that is not an identifier and a value"),
        ([13, 1, [5, "=", []]], "'=' is not a valid Side"),
        ([14, 1, [5, "<", 1, 0, ""]], "a GOAWAY that is not as its kind demands"),
        ([15, 1, [5, "gone", None, ""]], "'gone' is not a valid Closing"),
    ],
)
def test_what_is_not_as_the_format_says_is_refused(fields, reason):
    with pytest.raises(ValueError) as caught:
        restore(fields)
    assert str(caught.value) == reason


def test_a_connection_takes_its_number_from_the_row():
    assert restore([12, 7, ["a", "b", 5]]) == (RowKind.OPENED, 7, Connection(7, "a", "b", 5))
