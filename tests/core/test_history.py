"""The history of a call that is played, and the session made of it."""

from __future__ import annotations

import pytest

from duplexmock.core.events import ClientHeader, Reset, ServerTrailer
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.lanes import Step
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Code, Status
from tests.playbook import ANSWER, CANCEL, CONNECTION, HALF_CLOSE, HEADER, OK, ask, reply, row_of


def history(*happened: Arrived | Said) -> History:
    it = History()
    for each in happened:
        it.add(each)
    return it


def arrived(at_ns: int, *rows: Row) -> Arrived:
    return Arrived(at_ns, rows)


OPENED = arrived(5, row_of(HEADER), row_of(ask("a")))
ANSWERED = Said(6, 0, (Step(ANSWER), Step(reply("a"))))


def session(of: History, lost: str | None = None) -> Session:
    made = of.session(3, CONNECTION, 7, lost)
    assert made is not None
    return made


def test_what_happened_is_a_session_in_its_order() -> None:
    it = history(OPENED, ANSWERED, arrived(8, row_of(HALF_CLOSE)), Said(9, 2, (Step(OK),)))

    assert session(it) == Session(
        3,
        CONNECTION,
        7,
        (
            Entry(5, HEADER),
            Entry(5, ask("a")),
            Entry(6, ANSWER),
            Entry(6, reply("a")),
            Entry(8, HALF_CLOSE),
            Entry(9, OK),
        ),
        Ended.TRAILER,
    )
    assert [each.at_ns for each in it] == [5, 6, 8, 9]


def test_where_nothing_happened_there_is_no_session() -> None:
    assert history().session(1, CONNECTION, 0, "lost") is None
    assert history(arrived(1, (RowKind.DAMAGED, 1, "why"))).session(1, CONNECTION, 0, None) is None


def test_rows_that_are_no_events_are_no_entries() -> None:
    it = history(arrived(5, row_of(HEADER), (RowKind.CLIENT_PART, 1, b"ab"), (RowKind.CLIENT_MESSAGE, 1, 0, b"c")))

    assert [entry.event for entry in session(it).entries] == [HEADER, ask("c")]


def test_a_reset_behind_a_trailer_is_a_part_of_it() -> None:
    it = history(Said(1, 0, (Step(HEADER),)), arrived(2, row_of(OK)), arrived(3, (RowKind.RESET_AFTER, 1, 8)))

    assert session(it).entries[1] == Entry(2, ServerTrailer(Status(Code.OK), reset_after=8))


def test_a_reset_behind_nothing_is_nothing() -> None:
    it = history(Said(1, 0, (Step(HEADER),)), arrived(3, (RowKind.RESET_AFTER, 1, 8)))

    assert session(it).entries == (Entry(1, HEADER),)


@pytest.mark.parametrize(
    ("last", "ended"),
    [
        ([Said(9, 2, (Step(OK),))], Ended.TRAILER),
        ([Said(9, 2, (Step(Reset(2)),))], Ended.RESET),
        ([arrived(9, row_of(CANCEL))], Ended.CANCELLED),
        ([arrived(9, row_of(CANCEL)), Said(9, None, (Step(OK),))], Ended.CANCELLED),
        ([Said(9, 2, (Step(OK),)), arrived(9, row_of(CANCEL))], Ended.TRAILER),
        ([], Ended.INCOMPLETE),
    ],
)
def test_the_first_ending_counts(last: list[Arrived | Said], ended: Ended) -> None:
    assert session(history(OPENED, ANSWERED, *last)).ended is ended
    of_lost = session(history(OPENED, ANSWERED, *last), "reset")
    is_lost = ended is Ended.INCOMPLETE
    assert (of_lost.ended, of_lost.reason) == ((Ended.CONNECTION_LOST, "reset") if is_lost else (ended, ""))


def test_a_broken_protocol_is_an_ending() -> None:
    it = history(OPENED, arrived(7, row_of(ask("b")), (RowKind.DAMAGED, 1, "why")), Said(8, None, (Step(OK),)))

    assert (session(it).ended, session(it).reason) == (Ended.DAMAGED, "why")


@pytest.mark.parametrize("it", [history(OPENED), history(Said(5, 0, (Step(HEADER),)))])
def test_the_header_is_whoevers(it: History) -> None:
    assert it.header() == (5, ClientHeader(HEADER.method))


def test_there_may_be_no_header_yet() -> None:
    assert history().header() is None
