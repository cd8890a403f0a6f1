"""The pace: when our events are due, by their predecessors' recorded and actual times."""

from __future__ import annotations

import math

import pytest

from duplexmock.core.events import Side
from duplexmock.core.lanes import Lanes
from duplexmock.core.pace import Pace
from tests.playbook import ANSWER, HALF_CLOSE, HEADER, OK, ask, recorded, reply

TICKING = Lanes.of(
    recorded((0, HEADER), (2, ANSWER), (10, ask("a")), (13, reply("a")), (30, reply("b")), (31, HALF_CLOSE), (35, OK))
)
MS = 1_000_000


def pace(speed: float = 1, start_ns: int = 0, side: Side = Side.SERVER) -> Pace:
    gate = TICKING.seen.server if side is Side.SERVER else TICKING.seen.client
    return Pace(TICKING.lane(side), TICKING.lane(side.other), gate, speed, start_ns)


def test_an_event_is_due_its_gap_behind_what_it_waited_for() -> None:
    it = pace()
    it.arrived(1, 100 * MS)

    assert it.due_ns(0) == 102 * MS


def test_or_behind_the_one_before_it_where_that_is_later() -> None:
    it = pace()
    it.arrived(2, 100 * MS)
    it.take(it.due_ns(0))
    it.take(it.due_ns(1))

    assert it.due_ns(2) == (102 + 3 + 17) * MS


def test_who_asks_without_the_recorded_pauses_is_answered_without_them() -> None:
    rounds = [(at_ms, event) for n in range(5) for at_ms, event in ((1000 * n, ask("a")), (1000 * n + 3, reply("a")))]
    asked = Lanes.of(recorded((-1, HEADER), *rounds))
    it = Pace(asked.server, asked.client, asked.seen.server, 1, 0)
    it.arrived(6, 0)

    for number in range(5):
        assert it.due_ns(number) == 3 * (number + 1) * MS
        it.take(it.due_ns(number))


@pytest.mark.parametrize(("speed", "due_ms"), [(1, 102), (2, 101), (0.5, 104), (8, 100.25)])
def test_the_speed_divides_the_gap(speed: float, due_ms: float) -> None:
    it = pace(speed)
    it.arrived(1, 100 * MS)

    assert it.due_ns(0) == due_ms * MS


def test_of_predecessors_at_one_time_the_later_recorded_one_counts() -> None:
    it = pace()
    it.arrived(1, 0)
    it.take(5 * MS)
    it.arrived(1, 5 * MS)

    assert it.due_ns(1) == (5 + 3) * MS


def test_an_event_that_waits_for_another_call_is_due_behind_it() -> None:
    it = pace()
    it.arrived(2, 0)
    it.take(0)
    it.take(0)

    assert it.due_ns(2, (25 * MS, 400 * MS)) == 405 * MS
    assert it.due_ns(2, (29 * MS, 1)) == 1 + 1 * MS
    assert it.due_ns(2, (40 * MS, 50 * MS)) == 50 * MS  # never sooner than what it waits for


def test_the_first_event_of_all_is_due_at_the_start() -> None:
    assert pace(start_ns=7, side=Side.CLIENT).due_ns(0) == 7


def test_what_was_said_without_asking_counts_when_it_was_said() -> None:
    it = pace()
    it.arrived(2, 0)
    it.said(2, 50 * MS)

    assert it.due_ns(2) == (50 + 17) * MS


def test_something_behind_events_of_both_lanes() -> None:
    it = pace()
    it.arrived(2, 5 * MS)
    it.said(1, 6 * MS)

    assert it.behind_ns(1, 2, 12 * MS) == (6 + 2) * MS
    assert it.behind_ns(0, 2, 12 * MS) == (5 + 2) * MS
    assert pace(start_ns=3).behind_ns(0, 0, 12 * MS) == 3


def test_an_unbounded_pace_keeps_nothing() -> None:
    it = pace(math.inf, start_ns=3)
    it.arrived(2, 5 * MS)
    it.said(1, 6 * MS)

    assert it.is_unbounded
    assert list(it.arrived_ns) == []
    assert it.behind_ns(1, 2, 12 * MS) == 3


def test_when_what_arrived_did() -> None:
    it = pace()
    it.arrived(2, 5)
    it.arrived(1, 9)

    assert list(it.arrived_ns) == [5, 5, 9]


@pytest.mark.parametrize(
    ("came", "sent", "gap_ms"),
    [
        (0, 0, 0),  # nobody knows when the client began
        (1, 1, 8),  # ask, behind ANSWER
        (1, 0, 10),
        (2, 2, 18),  # HALF_CLOSE, behind reply("a")
        (2, 3, 1),
        (3, 3, 4),  # our own OK: the peer has said all
        (3, 4, 0),
    ],
)
def test_how_long_the_recording_waited(came: int, sent: int, gap_ms: int) -> None:
    assert pace().recorded_gap_ns(came, sent) == gap_ms * MS
