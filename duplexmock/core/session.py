"""One recorded call: its entries, the connection it ran on, and how it ended."""

from __future__ import annotations

from enum import Enum

from duplexmock.core.connection import Connection
from duplexmock.core.events import CLIENT_EVENTS, SERVER_EVENTS, ClientHeader, Event, Side, side_of
from duplexmock.core.value import value


class Ended(Enum):
    """How a session came to its end; the value is what people read."""

    TRAILER = "trailer"
    RESET = "reset by the server"
    CANCELLED = "cancelled by the client"
    CONNECTION_LOST = "connection lost"
    INCOMPLETE = "incomplete"
    DAMAGED = "damaged"


@value
class Entry:
    """An event and when its last byte was seen: monotonic nanoseconds from the start of the recording."""

    at_ns: int
    event: Event


@value
class Session:
    """One call as it was seen; `entries` are in the order of the recording and begin with the ClientHeader.

    `number` counts from 1 in the order in which calls were opened. `reason` says more where `ended` is CONNECTION_LOST,
    INCOMPLETE or DAMAGED, and is empty otherwise.
    """

    number: int
    connection: Connection
    stream_id: int
    entries: tuple[Entry, ...]
    ended: Ended
    reason: str = ""

    @property
    def header(self) -> ClientHeader:
        """Return the event that opened the call."""
        event = self.entries[0].event
        assert isinstance(event, ClientHeader)
        return event

    @property
    def method(self) -> str:
        """Return the full method name: `/package.Service/Method`."""
        return self.header.method

    def lane(self, side: Side) -> tuple[Event, ...]:
        """Return one side's events in their order."""
        kinds = CLIENT_EVENTS if side is Side.CLIENT else SERVER_EVENTS
        return tuple(entry.event for entry in self.entries if isinstance(entry.event, kinds))

    @property
    def word(self) -> str:
        """Spell the session: `>` for each of the client's events, `<` for each of the server's."""
        return "".join(side_of(entry.event).value for entry in self.entries)
