"""The ScriptPlayer: plays one side of a script, and checks the other. Pure, and run as a Player is (player.py).

What the peer says waits in an inbox until the script lets it come: it may be early, because it is not obliged to wait
for us (`expect="lanes"`), or may not (`"order"`). Our side says what the script has next for it as soon as it may; what
has come is taken first. What can come neither now nor after anything that we could still say is the Mismatch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from duplexmock.core import allowed, verdict
from duplexmock.core.connection import Connection
from duplexmock.core.events import (
    LAST_WORDS,
    Cancel,
    ClientHeader,
    ClientMessage,
    Event,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.lanes import Step as LaneStep
from duplexmock.core.language import Language
from duplexmock.core.matching import Difference, match_metadata
from duplexmock.core.metadata import GRPC_ANSWER, GRPC_REQUEST, Metadata
from duplexmock.core.moves import Do, Done, Send, Wait
from duplexmock.core.node import Mark, Move, Node, leads_to
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.core.steps import Step
from duplexmock.core.walk import Walk
from duplexmock.errors import ProtocolError

Choose = Callable[[Sequence[Move]], int]
"""Chooses what our side says where the script lets it choose: an index into these, the first by preference."""

Expect = Literal["lanes", "order"]

_Timer = tuple[Step, tuple[int, ...]]

NEVER_NS = 1 << 62
"""A timeout that does not come."""


def first(moves: Sequence[Move]) -> int:
    """Choose what is written first."""
    return 0


class ScriptPlayer:
    """Plays `side` of a script, which `language` is prepared of (schema/script.py: `Script.prepared`).

    The peer has `timeout_ns` for each of its events, while nothing of ours is due. A function of the script is called
    in `received` or `next`, and what it raises comes out of them. `history` may be one that forgets. `authority` is
    what the client's header says.
    """

    def __init__(
        self,
        language: Language,
        side: Side,
        *,
        choose: Choose = first,
        expect: Expect = "lanes",
        timeout_ns: int = 10_000_000_000,
        start_ns: int = 0,
        number: int = 0,
        authority: str = "localhost",
        history: History | None = None,
    ) -> None:
        self.side = side
        self.language = language
        self.mismatch: Mismatch | None = None
        self._choose = choose
        self._is_early_allowed = expect == "lanes"
        self._may_circle = side is Side.SERVER and self._is_early_allowed
        self._timeout_ns = timeout_ns
        self._number = number
        self._authority = authority
        self._history = history or History()
        self._walk = Walk(language)
        self._inbox: deque[tuple[Row, int]] = deque()
        self._unsaid: list[Event] = []
        self._timers = _Timers()
        self._picked: tuple[Node, Move] | None = None
        self._active_ns = start_ns
        self._entries = self._came = self._messages = 0
        self._said_messages = 0
        self._last: Event | int = _OWN_MESSAGE[side]
        self._own_message = _OWN_MESSAGE[side]
        self._encoding = ""
        self._is_open = self._is_said = self._has_closed = False
        self._lost: str | None = None
        self._notes: tuple[str, ...] = ()

    @property
    def history(self) -> History:
        """Return what has happened on the call."""
        return self._history

    @property
    def walk(self) -> Walk:
        """Return where in the script it is."""
        return self._walk

    @property
    def came(self) -> int:
        """Return how many events of the peer's lane have come and were as the script has them."""
        return self._came

    def note(self, text: str) -> None:
        """Add a sentence to the outcome's notes."""
        if text not in self._notes:
            self._notes = (*self._notes, text)

    def rested(self, now_ns: int) -> None:
        """Take note that saying what was to be said has taken until now: the peer's time counts from there."""
        self._active_ns = max(self._active_ns, now_ns)

    def received(self, rows: Sequence[Row], now_ns: int) -> None:
        """Take what the peer said, in its order; an empty run says that time has passed."""
        if not rows:
            return
        self._history.add(Arrived(now_ns, rows))
        self._active_ns = now_ns
        entries, self._entries = self._entries, self._entries + len(rows)
        if self.mismatch is not None or self._is_said or self._walk.is_over:
            return
        self._inbox.extend(zip(rows, range(entries, entries + len(rows)), strict=True))
        if self._goes_in_circles:
            self._circle()
            if not self._inbox:
                return
        self._hear(now_ns)
        if self.mismatch is not None:
            return
        if self._inbox and not self._is_early_allowed:
            self._refuse(now_ns)
        elif self._is_open:
            self._go(now_ns)

    def lost(self, reason: str, now_ns: int) -> None:
        """Take the loss of the connection."""
        self._lost = reason
        if self.mismatch is None and not self._is_said and not self._walk.is_over:
            self._fail(allowed.lost(self.side.other, reason, self._walk), now_ns)

    def next(self, now_ns: int) -> Send | Do | Wait | Done:
        """Say what is to be done now."""
        if self._goes_in_circles and not self._inbox and self._lost is None:
            if self._unsaid:
                return self._flush(now_ns)
            if now_ns < self._active_ns + self._timeout_ns:
                return Wait(self._active_ns + self._timeout_ns)
        if not self._is_open and self.side is Side.CLIENT and self.mismatch is None:
            self._open(now_ns)
        if self.mismatch is None and self._lost is None and self._is_open:
            self._go(now_ns)
        if self._unsaid and self._lost is None:
            return self._flush(now_ns)
        if self.mismatch is not None or self._lost is not None:
            return self._close()
        if self._is_said or self._walk.is_over:
            return Done()
        due_ns = self._due_ns()
        if due_ns is not None:
            return Wait(due_ns)
        until_ns = self._active_ns + self._timeout_ns
        if now_ns < until_ns:
            return Wait(until_ns)
        self._fail(self._stall(), now_ns)
        return self._close()

    def outcome(self, connection: Connection, stream_id: int) -> Outcome:
        """Return what it led to."""
        session = partial(self._history.session, self._number, connection, stream_id, self._lost)
        return Outcome(self._number, self.language.method, self.side, session, self.mismatch, (), self._notes)

    # What comes

    @property
    def _goes_in_circles(self) -> bool:
        """Tell whether we are a server that has nothing to say but in rounds that can be looked up."""
        places = self._walk.places
        is_able = self._may_circle and self._is_open and self.mismatch is None
        return is_able and len(places) == 1 and places[0][0].circle is not None and not places[0][1]

    def _circle(self) -> None:
        """Answer what has come, round by round: the hot path."""
        circle = self._walk.node.circle
        assert circle is not None
        step, said = circle
        fits, answers, write = step.fits, step.answers, self.language.codec.write
        inbox, unsaid, before, rounds = self._inbox, self._unsaid, len(self._unsaid), 0
        while inbox and len(unsaid) < _RUN:
            row = inbox[0][0]
            if row[0] != step.kind or row[2] & 1 or (fits is not None and not fits(row[3])):
                break
            if answers is not None:
                unsaid += [ServerMessage(write(Side.SERVER, message)) for message in answers(row[3])]
            unsaid += said
            inbox.popleft()
            rounds += 1
        if rounds:
            self._came += rounds
            self._messages += rounds
            self._said_messages += len(unsaid) - before
            self._last = self._own_message if len(unsaid) > before else step.kind

    def _go(self, now_ns: int) -> None:
        """Take what has come and say what may be said, in turns, until neither goes on."""
        while len(self._unsaid) < _RUN and self._say(now_ns):
            if self._inbox and not self._is_said:
                if self._goes_in_circles:
                    self._circle()
                self._hear(now_ns)
            if self.mismatch is not None:
                return
        if self._inbox and not self._is_said and len(self._unsaid) < _RUN and not self._may_come_later():
            self._refuse(now_ns)

    def _hear(self, now_ns: int) -> None:
        """Take of the inbox what may come now."""
        inbox, walk = self._inbox, self._walk
        while inbox:
            row, _ = inbox[0]
            kind = row[0]
            if kind == _PEERS_MESSAGE[self.side] and self._is_open:
                payload = row[3] if not row[2] & 1 else self._plain(row, now_ns)
                if payload is None:
                    return
                taken = walk.take(kind, payload)
                if not taken:
                    return
                self._messages += 1
                self._last = kind
            elif kind == RowKind.DAMAGED:
                self._fail(verdict.broken(self.side.other, row[2]), now_ns)
                return
            else:
                event = event_of(row)
                if event is None:
                    inbox.popleft()
                    continue
                if isinstance(event, ClientHeader) and not self._is_open:
                    self._opened(event, now_ns)
                    if self.mismatch is not None:
                        return
                    taken = ()
                else:
                    taken = walk.take(kind, event)
                    if not taken:
                        return
                    if isinstance(event, ServerHeader):
                        self._encoding = _text(event.metadata, "grpc-encoding")
                self._last = event
            self._came += 1
            inbox.popleft()
            if self._timers.since:
                self._timers.took(taken)
            self._picked = None
            if walk.is_over:
                inbox.clear()
                return

    def _plain(self, row: Row, now_ns: int) -> bytes | None:
        try:
            return self.language.codec.plain(row[3], row[2], self._encoding)
        except ProtocolError as exc:
            self._fail(f"Message {self._messages + 1} of the {self.side.other.name.lower()} is {exc}.", now_ns)
            return None

    def _opened(self, header: ClientHeader, now_ns: int) -> None:
        self._is_open = True
        self._encoding = _text(header.metadata, "grpc-encoding")
        differences = tuple(match_metadata(self.language.header.metadata, header.metadata, lambda value: False))
        if differences:
            self._fail(allowed.wrong_header(differences), now_ns, header, differences)

    def _refuse(self, now_ns: int) -> None:
        """End it by what is first in the inbox."""
        if self.mismatch is not None:
            return
        row, entries = self._inbox[0]
        event = event_of(row)
        assert event is not None
        codec, walk, peer = self.language.codec, self._walk, self.side.other
        if isinstance(event, ClientMessage | ServerMessage) and event.flags & 1:
            event = type(event)(codec.plain(event.payload, event.flags, self._encoding))
        differences = allowed.differences(walk, codec, event)
        what = allowed.event_told(codec, event, self._messages)
        sentence = allowed.not_allowed(what, self._behind(), allowed.may_come(walk, [peer]), differences)
        self._fail(sentence, now_ns, event_of(row), differences, entries)

    def _behind(self) -> str:
        if isinstance(self._last, int):
            messages = self._said_messages if self._last == self._own_message else self._messages
            return allowed.behind_message(self._last, messages)
        return allowed.behind(self._last)

    def _may_come_later(self) -> bool:
        """Tell whether what is first in the inbox may come behind something that we could say before."""
        row, _ = self._inbox[0]
        kind = row[0]
        seen: set[Node] = set()
        nodes = [node for node, _ in self._walk.places]
        owed = {asked for _, owing in self._walk.places for asked, _, _ in owing}  # it is none of these answers
        what = row[3] if kind == _PEERS_MESSAGE[self.side] else event_of(row)
        if kind == _PEERS_MESSAGE[self.side] and row[2] & 1:
            what = self.language.codec.plain(row[3], row[2], self._encoding)
        while nodes and len(seen) < _LOOKED_AT:
            node = nodes.pop()
            if node in seen:
                continue
            seen.add(node)
            for move in node.hears.get(kind, ()):
                if move.step.owes is not None:
                    if move.step.owes not in owed:
                        return True
                elif move.step.fits is None or move.step.fits(what):
                    return True
            for move in node.says(self.side):
                nodes += (move.rest, move.last)
        return bool(nodes)

    # What we say

    def _open(self, now_ns: int) -> None:
        """Say the client's header."""
        header = self.language.header
        metadata = Metadata((*GRPC_REQUEST.pairs, *header.metadata.pairs))
        self._is_open = True
        self._unsaid.append(ClientHeader(header.method, metadata, self._authority))
        self._last = self._unsaid[0]

    def _say(self, now_ns: int) -> bool:
        """Say the next event of ours, if there is one whose time has come; tell whether there was."""
        walk = self._walk
        place, moves = walk.says(self.side)
        if not moves or self._is_said:
            return False
        node = place[0]
        move = moves[0]
        if len(moves) > 1:
            move = self._pick(node, moves)
        if node.waits(self.side):
            found = self._timers.ready(moves, move, now_ns)
            if found is None:
                return False
            move = found
        event = walk.event(place, move)
        if move.opens:
            self._unsaid.append(_ANSWER)
        walk.say(place, move, event)
        self._picked = None
        if self._timers.since:
            self._timers.took((move,), said=move)
        self._unsaid.append(event)
        if isinstance(event, ClientMessage | ServerMessage):
            self._said_messages += 1
            self._last = self._own_message
        else:
            self._last = event
            self._is_said = isinstance(event, LAST_WORDS)
        return True

    def _pick(self, node: Node, moves: Sequence[Move]) -> Move:
        if self._picked is None or self._picked[0] is not node:
            self._picked = node, moves[self._choose(moves)]
        return self._picked[1]

    def _due_ns(self) -> int | None:
        """Return when our next event is due, where only its time is missing."""
        (node, _), moves = self._walk.says(self.side)
        if not moves:
            return None
        return self._timers.due_ns(moves, self._pick(node, moves) if len(moves) > 1 else moves[0])

    def _flush(self, now_ns: int) -> Send:
        steps = tuple([LaneStep(event) for event in self._unsaid])
        self._unsaid.clear()
        self._entries += len(steps)
        self._history.add(Said(now_ns, None, steps))
        self._active_ns = now_ns
        return Send(steps)

    def _close(self) -> Send | Done:
        """End the call after a mismatch."""
        if self._has_closed or self._lost is not None or self.mismatch is None or not self._is_open:
            return Done()
        if self._is_said or self._walk.is_over:
            return Done()
        self._has_closed = True
        if self.side is Side.CLIENT:
            self._unsaid.append(Cancel(ErrorCode.CANCEL))
        else:
            status = Status(Code.FAILED_PRECONDITION, self.mismatch.sentence)
            self._unsaid.append(ServerTrailer(status, Metadata() if self._walk.is_answered else GRPC_ANSWER))
        self._is_said = True
        return self._flush(self.mismatch.at_ns)

    def _stall(self) -> str:
        return allowed.stalled(self.side.other, verdict.duration(self._timeout_ns), self._walk)

    def _fail(
        self,
        sentence: str,
        now_ns: int,
        actual: Event | None = None,
        differences: tuple[Difference, ...] = (),
        entries: int | None = None,
    ) -> None:
        self.mismatch = Mismatch(
            sentence,
            self.side.other,
            self._came,
            self._messages,
            now_ns,
            None,
            actual,
            differences,
            self._entries if entries is None else entries,
        )


