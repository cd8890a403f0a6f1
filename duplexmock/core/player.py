"""The Player: plays one side of a call, and checks the other. Pure: its runner has sockets and clock.

    while True:
        match player.next(clock.now_ns()):
            case Send(steps):        say their events
            case Do(what):           lose the connection, or say GOAWAY
            case Wait(until_ns):     player.received(what came by then, clock.now_ns())
            case Done():             break

Our events go when their turn has come (`gate`: how many of the peer's come before each), their time has come (pace.py),
and what they wait for on other calls has happened (`edges`). The peer's events are matched as they come, each with the
next one of its lane; none may come before those of ours that it needs (`need`). The first one that is not as it should
be is the Mismatch: the call is then ended, and what still comes is kept and not judged.

The hot path is a run of messages that are the expected ones byte for byte: a comparison each, and no objects.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from duplexmock.core import verdict
from duplexmock.core.connection import Connection
from duplexmock.core.deadline import is_up
from duplexmock.core.events import (
    LAST_WORDS,
    Cancel,
    ClientHeader,
    Event,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.lanes import Lanes, Loss, Parting, Step, is_deadline_ending
from duplexmock.core.matching import Difference, Matcher
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.moves import Do, Done, Send, Wait
from duplexmock.core.outcome import Mismatch, Outcome, Unreached
from duplexmock.core.pace import Pace
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.core.terms import Across, Terms
from duplexmock.core.verdict import Expected


class Player:
    """Plays `side` of `lanes`.

    `match` compares events; messages that are equal byte for byte only if it `sees_all`. `bind` puts values that have
    arrived into an event of ours before it is said. `edges`, by position, are what our events wait for on other calls,
    one an event at the most, and `reached(edge)` says since when that is there (ns), or None; it is asked when nothing
    else holds the event any more. `joined(what)` tells whether the other calls of the connection are where they were
    when it was lost, or the server said GOAWAY. `start_ns` is when the call could have begun.
    """

    __slots__ = (
        "_active_ns",
        "_bind",
        "_blocked_on",
        "_came",
        "_edges",
        "_ended_by_peer",
        "_has_closed",
        "_held",
        "_history",
        "_is_timed_out",
        "_joined",
        "_lost",
        "_match",
        "_notes",
        "_own",
        "_pace",
        "_partings",
        "_peer",
        "_reached",
        "_sees_all",
        "_sent",
        "_terms",
        "_unjudged",
        "is_ahead",
        "is_joining",
        "lanes",
        "mismatch",
        "side",
    )

    def __init__(
        self,
        lanes: Lanes,
        side: Side,
        terms: Terms,
        match: Matcher,
        *,
        sees_all: bool = False,
        bind: Callable[[Event], Event] | None = None,
        edges: Sequence[Across] = (),
        reached: Callable[[Across], int | None] = lambda edge: 0,
        joined: Callable[[Loss | Parting], bool] = lambda what: True,
        start_ns: int = 0,
    ) -> None:
        self.lanes = lanes
        self.side = side
        self.mismatch: Mismatch | None = None
        self._terms = terms
        self._match = match
        self._own = lanes.lane(side)
        self._peer = lanes.lane(side.other)
        self._sees_all = sees_all
        self._bind = bind
        self._edges = {edge.position: edge for edge in edges} if edges else _NO_EDGES
        self._held = sorted(self._edges, reverse=True) if edges else None
        self._reached = reached
        self._joined = joined
        self._partings = lanes.partings if side is Side.SERVER else ()
        self._pace = Pace(self._own, self._peer, terms.gate, terms.speed, start_ns)
        self._history = History()
        self._notes: tuple[str, ...] = ()
        self._sent = self._came = self._unjudged = 0
        self._active_ns = start_ns
        self._blocked_on: Across | None = None
        self.is_joining = self.is_ahead = False
        self._ended_by_peer = self._is_timed_out = False
        self._lost: str | None = None
        self._has_closed = False

    @property
    def sent(self) -> int:
        """Return how many events of our lane have been said."""
        return self._sent

    @property
    def came(self) -> int:
        """Return how many events of the peer's lane have come and were as expected."""
        return self._came

    def received(self, rows: Sequence[Row], now_ns: int) -> None:
        """Take what the peer said, in its order; an empty run says that time has passed."""
        if not rows:
            return
        self._history.add(Arrived(now_ns, rows))
        self._active_ns = now_ns
        if self.mismatch is not None:
            return
        came, sent, before = self._came, self._sent, self._came
        peer, need, count, sees_all = self._peer, self._terms.need, len(self._peer), self._sees_all
        for row in rows:
            hot = peer[came].row if came < count and not sees_all else None
            if hot is not None and row[0] == hot[0] and row[3] == hot[2] and row[2] == hot[1] and need[came] <= sent:
                came += 1
                continue
            self._came = came
            self._take(row, now_ns)
            came = self._came
            if self.mismatch is not None:
                break
        self._came = came
        self._pace.arrived(came - before, now_ns)

    def rested(self, now_ns: int) -> None:
        """Take note that saying what was to be said has taken until now: the peer's time counts from there."""
        self._active_ns = max(self._active_ns, now_ns)

    def lost(self, reason: str, now_ns: int) -> None:
        """Take the loss of the connection."""
        self._lost = reason
        if self.mismatch is not None or self._is_said() or self._ended_by_peer:
            return
        expected = self._expected_event()
        if isinstance(expected, Cancel) or (expected is None and (self.lanes.loss or self.lanes.cut)):
            self._pace.arrived(len(self._peer) - self._came, now_ns)
            self._came = len(self._peer)
        else:
            self._fail(verdict.lost(self._expected(), reason), now_ns)

    def next(self, now_ns: int) -> Send | Do | Wait | Done:
        """Say what is to be done now."""
        if self.mismatch is not None or self._lost is not None:
            return self._close()
        if self._partings and self._is_at(self._partings[0]):
            parting, *others = self._partings
            waits = self._join(parting, now_ns)
            self._partings = self._partings if waits else tuple(others)
            return waits or Do(parting)
        stop, due_ns = self._ready(now_ns)
        if stop > self._sent:
            start, self._sent = self._sent, stop
            steps = self._bound(self._own[start:stop])
            self._history.add(Said(now_ns, start, steps))
            self._active_ns = now_ns
            return Send(steps, start if self._bind is None else None)
        if self._is_over():
            return Done()
        if self._is_at_its_end():
            return self._let_go(now_ns)
        if due_ns is not None:
            return Wait(due_ns)
        until_ns = self._active_ns + self._allowance_ns()
        if now_ns < until_ns:
            return Wait(until_ns)
        self._fail(self._stall(), now_ns)
        return self._close()

    def adopt(self, history: History) -> bool:
        """Go on where another Player of the call stands; tell whether all that happened fits our lanes as well.

        `is_ahead` tells afterwards whether something of ours was said before what it waits for in these lanes.
        """
        for happened in history:
            match happened:
                case Arrived(now_ns, rows):
                    self.received(rows, now_ns)
                    if self.mismatch is not None:
                        return False
                case Said(now_ns, start, steps):
                    stop = self._sent + len(steps)
                    ours = self._bound(self._own[self._sent : stop])
                    if start is None or _events(steps) != _events(ours):
                        return False
                    if stop > bisect_right(self._terms.gate, self._came):
                        self.is_ahead = True
                    self._pace.said(len(steps), now_ns)
                    self._active_ns = now_ns
                    self._sent = stop
                    self._history.add(happened)
        return True

    @property
    def blocked_on(self) -> Across | None:
        """Return what our next event waits for on another call, where nothing else holds it, as of the last `next`."""
        return self._blocked_on

    @property
    def arrived_ns(self) -> Sequence[int]:
        """Return when each of the peer's events came; empty where the pace did not need to know."""
        return self._pace.arrived_ns

    @property
    def history(self) -> History:
        """Return what has happened on the call."""
        return self._history

    def stands_at(self, what: Loss | Parting, now_ns: int) -> bool:
        """Tell whether the call has come to where the recording saw this done to its connection, or is past it."""
        match what:
            case Loss():
                is_at = self._sent == len(self._own) and self._came == len(self._peer)
            case Parting(at_ns=at_ns):
                is_at = any(self._is_at(parting) for parting in self.lanes.partings if parting.at_ns == at_ns)
        return is_at and self._pace.behind_ns(self._sent, self._came, what.at_ns) <= now_ns

    def note(self, text: str) -> None:
        """Add a sentence to the outcome's notes."""
        if text not in self._notes:
            self._notes = (*self._notes, text)

    def outcome(self, connection: Connection, stream_id: int) -> Outcome:
        """Return what it led to."""
        if self.lanes.cut:
            self.note(f"replayed up to the last entry of the recording, which is {self.lanes.cut}")
        if self.mismatch is None:
            self._note_what_cannot_be_told()
        session = partial(self._history.session, self.lanes.number, connection, stream_id, self._lost)
        unreached = tuple(self._unreached()) if self.mismatch is not None else ()
        return Outcome(self.lanes.number, self.lanes.method, self.side, session, self.mismatch, unreached, self._notes)

    def _note_what_cannot_be_told(self) -> None:
        peer = self.side.other.name.lower()
        # What the recording saw behind the peer's end could not have been said either.
        left = bisect_left(self._terms.gate, len(self._peer)) - self._sent
        if left > 0 and not self.lanes.ends_by_deadline:
            were = "was" if left == 1 else "were"
            self.note(f"{left} of our events {were} not sent: the {peer} had ended the call")
        if self.side is Side.SERVER and self._terms.speed > 1 and self._is_timed_out:
            within = verdict.duration(self.lanes.header.timeout_ns or 0)
            self.note(f"the call ends by the client's deadline of {within}, which a server cannot hurry")

    def _take(self, row: Row, now_ns: int) -> None:
        """Take a row that is not plainly the expected message."""
        if row[0] == RowKind.DAMAGED:
            self._fail(verdict.broken(self.side.other, row[2]), now_ns)
            return
        event = event_of(row)
        if event is None:
            return
        self._ended_by_peer = self._ended_by_peer or isinstance(event, LAST_WORDS)
        expected = self._expected_event()
        if self._is_said():
            # It crossed our last word: whether it would have come cannot be told.
            is_next = type(event) is type(expected)
            self._came += is_next
            self._unjudged += not is_next
        elif self._is_by_deadline(event, now_ns):
            self._came = len(self._peer)
            self._is_timed_out = True
        elif type(event) is not type(expected):
            self._take_out_of_turn(event, now_ns)
        elif self._terms.need[self._came] > self._sent:
            needed = verdict.labels(_events(self._own))[self._terms.need[self._came] - 1]
            self._fail(
                verdict.too_early(self._expected(), needed, self._terms.need_evidence(self._came)), now_ns, event
            )
        elif differences := tuple(self._match(expected, event)):
            self._fail(verdict.differs(self._expected(), event, differences), now_ns, event, differences)
        elif isinstance(event, ClientHeader) and event.timeout_ns is None and self.lanes.ends_by_deadline:
            recorded_ns = self.lanes.header.timeout_ns or 0
            self._fail(verdict.no_deadline(verdict.duration(recorded_ns)), now_ns, event)
        else:
            self._came += 1

    def _take_out_of_turn(self, event: Event, now_ns: int) -> None:
        loss = self.lanes.loss
        is_behind = self._expected_event() is None
        if is_behind and (
            # Given up, as the recorded one was by losing its connection; or what a recording that was cut has not seen.
            (isinstance(event, Cancel) and loss is not None and loss.side is Side.CLIENT) or self.lanes.cut
        ):
            self._unjudged += 1
            return
        if is_behind and not isinstance(event, Cancel) and self._has_its_last_turn():
            self._unjudged += 1  # it crosses our last word, which was to be said at once
            return
        deadline = self._deadline_at(now_ns) if isinstance(event, Cancel) else ""
        self._fail(verdict.out_of_turn(self._expected(), event, deadline), now_ns, event)

    def _has_its_last_turn(self) -> bool:
        """Tell whether all that is left of our lane, its last word included, may be said now."""
        if not self._pace.is_unbounded or not isinstance(self._own[-1].event, LAST_WORDS):
            return False
        waits = any(self._reached(edge) is None for position, edge in self._edges.items() if position >= self._sent)
        return not waits and bisect_right(self._terms.gate, self._came, self._sent) == len(self._own)

    def _ready(self, now_ns: int) -> tuple[int, int | None]:
        """Return up to where our lane may be said now, and when the next event is due if only its time is missing."""
        stop = bisect_right(self._terms.gate, self._came, self._sent)
        if self._partings:
            stop = min(stop, max(self._partings[0].server_events, self._sent))
        self._blocked_on = None
        return self._unheld(stop) if self._pace.is_unbounded else self._due(stop, now_ns)

    def _unheld(self, stop: int) -> tuple[int, None]:
        """Return up to where no edge holds our lane, looking at each edge until it is reached."""
        while self._held and self._held[-1] < stop:
            edge = self._edges[self._held[-1]]
            if edge.position >= self._sent and self._reached(edge) is None:
                if edge.position == self._sent:
                    self._blocked_on = edge
                return edge.position, None
            self._held.pop()
        return stop, None

    def _due(self, stop: int, now_ns: int) -> tuple[int, int | None]:
        for position in range(self._sent, stop):
            due_ns = self._pace.due_ns(position)
            edge = self._edges.get(position)
            if due_ns <= now_ns and edge is not None:
                reached_ns = self._reached(edge)
                if reached_ns is None:
                    if position == self._sent:
                        self._blocked_on = edge
                    return position, None
                due_ns = self._pace.due_ns(position, (edge.at_ns, reached_ns))
            if due_ns > now_ns:
                return position, due_ns
            self._pace.take(due_ns)
        return stop, None

    def _is_said(self) -> bool:
        """Tell whether we have said our last word, behind which the peer's are not awaited."""
        return self._sent == len(self._own) and bool(self._own) and isinstance(self._own[-1].event, LAST_WORDS)

    def _is_over(self) -> bool:
        if self._is_said() or self._has_closed:
            return True
        return self._came == len(self._peer) and self._ended_by_peer

    def _is_at_its_end(self) -> bool:
        """Tell whether both lanes are through and the call goes on, because the recording has no end of it."""
        loss = self.lanes.loss
        through = self._came == len(self._peer) and self._sent == len(self._own)
        return through and (loss is None or loss.side is self.side)

    def _let_go(self, now_ns: int) -> Send | Do | Wait:
        """End what the recording does not end: by losing the connection as it did, else in words."""
        loss = self.lanes.loss
        if loss is not None:
            if waits := self._join(loss, now_ns):
                return waits
            self._has_closed = True
            self._lost = "as recorded"
            return Do(loss)
        self._has_closed = True
        return self._say_last(f"the recording stops here: {self.lanes.cut or 'it has no end'}", now_ns)

    def _join(self, what: Loss | Parting, now_ns: int) -> Wait | None:
        """Wait for the time of what is done to the connection, and for the other calls that it is done to."""
        due_ns = self._pace.behind_ns(self._sent, self._came, what.at_ns)
        self.is_joining = due_ns <= now_ns and not self._joined(what)
        if self.is_joining:
            return Wait(now_ns + self._terms.timeout_ns)
        return Wait(due_ns) if due_ns > now_ns else None

    def _close(self) -> Send | Done:
        """End the call after a mismatch."""
        if self._has_closed or self._lost is not None or self.mismatch is None:
            return Done()
        if self._is_said() or self._ended_by_peer:
            return Done()
        self._has_closed = True
        return self._say_last(self.mismatch.sentence, self.mismatch.at_ns)

    def _say_last(self, text: str, now_ns: int) -> Send:
        # Clients retry many codes by themselves; FAILED_PRECONDITION they do not.
        metadata = Metadata() if self._sent else GRPC_ANSWER  # trailers-only where no header was said
        last: Event = ServerTrailer(Status(Code.FAILED_PRECONDITION, text), metadata)
        steps = (Step(Cancel(ErrorCode.CANCEL) if self.side is Side.CLIENT else last),)
        self._history.add(Said(now_ns, None, steps))
        return Send(steps)

    def _bound(self, steps: Sequence[Step]) -> Sequence[Step]:
        if self._bind is None:
            return steps
        return tuple(replace(step, event=self._bind(step.event)) for step in steps)

    def _is_at(self, parting: Parting) -> bool:
        ours = min(parting.server_events, len(self._own))
        return self._sent >= ours and self._came >= min(parting.client_events, len(self._peer))

    def _expected_event(self) -> Event | None:
        return self._peer[self._came].event if self._came < len(self._peer) else None

    def _expected(self) -> Expected:
        messages = sum(step.row is not None for step in self._peer[: self._came])
        return Expected(self.side.other, self._expected_event(), messages)

    def _fail(
        self, sentence: str, now_ns: int, actual: Event | None = None, differences: tuple[Difference, ...] = ()
    ) -> None:
        expected = self._expected()
        self.mismatch = Mismatch(
            sentence,
            expected.side,
            self._came,
            expected.messages,
            now_ns,
            expected.event,
            actual,
            differences,
            self._came + self._sent + self._unjudged,
            next((step.event for step in self._peer if isinstance(step.event, ClientHeader | ServerHeader)), None),
        )

    def _stall(self) -> str:
        waits = ""
        if self._sent < len(self._own):
            who, name = self.side.other.name.lower(), verdict.labels(_events(self._own))[self._sent]
            needs = self._waited_for(self._sent)
            waits = f"the {who} waits for {name}; that needs {needs}; nothing is on its way"
        waited_ns, timeout_ns = self._allowance_ns(), self._terms.timeout_ns
        # What little the recording took on top is no use to the reader.
        within_ns = timeout_ns if waited_ns < timeout_ns * 11 // 10 else waited_ns
        return verdict.stalled(self._expected(), verdict.duration(within_ns), waits)

    def _allowance_ns(self) -> int:
        """Return how long the peer may take for its next event."""
        if self._terms.is_timeout_strict:
            return self._terms.timeout_ns
        return self._terms.timeout_ns + self._pace.recorded_gap_ns(self._came, self._sent)

    def _waited_for(self, position: int) -> str:
        """Say what holds our event at `position`, and how that is known; empty where nothing does."""
        wait, parting = self._terms.gate[position], self._partings[0] if self._partings else None
        if wait > self._came:
            return f"{verdict.labels(_events(self._peer))[wait - 1]} ({self._terms.gate_evidence(position)})"
        if parting is not None and parting.server_events <= position and parting.client_events > self._came:
            name = verdict.labels(_events(self._peer))[min(parting.client_events, len(self._peer)) - 1]
            return f"a GOAWAY behind {name} (seen, not learned)"
        edge = self._edges.get(position)
        if edge is not None and (self._pace.is_unbounded or edge is self._blocked_on) and self._reached(edge) is None:
            return f"{edge} (inferred)"
        return "" if self._pace.is_unbounded else "its time"

    def _unreached(self) -> Iterator[Unreached]:
        names = verdict.labels(_events(self._own[: self._sent + _TOLD]))
        for position, name in enumerate(names[self._sent :], start=self._sent):
            yield Unreached(self.side, name, self._waited_for(position))

    def _is_by_deadline(self, event: Event, now_ns: int) -> bool:
        """Tell whether the deadline ends this call as it ended the recorded one, by whichever side's clock."""
        if not is_deadline_ending(event) or not self.lanes.ends_by_deadline:
            return False
        expected = self._expected_event()
        is_in_turn = expected is None or is_deadline_ending(expected)
        return is_in_turn and self._deadline_at(now_ns) != ""

    def _deadline_at(self, now_ns: int) -> str:
        """Return the deadline that was up at this time, for people; empty where none was."""
        match self._history.header():
            case (at_ns, ClientHeader(timeout_ns=int(timeout_ns))) if is_up(timeout_ns, now_ns - at_ns):
                return verdict.duration(timeout_ns)
            case _:
                return ""


def _events(lane: Sequence[Step]) -> list[Event]:
    return [step.event for step in lane]


_TOLD = 3
"""Events of ours that are named when they were not reached; more of them explain no more."""

_NO_EDGES: dict[int, Across] = {}
