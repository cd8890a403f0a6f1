import pytest

from duplexmock.core.events import Cancel, Reset, ServerHeader, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, Status
from duplexmock.report.endings import Derived, derived, is_deadline
from tests.report.calls import call, cancel_at, header


@pytest.mark.parametrize(
    ("before", "ending", "expected"),
    [
        ([], ServerTrailer(Status(Code.OK)), None),
        ([ServerHeader(http_status=503)], ServerTrailer(Status(Code.ABORTED)), None),
        ([], ServerTrailer(Status(42), http_status=503), None),
        ([ServerHeader()], ServerTrailer(None), Derived(Code.UNKNOWN, "no grpc-status")),
        ([], ServerTrailer(None, http_status=200), Derived(Code.UNKNOWN, "no grpc-status")),
        ([], ServerTrailer(None, http_status=404), Derived(Code.UNIMPLEMENTED, "HTTP 404")),
        ([], ServerTrailer(None, http_status=500), Derived(Code.UNKNOWN, "HTTP 500")),
        ([ServerHeader(http_status=503)], ServerTrailer(None), Derived(Code.UNAVAILABLE, "HTTP 503")),
        ([ServerHeader()], Reset(8), Derived(Code.CANCELLED, "RST_STREAM")),
        ([], Reset(7), Derived(Code.UNAVAILABLE, "RST_STREAM")),
        ([], Reset(0xBEEF), Derived(Code.UNKNOWN, "RST_STREAM")),
    ],
)
def test_a_client_derives_a_status_where_none_came(before, ending, expected):
    session = call((0, header()), *((1, event) for event in before), (2, ending))

    assert derived(session, ending) == expected


@pytest.mark.parametrize(
    ("timeout", "ms", "expected"),
    [
        ("250m", 250, True),
        ("250m", 251, True),
        ("250m", 237.5, True),  # rounded by a hundredth, and seen 10 ms late
        ("250m", 237.499999, False),
        ("250m", 100, False),
        ("1m", 0.89, True),  # seen late by a tenth, if the timeout is short
        ("1m", 0.889999, False),
        ("0n", 0, True),
        ("10S", 9_890, True),
        ("10S", 9_889, False),
        ("soon", 10_000, False),
        ("123456789m", 200_000_000, False),  # more than 8 digits are no timeout
    ],
)
def test_a_cancel_is_a_deadline_when_the_time_was_up(timeout, ms, expected):
    session, cancel = cancel_at(ms, ("grpc-timeout", timeout))

    assert is_deadline(session, cancel) is expected


def test_without_a_timeout_there_is_no_deadline():
    session, cancel = cancel_at(10_000)

    assert is_deadline(session, cancel) is False


def test_a_reset_behind_a_trailer_derives_nothing():
    trailer = ServerTrailer(Status(Code.OK), Metadata(), reset_after=0)

    assert derived(call((0, header()), (1, trailer), (2, Cancel(8))), trailer) is None