class _Timers:
    """Since when our moves that wait for their time could have been said, by their steps and branches.

    A step may be that of several moves: of this round, and of the next one.
    """

    __slots__ = ("_dues", "since")

    def __init__(self) -> None:
        self.since: dict[_Timer, int] = {}
        self._dues: dict[Step, int] = {}

    def took(self, moves: Sequence[Move], said: Move | None = None) -> None:
        """Forget those that what has happened comes before: they begin to wait anew. A period goes on from its due."""
        if said is not None and (said.step, said.branch) in self.since:
            self._dues[said.step] = self._due(said)
        self.since = {
            timer: since_ns
            for timer, since_ns in self.since.items()
            if any(
                timer[0] is not move.step and (move.mark is Mark.EVERY or _is_apart(timer[1], move.branch))
                for move in moves
            )
        }

    def ready(self, moves: Sequence[Move], picked: Move, now_ns: int) -> Move | None:
        """Return what is to be said now: the one that was picked, or what may be said while it waits."""
        since: dict[_Timer, int] = {}
        for move in moves:
            if move.delay_ns:
                timer = move.step, move.branch
                since[timer] = self.since.get(timer, self._dues.get(move.step, now_ns))
        self._dues.clear()
        self.since = since
        if self._due(picked) <= now_ns:
            return picked
        return next((move for move in _meanwhile(moves, picked) if self._due(move) <= now_ns), None)

    def due_ns(self, moves: Sequence[Move], picked: Move) -> int | None:
        """Return when `ready` returns one, None where none waits."""
        return min(map(self._due, (picked, *_meanwhile(moves, picked)))) if self.since else None

    def _due(self, move: Move) -> int:
        since_ns = self.since.get((move.step, move.branch))
        return 0 if since_ns is None else since_ns + move.delay_ns


def _meanwhile(moves: Sequence[Move], picked: Move) -> list[Move]:
    """Return what may be said while the one that was picked waits."""
    return [move for move in moves if move.mark is not Mark.AGAIN and leads_to(move, picked.step)]


def _is_apart(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether two branches are on different sides of an any_order."""
    return any(a != b for a, b in zip(one, other, strict=False))


def _text(metadata: Metadata, key: str) -> str:
    text = metadata.first(key)
    return text if isinstance(text, str) else ""


_PEERS_MESSAGE = {Side.CLIENT: int(RowKind.SERVER_MESSAGE), Side.SERVER: int(RowKind.CLIENT_MESSAGE)}
"""The kind of the peer's messages, by our side."""

_OWN_MESSAGE = {side: _PEERS_MESSAGE[side.other] for side in Side}

_ANSWER = ServerHeader(GRPC_ANSWER)

_RUN = 1_000
"""Events that are said at once; what the socket does not take holds up the next ones."""

_LOOKED_AT = 1_000
"""Nodes that are looked at for whether something may still come: behind more of them, it may."""
