"""What a client makes of a call's end: the status it derives where none came, and whether its deadline was up.

Sources: PROTOCOL-HTTP2 ("Errors") and http-grpc-status-mapping.md, both by core/status.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from duplexmock.core.deadline import is_up
from duplexmock.core.events import Reset, ServerHeader, ServerTrailer
from duplexmock.core.session import Entry, Session
from duplexmock.core.status import Code, code_of_http_status, code_of_reset


@dataclass(frozen=True, slots=True)
class Derived:
    """The code a client reports, and what it has instead of a status."""

    code: Code
    reason: str


def derived(session: Session, event: ServerTrailer | Reset) -> Derived | None:
    """Return the status that clients derive from an ending without one; None where `grpc-status` came."""
    match event:
        case Reset(code):
            return Derived(code_of_reset(code), "RST_STREAM")
        case ServerTrailer(status=None):
            http_status = _http_status(session, event)
            if http_status == 200:
                return Derived(Code.UNKNOWN, "no grpc-status")
            return Derived(code_of_http_status(http_status), f"HTTP {http_status}")
        case _:
            return None


def is_deadline(session: Session, cancel: Entry) -> bool:
    """Tell whether this Cancel came when the client's deadline was up: the wire shows no more than that."""
    timeout_ns = session.header.timeout_ns
    return timeout_ns is not None and is_up(timeout_ns, cancel.at_ns - session.entries[0].at_ns)


def _http_status(session: Session, trailer: ServerTrailer) -> int:
    if trailer.http_status is not None:
        return trailer.http_status
    headers = (entry.event for entry in session.entries)
    return next((event.http_status for event in headers if isinstance(event, ServerHeader)), 200)
