"""Faults at work: a Stream that does, in the place of what is said and heard on it, what faults have done there.

    faults = Faults(["reset(CANCEL)@server:2"], Side.SERVER, clock)
    stream = faults.around(stream, number)          # one for each call; what plays the call knows nothing of it

What a fault does is in core/faultkinds.py; here it is done. It knows the time from the Clock, and waits by the stream's
own `receive`, so that it is at home wherever a Stream is.

**What becomes of the verdict.** Faults that only take time leave the peer judged as always. Behind any other the peer
hears what the recording has not said, and what it does cannot be held against it: it was judged up to there, and from
there on it has to end the call, or let it be ended, within `patience_ns`. The outcome's notes say what was done, and
what the peer said behind it. A fault that has never been done is told by `unfired`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from duplexmock.core import verdict
from duplexmock.core.acts import (
    EVENTS,
    Act,
    Anyway,
    Cut,
    GoAway,
    Keep,
    Octets,
    Pause,
    Repeat,
    Sever,
    Turn,
    Withhold,
    is_gentle,
)
from duplexmock.core.deadline import is_up
from duplexmock.core.events import (
    LAST_WORDS,
    Cancel,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    side_of,
)
from duplexmock.core.faultkinds import At
from duplexmock.core.faults import Fault, parse
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.lanes import Step
from duplexmock.core.metadata import Metadata
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.status import Code, ErrorCode
from duplexmock.errors import ScriptError

if TYPE_CHECKING:
    from duplexmock.core.connection import Connection
    from duplexmock.core.session import Session
    from duplexmock.play.stream import Clock, Stream

PATIENCE_NS = 10_000_000_000
"""How long a peer may take to end a call that a fault has left open."""

WINDOW_BYTES = 65_535
"""The window that calls are given where one is to be withheld: HTTP/2's default, which no call can be given less of."""

KEPT_ENTRIES = 10_000
"""Events of a call that are remembered for its Session: an endless stream has no end of them."""


def read(faults: Sequence[str | Fault], side: Side) -> tuple[Fault, ...]:
    """Return faults as values; ScriptError where one is none, or cannot be done by who plays `side`."""
    if isinstance(faults, str):
        raise ScriptError(f"faults={faults!r}: a list of them, also where there is one")
    every = tuple(parse(each) for each in faults)
    for fault in every:
        fault.check(side)
    return every


class Faults:
    """The faults of one play, of which we play `side`; ScriptError for what is none, or is not for this side.

    `severed` are the connections that a fault has cut, by number, with its text.
    """

    def __init__(self, faults: Sequence[str | Fault], side: Side, clock: Clock, patience_ns: int = PATIENCE_NS) -> None:
        self.faults = read(faults, side)
        self.side = side
        self.clock = clock
        self.patience_ns = patience_ns
        self.severed: dict[int, str] = {}
        self.fired = [0] * len(self.faults)

    @property
    def withholds(self) -> bool:
        """Tell whether one of them withholds a window: then calls are to be given WINDOW_BYTES only."""
        return any(fault.name in ("no-window", "slow") for fault in self.faults)

    def around(self, stream: Stream, number: int) -> Faulty:
        """Return the stream of a call with the faults around it; `number` counts the calls of the play, from 1."""
        return Faulty(stream, self, number)

    def unfired(self) -> list[str]:
        """Say of each fault that no call has come to that it was not done."""
        return [_unfired(fault) for fault, times in zip(self.faults, self.fired, strict=True) if not times]


