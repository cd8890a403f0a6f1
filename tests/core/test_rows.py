from __future__ import annotations

from duplexmock.core.rows import FIRST_OF_CONNECTION, RowKind


def test_the_numbers_of_the_file_format_never_change() -> None:
    assert {kind.name: int(kind) for kind in RowKind} == {
        "CLIENT_MESSAGE": 0,
        "SERVER_MESSAGE": 1,
        "CLIENT_PART": 2,
        "SERVER_PART": 3,
        "CLIENT_HEADER": 4,
        "CLIENT_HALF_CLOSE": 5,
        "CANCEL": 6,
        "SERVER_HEADER": 7,
        "SERVER_TRAILER": 8,
        "RESET": 9,
        "RESET_AFTER": 10,
        "DAMAGED": 11,
        "OPENED": 12,
        "SETTINGS": 13,
        "GOAWAY": 14,
        "CLOSED": 15,
        "DESCRIPTORS": 16,
        "LEARNED": 17,
        "EXPECTED": 18,
    }


def test_the_rows_of_no_call_are_those_from_the_opening_of_a_connection_on() -> None:
    of_connections = [kind.name for kind in RowKind if kind >= FIRST_OF_CONNECTION]
    assert of_connections == ["OPENED", "SETTINGS", "GOAWAY", "CLOSED", "DESCRIPTORS", "LEARNED", "EXPECTED"]
