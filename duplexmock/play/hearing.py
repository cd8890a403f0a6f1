"""The hearing half of a call with faults: what has come, what of it may be handed on by now, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from duplexmock.core import verdict
from duplexmock.core.acts import EVENTS, Act, Pause, Turn
from duplexmock.core.events import ClientHeader, ClientMessage, ServerMessage, side_of
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.rows import Row, RowKind, event_of

if TYPE_CHECKING:
    from duplexmock.play.firing import Firing
    from duplexmock.play.stream import Clock, Stream

KEPT_ENTRIES = 10_000
"""Events of a call that are remembered for its Session: an endless stream has no end of them."""


class Hearing:
    """Listens to the stream of a call for all who wait, and hands on what faults let through.

    `history` is what has taken place on the wire, `entries` the events of it; `behind` names what the peer has said
    behind a fault that deviates.
    """

    def __init__(self, stream: Stream, clock: Clock, firing: Firing) -> None:
        self.history = History()
        self.entries = 0
        self.heard_messages = 0
        self.behind: list[str] = []
        self.is_withheld = False
        self.incoming: deque[Row] = deque()
        self.pending: deque[tuple[Act, Row]] = deque()
        self.deaf_until_ns = 0
        self._stream = stream
        self._clock = clock
        self._firing = firing
        self._peer_has_ended = False
        self._release_ns: int | None = None
        # who waits
        self._wanted: dict[object, int] = {}
        self._news: asyncio.Future[None] | None = None
        self._listening_until_ns = 0

    async def hear(self, perform: Callable[[Act], Awaitable[None]]) -> list[Row]:
        """Return what may be handed on by now, `perform`ing what faults have done on the way."""
        rows: list[Row] = []
        while self._firing.turn is not Turn.ENDED and not self.is_deaf():
            if self.pending:
                act, row = self.pending.popleft()
                if isinstance(act, Pause):
                    self.deaf_until_ns = self._clock.now_ns() + act.ns
                elif isinstance(act, EVENTS) and side_of(act) is not self._firing.side:
                    rows.append(row)
                else:
                    await perform(act)
            elif self.incoming:
                row = self.incoming.popleft()
                event = event_of(row)
                if event is None:
                    rows.append(row)
                    continue
                self.heard_messages += isinstance(event, _MESSAGES)
                if self._firing.turn is not None:
                    rows.append(row)
                    continue
                if isinstance(event, ClientHeader):
                    self._firing.header = self._clock.now_ns(), event
                acts = self._firing.acts(event, self.heard_messages)
                if isinstance(event, ClientHeader) and event not in acts:
                    acts.insert(0, event)  # a call that nobody has heard of has no outcome
                self.pending.extend((act, row) for act in acts)
            else:
                break
        return rows

    def _take_in(self, rows: Sequence[Row]) -> None:
        """Take what has come on the wire."""
        self.remember(Arrived(self._clock.now_ns(), rows))
        messages = self.heard_messages + sum(row[0] in _MESSAGE_ROWS for row in self.incoming)
        for row in rows:
            if row[0] in _ENDING_ROWS:
                self._peer_has_ended = True
            if self._firing.has_deviated and (event := event_of(row)) is not None:
                self.behind.append(verdict.label(type(event), messages))
            messages += row[0] in _MESSAGE_ROWS
        self.incoming.extend(rows)

    def is_over(self) -> bool:
        """Tell whether the peer has ended the call, or it was lost."""
        return self._peer_has_ended or self._stream.lost is not None

    def is_deaf(self) -> bool:
        """Tell whether a fault has what comes wait."""
        return self.deaf_until_ns > self._clock.now_ns() and self._stream.lost is None

    async def pause(self, ns: int) -> None:
        """Let time pass, and take in what comes; no longer than the call lasts."""
        until_ns = self._clock.now_ns() + ns
        while self._clock.now_ns() < until_ns and not self.is_over():
            await self.listen(until_ns)

    async def listen(self, until_ns: int) -> None:
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
            self._release_ns, self.is_withheld = None, False
            self._stream.release()

    def withhold(self, ns: int | None) -> None:
        """Give the peer no more window, for so long or for good."""
        self._stream.hold()
        self.is_withheld = True
        self._release_ns = None if ns is None else self._clock.now_ns() + ns

    def remember(self, happened: Arrived | Said) -> None:
        """Keep what has taken place on the wire, within bounds."""
        if self.entries < KEPT_ENTRIES:
            self.entries += len(happened.rows if isinstance(happened, Arrived) else happened.steps)
            self.history.add(happened)


_MESSAGES = (ClientMessage, ServerMessage)
_MESSAGE_ROWS = frozenset((int(RowKind.CLIENT_MESSAGE), int(RowKind.SERVER_MESSAGE)))
_ENDING_ROWS = frozenset((int(RowKind.CANCEL), int(RowKind.RESET), int(RowKind.SERVER_TRAILER), int(RowKind.DAMAGED)))
