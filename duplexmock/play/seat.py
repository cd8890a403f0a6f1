"""A Seat: what plays one side of one call. A Player asserts its peer, a Probe learns from it (core/)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from duplexmock.core.connection import Connection
from duplexmock.core.events import Event, Side
from duplexmock.core.history import History
from duplexmock.core.lanes import Lanes, Loss, Parting
from duplexmock.core.matching import Matcher
from duplexmock.core.moves import Do, Done, Send, Wait
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.rows import Row
from duplexmock.core.terms import Across, Terms


class Seat(Protocol):
    """Plays one side; the one loop (running.py) runs it."""

    @property
    def lanes(self) -> Lanes:
        """Return what is played."""

    @property
    def mismatch(self) -> Mismatch | None:
        """Return what does not fit these lanes: the call may be another one."""

    @property
    def came(self) -> int:
        """Return how many events of the peer's lane have come."""

    @property
    def arrived_ns(self) -> Sequence[int]:
        """Return when each of them came, or nothing."""

    @property
    def blocked_on(self) -> Across | None:
        """Return what our next event waits for on another call."""

    @property
    def is_joining(self) -> bool:
        """Tell whether it waits for the other calls of its connection."""

    @property
    def is_ahead(self) -> bool:
        """Tell whether, as far as it was adopted, something of ours was said before what it waits for."""

    @property
    def history(self) -> History:
        """Return what has happened on the call."""

    def next(self, now_ns: int) -> Send | Do | Wait | Done:
        """Say what is to be done now."""

    def received(self, rows: Sequence[Row], now_ns: int) -> None:
        """Take what the peer said."""

    def rested(self, now_ns: int) -> None:
        """Take note that saying what was to be said has taken until now: the peer's time counts from there."""

    def lost(self, reason: str, now_ns: int) -> None:
        """Take the loss of the connection."""

    def adopt(self, history: History) -> bool:
        """Go on where another seat of the call stands; tell whether all that happened fits the lanes."""

    def stands_at(self, what: Loss | Parting, now_ns: int) -> bool:
        """Tell whether the call is where the recording saw this done to its connection."""

    def note(self, text: str) -> None:
        """Add a sentence to the outcome's notes."""

    def outcome(self, connection: Connection, stream_id: int) -> Outcome:
        """Return what it led to."""


class MakeSeat(Protocol):
    """Makes a seat for a call; the arguments are those of a Player."""

    def __call__(
        self,
        lanes: Lanes,
        side: Side,
        terms: Terms,
        match: Matcher,
        *,
        sees_all: bool,
        bind: Callable[[Event], Event] | None,
        edges: Sequence[Across],
        reached: Callable[[Across], int | None],
        joined: Callable[[Loss | Parting], bool],
        start_ns: int,
    ) -> Seat:
        """Return a seat at the beginning of its lanes."""
