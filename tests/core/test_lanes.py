"""Scripts: what of a recorded session is to be said again, and how it ends."""

from __future__ import annotations

import pytest

from duplexmock.core.connection import Closed, Closing, GoAway
from duplexmock.core.events import Cancel, Event, Reset, ServerTrailer, Side
from duplexmock.core.lanes import Lanes, Loss, Parting, Step, is_deadline_ending
from duplexmock.core.order import Order
from duplexmock.core.session import Ended
from duplexmock.core.status import Code, ErrorCode
from tests.playbook import (
    ANSWER,
    CANCEL,
    HALF_CLOSE,
    HEADER,
    METHOD,
    MS,
    OK,
    ask,
    fails,
    goaway,
    header,
    lanes,
    lost_by,
    recorded,
    reply,
)

TIMED = header(("grpc-timeout", "100m"))


def test_a_session_is_two_lanes_and_the_order_that_was_seen() -> None:
    session = recorded((0, HEADER), (1, ANSWER), (2, ask("a")), (3, reply("a")), (4, HALF_CLOSE), (5, OK), number=7)

    assert Lanes.of(session) == Lanes(
        METHOD,
        (Step(HEADER, 0), Step(ask("a"), 2 * MS), Step(HALF_CLOSE, 4 * MS)),
        (Step(ANSWER, 1 * MS), Step(reply("a"), 3 * MS), Step(OK, 5 * MS)),
        Order((0, 1, 2), (1, 2, 3)),
        7,
    )


def test_a_script_has_its_lanes_by_side_and_its_header() -> None:
    it = lanes(TIMED, OK)

    assert (it.lane(Side.CLIENT), it.lane(Side.SERVER)) == (it.client, it.server)
    assert it.header == TIMED


def test_the_row_of_a_step_is_no_part_of_its_value() -> None:
    step = Step(ask("a", flags=1), 5)

    assert step.row == (0, 1, b"a")
    assert Step(reply("a")).row == (1, 0, b"a")
    assert Step(OK).row is None
    assert repr(step) == "Step(event=ClientMessage(payload=b'a', flags=1), at_ns=5)"


@pytest.mark.parametrize(
    ("closed", "loss"),
    [
        (lost_by(Side.CLIENT, 3), Loss(Side.CLIENT, False, 3 * MS)),
        (lost_by(Side.SERVER, 3, Closing.RESET), Loss(Side.SERVER, True, 3 * MS)),
    ],
)
def test_a_lost_connection_is_to_be_lost_again(closed: Closed, loss: Loss) -> None:
    it = Lanes.of(recorded((0, HEADER), (1, ANSWER), closed=closed))

    assert (it.loss, it.cut) == (loss, "")


@pytest.mark.parametrize(
    ("ended", "closed", "reason", "cut"),
    [
        (Ended.INCOMPLETE, None, "the recording stops", "incomplete: the recording stops"),
        (Ended.DAMAGED, lost_by(Side.CLIENT, 3), "out of step", "damaged: out of step"),
        (Ended.CONNECTION_LOST, Closed(3 * MS, Closing.CLOSED, None), "", "connection lost"),
        (Ended.CONNECTION_LOST, None, "", "connection lost"),
    ],
)
def test_a_session_without_an_end_says_why(ended: Ended, closed: Closed | None, reason: str, cut: str) -> None:
    it = Lanes.of(recorded((0, HEADER), (1, ANSWER), ended=ended, closed=closed, reason=reason))

    assert (it.loss, it.cut) == (None, cut)


def test_a_goaway_stands_where_it_was_seen() -> None:
    by_client = GoAway(2 * MS, Side.CLIENT, 0, 0)
    goaways = [goaway(-1), by_client, goaway(2, 11, b"calm"), goaway(3), goaway(6)]

    it = Lanes.of(recorded((0, HEADER), (1, ANSWER), (2, ask("a")), (5, OK), goaways=goaways))

    assert it.partings == (Parting(2, 1, 11, b"calm", 2 * MS), Parting(2, 1, 0, b"", 3 * MS))


def test_a_goaway_before_a_loss_is_said() -> None:
    it = Lanes.of(recorded((0, HEADER), (1, ANSWER), goaways=[goaway(6)], closed=lost_by(Side.SERVER, 7)))

    assert it.partings == (Parting(1, 1, 0, b"", 6 * MS),)


@pytest.mark.parametrize(
    ("events", "by_deadline"),
    [
        ([(0, TIMED), (100, CANCEL)], True),
        ([(0, TIMED), (50, CANCEL)], False),
        ([(0, HEADER), (100, CANCEL)], False),
        ([(0, TIMED), (1, HALF_CLOSE), (100, fails(Code.DEADLINE_EXCEEDED))], True),
        ([(0, TIMED), (1, HALF_CLOSE), (20, fails(Code.DEADLINE_EXCEEDED))], False),
        ([(0, TIMED), (1, HALF_CLOSE), (100, OK)], False),
        ([(0, TIMED), (100, Reset(ErrorCode.CANCEL))], True),
        ([(0, TIMED)], False),
    ],
)
def test_whether_a_call_ends_by_its_deadline(events: list[tuple[float, Event]], by_deadline: bool) -> None:
    assert Lanes.of(recorded(*events)).ends_by_deadline is by_deadline


@pytest.mark.parametrize(
    ("event", "may_be"),
    [
        (Cancel(2), True),
        (fails(Code.DEADLINE_EXCEEDED), True),
        (OK, False),
        (ServerTrailer(None), False),
        (Reset(ErrorCode.NO_ERROR), True),
        (Reset(ErrorCode.REFUSED_STREAM), False),
        (HALF_CLOSE, False),
    ],
)
def test_what_a_deadline_may_look_like(event: Event, may_be: bool) -> None:
    assert is_deadline_ending(event) is may_be


def test_whether_the_server_refuses_the_call() -> None:
    assert lanes(HEADER, Reset(ErrorCode.REFUSED_STREAM)).is_refused
    assert not lanes(HEADER, ANSWER, Reset(ErrorCode.REFUSED_STREAM)).is_refused
    assert not lanes(HEADER).is_refused
