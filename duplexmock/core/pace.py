"""The pace of a play: when each event of our lane is due.

An event has predecessors: the event before it in its lane, the one of the peer's that it waited for, the one of another
call. It is due, once the last of them has happened, after the time that the recording took from there, divided by the
speed. That is a reaction time, not a place on a clock: a peer that is late makes nothing come sooner, and one that asks
ten things at once is answered without the pauses that it made when it was recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from duplexmock.core.lanes import Step


class Pace:
    """Times for a lane `own` that waits for a lane `peer` by `gate`; `start_ns` is when the first event may be due."""

    __slots__ = ("_arrived_ns", "_due_ns", "_gate", "_own", "_peer", "_speed", "_start_ns", "is_unbounded")

    def __init__(
        self, own: Sequence[Step], peer: Sequence[Step], gate: Sequence[int], speed: float, start_ns: int
    ) -> None:
        self.is_unbounded = math.isinf(speed)
        self._own = own
        self._peer = peer
        self._gate = gate
        self._speed = speed
        self._start_ns = start_ns
        if not self.is_unbounded:
            self._due_ns: list[int] = []
            self._arrived_ns: list[int] = []

    def arrived(self, count: int, now_ns: int) -> None:
        """Take note that so many more events of the peer have come."""
        if not self.is_unbounded:
            self._arrived_ns += [now_ns] * count

    def said(self, count: int, now_ns: int) -> None:
        """Take note that so many more of ours have been said, whenever they were due."""
        if not self.is_unbounded:
            self._due_ns += [now_ns] * count

    @property
    def arrived_ns(self) -> Sequence[int]:
        """Return when each of the peer's events came; an unbounded pace has not kept it."""
        return () if self.is_unbounded else self._arrived_ns

    def due_ns(self, position: int, since: tuple[int, int] | None = None) -> int:
        """Return when our event at `position` is due, of a pace that is not unbounded; those before it were taken.

        `since` is of an event that waited for another call: when the recording saw what it waited for, and when that
        happened here.
        """
        return self._behind(position, self._gate[position], self._own[position].at_ns, since)

    def take(self, due_ns: int) -> None:
        """Take note that our next event is said, and when it was due: a loop that is late delays nothing else."""
        self._due_ns.append(due_ns)

    def behind_ns(self, sent: int, came: int, at_ns: int) -> int:
        """Return when that is due which the recording saw at `at_ns`, behind so many events of ours and the peer's."""
        return self._start_ns if self.is_unbounded else self._behind(sent, came, at_ns, None)

    def recorded_gap_ns(self, came: int, sent: int) -> int:
        """Return how long the recording waited, when so many events of both lanes had been, for the peer's next one.

        Where the peer has said all, it waited for our next one.
        """
        awaited = self._peer[came : came + 1] or self._own[sent : sent + 1]
        before = (*self._peer[max(came - 1, 0) : came], *self._own[max(sent - 1, 0) : sent])
        if not awaited or not before:
            return 0
        return max(awaited[0].at_ns - max(step.at_ns for step in before), 0)

    def _behind(self, sent: int, came: int, at_ns: int, since: tuple[int, int] | None) -> int:
        before = [since] if since is not None else []
        if sent:
            before.append((self._own[sent - 1].at_ns, self._due_ns[sent - 1]))
        if came:
            before.append((self._peer[came - 1].at_ns, self._arrived_ns[came - 1]))
        if not before:
            return self._start_ns
        recorded_ns, here_ns = max(recorded for recorded, _ in before), max(here for _, here in before)
        return here_ns + round(max(at_ns - recorded_ns, 0) / self._speed)
