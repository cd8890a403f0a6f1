"""Redaction: which keys, what stands in the values' place, and what is refused."""

import re

import pytest

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Status
from duplexmock.errors import ScriptError
from duplexmock.store.redact import DEFAULT_KEYS, Redaction, is_redacted


def redacted(redaction, *pairs):
    event = redaction.event(ClientHeader("/a.B/C", Metadata(pairs), "localhost"))
    assert (event.method, event.authority) == ("/a.B/C", "localhost")
    return event.metadata.pairs


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-acme-apikey",
        "x-access-token",
        "private-token",
        "x-vault-token",
        "x-client-secret",
        "password",
        "aws-credentials",
        "x-forwarded-client-cert",
    ],
)
def test_the_usual_keys_are_redacted_by_default(key):
    (name, value), other = redacted(Redaction(), (key, "sesame"), ("user-agent", "grpc"))
    assert name == key
    assert re.fullmatch("redacted:[0-9a-f]{16}", value)
    assert other == ("user-agent", "grpc")


def test_own_keys_join_the_usual_ones():
    redaction = Redaction(["X-Mine", "*cookie*"])
    assert redaction.keys == tuple(sorted({*DEFAULT_KEYS, "x-mine"}))
    pairs = redacted(redaction, ("x-mine", "a"), ("authorization", "b"), ("x-yours", "c"))
    assert [(key, is_redacted(value)) for key, value in pairs] == [
        ("x-mine", True),
        ("authorization", True),
        ("x-yours", False),
    ]


def test_keys_may_be_globs_and_what_a_recording_needs_stays():
    pairs = redacted(Redaction(["x-acme-*", "*"]), ("x-acme-user", "a"), ("grpc-timeout", "1S"), ("content-type", "c"))
    assert [(key, is_redacted(value)) for key, value in pairs] == [
        ("x-acme-user", True),
        ("grpc-timeout", False),
        ("content-type", False),
    ]


def test_what_is_redacted_stays_as_it_is():
    pairs = redacted(Redaction(), ("authorization", "sesame"))
    assert redacted(Redaction(), *pairs) == pairs


def test_binary_values_become_binary_placeholders():
    ((key, value),) = redacted(Redaction(["token-bin"]), ("token-bin", b"\0\xff"))
    assert key == "token-bin"
    assert isinstance(value, bytes)
    assert is_redacted(value)


def test_a_binary_key_that_carried_text_stays_text():
    ((_, value),) = redacted(Redaction(["token-bin"]), ("token-bin", "no base64: \xff"))
    assert isinstance(value, str)
    assert is_redacted(value)


def test_equal_values_get_equal_placeholders_and_others_do_not():
    redaction = Redaction(["a", "b", "c-bin"])
    pairs = redacted(redaction, ("a", "same"), ("b", "same"), ("a", "other"), ("c-bin", b"same"), ("a", ""))
    one, two, three, four, five = (value for _, value in pairs)
    assert one == two
    assert one.encode() == four
    assert len({one, three, five}) == 3
    assert redacted(redaction, ("a", "same")) == (("a", one),)


def test_another_recording_has_other_placeholders():
    assert redacted(Redaction(), ("cookie", "same")) != redacted(Redaction(), ("cookie", "same"))


def test_every_event_with_metadata_is_redacted():
    redaction = Redaction()
    secret = Metadata((("set-cookie", "sesame"), ("k", "v")))
    events = [ClientHeader("/a.B/C", secret), ServerHeader(secret, 200), ServerTrailer(Status(0), secret, 200, 8)]
    hidden = [redaction.event(event) for event in events]
    placeholders = {event.metadata.first("set-cookie") for event in hidden}
    assert len(placeholders) == 1
    assert is_redacted(placeholders.pop())
    assert [event.metadata.first("k") for event in hidden] == ["v", "v", "v"]
    assert (hidden[1].http_status, hidden[2].status, hidden[2].reset_after) == (200, Status(0), 8)


def test_the_text_and_the_details_of_a_status_can_be_redacted():
    trailer = ServerTrailer(Status(7, "user 17 may not", b"user 17"), Metadata((("k", "v"),)))
    assert Redaction().event(trailer) is trailer
    status = Redaction(["grpc-message", "grpc-status-details-bin"]).event(trailer).status
    assert status.code == 7
    assert is_redacted(status.message)
    assert is_redacted(status.details)
    assert Redaction(["grpc-message"]).event(trailer).status.details == b"user 17"
    ok = ServerTrailer(Status(0))
    assert Redaction(["grpc-message", "grpc-status-details-bin"]).event(ok) == ok
    assert Redaction(["grpc-message"]).event(ServerTrailer(None)) == ServerTrailer(None)


def test_a_status_message_that_could_not_be_read_is_redacted_where_it_stayed():
    trailer = ServerTrailer(None, Metadata((("grpc-message", "sesame"),)))
    assert is_redacted(Redaction(["grpc-message"]).event(trailer).metadata.first("grpc-message"))


def test_rows_without_secrets_are_passed_as_they_are():
    rows = [
        (RowKind.CLIENT_MESSAGE, 1, 0, b"authorization"),
        (RowKind.CLIENT_HEADER, 1, ClientHeader("/a.B/C", Metadata((("k", "v"),))), 1, 1),
        (RowKind.DAMAGED, 1, "why"),
    ]
    assert Redaction().rows(rows) is rows


def test_rows_keep_their_places_and_all_that_is_no_secret():
    redaction = Redaction()
    header = ClientHeader("/a.B/C", Metadata((("cookie", "x"),)))
    message = (RowKind.CLIENT_MESSAGE, 4, 0, b"cookie")
    rows = [message, (RowKind.CLIENT_HEADER, 4, header, 2, 9), message]
    assert redaction.rows(rows) == [message, (RowKind.CLIENT_HEADER, 4, redaction.event(header), 2, 9), message]


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (":path", "redact ':path': pseudo-headers are not metadata and cannot be redacted"),
        ("grpc-status", "redact 'grpc-status': a recording cannot be read without it, and it holds no secret"),
        ("Content-Type", "redact 'Content-Type': a recording cannot be read without it, and it holds no secret"),
        ("grpc-timeout", "redact 'grpc-timeout': a recording cannot be read without it, and it holds no secret"),
        ("", "redact '': not a metadata key, or a glob of them: letters, digits, '-', '_', '.', '*'"),
        (
            "x-key: value",
            "redact 'x-key: value': not a metadata key, or a glob of them: letters, digits, '-', '_', '.', '*'",
        ),
        ("schlüssel", "redact 'schlüssel': not a metadata key, or a glob of them: letters, digits, '-', '_', '.', '*'"),
    ],
)
def test_what_cannot_be_redacted_as_asked_is_refused(key, sentence):
    with pytest.raises(ScriptError) as caught:
        Redaction([key])
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "value", ["", "redacted:", "redacted:0123456789abcde", "redacted:0123456789ABCDEF", "xredacted:0123456789abcdef"]
)
def test_what_only_looks_like_a_placeholder_is_none(value):
    assert not is_redacted(value)
    assert not is_redacted(value.encode())
