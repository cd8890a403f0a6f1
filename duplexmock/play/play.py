"""A Play: one run of fixtures. It owns the players, chooses the session for a call, and judges.

Each call goes through the one loop (running.py), in either seat.

**Which session is this call?** As the server: the first one not played whose method, header and messages so far fit.
When a message comes that does not fit the one a call was taken for, another one that does takes its place, if all that
was said so far would have been said there as well; one that another call holds is let go where that call fits a third
(the augmenting paths of bipartite matching). As the client: all of them, each as soon as what its header waits for on
other calls has happened.

**A connection is lost once, and one GOAWAY is said on it**, when all calls that the recording saw on it before then are
where they were: the first one that is through must not take the others with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from duplexmock.core import verdict
from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer, Side
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.lanes import Lanes, Loss, Parting, Step
from duplexmock.core.matching import shown
from duplexmock.core.metadata import GRPC_ANSWER
from duplexmock.core.moves import Send
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.player import Player
from duplexmock.core.status import Code, Status
from duplexmock.core.terms import Across
from duplexmock.play.repertoire import CallReading, Part, Repertoire, Unplayed
from duplexmock.play.running import run
from duplexmock.play.stream import Clock, Prepare, Stream

if TYPE_CHECKING:
    from duplexmock.core.rows import Row
    from duplexmock.play.faulty import Faults, Faulty
    from duplexmock.play.seat import MakeSeat, Seat

ABSENT_NS = 1_000_000_000
"""How long an event of ours waits for a call that is not there; then that call is taken to stay away.

