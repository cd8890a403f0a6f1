"""Across calls: which of our events waited for another call, as far as a recording shows.

A put's reply comes before the watch's notification, one chat member's message before another sees it. An event of ours
is a *push* where nothing newer of its own call's peer came before it, so that its own call does not say why it came
just then. It waits for the latest event that a peer sent on another call since the last event of its own. That is an
inference from one recording, so it holds back only what we say, and never binds the peer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from duplexmock.core import verdict
from duplexmock.core.events import Side, side_of
from duplexmock.core.player import Across
from duplexmock.core.session import Session


class Heard:
    """What the peer said in one session, and when it was seen."""

    def __init__(self, session: Session, peer: Side) -> None:
        self.number = session.number
        self.first_ns = session.entries[0].at_ns
        self.last_ns = session.entries[-1].at_ns
        entries = [entry for entry in session.entries if side_of(entry.event) is peer]
        self._times = [entry.at_ns for entry in entries]
        self._kinds = [type(entry.event) for entry in entries]

    def latest(self, after_ns: int, until_ns: int) -> tuple[int, int] | None:
        """Return when the latest one was seen in this span, and how many there were until then."""
        count = bisect_right(self._times, until_ns)
        return (self._times[count - 1], count) if count and self._times[count - 1] > after_ns else None

    def name(self, count: int) -> str:
        """Name the peer's event of this number, from 1: its messages stand behind its header."""
        return verdict.label(self._kinds[count - 1], count - 2)


def edges(session: Session, side: Side, others: Iterable[Heard]) -> tuple[Across, ...]:
    """Return what the events of `side` in this session waited for, by their position in its lane."""
    heard = [other for other in others if other.number != session.number]
    found: list[Across] = []
    position = 0
    previous_ns, previous_is_ours = -1, True
    for entry in session.entries:
        is_ours = side_of(entry.event) is side
        if is_ours:
            if previous_is_ours:
                found += _latest(position, side.other, heard, previous_ns, entry.at_ns)
            position += 1
        previous_ns, previous_is_ours = entry.at_ns, is_ours
    return tuple(found)


def _latest(position: int, peer: Side, heard: Sequence[Heard], after_ns: int, until_ns: int) -> list[Across]:
    """Return the latest event in the span, over all other sessions; none or one."""
    best: Across | None = None
    for other in heard:
        if other.first_ns > until_ns or other.last_ns <= after_ns:
            continue
        latest = other.latest(after_ns, until_ns)
        if latest is not None and (best is None or latest[0] > best.at_ns):
            best = Across(position, other.number, peer, latest[1], latest[0], other.name(latest[1]))
    return [] if best is None else [best]
