"""The saying half of a call with faults: it says what is said, and does what faults have done in its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from duplexmock.core.acts import Act, Anyway, Cut, GoAway, Keep, Octets, Pause, Repeat, Sever, Turn, Withhold
from duplexmock.core.events import (
    LAST_WORDS,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    Side,
)
from duplexmock.core.history import Said
from duplexmock.core.lanes import Step
from duplexmock.core.status import ErrorCode

if TYPE_CHECKING:
    from duplexmock.play.faulty import Faults
    from duplexmock.play.firing import Firing
    from duplexmock.play.hearing import Hearing
    from duplexmock.play.stream import Stream


class Saying:
    """Says events on the stream of a call, and performs acts.

    `has_ended` tells that we have, `is_unended` that the peer has not ended in time what a fault has left open, and
    `has_refused` that a client was told that its call has not been processed, so that it may try again.
    """

    def __init__(self, stream: Stream, faults: Faults, firing: Firing, hearing: Hearing) -> None:
        self.has_ended = self.is_unended = self.has_refused = False
        self._stream = stream
        self._faults = faults
        self._clock = faults.clock
        self._firing = firing
        self._hearing = hearing
        self._said_messages = 0
        self._kept: list[_Kept] = []

    async def say(self, event: Event) -> None:
        """Say an event, or what faults have done in its place."""
        if self._firing.turn in (Turn.ENDED, Turn.STALLED):
            return
        self._said_messages += isinstance(event, _MESSAGES)
        acts = self._firing.acts(event, self._said_messages) if self._firing.turn is None else [event]
        for act in acts:
            await self.perform(act)

    async def perform(self, act: Act) -> None:
        """Do one thing of those that are to be done on our side."""
        match act:
            case Turn():
                self._firing.turn = Turn.ENDED if self.is_unended else act
                if self._firing.turn is Turn.ENDED:
                    self.has_ended = True
                    self._stream.wake()
            case Pause(ns):
                await self._hearing.pause(ns)
            case Keep(event, messages):
                self._kept.append(_Kept(event, messages))
            case Repeat(event, every_ns):
                await self._repeat(event, every_ns)
            case Withhold(ns):
                self._hearing.withhold(ns)
            case GoAway(_, last_stream_id):
                if last_stream_id is not None and last_stream_id < self._stream.stream_id:
                    self.has_refused = self._firing.side is Side.SERVER
                await self._stream.do(act)
            case Octets():
                await self._stream.do(act)
            case Anyway(event):
                await self._stream.do(act)
                self._hearing.remember(Said(self._clock.now_ns(), None, (Step(event),)))
            case Cut() | Sever():
                assert self._firing.deviation is not None
                self._faults.severed.setdefault(self._stream.connection.number, str(self._firing.deviation))
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
        if self._hearing.is_over() and self._firing.turn is not Turn.OVERRUN:
            return
        if event == Reset(ErrorCode.REFUSED_STREAM) and not self._firing.has_header:
            self.has_refused = True
        is_headless = isinstance(event, ServerMessage) and not self._firing.has_header
        if self._firing.turn is Turn.OVERRUN or is_headless:
            await self._stream.do(Anyway(event))
        else:
            await self._stream.send([event])
            self.has_ended = self.has_ended or isinstance(event, LAST_WORDS)
        self._firing.has_header = self._firing.has_header or isinstance(event, ServerHeader)
        if isinstance(event, _MESSAGES):
            self._firing.last = event
        if isinstance(event, ClientHeader) and self._firing.header is None:
            self._firing.header = self._clock.now_ns(), event
        self._hearing.remember(Said(self._clock.now_ns(), None, (Step(event),)))

    async def _repeat(self, event: Event, every_ns: int) -> None:
        patience_ns = self._faults.patience_ns
        until_ns = self._clock.now_ns() + patience_ns
        while not self._hearing.is_over():
            if self._clock.now_ns() >= until_ns:
                self.is_unended = True
                return
            await self._tell(event)
            try:
                async with asyncio.timeout((until_ns - self._clock.now_ns()) / 1e9):
                    await self._stream.drained()
            except TimeoutError:
                continue
            await self._hearing.pause(every_ns)


class _Kept:
    """An event that is kept back until `left` messages more have been said."""

    __slots__ = ("event", "left")

    def __init__(self, event: Event, left: int) -> None:
        self.event = event
        self.left = left


_MESSAGES = (ClientMessage, ServerMessage)
