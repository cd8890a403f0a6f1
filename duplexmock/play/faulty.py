"""Faults at work: a Stream that does, in the place of what is said and heard on it, what faults have done there.

    faults = Faults(["reset(CANCEL)@server:2"], Side.SERVER, clock)
    stream = faults.around(stream, number)          # one for each call; what plays the call knows nothing of it

What a fault does is in core/faultkinds.py; play/firing.py says which of them are to be done, and play/saying.py and
play/hearing.py do them, each on its half of the call. It knows the time from the Clock, and waits by the stream's
own `receive`, so that it is at home wherever a Stream is.

**What becomes of the verdict.** Faults that only take time leave the peer judged as always. Behind any other the peer
hears what the recording has not said, and what it does cannot be held against it: it was judged up to there, and from
there on it has to end the call, or let it be ended, within `patience_ns`. The outcome's notes say what was done, and
what the peer said behind it. A fault that has never been done is told by `unfired`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from duplexmock.core import verdict
from duplexmock.core.acts import Turn
from duplexmock.core.events import ClientHeader, Side
from duplexmock.core.faults import Fault, parse
from duplexmock.core.metadata import Metadata
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.rows import Row
from duplexmock.errors import ScriptError
from duplexmock.play.around import Around
from duplexmock.play.firing import Firing
from duplexmock.play.hearing import Hearing
from duplexmock.play.saying import Saying
from duplexmock.wire.limits import DEFAULT_WINDOW_BYTES, Config

if TYPE_CHECKING:
    from duplexmock.core.session import Session
    from duplexmock.play.stream import Clock, Stream

PATIENCE_NS = 10_000_000_000
"""How long a peer may take to end a call that a fault has left open."""


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
    def config(self) -> Config | None:
        """Return what connections are to be like where a window is withheld.

        Calls are given HTTP/2's default then, which no call can be given less of.
        """
        withholds = any(fault.name in ("no-window", "slow") for fault in self.faults)
        return Config(stream_window_bytes=DEFAULT_WINDOW_BYTES) if withholds else None

    def around(self, stream: Stream, number: int) -> Faulty:
        """Return the stream of a call with the faults around it; `number` counts the calls of the play, from 1."""
        return Faulty(stream, self, number)

    def unfired(self) -> list[str]:
        """Say of each fault that no call has come to that it was not done."""
        return [_unfired(fault) for fault, times in zip(self.faults, self.fired, strict=True) if not times]


class Faulty(Around):
    """The live end of one call, with faults around it: a Stream, as play/stream.py has it."""

    def __init__(self, stream: Stream, faults: Faults, number: int) -> None:
        super().__init__(stream)
        self._faults = faults
        self._clock = faults.clock
        self._number = number
        self._firing = Firing(faults, number)
        self._hearing = Hearing(stream, faults.clock, self._firing)
        self._saying = Saying(stream, faults, self._firing, self._hearing)
        self._turn_to_say = asyncio.Lock()
        self._woken = False
        self._was_over = False

    @property
    def has_deviated(self) -> bool:
        """Tell whether the peer was told anything but what it would have been told."""
        return self._firing.has_deviated

    @property
    def has_refused(self) -> bool:
        """Tell whether a client was told that its call has not been processed, so that it may try again."""
        return self._saying.has_refused

    @property
    def lost(self) -> str | None:
        """Say why the connection went away, or that a fault has ended the call."""
        if self._firing.turn is Turn.ENDED:
            return _ENDED
        return None if self._hearing.incoming or self._hearing.pending else self._stream.lost

    async def send(self, events: Sequence[Any]) -> None:
        """Say these, and do what faults have done in their place; returns when that is done."""
        async with self._turn_to_say:
            for event in events:
                await self._saying.say(event)

    async def do(self, what: Any) -> None:
        """Lose the connection, or say GOAWAY: not where a fault has silenced the call."""
        if self._firing.turn is None:
            await self._stream.do(what)

    async def receive(self, until_ns: int) -> Sequence[Row]:
        """Return what has come, and was not kept from whoever plays the call."""
        while True:
            rows = await self._hearing.hear(self._saying.perform)
            if rows or self._woken or self.lost is not None or self._clock.now_ns() >= until_ns:
                self._woken = False
                return rows
            hearing = self._hearing
            await hearing.listen(min(until_ns, hearing.deaf_until_ns) if hearing.is_deaf() else until_ns)

    def wake(self) -> None:
        """Let `receive` return."""
        self._woken = True
        self._stream.wake()

    def release(self) -> None:
        """Give the peer window again, where no fault withholds it."""
        if not self._hearing.is_withheld:
            self._stream.release()

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
        if not self._firing.has_left:
            self._firing.has_left = True
            self._was_over = self._saying.has_ended or self._hearing.is_over()

    async def ended(self) -> None:
        """Wait until the call is over, where a fault has left it open; it is given up behind the patience."""
        if not self.has_deviated or self._saying.is_unended:
            return
        until_ns = self._clock.now_ns() + self._faults.patience_ns
        while not (self._saying.has_ended or self._hearing.is_over()):
            if self._clock.now_ns() >= until_ns:
                self._saying.is_unended = True
                return
            await self._hearing.listen(until_ns)

    def judged(self, outcome: Outcome) -> Outcome:
        """Return the outcome as it is to be seen with what was done here."""
        notes = [*outcome.notes, *self._firing.notes(self._hearing.behind)]
        mismatch = outcome.mismatch
        severed = self._faults.severed.get(self._stream.connection.number)
        if self._saying.is_unended:
            mismatch = self._unended()
        elif self.has_deviated:
            was_over = self._was_over if self._firing.has_left else self._saying.has_ended or self._hearing.is_over()
            if mismatch is not None and (mismatch.actual is not None or was_over):
                if self._firing.turn is None:
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
        mismatch = judged.mismatch and replace(judged.mismatch, entries=self._hearing.entries)
        return replace(judged, session=partial(self.session, outcome.number), mismatch=mismatch)

    def session(self, number: int) -> Session | None:
        """Return what has taken place on the wire, where events say it; the first of it."""
        return self._hearing.history.session(number, self._stream.connection, self._stream.stream_id, self._stream.lost)

    def _unended(self) -> Mismatch:
        peer = self._faults.side.other
        within = verdict.duration(self._faults.patience_ns)
        sentence = (
            f"The {peer.name.lower()} did not end the call within {within} behind the fault {self._firing.deviation}."
        )
        messages = self._hearing.heard_messages
        return Mismatch(sentence, peer, messages, messages, self._clock.now_ns(), entries=self._hearing.entries)


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
