"""Lanes: what is said on one call. Two lanes of steps and an order; they have no side, either can be played.

Made of a recorded Session by `Lanes.of`. Beside the lanes it has what ends a call without being an event of it: a
connection that is lost, a GOAWAY on the way, or a recording that was cut.
"""

from __future__ import annotations

from dataclasses import field

from duplexmock.core.connection import Closing, GoAway
from duplexmock.core.deadline import is_up
from duplexmock.core.events import (
    Cancel,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerMessage,
    ServerTrailer,
    Side,
    side_of,
)
from duplexmock.core.order import Order
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended, Session
from duplexmock.core.status import Code, ErrorCode
from duplexmock.core.value import value


@value
class Step:
    """One event of a lane, and when it was seen: ns on the recording's clock, for the gaps between steps.

    `row` is (kind, flags, payload) of a message, to be compared with what arrives; None of any other event.
    """

    event: Event
    at_ns: int = 0
    row: tuple[int, int, bytes] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        event = self.event
        if isinstance(event, ClientMessage):
            row = _CLIENT_MESSAGE, event.flags, event.payload
        elif isinstance(event, ServerMessage):
            row = _SERVER_MESSAGE, event.flags, event.payload
        else:
            object.__setattr__(self, "row", None)
            return
        object.__setattr__(self, "row", row)


@value
class Loss:
    """`side` let the connection go, by a reset (RST) or by closing it; `at_ns` is as in a Step."""

    side: Side
    by_reset: bool = False
    at_ns: int = 0


@value
class Parting:
    """The server said GOAWAY when so many events of each lane had been seen; `at_ns` is as in a Step."""

    client_events: int
    server_events: int
    code: int
    debug: bytes = b""
    at_ns: int = 0


@value
class Lanes:
    """What is said on one call of `method`.

    `seen` is the order of the lanes. `number` is that of the session it was made of, 0 without one. `loss` is set where
    the call ended with its connection, `cut` says why where the lanes stop without an end.
    """

    method: str
    client: tuple[Step, ...]
    server: tuple[Step, ...]
    seen: Order
    number: int = 0
    loss: Loss | None = None
    partings: tuple[Parting, ...] = ()
    cut: str = ""

    @classmethod
    def of(cls, session: Session) -> Lanes:
        """Turn what was seen into what is to be said; a damaged or incomplete session up to its last entry."""
        client: list[Step] = []
        server: list[Step] = []
        for entry in session.entries:
            (client if side_of(entry.event) is Side.CLIENT else server).append(Step(entry.event, entry.at_ns))
        loss, cut = None, ""
        match session.ended, session.connection.closed:
            case Ended.CONNECTION_LOST, closed if closed is not None and closed.side is not None:
                loss = Loss(closed.side, closed.how is Closing.RESET, closed.at_ns)
            case (Ended.CONNECTION_LOST | Ended.INCOMPLETE | Ended.DAMAGED) as ended, _:
                cut = f"{ended.value}: {session.reason}" if session.reason else ended.value
        return cls(
            session.method,
            tuple(client),
            tuple(server),
            Order.recorded(session),
            session.number,
            loss,
            tuple(
                _parting(session, goaway)
                for goaway in session.connection.goaways
                if _falls_into(session, goaway, is_lost=loss is not None)
            ),
            cut,
        )

    def lane(self, side: Side) -> tuple[Step, ...]:
        """Return one side's steps."""
        return self.client if side is Side.CLIENT else self.server

    @property
    def header(self) -> ClientHeader:
        """Return the event that opens the call."""
        event = self.client[0].event
        assert isinstance(event, ClientHeader)
        return event

    @property
    def ends_by_deadline(self) -> bool:
        """Tell whether the call ends by the client's deadline, whichever side's clock was first.

        Either the client cancels, or the server says DEADLINE_EXCEEDED or resets the call, when the deadline is up.
        """
        timeout_ns = self.header.timeout_ns
        if timeout_ns is None:
            return False
        endings = (lane[-1] for lane in (self.client, self.server) if lane and is_deadline_ending(lane[-1].event))
        return any(is_up(timeout_ns, step.at_ns - self.client[0].at_ns) for step in endings)

    @property
    def is_refused(self) -> bool:
        """Tell whether the server refuses this call unprocessed."""
        return len(self.server) > 0 and self.server[0].event == Reset(ErrorCode.REFUSED_STREAM)


def is_deadline_ending(event: Event) -> bool:
    """Tell whether an event is one by which a deadline ends a call, if it comes when the deadline is up."""
    match event:
        case Cancel():
            return True
        case ServerTrailer(status):
            return status is not None and status.code == Code.DEADLINE_EXCEEDED
        case Reset(code):
            return code in (ErrorCode.CANCEL, ErrorCode.NO_ERROR)
        case _:
            return False


def _falls_into(session: Session, goaway: GoAway, is_lost: bool) -> bool:
    """Tell whether the server said this before the call's last entry, or before it lost the connection."""
    if goaway.side is not Side.SERVER or goaway.at_ns < session.entries[0].at_ns:
        return False
    return is_lost or goaway.at_ns <= session.entries[-1].at_ns


def _parting(session: Session, goaway: GoAway) -> Parting:
    before = [side_of(entry.event) for entry in session.entries if entry.at_ns <= goaway.at_ns]
    return Parting(before.count(Side.CLIENT), before.count(Side.SERVER), goaway.code, goaway.debug, goaway.at_ns)


_CLIENT_MESSAGE, _SERVER_MESSAGE = int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)
"""Plain numbers, as rows have them: a look at an enum's member for each step is a tenth of making Lanes."""
