"""A Probe: plays one side of a call as an experiment. It holds each event of ours back until nothing comes any more.

It is run like a Player (player.py says how), and judges nothing: what took place is a Session, of which learned.py says
what it shows. Our events go in the order of their lane, one at a time over all calls that are open: `Turns` gives the
next turn when all of them have been quiet for `hold_ns`. What the peer says beyond what the recording has of it breaks
no quiet, or one that pushes for ever would never be quiet. When it has said all that, nothing can be learned any more,
and the rest is said at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from duplexmock.core.connection import Connection
from duplexmock.core.deadline import timeout_value
from duplexmock.core.events import LAST_WORDS, ClientHalfClose, ClientHeader, Event, Side
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.lanes import Lanes, Loss, Parting, Step
from duplexmock.core.matching import Matcher
from duplexmock.core.metadata import Metadata
from duplexmock.core.moves import Do, Done, Send, Wait
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.rows import Row, event_of
from duplexmock.core.terms import Across, Terms


class Turns:
    """Who may say the next event: of all open probes the one whose next comes first by `rank`, when all are quiet.

    One that waits for another call, as the recording lets a replay wait, comes behind all that do not.

    `rank` sees the number of a session, the position of the event in its lane, and when the recording saw it. `events`
    is how many there are to be said on all calls.
    """

    def __init__(self, hold_ns: int, rank: Callable[[int, int, int], tuple[int, ...]], events: int) -> None:
        self.hold_ns = hold_ns
        self.events = events
        self._rank = rank
        self._open: dict[int, Probe] = {}
        self._active_ns: int | None = None

    def joined(self, probe: Probe) -> None:
        """Take a probe whose call is being played, in the place of another one of its session."""
        self._open[probe.lanes.number] = probe

    def left(self, probe: Probe) -> None:
        """Forget a probe whose call is over, or may be of another session."""
        if self._open.get(probe.lanes.number) is probe:
            del self._open[probe.lanes.number]

    def happened(self, now_ns: int) -> None:
        """Take note that something was said, by us or by a peer; a probe that adopts a history says it once more."""
        self._active_ns = max(now_ns, self._active_ns or now_ns)

    def at_ns(self, probe: Probe, now_ns: int) -> int:
        """Return when it is, or may be, the turn of this probe: now, if it is not later."""
        if self._active_ns is None:
            return now_ns
        if all(each.has_heard_all for each in self._open.values()):
            return now_ns
        due_ns = self._active_ns + self.hold_ns
        if now_ns < due_ns:
            return due_ns
        waiting = [each for each in self._open.values() if each.following is not None]
        free = [each for each in waiting if not each.waits_for_another] or waiting
        return now_ns if min(free, key=self._place) is probe else now_ns + self.hold_ns

    def _place(self, probe: Probe) -> tuple[int, ...]:
        step = probe.following
        assert step is not None
        return self._rank(probe.lanes.number, probe.sent, step.at_ns)


class Probe:
    """Plays `side` of `lanes` by `turns`.

    The arguments behind `terms` are those of a Player; nothing is joined. Of the terms it is the timeout that counts:
    for the peer to say the rest, when all of ours has been said. `match` chooses between calls that are open at a time,
    and teaches `bind`.
    """

    def __init__(
        self,
        turns: Turns,
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
        self.blocked_on: Across | None = None
        self.is_joining = self.is_ahead = False
        self.arrived_ns: Sequence[int] = ()
        self.sent = self.came = 0
        self._turns = turns
        self._own = lanes.lane(side)
        self._peer = lanes.lane(side.other)
        self._missing: Counter[type[Event]] = Counter(type(step.event) for step in self._peer)
        self._left = len(self._peer)
        self._has_end = bool(self._peer) and isinstance(self._peer[-1].event, _ENDS)
        self._edges = {edge.position: edge for edge in edges}
        self._reached = reached
        self._match = match
        self._bind = bind
        self._timeout_ns = terms.timeout_ns
        self._heard_ns = start_ns
        self._history = History()
        self._notes: list[str] = []
        self._lost: str | None = None
        self._is_over = False

    @property
    def following(self) -> Step | None:
        """Return our next event, or None where all have been said, or cannot be said any more."""
        return self._own[self.sent] if self.sent < len(self._own) and not self._is_over else None

    @property
    def waits_for_another(self) -> bool:
        """Tell whether our next event waits for what has not been seen on another call."""
        edge = self._edges.get(self.sent)
        return edge is not None and self._reached(edge) is None

    @property
    def has_heard_all(self) -> bool:
        """Tell whether nothing of the peer's is to come any more: it has ended its lane as the recording has it."""
        return self._is_over or (self._has_end and not self._left)

    @property
    def history(self) -> History:
        """Return what has happened on the call."""
        return self._history

    def received(self, rows: Sequence[Row], now_ns: int) -> None:
        """Take what the peer said."""
        if not rows:
            return
        self._history.add(Arrived(now_ns, rows))
        for event in [event for event in map(event_of, rows) if event is not None]:
            if self._missing[type(event)]:
                self._missing[type(event)] -= 1
                self._left -= 1
                self._heard_ns = now_ns
                self._turns.happened(now_ns)
            if not self._is_as_recorded(event):
                # Another call's session may fit better; where none does, this one goes on, and joins again.
                self.mismatch = Mismatch("", self.side.other, self.came, 0, now_ns)
                self._turns.left(self)
            self.came += 1
            self._is_over = self._is_over or isinstance(event, LAST_WORDS)

    def rested(self, now_ns: int) -> None:
        """Take note that saying what was to be said has taken until now, which a probe need not know."""

    def lost(self, reason: str, now_ns: int) -> None:
        """Take the loss of the connection."""
        self._lost = reason
        self._is_over = True

    def next(self, now_ns: int) -> Send | Do | Wait | Done:
        """Say what is to be done now."""
        self.mismatch = None
        self._turns.joined(self)
        if self.following is not None:
            due_ns = self._turns.at_ns(self, now_ns)
            if due_ns > now_ns:
                return Wait(due_ns)
            return self._say(now_ns)
        until_ns = self._heard_ns + self._timeout_ns
        if self._is_over or not self._left or self._has_said_its_last() or now_ns >= until_ns:
            self._turns.left(self)
            return Done()
        return Wait(until_ns)

    def adopt(self, history: History) -> bool:
        """Go on where another probe of the call stands; tell whether all that happened fits our lanes as well."""
        for happened in history:
            match happened:
                case Arrived(now_ns, rows):
                    self.received(rows, now_ns)
                    if self.mismatch is not None:
                        return False
                case Said(steps=steps):
                    stop = self.sent + len(steps)
                    ours = [self._bound(step).event for step in self._own[self.sent : stop]]
                    if [step.event for step in steps] != ours:
                        return False
                    self.sent = stop
                    self._history.add(happened)
        return True

    def stands_at(self, what: Loss | Parting, now_ns: int) -> bool:
        """Say that nothing has to wait for this call: connections are not lost on purpose in a probe."""
        return True

    def note(self, text: str) -> None:
        """Add a sentence to the outcome's notes."""
        self._notes.append(text)

    def outcome(self, connection: Connection, stream_id: int) -> Outcome:
        """Return what took place."""
        session = partial(self._history.session, self.lanes.number, connection, stream_id, self._lost)
        return Outcome(self.lanes.number, self.lanes.method, self.side, session, notes=tuple(self._notes))

    def _say(self, now_ns: int) -> Send:
        step = self._own[self.sent]
        if isinstance(step.event, ClientHeader):
            by_ns = 2 * self._turns.events * self._turns.hold_ns + self._timeout_ns
            step = replace(step, event=extended(step.event, by_ns))
        step = self._bound(step)
        self._history.add(Said(now_ns, self.sent, (step,)))
        self._turns.happened(now_ns)
        self._heard_ns = now_ns
        self.sent += 1
        return Send((step,))

    def _bound(self, step: Step) -> Step:
        return step if self._bind is None else replace(step, event=self._bind(step.event))

    def _has_said_its_last(self) -> bool:
        return bool(self._own) and isinstance(self._own[-1].event, LAST_WORDS)

    def _is_as_recorded(self, event: Event) -> bool:
        expected = self._peer[self.came].event if self.came < len(self._peer) else None
        return type(event) is type(expected) and not tuple(self._match(expected, event))


_ENDS = (ClientHalfClose, *LAST_WORDS)


def extended(header: ClientHeader, by_ns: int) -> ClientHeader:
    """Return the header with a deadline that is so much later; one without a deadline as it is."""
    timeout_ns = header.timeout_ns
    if timeout_ns is None:
        return header
    later = timeout_value(timeout_ns + by_ns)
    pairs = tuple((key, later if key == "grpc-timeout" else value) for key, value in header.metadata)
    return replace(header, metadata=Metadata(pairs))