It waits longer, half the time that the peer has for an event, where that call is the next that is to come.
"""

Missed = Callable[["Stream", Sequence["Row"], bool], Awaitable[None]]
"""Takes a call that no session fits: its stream, what has come on it, and whether it was given a ServerHeader."""

REFUSALS = 3
"""How often a call that a server has not processed is opened again."""


class Play:
    """Plays `side` of the repertoire's sessions.

    `outcomes` has, for each call that has ended, the name of its source and the Outcome. Call `answer` for each call
    that comes in, or `perform` once; all on one loop. With `faults`, `prepare` returns events as they are: faults look
    at each.
    """

    def __init__(
        self,
        repertoire: Repertoire,
        side: Side,
        clock: Clock,
        *,
        seat: MakeSeat = Player,
        prepare: Prepare = lambda lane: lane,
        ended: Callable[[str, Outcome], None] = lambda source, outcome: None,
        missed: Missed | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.outcomes: list[tuple[str, Outcome]] = []
        self._repertoire = repertoire
        self._side = side
        self._clock = clock
        self._seat = seat
        self._prepare = prepare
        self._ended = ended
        self._missed = missed
        self._faults = faults
        self._opened = 0
        self._given_back: set[tuple[str, int, int]] = set()
        self._calls: dict[tuple[str, int, int], _Call] = {}
        self._blocked: dict[tuple[str, int, int], set[_Call]] = {}
        self._methods: set[str] = set()
        self._past: dict[tuple[str, int, int], tuple[int, Sequence[int]]] = {}
        self._since_ns: dict[tuple[tuple[str, int, int], Across], int] = {}
        self._asked_ns: dict[tuple[tuple[str, int, int], Across], int] = {}
        self._joins: dict[tuple[object, ...], _Join] = {}
        self._done: set[tuple[object, ...]] = set()

    def unplayed(self) -> Iterator[Unplayed]:
        """Yield the sessions that no call took."""
        if not self._given_back:
            return self._repertoire.unplayed()
        taken = {(source, number) for source, _, number in self._given_back}
        return (each for each in self._repertoire.unplayed() if each[:2] not in taken)

    async def answer(self, stream: Stream) -> None:
        """Play the server on a call that has come in, to its end."""
        faulty = self._around(stream)
        stream = faulty or stream
        rows = await stream.receive(self._clock.now_ns() + ABSENT_NS)
        while not rows:
            if stream.lost is not None:
                return
            rows = await stream.receive(self._clock.now_ns() + ABSENT_NS)
        history = History()
        history.add(Arrived(self._clock.now_ns(), rows))
        header = rows[0][2]
        assert isinstance(header, ClientHeader)
        call = _Call(stream, header, faulty)
        known = self._repertoire.may_have(header.method)
        is_cast = known and self._cast(call, history, set())
        if not is_cast and self._missed is not None:
            await self._missed(stream, rows, False)
            stream.close()
        elif is_cast or (known and self._cast_anyway(call, history)):
            del history  # the player has its own, and calls may be idle for long (bench: `an idle call of 1,000`)
            await run(_Turns(self, call), self._clock)
            if call.is_missed and self._missed is not None:
                await self._missed(stream, *_so_far(call.player.history))
                stream.close()
                return
            for text in _retry(header):
                call.player.note(text)
            if faulty is not None:
                await faulty.ended()
                if faulty.has_refused:
                    self._give_back(call, faulty)
                    return
            self._conclude(call)
        else:
            await self._refuse(call, history)

    async def perform(self, open_stream: Callable[[Part], Awaitable[Stream]]) -> None:
        """Play the client of all sessions, each on a stream that `open_stream` gives; returns when all have ended.

        A stream opens its call when the first event is said on it. A call that the server refuses unprocessed is opened
        again, REFUSALS times at the most. Each fixture, and each pass over it, begins when the one before has ended:
        what one recording saw at a time is known of that recording alone.
        """
        for _, parts in groupby(self._repertoire, key=lambda part: part.key[:2]):
            async with asyncio.TaskGroup() as group:
                begin_ns = self._clock.now_ns()
                first_ns: int | None = None
                for part in parts:
                    opened_ns = part.lanes.client[0].at_ns
                    first_ns = opened_ns if first_ns is None else first_ns
                    stream = await open_stream(part)
                    faulty = self._around(stream)
                    call = _Call(faulty or stream, part.lanes.header, faulty)
                    call.opened = asyncio.Event()
                    start_ns = begin_ns + round((opened_ns - first_ns) / part.terms.speed)
                    self._take(call, self._role(part, part.lanes, start_ns))
                    group.create_task(self._perform(call, open_stream))
                    # What a header waits for happened before it: no call that was opened later can be among that.
                    await call.opened.wait()

    async def _perform(self, call: _Call, open_stream: Callable[[Part], Awaitable[Stream]]) -> None:
        part = call.part
        await run(_Turns(self, call), self._clock)
        for _ in range(REFUSALS):
            if not call.stream.is_refused or part.lanes.is_refused:
                break
            call.stream.close()
            stream = await open_stream(part)
            call.faulty = self._around(stream)
            call.stream = call.faulty or stream
            self._take(call, self._role(part, part.lanes, self._clock.now_ns()))
            call.player.note("the server refused the call unprocessed; it was opened again")
            await run(_Turns(self, call), self._clock)
        if call.faulty is not None:
            await call.faulty.ended()
        self._conclude(call)

    async def say(self, call: _Call, send: Send) -> None:
        """Say what a call's player has to say."""
        steps, start = send
        if call.faulty is not None and call.player.mismatch is not None:
            call.faulty.left()
        if start is None or call.prepared is None:
            await call.stream.send([step.event for step in steps])
        else:
            await call.stream.send(call.prepared[start : start + len(steps)])
        if call.faulty is not None:
            call.player.rested(self._clock.now_ns())
        if call.opened is not None:
            call.opened.set()

    def listens_until(self, call: _Call, until_ns: int) -> int:
        """Return until when a call waits for its peer, and not for other calls."""
        if (edge := call.player.blocked_on) is not None:
            self._blocked.setdefault(_target(call.part, edge), set()).add(call)
        elif not call.player.is_joining:
            return until_ns
        return min(until_ns, self._clock.now_ns() + _patience_ns(call.part) // 4)

    def heard(self, call: _Call) -> bool:
        """Look whether a call is still the one that it was taken for; tell whether it goes on here."""
        if call.player.mismatch is not None and self._side is Side.SERVER and not call.has_deviated:
            is_recast = self._recast(call)
            if not is_recast and self._missed is not None and _is_free(call.player.history):
                self._let_go(call)
                call.is_missed = True
                return False
        self._progressed(call.part)
        return True

    def _recast(self, call: _Call) -> bool:
        """Take another part for a call that does not fit the one it has; keep it where no other fits."""
        role = call.role
        self._let_go(call)
        is_cast = self._cast(call, role.player.history, set())
        if not is_cast:
            self._take(call, role)
        return is_cast

    def _cast(self, call: _Call, history: History, asked: set[tuple[str, int, int]]) -> bool:
        """Find a part that fits all that has happened on this call; tell whether there is one.

        One in which ours was said no sooner than recorded is preferred: else it only happened to come later there.
        """
        held: list[Part] = []
        ahead: _Role | None = None
        for part in self._repertoire.of(call.header.method):
            if part.is_held:
                held.append(part)
                continue
            if part.key in asked:
                continue
            role = self._role_for(call, part)
            if role.player.adopt(history):
                if not role.player.is_ahead:
                    self._take(call, role)
                    return True
                ahead = ahead or role
        for part in held:
            # It may have been asked in the meantime, for the call that holds one of those before.
            if part.key in asked:
                continue
            role = self._role_for(call, part)
            if not role.player.adopt(history) or role.player.is_ahead:
                continue
            asked.add(part.key)
            other = self._calls[part.key]
            self._let_go(other)
            if self._cast(other, other.player.history, asked):
                other.stream.wake()
                self._take(call, role)
                return True
            self._take(other, other.role)
        if ahead is not None:
            self._take(call, ahead)
        return ahead is not None

    def _cast_anyway(self, call: _Call, history: History) -> bool:
        """Take the part of the method that fits furthest, of those that no call holds, so that its mismatch is told."""
        best: _Role | None = None
        for part in self._repertoire.of(call.header.method):
            if not part.is_held:
                role = self._role_for(call, part)
                role.player.adopt(history)
                if best is None or role.player.came > best.player.came:
                    best = role
        if best is not None:
            self._take(call, best)
        return best is not None

    async def _refuse(self, call: _Call, history: History) -> None:
        """End a call for which there is no part."""
        method = call.header.method
        if method in self._methods:
            code, sentence = Code.FAILED_PRECONDITION, verdict.one_more(method)
        else:
            code, sentence = Code.UNIMPLEMENTED, verdict.no_session(method)
        now_ns = self._clock.now_ns()
        trailer = ServerTrailer(Status(code, sentence), GRPC_ANSWER)
        history.add(Said(now_ns, None, (Step(trailer),)))
        if call.faulty is not None:
            call.faulty.left()
        await call.stream.send([trailer])
        session = history.session(0, call.stream.connection, call.stream.stream_id, None)
        mismatch = Mismatch(sentence, Side.CLIENT, 0, 0, now_ns, None, call.header)
        call.stream.close()
        self._tell("", Outcome(0, method, self._side, session, mismatch, notes=tuple(_retry(call.header))))

    def _take(self, call: _Call, role: _Role) -> None:
        part, player = role.part, role.player
        part.is_held = True
        self._methods.add(part.lanes.method)
        call.role, call.part, call.player = role, part, player
        role.reading.taken()
        if player.lanes is not part.lanes:
            call.prepared = None
        else:
            if part.prepared is None:
                part.prepared = self._prepare([step.event for step in part.lanes.lane(self._side)])
            call.prepared = part.prepared
        self._calls[part.key] = call
        self._progressed(part)

    def _let_go(self, call: _Call) -> None:
        call.part.is_held = False
        call.role.reading.let_go()
        del self._calls[call.part.key]

    def _role_for(self, call: _Call, part: Part) -> _Role:
        return self._role(part, part.source.reading.offered(part.lanes, call.header), self._clock.now_ns())

    def _role(self, part: Part, lanes: Lanes, start_ns: int) -> _Role:
        reading = part.source.reading.of_call(lanes, self._side)
        player = self._seat(
            lanes,
            self._side,
            part.terms,
            reading.match,
            sees_all=reading.sees_all,
            bind=reading.bind,
            edges=part.edges,
            reached=partial(self._since, part) if part.edges else _at_once,
            joined=partial(self._has_joined, part) if lanes.loss or lanes.partings else _alone,
            start_ns=start_ns,
        )
        return _Role(part, player, reading)

    def _progressed(self, part: Part) -> None:
        """Let the calls look again that wait for this one."""
        for call in self._blocked.pop(part.key, ()):
            call.stream.wake()

    def _since(self, part: Part, edge: Across) -> int | None:
        """Return since when what our event waits for on another call is there, or None.

        A call that is not open, and has not come for ABSENT_NS, is not waited for any longer; nor is one that has ended
        before it came so far.
        """
        key = part.key, edge
        since_ns = self._since_ns.get(key)
        if since_ns is not None:
            return since_ns
        now_ns = self._clock.now_ns()
        target = _target(part, edge)
        other = self._calls.get(target)
        progress = (other.player.came, other.player.arrived_ns) if other is not None else self._past.get(target)
        if progress is None:
            if self._is_awaited(part, target, self._asked_ns.setdefault(key, now_ns)):
                return None
            self._note_edge(part, edge, "there was no such call")
        elif progress[0] >= edge.count:
            now_ns = progress[1][edge.count - 1] if progress[1] else now_ns
        elif other is not None:
            return None
        else:
            self._note_edge(part, edge, "that call had ended before")
        self._since_ns[key] = now_ns
        return now_ns

    def _has_joined(self, part: Part, what: Loss | Parting) -> bool:
        """Tell whether the calls of a recorded connection are where they were when it was lost, or parted from.

        Those that have ended, or stay away as in `_since`, are not waited for.
        """
        key = _of_connection(part, what)
        join = self._joins.get(key)
        if join is None:
            numbers = deque(number for begin_ns, number in part.fellows if begin_ns <= what.at_ns)
            join = self._joins[key] = _Join(numbers, self._clock.now_ns())
        while join.numbers:
            target = part.source.name, part.turn, join.numbers[0]
            other, call = self._calls.get(target), self._calls.get(part.key)
            if other is not None:
                is_there = other.player.stands_at(what, self._clock.now_ns())
            else:
                is_there = target in self._past or not self._is_awaited(part, target, join.asked_ns)
            if not is_there:
                if call is not None:
                    self._blocked.setdefault(target, set()).add(call)
                return False
            if other is None and target not in self._past and call is not None:
                name = "the loss of the connection" if isinstance(what, Loss) else "GOAWAY"
                call.player.note(f"{name} did not wait for session {target[2]}: there was no such call")
            join.numbers.popleft()
        return True

    def is_to_do(self, call: _Call, what: Loss | Parting) -> bool:
        """Tell whether no other call has done this to the connection."""
        key = (*_of_connection(call.part, what), call.stream.connection.number)
        is_first = key not in self._done
        self._done.add(key)
        return is_first

    def _is_awaited(self, part: Part, target: tuple[str, int, int], asked_ns: int) -> bool:
        """Tell whether a call that is not there may still come, where a part has waited for it since `asked_ns`."""
        patience_ns = part.terms.timeout_ns // 2 if self._repertoire.is_next(target) else _patience_ns(part)
        return self._clock.now_ns() - asked_ns < patience_ns

    def _note_edge(self, part: Part, edge: Across, reason: str) -> None:
        """Note that an edge of a part was dropped."""
        if call := self._calls.get(part.key):
            lane = [step.event for step in part.lanes.lane(self._side)]
            call.player.note(f"{verdict.labels(lane)[edge.position]} did not wait for {edge}: {reason}")

    def _conclude(self, call: _Call) -> None:
        part, player = call.part, call.player
        if call.opened is not None:
            call.opened.set()
        self._past[part.key] = player.came, player.arrived_ns
        del self._calls[part.key]
        self._repertoire.played(part)
        self._progressed(part)
        call.stream.close()
        outcome = player.outcome(call.stream.connection, call.stream.stream_id)
        self._tell(part.source.name, outcome if call.faulty is None else call.faulty.retold(outcome))

    def _give_back(self, call: _Call, faulty: Faulty) -> None:
        """Leave the part of a call that a fault has refused to the next one: the client may try again."""
        self._let_go(call)
        self._given_back.add(call.part.key)
        self._progressed(call.part)
        call.stream.close()
        call.player.note("the call was refused unprocessed, and its session is left to the next one")
        outcome = call.player.outcome(call.stream.connection, call.stream.stream_id)
        self._tell(call.part.source.name, faulty.retold(outcome))

    def _around(self, stream: Stream) -> Faulty | None:
        """Return the stream of a call that is opened with the faults around it, where there are any."""
        if self._faults is None:
            return None
        self._opened += 1
        return self._faults.around(stream, self._opened)

    def _tell(self, source: str, outcome: Outcome) -> None:
        self.outcomes.append((source, outcome))
        self._ended(source, outcome)


def _retry(header: ClientHeader) -> Iterator[str]:
    """Say that a call is a retry, where the client says so."""
    attempts = header.metadata.first("grpc-previous-rpc-attempts")
    if attempts is not None:
        yield f"the client has tried this call before: grpc-previous-rpc-attempts is {shown(attempts)}"


def _is_free(history: History) -> bool:
    """Tell whether nothing was said to a client that another server could not take up: a ServerHeader at the most."""
    said = [step.event for happened in history if isinstance(happened, Said) for step in happened.steps]
    return all(isinstance(event, ServerHeader) for event in said)


def _so_far(history: History) -> tuple[list[Row], bool]:
    """Return what has come on a call that is free, and whether a ServerHeader was said on it."""
    rows = [row for happened in history if isinstance(happened, Arrived) for row in happened.rows]
    return rows, any(isinstance(happened, Said) for happened in history)


def _at_once(edge: Across) -> int:
    return 0


def _alone(what: Loss | Parting) -> bool:
    return True


def _target(part: Part, edge: Across) -> tuple[str, int, int]:
    return part.source.name, part.turn, edge.number


def _of_connection(part: Part, what: Loss | Parting) -> tuple[object, ...]:
    return part.source.name, part.turn, part.connection, type(what), what.at_ns


def _patience_ns(part: Part) -> int:
    return min(ABSENT_NS, part.terms.timeout_ns // 2)


class _Join(NamedTuple):
    """The sessions of a connection, by number, that are not known to be where they have to; and since when."""

    numbers: deque[int]
    asked_ns: int


class _Role(NamedTuple):
    """A part, who plays it, and how that one reads what it hears."""

    part: Part
    player: Seat
    reading: CallReading


class _Turns:
    """A call of a Play, for the one loop."""

    __slots__ = ("_call", "_play")

    def __init__(self, play: Play, call: _Call) -> None:
        self._play = play
        self._call = call

    @property
    def stream(self) -> Stream:
        """Return the live end of the call."""
        return self._call.stream

    @property
    def player(self) -> Seat:
        """Return who plays it now."""
        return self._call.player

    async def say(self, send: Send) -> None:
        """Say it."""
        await self._play.say(self._call, send)

    async def do(self, what: Loss | Parting) -> None:
        """Do it, where no other call has."""
        if self._play.is_to_do(self._call, what):
            await self._call.stream.do(what)

    def listens_until(self, until_ns: int) -> int:
        """Listen so long."""
        return self._play.listens_until(self._call, until_ns)

    def heard(self) -> bool:
        """Take another part where what came does not fit this one."""
        return self._play.heard(self._call)


class _Call:
    """One live call; `opened` is set where somebody waits for the client's header to be said."""

    __slots__ = ("faulty", "header", "is_missed", "opened", "part", "player", "prepared", "role", "stream")

    def __init__(self, stream: Stream, header: ClientHeader, faulty: Faulty | None = None) -> None:
        self.stream = stream
        self.faulty = faulty
        self.header = header
        self.opened: asyncio.Event | None = None
        self.is_missed = False
        self.role: _Role
        self.part: Part
        self.player: Seat
        self.prepared: Sequence[Any] | None = None

    @property
    def has_deviated(self) -> bool:
        """Tell whether a fault has told the peer anything but what it was to be told."""
        return self.faulty is not None and self.faulty.has_deviated
