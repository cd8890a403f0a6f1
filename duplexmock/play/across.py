"""Across calls: which of our events waited for another call, as far as a recording shows.

A put's reply comes before the watch's notification, one chat member's message before another sees it. An event of ours
is a *push* where nothing newer of its own call's peer came before it, so that its own call does not say why it came
just then. It waits for the latest event that a peer sent on another call since the last event of its own. That is an
inference from one recording, so it holds back only what we say, and never binds the peer.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from duplexmock.core import verdict
from duplexmock.core.events import Event, Side, side_of
from duplexmock.core.session import Session
from duplexmock.core.terms import Across


class Heard:
    """What the peer said on all calls, by time: n log n, however many calls overlap.

    Give `add` the sessions in opening order, and ask about a session (`edges`) when those that are not added yet begin
    behind its end. Each lane is sorted, so that the lanes are merged, up to where nothing can come in between any more.
    """

    def __init__(self, peer: Side) -> None:
        self.peer = peer
        self._added = 0
        self._lanes: list[tuple[int, int, int, _Lane]] = []
        self._by_time: list[tuple[int, int, int, _Lane]] = []

    def __len__(self) -> int:
        """Return how much of what was sorted is kept."""
        return len(self._by_time)

    @property
    def is_one(self) -> bool:
        """Tell whether there is one session alone: then nothing waited for another."""
        return self._added == 1

    def add(self, session: Session) -> None:
        """Take another session."""
        lane = _Lane(session, self.peer)
        # Of what was seen at one time in several sessions the first session's counts, and of that the last event.
        self._added += 1
        if lane.runs:
            at_ns, count = lane.runs.pop()
            heapq.heappush(self._lanes, (at_ns, -self._added, count, lane))

    def forget_before(self, at_ns: int) -> None:
        """Drop what no session that begins at this time or later can have waited for."""
        past = bisect_left(self._by_time, (at_ns,)) - 1  # the latest one before it is what a header can wait for
        if past * 2 > len(self._by_time):
            del self._by_time[:past]

    def settle(self, until_ns: int) -> None:
        """Sort up to this time: all that is added from now on comes later."""
        lanes, by_time = self._lanes, self._by_time
        while lanes and lanes[0][0] <= until_ns:
            latest = lanes[0]
            by_time.append(latest)
            _, order, _, lane = latest
            if lane.runs:
                at_ns, count = lane.runs.pop()
                heapq.heapreplace(lanes, (at_ns, order, count, lane))
            else:
                heapq.heappop(lanes)

    def latest(self, number: int, position: int, after_ns: int, until_ns: int) -> Iterator[Across]:
        """Yield what our event at `position` waited for, in this span and not in the session `number`: none or one."""
        by_time = self._by_time
        for place in range(bisect_right(by_time, (until_ns, 1)) - 1, -1, -1):
            at_ns, _, count, lane = by_time[place]
            if at_ns <= after_ns:
                return
            if lane.number != number:  # its own can only be of the same time
                yield Across(position, lane.number, self.peer, count, at_ns, lane.name(count))
                return


class _Lane:
    """The peer's events of one session; `runs` are the time and the count of each read, the latest first."""

    __slots__ = ("_kinds", "number", "runs")

    def __init__(self, session: Session, peer: Side) -> None:
        self.number = session.number
        self._kinds: list[type[Event]] = []
        self.runs: list[tuple[int, int]] = []
        latest_ns = -1
        for entry in session.entries:
            if side_of(entry.event) is not peer:
                continue
            self._kinds.append(type(entry.event))
            if entry.at_ns == latest_ns:
                self.runs[-1] = latest_ns, len(self._kinds)
            else:
                latest_ns = entry.at_ns
                self.runs.append((latest_ns, len(self._kinds)))
        self.runs.reverse()

    def name(self, count: int) -> str:
        """Name the event of this number, from 1: messages stand behind the header."""
        return verdict.label(self._kinds[count - 1], count - 2)


def edges(session: Session, heard: Heard) -> tuple[Across, ...]:
    """Return what our events in this session waited for, by their position in our lane."""
    if heard.is_one:
        return ()
    heard.settle(session.entries[-1].at_ns)
    found: list[Across] = []
    position = 0
    previous_ns, previous_is_ours = -1, True
    for entry in session.entries:
        is_ours = side_of(entry.event) is not heard.peer
        if is_ours:
            if previous_is_ours:
                found += heard.latest(session.number, position, previous_ns, entry.at_ns)
            position += 1
        previous_ns, previous_is_ours = entry.at_ns, is_ours
    return tuple(found)
