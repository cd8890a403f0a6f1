"""What may come next on a call: one table a lane, to be checked with a pencil.

RFC 9113 section 8.1 (a stream carries headers, data, trailers) and gRPC's PROTOCOL-HTTP2 (Request, Response,
Trailers-Only). The lanes do not bind one another here: which server events may follow which client events is the
order's business (order.py). The one rule across lanes is that ClientHeader comes first.

A client that has half-closed may still cancel: a deadline does exactly that (RST_STREAM(CANCEL) after END_STREAM).
A server may reset behind its own trailer; that is part of the ServerTrailer (`reset_after`), not another event.
"""

from __future__ import annotations

from enum import Enum

from duplexmock.core.events import (
    CLIENT_EVENTS,
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    event_name,
    side_of,
)
from duplexmock.errors import ProtocolError


class LaneState(Enum):
    """How far one lane has come."""

    IDLE = "idle"
    OPEN = "open"
    HALF_CLOSED = "half-closed"
    ENDED = "ended"

    # Members are singletons. Enum's own hash is a function of Python, which the tables of a call would wait for.
    __hash__ = object.__hash__


NEXT: dict[tuple[LaneState, type[Event]], LaneState] = {
    # client lane
    (LaneState.IDLE, ClientHeader): LaneState.OPEN,
    (LaneState.OPEN, ClientMessage): LaneState.OPEN,
    (LaneState.OPEN, ClientHalfClose): LaneState.HALF_CLOSED,
    (LaneState.OPEN, Cancel): LaneState.ENDED,
    (LaneState.HALF_CLOSED, Cancel): LaneState.ENDED,
    # server lane
    (LaneState.IDLE, ServerHeader): LaneState.OPEN,
    (LaneState.IDLE, ServerTrailer): LaneState.ENDED,
    (LaneState.IDLE, Reset): LaneState.ENDED,
    (LaneState.OPEN, ServerMessage): LaneState.OPEN,
    (LaneState.OPEN, ServerTrailer): LaneState.ENDED,
    (LaneState.OPEN, Reset): LaneState.ENDED,
}


class Lanes:
    """Where both lanes of one call stand."""

    __slots__ = ("client", "server")

    def __init__(self) -> None:
        self.client = LaneState.IDLE
        self.server = LaneState.IDLE

    def allows(self, kind: type[Event]) -> bool:
        """Tell whether an event of this type may come next."""
        if self.client is LaneState.IDLE and kind is not ClientHeader:
            return False
        return (self.client if kind in CLIENT_EVENTS else self.server, kind) in NEXT

    def advance(self, event: Event) -> None:
        """Take one event; ProtocolError where it may not come next."""
        if not self.allows(type(event)):
            raise ProtocolError(self._refusal(event))
        if side_of(event) is Side.CLIENT:
            self.client = NEXT[self.client, type(event)]
        else:
            self.server = NEXT[self.server, type(event)]

    def _refusal(self, event: Event) -> str:
        if self.client is LaneState.IDLE:
            return f"{event_name(event)} before ClientHeader"
        side = side_of(event)
        state = self.client if side is Side.CLIENT else self.server
        return f"{event_name(event)} while the {side.name.lower()}'s lane is {state.value}"