class Faulty:
    """The live end of one call, with faults around it: a Stream, as play/stream.py has it.

    `has_deviated` tells whether the peer was told anything but what it would have been told; `has_refused`, whether a
    client was told that its call has not been processed, so that it may try again.
    """

    def __init__(self, stream: Stream, faults: Faults, number: int) -> None:
        self.has_deviated = False
        self.has_refused = False
        self._stream = stream
        self._faults = faults
        self._clock = faults.clock
        self._side = faults.side
        self._number = number
        self._armed: list[_Armed] | None = None  # those that concern the call: known with its header
        self._turn: Turn | None = None
        self._history = History()
        self._entries = 0
        # what is said
        self._saying = asyncio.Lock()
        self._said_messages = 0
        self._has_header = self._has_ended = False
        self._last: Event | None = None
        self._kept: list[_Kept] = []
        # what is heard
        self._incoming: deque[Row] = deque()
        self._pending: deque[tuple[Act, Row]] = deque()
        self._deaf_until_ns = 0
        self._heard_messages = 0
        self._header: tuple[int, ClientHeader] | None = None
        self._peer_has_ended = False
        # who waits
        self._wanted: dict[object, int] = {}
        self._news: asyncio.Future[None] | None = None
        self._listening_until_ns = 0
        self._woken = False
        self._release_ns: int | None = None
        self._is_withheld = False
        # what is told of it
        self._deviation: Fault | None = None
        self._behind: list[str] = []
        self._is_unended = self._has_left = self._was_over = False

    @property
    def lost(self) -> str | None:
        """Say why the connection went away, or that a fault has ended the call."""
        if self._turn is Turn.ENDED:
            return _ENDED
        return None if self._incoming or self._pending else self._stream.lost

    @property
    def is_refused(self) -> bool:
        """Tell whether the call was refused unprocessed."""
        return self._stream.is_refused

    @property
    def connection(self) -> Connection:
        """Return the connection that it runs on."""
        return self._stream.connection

    @property
    def stream_id(self) -> int:
        """Return the stream that it has there."""
        return self._stream.stream_id

    async def send(self, events: Sequence[Any]) -> None:
        """Say these, and do what faults have done in their place; returns when that is done."""
        async with self._saying:
            for event in events:
                await self._say(event)

    async def do(self, what: Any) -> None:
        """Lose the connection, or say GOAWAY: not where a fault has silenced the call."""
        if self._turn is None:
            await self._stream.do(what)

    async def receive(self, until_ns: int) -> Sequence[Row]:
        """Return what has come, and was not kept from whoever plays the call."""
        while True:
            rows = await self._hear()
            if rows or self._woken or self.lost is not None or self._clock.now_ns() >= until_ns:
                self._woken = False
                return rows
            await self._listen(min(until_ns, self._deaf_until_ns) if self._is_deaf() else until_ns)

    def wake(self) -> None:
        """Let `receive` return."""
        self._woken = True
        self._stream.wake()

    async def drained(self) -> None:
        """Wait until little of what was said waits for the peer's windows."""
        await self._stream.drained()

    def hold(self) -> None:
        """Give the peer no more window."""
        self._stream.hold()

    def release(self) -> None:
        """Give the peer window again, where no fault withholds it."""
        if not self._is_withheld:
            self._stream.release()

    def close(self) -> None:
        """Give up what is still open of the call."""
        self._stream.close()

    # For who plays the call

    def shown(self, header: ClientHeader) -> ClientHeader:
        """Return the client's header as who answers by it is to see it: without a deadline that is to be ignored."""
        is_ignored = any(
            fault.name == "ignore-deadline" and fault.concerns(self._number, header.method)
            for fault in self._faults.faults
        )
        if not is_ignored:
            return header
        kept = tuple(pair for pair in header.metadata if pair[0] != "grpc-timeout")
        return replace(header, metadata=Metadata(kept))

    # For who judges the call

    def left(self) -> None:
        """Take note that the peer has left what it was to say, before the call is ended for that: no more faults."""
        if not self._has_left:
            self._has_left = True
            self._was_over = self._has_ended or self._is_over()

    async def ended(self) -> None:
        """Wait until the call is over, where a fault has left it open; it is given up behind the patience."""
        if not self.has_deviated or self._is_unended:
            return
        until_ns = self._clock.now_ns() + self._faults.patience_ns
        while not (self._has_ended or self._is_over()):
            if self._clock.now_ns() >= until_ns:
                self._is_unended = True
                return
            await self._listen(until_ns)

    def judged(self, outcome: Outcome) -> Outcome:
        """Return the outcome as it is to be seen with what was done here."""
        notes = [*outcome.notes, *self._notes()]
        mismatch = outcome.mismatch
        severed = self._faults.severed.get(self._stream.connection.number)
        if self._is_unended:
            mismatch = self._unended()
        elif self.has_deviated:
            was_over = self._was_over if self._has_left else self._has_ended or self._is_over()
            if mismatch is not None and (mismatch.actual is not None or was_over):
                if self._turn is None:
                    notes.append(f"the call was ended there: {mismatch.sentence}")
                mismatch = None
        elif severed is not None and self._stream.lost is not None:
            notes.append(f"the connection was lost by the fault {severed}")
            if mismatch is not None and mismatch.actual is None:
                mismatch = None
        unreached = outcome.unreached if mismatch is not None else ()
        return replace(outcome, mismatch=mismatch, unreached=unreached, notes=tuple(notes))

    def retold(self, outcome: Outcome) -> Outcome:
        """Return it judged, and where the peer was told otherwise, with the Session of what has taken place."""
        judged = self.judged(outcome)
        if not self.has_deviated:
            return judged
        mismatch = judged.mismatch and replace(judged.mismatch, entries=self._entries)
        return replace(judged, session=partial(self.session, outcome.number), mismatch=mismatch)

    def session(self, number: int) -> Session | None:
        """Return what has taken place on the wire, where events say it; the first KEPT_ENTRIES of it."""
        return self._history.session(number, self._stream.connection, self._stream.stream_id, self._stream.lost)

    # Saying

    async def _say(self, event: Event) -> None:
        if self._turn in (Turn.ENDED, Turn.STALLED):
            return
        self._said_messages += isinstance(event, _MESSAGES)
        acts = self._acts(event, self._said_messages) if self._turn is None else [event]
        for act in acts:
            await self._perform(act)

    async def _perform(self, act: Act) -> None:
        """Do one thing of those that are to be done on our side."""
        match act:
            case Turn():
                self._turn = Turn.ENDED if self._is_unended else act
                if self._turn is Turn.ENDED:
                    self._has_ended = True
                    self._stream.wake()
            case Pause(ns):
                await self._pause(ns)
            case Keep(event, messages):
                self._kept.append(_Kept(event, messages))
            case Repeat(event, every_ns):
                await self._repeat(event, every_ns)
            case Withhold(ns):
                self._stream.hold()
                self._is_withheld = True
                self._release_ns = None if ns is None else self._clock.now_ns() + ns
            case GoAway(_, last_stream_id):
                if last_stream_id is not None and last_stream_id < self.stream_id:
                    self.has_refused = self._side is Side.SERVER
                await self._stream.do(act)
            case Octets():
                await self._stream.do(act)
            case Anyway(event):
                await self._stream.do(act)
                self._remember(Said(self._clock.now_ns(), None, (Step(event),)))
            case Cut() | Sever():
                assert self._deviation is not None
                self._faults.severed.setdefault(self._stream.connection.number, str(self._deviation))
                await self._stream.do(act)
            case _:
                await self._emit(act)

    async def _emit(self, event: Event) -> None:
        """Say an event, and before it or behind it what was kept."""
        is_message = isinstance(event, _MESSAGES)
        for kept in tuple(self._kept):
            if not kept.left or not is_message:
                self._kept.remove(kept)
                await self._tell(kept.event)
        await self._tell(event)
        if is_message:
            for kept in tuple(self._kept):
                kept.left -= 1
                if not kept.left:
                    self._kept.remove(kept)
                    await self._tell(kept.event)

    async def _tell(self, event: Event) -> None:
        """Have the peer told an event."""
        if self._is_over() and self._turn is not Turn.OVERRUN:
            return
        if event == Reset(ErrorCode.REFUSED_STREAM) and not self._has_header:
            self.has_refused = True
        is_headless = isinstance(event, ServerMessage) and not self._has_header
        if self._turn is Turn.OVERRUN or is_headless:
            await self._stream.do(Anyway(event))
        else:
            await self._stream.send([event])
            self._has_ended = self._has_ended or isinstance(event, LAST_WORDS)
        self._has_header = self._has_header or isinstance(event, ServerHeader)
        if isinstance(event, _MESSAGES):
            self._last = event
        if isinstance(event, ClientHeader) and self._header is None:
            self._header = self._clock.now_ns(), event
        self._remember(Said(self._clock.now_ns(), None, (Step(event),)))

    async def _repeat(self, event: Event, every_ns: int) -> None:
        patience_ns = self._faults.patience_ns
        until_ns = self._clock.now_ns() + patience_ns
        while not self._is_over():
            if self._clock.now_ns() >= until_ns:
                self._is_unended = True
                return
            await self._tell(event)
            try:
                async with asyncio.timeout((until_ns - self._clock.now_ns()) / 1e9):
                    await self._stream.drained()
            except TimeoutError:
                continue
            await self._pause(every_ns)

    # Hearing

    async def _hear(self) -> list[Row]:
        """Return what may be handed on by now, doing what faults have done on the way."""
        rows: list[Row] = []
        while self._turn is not Turn.ENDED and not self._is_deaf():
            if self._pending:
                act, row = self._pending.popleft()
                if isinstance(act, Pause):
                    self._deaf_until_ns = self._clock.now_ns() + act.ns
                elif isinstance(act, EVENTS) and side_of(act) is not self._side:
                    rows.append(row)
                else:
                    await self._perform(act)
            elif self._incoming:
                row = self._incoming.popleft()
                event = event_of(row)
                if event is None:
                    rows.append(row)
                    continue
                self._heard_messages += isinstance(event, _MESSAGES)
                if self._turn is not None:
                    rows.append(row)
                    continue
                if isinstance(event, ClientHeader):
                    self._header = self._clock.now_ns(), event
                acts = self._acts(event, self._heard_messages)
                if isinstance(event, ClientHeader) and event not in acts:
                    acts.insert(0, event)  # a call that nobody has heard of has no outcome
                self._pending.extend((act, row) for act in acts)
            else:
                break
        return rows

    def _take_in(self, rows: Sequence[Row]) -> None:
        """Take what has come on the wire."""
        self._remember(Arrived(self._clock.now_ns(), rows))
        messages = self._heard_messages + sum(row[0] in _MESSAGE_ROWS for row in self._incoming)
        for row in rows:
            if row[0] in _ENDING_ROWS:
                self._peer_has_ended = True
            if self.has_deviated and (event := event_of(row)) is not None:
                self._behind.append(verdict.label(type(event), messages))
            messages += row[0] in _MESSAGE_ROWS
        self._incoming.extend(rows)

    # Faults

    def _acts(self, event: Event, number: int) -> list[Act]:
        """Return what is to be done in the place of an event of ours, or of one that was heard, and behind it."""
        acts: list[Act] = [event]
        behind: list[Act] = []
        is_by_deadline = self._is_by_deadline(event)
        for armed in () if self._has_left else self._arm(event):
            fault = armed.fault
            if not fault.place.fits(event, number, is_by_deadline):
                continue
            if fault.place.is_behind:
                behind += [act for act in self._fire(armed, event) if act is not event]
                continue
            places = [place for place, act in enumerate(acts) if isinstance(act, EVENTS)]
            for place in reversed(places):
                acts[place : place + 1] = self._fire(armed, acts[place])  # type: ignore[arg-type]
        return [*acts, *behind]

    def _arm(self, event: Event) -> Sequence[_Armed]:
        """Return the faults that concern the call, which its header tells."""
        if self._armed is None:
            assert isinstance(event, ClientHeader)
            self._armed = [
                _Armed(place, fault, Random(f"{fault.seed}/{place}/{self._number}"))
                for place, fault in enumerate(self._faults.faults)
                if fault.concerns(self._number, event.method)
            ]
        return self._armed

    def _fire(self, armed: _Armed, event: Event) -> Sequence[Act]:
        fault = armed.fault
        is_ours = side_of(event) is self._side
        at = At(self._side, event, is_ours, self._has_header, self._last, armed.draw)
        acts = fault.kind.does(at, *fault.arguments)
        armed.times += 1
        self._faults.fired[armed.place] += 1
        if not self.has_deviated and not is_gentle(acts, event):
            self.has_deviated = True
            self._deviation = fault
        return acts

    def _is_by_deadline(self, event: Event) -> bool:
        """Tell whether it is what ends the call when the client's deadline is up."""
        if not isinstance(event, Cancel | ServerTrailer) or self._header is None:
            return False
        if isinstance(event, ServerTrailer) and (
            event.status is None or event.status.code != Code.DEADLINE_EXCEEDED or self._side is Side.CLIENT
        ):
            return False
        at_ns, header = self._header
        timeout_ns = header.timeout_ns
        return timeout_ns is not None and is_up(timeout_ns, self._clock.now_ns() - at_ns)

    # Waiting

    def _is_over(self) -> bool:
        """Tell whether the peer has ended the call, or it was lost."""
        return self._peer_has_ended or self._stream.lost is not None

    def _is_deaf(self) -> bool:
        return self._deaf_until_ns > self._clock.now_ns() and self._stream.lost is None

    async def _pause(self, ns: int) -> None:
        until_ns = self._clock.now_ns() + ns
        while self._clock.now_ns() < until_ns and not self._is_over():
            await self._listen(until_ns)

    async def _listen(self, until_ns: int) -> None:
        """Take in what comes, up to this time or until anything happens.

        One who plays a call may speak and listen at a time, and a stream has one listener: the first one here listens
        for all, up to the earliest time that anybody wants.
        """
        ticket = object()
        self._wanted[ticket] = until_ns
        try:
            if self._news is not None:
                if until_ns < self._listening_until_ns:
                    self._stream.wake()
                await asyncio.wait((self._news,))
                return
            self._news = asyncio.get_running_loop().create_future()
            self._listening_until_ns = min(self._wanted.values())
            if self._release_ns is not None:
                self._listening_until_ns = min(self._listening_until_ns, self._release_ns)
            try:
                rows = await self._stream.receive(self._listening_until_ns)
                if rows:
                    self._take_in(rows)
            finally:
                news, self._news = self._news, None
                news.set_result(None)
        finally:
            del self._wanted[ticket]
        if self._release_ns is not None and self._clock.now_ns() >= self._release_ns:
            self._release_ns, self._is_withheld = None, False
            self._stream.release()

    # Telling

    def _remember(self, happened: Arrived | Said) -> None:
        if self._entries < KEPT_ENTRIES:
            self._entries += len(happened.rows if isinstance(happened, Arrived) else happened.steps)
            self._history.add(happened)

    def _notes(self) -> Iterator[str]:
        for armed in self._armed or ():
            if not armed.times:
                continue
            times = f", {armed.times} times" if armed.times > 1 else ""
            if armed.fault is not self._deviation:
                yield f"fault {armed.fault}{times}"
                continue
            peer = self._side.other.name.lower()
            more = len(self._behind) - _TOLD
            said = ", ".join(self._behind[:_TOLD]) + (f" and {more} more" if more > 0 else "") or "nothing"
            yield f"fault {armed.fault}{times}; the {peer} was not judged behind it, and said {said}"

    def _unended(self) -> Mismatch:
        peer = self._side.other
        within = verdict.duration(self._faults.patience_ns)
        sentence = f"The {peer.name.lower()} did not end the call within {within} behind the fault {self._deviation}."
        messages = self._heard_messages
        return Mismatch(sentence, peer, messages, messages, self._clock.now_ns(), entries=self._entries)


class _Armed:
    """A fault that concerns a call; `place` is its place among all, `times` how often it was done."""

    __slots__ = ("draw", "fault", "place", "times")

    def __init__(self, place: int, fault: Fault, draw: Random) -> None:
        self.place = place
        self.fault = fault
        self.draw = draw
        self.times = 0


class _Kept:
    """An event that is kept back until `left` messages more have been said."""

    __slots__ = ("event", "left")

    def __init__(self, event: Event, left: int) -> None:
        self.event = event
        self.left = left


def _unfired(fault: Fault) -> str:
    return f"fault {fault} never fired: no call {_which(fault)}came to {fault.place.event_name}"


def _which(fault: Fault) -> str:
    match fault.calls:
        case None:
            return ""
        case int():
            return f"#{fault.calls} "
        case _:
            return f"of {fault.calls} "


_ENDED = "ended by a fault"

_TOLD = 5
"""Events of the peer behind a fault that are named."""

_MESSAGES = (ClientMessage, ServerMessage)
_MESSAGE_ROWS = frozenset((int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)))
_ENDING_ROWS = frozenset((int(RowKind.CANCEL), int(RowKind.RESET), int(RowKind.SERVER_TRAILER), int(RowKind.DAMAGED)))
