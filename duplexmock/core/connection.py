"""One TCP or unix-socket connection between a client and a server, and what was said on it outside of calls."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from duplexmock.core.events import Side
from duplexmock.core.value import value


class Closing(Enum):
    """How a connection came to its end."""

    CLOSED = "closed"
    RESET = "reset"
    REFUSED = "refused"
    STOPPED = "stopped"


@value
class Settings:
    """One SETTINGS frame: pairs of identifier and value in their order (RFC 9113 section 6.5)."""

    at_ns: int
    side: Side
    values: tuple[tuple[int, int], ...]


@value
class GoAway:
    """One GOAWAY frame (RFC 9113 section 6.8)."""

    at_ns: int
    side: Side
    last_stream_id: int
    code: int
    debug: bytes = b""


@value
class Closed:
    """The end: how, by whom (None: by the recorder), and why, in words for people."""

    at_ns: int
    how: Closing
    side: Side | None
    reason: str = ""


@value
class Connection:
    """What is known of a connection; times are ns from the recording's start, `closed` is None while it is open."""

    number: int
    client: str
    server: str
    opened_at_ns: int
    settings: tuple[Settings, ...] = ()
    goaways: tuple[GoAway, ...] = ()
    closed: Closed | None = None


def told(connection: Connection, what: Settings | GoAway | Closed) -> Connection:
    """Return the connection with one more thing known of it."""
    match what:
        case Settings():
            return replace(connection, settings=(*connection.settings, what))
        case GoAway():
            return replace(connection, goaways=(*connection.goaways, what))
        case Closed():
            return replace(connection, closed=what)
        case _:
            raise TypeError(f"{what!r} is not said of a connection")
