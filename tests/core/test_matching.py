"""Matching events: which differences there are, and which do not count."""

from __future__ import annotations

import pytest

from duplexmock.core.events import Cancel, Event, Reset, ServerHeader, ServerTrailer
from duplexmock.core.matching import TRANSPORT_KEYS, Difference, match_events, match_metadata, named, shown
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, Status
from tests.playbook import ANSWER, CANCEL, HALF_CLOSE, HEADER, OK, ask, by_bytes, header, reply


def trailer(code: int = 0, message: str = "", details: bytes | None = None, **more: str) -> ServerTrailer:
    return ServerTrailer(Status(code, message, details), Metadata(tuple(more.items())))


def initial(*pairs: tuple[str, str | bytes], http_status: int = 200) -> ServerHeader:
    return ServerHeader(Metadata(pairs), http_status)


@pytest.mark.parametrize(
    ("expected", "actual", "differences"),
    [
        (HEADER, HEADER, []),
        (HEADER, header(method="/a/B"), [Difference("method", HEADER.method, "/a/B")]),
        (HEADER, header(("x-new", "1")), []),
        (header(("x", "1")), header(("x", "2")), [Difference("metadata.x", "1", "2")]),
        (header(("x", "1")), HEADER, [Difference("metadata.x", "1", None)]),
        (header(("x-bin", b"1")), header(("x-bin", b"2")), [Difference("metadata.x-bin", b"1", b"2")]),
        (ask("a"), ask("a"), []),
        (ask("a"), ask("b"), [Difference("message", b"a", b"b")]),
        (reply("a"), reply("b"), [Difference("message", b"a", b"b")]),
        (HALF_CLOSE, HALF_CLOSE, []),
        (Cancel(8), Cancel(2), []),
        (ANSWER, initial(("x", "1")), []),
        (initial(("x", "1")), ANSWER, [Difference("metadata.x", "1", None)]),
        (ANSWER, initial(http_status=503), [Difference(":status", 200, 503)]),
        (OK, trailer(x="1"), []),
        (trailer(x="1"), OK, [Difference("metadata.x", "1", None)]),
        (OK, trailer(5), [Difference("status", "OK", "NOT_FOUND")]),
        (trailer(42), OK, [Difference("status", "code 42", "OK")]),
        (OK, ServerTrailer(None), [Difference("status", "OK", None)]),
        (ServerTrailer(None), OK, [Difference("status", None, "OK")]),
        (ServerTrailer(None), ServerTrailer(None), []),
        (
            ServerTrailer(None, http_status=503),
            ServerTrailer(None, http_status=404),
            [Difference(":status", 503, 404)],
        ),
        (trailer(5, "a"), trailer(5, "b"), [Difference("status.message", "a", "b")]),
        (trailer(5, details=b"1"), trailer(5), [Difference("status.details", b"1", None)]),
        (
            trailer(5, "a", b"1"),
            trailer(6, "b", b"2"),
            [
                Difference("status", "NOT_FOUND", "ALREADY_EXISTS"),
                Difference("status.message", "a", "b"),
                Difference("status.details", b"1", b"2"),
            ],
        ),
        (OK, ServerTrailer(Status(Code.OK), reset_after=8), []),
        (Reset(2), Reset(2), []),
        (Reset(2), Reset(42), [Difference("code", "INTERNAL_ERROR", "error 0x2a")]),
        (OK, Reset(2), [Difference("event", "ServerTrailer", "Reset")]),
        (HALF_CLOSE, CANCEL, [Difference("event", "ClientHalfClose", "Cancel")]),
    ],
)
def test_events_differ_in_this(expected: Event, actual: Event, differences: list[Difference]) -> None:
    assert list(by_bytes(expected, actual)) == differences


@pytest.mark.parametrize("key", sorted(TRANSPORT_KEYS - {"grpc-tags-bin", "grpc-trace-bin"}))
def test_how_the_wire_was_spoken_is_not_compared(key: str) -> None:
    assert list(by_bytes(header((key, "1")), HEADER)) == []
    assert list(by_bytes(header((key, "1")), header((key, "2")))) == []


@pytest.mark.parametrize(
    ("wanted", "came", "fits"),
    [
        ("", "", True),
        ("a", "ba", True),
        ("ab", "ab", True),
        ("ab", "axb", True),
        ("ab", "ba", False),
        ("aa", "a", False),
        ("aa", "aba", True),
        ("*", "a", True),
        ("*", "", False),
        ("**", "a", False),
        ("*b", "ab", True),
        ("*b", "bb", True),
        ("*b", "ba", False),
        ("b*", "ab", False),
        ("a*c", "abbc", True),
    ],
)
def test_of_a_keys_values_all_that_are_expected_come_in_their_order(wanted: str, came: str, fits: bool) -> None:
    expected, actual = (Metadata(tuple(("k", letter) for letter in letters)) for letters in (wanted, came))

    assert (list(match_metadata(expected, actual, lambda value: value == "*")) == []) is fits


def test_several_values_are_shown_together_and_a_key_is_told_once() -> None:
    expected, actual = Metadata((("k", "1"), ("j", "x"), ("k", "2"))), Metadata((("k", "2"), ("j", "x"), ("k", "1")))

    assert list(match_metadata(expected, actual, lambda value: False)) == [
        Difference("metadata.k", ("1", "2"), ("2", "1"))
    ]


def test_what_was_redacted_of_a_status_stands_for_anything() -> None:
    expected, actual = trailer(5, "*", b"*"), trailer(5, "b", b"2")

    assert (
        list(match_events(expected, actual, match_messages=by_bytes, is_wildcard=lambda value: value in ("*", b"*")))
        == []
    )


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^7 is no event$"):
        list(by_bytes(7, 7))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference("timestamp", 1, 2), "timestamp: expected 1, got 2"),
        (Difference("name", "a", None), "name: expected 'a', got nothing"),
        (Difference("x-\x1b", "\x1b", b"\xff"), r"'x-\x1b': expected '\x1b', got b'\xff'"),
        (Difference("x", "y" * 200, 1), f"x: expected '{'y' * 59}… 82 more …{'y' * 59}', got 1"),
    ],
)
def test_a_difference_reads_like_this(difference: Difference, text: str) -> None:
    assert str(difference) == text


def test_a_name_is_written_as_it_is_where_it_can_be_printed() -> None:
    assert named("/a.B/C") == "/a.B/C"
    assert named("a\nb\u202e") == r"'a\nb\u202e'"
    assert named("n" * 121) == f"{'n' * 60}… 1 more …{'n' * 60}"
    assert shown("a") == "'a'"
