"""The Probe and its Turns in virtual time: what is said when, on one call and on several, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from duplexmock.core.events import ClientHeader, ClientMessage, Event, Reset, ServerMessage, Side, side_of
from duplexmock.core.history import Arrived, History, Said
from duplexmock.core.lanes import Lanes, Loss, Step
from duplexmock.core.moves import Done, Send, Wait
from duplexmock.core.outcome import Mismatch, Outcome
from duplexmock.core.probe import Probe, Turns, extended
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.terms import Across
from tests.playbook import (
    ANSWER,
    CANCEL,
    CONNECTION,
    HALF_CLOSE,
    HEADER,
    METHOD,
    MS,
    OK,
    ask,
    by_bytes,
    header,
    lanes,
    recorded,
    reply,
    row_of,
    terms,
)

HOLD_MS = 100
TIMEOUT_S = 10

Reactions = Mapping[tuple[int, Event], Sequence[tuple[float, Event]]]
"""What a peer says behind an event of ours on a call: so many ms later."""


def in_turn(number: int, position: int, at_ns: int) -> tuple[int, ...]:
    """Rank as recorded."""
    return (at_ns,)


def turns(rank: Callable[[int, int, int], tuple[int, ...]] = in_turn, events: int = 5) -> Turns:
    return Turns(HOLD_MS * MS, rank, events)


def probe(of: Lanes, side: Side, at: Turns | None = None, timeout_s: float = TIMEOUT_S, **more: Any) -> Probe:
    return Probe(at or turns(), of, side, terms(of, side, timeout_s=timeout_s), by_bytes, **more)


class Table:
    """Probes on a clock that stands still until nothing is to be done; their peers react as they are told to.

    `lines` are what happened: when, on which call, and who said what.
    """

    def __init__(
        self, *probes: Probe, reactions: Reactions | None = None, pushes: Sequence[tuple[float, int, Event]] = ()
    ) -> None:
        self.lines: list[str] = []
        self._probes = {each.lanes.number: each for each in probes}
        self._reactions = reactions or {}
        self._coming = [(round(ms * MS), number, event) for ms, number, event in pushes]
        self._ended: set[int] = set()
        self._now_ns = 0

    def played(self) -> list[str]:
        """Play until all probes are done; return the lines."""
        while len(self._ended) < len(self._probes):
            self._hear()
            until_ns = self._say()
            self._now_ns = min([*until_ns, *(at_ns for at_ns, _, _ in self._coming)], default=self._now_ns)
        return self.lines

    def _hear(self) -> None:
        for each in sorted((each for each in self._coming if each[0] <= self._now_ns), key=lambda each: each[:2]):
            self._coming.remove(each)
            _, number, event = each
            self._note(number, event)
            self._probes[number].received([row_of(event)], self._now_ns)

    def _say(self) -> Iterator[int]:
        """Let each probe do what is to be done now; yield until when it waits."""
        waits: dict[int, int] = {}
        for number, each in self._probes.items():
            if number in self._ended:
                continue
            match each.next(self._now_ns):
                case Send(steps):
                    for step in steps:
                        self._note(number, step.event)
                        for ms, event in self._reactions.get((number, step.event), ()):
                            self._coming.append((self._now_ns + round(ms * MS), number, event))
                    waits[number] = self._now_ns
                case Wait(until_ns):
                    assert until_ns > self._now_ns, "a Wait for what is past"
                    waits[number] = until_ns
                case Done():
                    self.lines.append(f"{self._now_ns / MS:g} {number}   done")
                    self._ended.add(number)
        return iter(waits.values())

    def _note(self, number: int, event: Event) -> None:
        match event:
            case ClientMessage(payload) | ServerMessage(payload):
                told = payload.decode()
            case _:
                told = type(event).__name__
        self.lines.append(f"{self._now_ns / MS:g} {number} {side_of(event).value} {told}")


ECHO = lanes(HEADER, ANSWER, ask("a"), reply("A"), ask("b"), reply("B"), HALF_CLOSE, OK)

ECHOES: Reactions = {
    (1, HEADER): [(3, ANSWER)],
    (1, ask("a")): [(3, reply("A"))],
    (1, ask("b")): [(3, reply("B"))],
    (1, HALF_CLOSE): [(3, OK)],
}


# One call


def test_one_event_at_a_time_is_said_when_nothing_has_come_for_the_hold() -> None:
    assert Table(probe(ECHO, Side.CLIENT), reactions=ECHOES).played() == [
        "0 1 > ClientHeader",
        "3 1 < ServerHeader",
        "103 1 > a",
        "106 1 < A",
        "206 1 > b",
        "209 1 < B",
        "309 1 > ClientHalfClose",
        "312 1 < ServerTrailer",
        "312 1   done",
    ]


def test_the_server_holds_its_events_as_well() -> None:
    ours = lanes(HEADER, ANSWER, reply("A"), ask("a"), reply("B"), ask("b"), OK)
    reactions = {(1, reply("A")): [(3.0, ask("a"))], (1, reply("B")): [(3.0, ask("b"))]}
    assert Table(probe(ours, Side.SERVER), reactions=reactions, pushes=[(0, 1, HEADER)]).played() == [
        "0 1 > ClientHeader",
        "100 1 < ServerHeader",
        "200 1 < A",
        "203 1 > a",
        "303 1 < B",
        "306 1 > b",
        "406 1 < ServerTrailer",
        "406 1   done",
    ]


def test_an_event_that_took_the_peer_longer_than_the_hold_comes_behind_the_next_of_ours() -> None:
    reactions = {**ECHOES, (1, ask("a")): [(130.0, reply("A"))]}
    assert Table(probe(ECHO, Side.CLIENT), reactions=reactions).played()[2:6] == [
        "103 1 > a",
        "203 1 > b",
        "206 1 < B",
        "233 1 < A",
    ]


def test_the_peer_breaks_the_quiet_by_as_much_as_the_recording_has_of_it() -> None:
    ours = lanes(HEADER, ANSWER, reply("push"), reply("push"), HALF_CLOSE, OK)
    pushes = [(90.0 * n, 1, reply("push")) for n in range(1, 12)]
    reactions = {(1, HEADER): [(0.0, ANSWER)], (1, HALF_CLOSE): [(50.0, OK)]}
    lines = Table(probe(ours, Side.CLIENT), reactions=reactions, pushes=pushes).played()
    # The second push at 180 ms was the last that was recorded: 270, where the third is, comes before the half-close.
    assert lines == [
        "0 1 > ClientHeader",
        "0 1 < ServerHeader",
        "90 1 < push",
        "180 1 < push",
        "270 1 < push",
        "280 1 > ClientHalfClose",
        "330 1 < ServerTrailer",
        "330 1   done",
    ]


def test_other_kinds_of_events_than_were_recorded_break_no_quiet() -> None:
    ours = lanes(HEADER, ask("a"), reply("A"))
    pushes = [(60.0, 1, ANSWER)]
    assert Table(probe(ours, Side.CLIENT, timeout_s=0.15), pushes=pushes).played() == [
        "0 1 > ClientHeader",
        "60 1 < ServerHeader",
        "100 1 > a",
        "250 1   done",
    ]


def test_when_all_has_come_the_rest_is_said_at_once() -> None:
    pushes = [(0.0, 1, HEADER), (0.0, 1, ask("a")), (5.0, 1, ask("b")), (120.0, 1, HALF_CLOSE)]
    assert Table(probe(ECHO, Side.SERVER), pushes=pushes).played() == [
        "0 1 > ClientHeader",
        "0 1 > a",
        "5 1 > b",
        "105 1 < ServerHeader",
        "120 1 > ClientHalfClose",
        "120 1 < A",
        "120 1 < B",
        "120 1 < ServerTrailer",
        "120 1   done",
    ]


# Several calls

TWO = (
    Lanes.of(recorded((0, HEADER), (10, ask("a1")), (30, ask("a2")), (50, HALF_CLOSE), (52, OK), number=1)),
    Lanes.of(recorded((5, HEADER), (20, ask("b1")), (40, ask("b2")), (60, HALF_CLOSE), (62, OK), number=2)),
)
ENDS: Reactions = {(number, HALF_CLOSE): [(2, OK)] for number in (1, 2)}


def said_by_two(rank: Callable[[int, int, int], tuple[int, ...]]) -> list[str]:
    at = turns(rank)
    return Table(*(probe(each, Side.CLIENT, at) for each in TWO), reactions=ENDS).played()


def test_calls_take_turns_as_they_are_ranked() -> None:
    assert said_by_two(in_turn) == [
        "0 1 > ClientHeader",
        "100 2 > ClientHeader",
        "200 1 > a1",
        "300 2 > b1",
        "400 1 > a2",
        "500 2 > b2",
        "600 1 > ClientHalfClose",
        "602 1 < ServerTrailer",
        "602 1   done",
        "702 2 > ClientHalfClose",
        "704 2 < ServerTrailer",
        "704 2   done",
    ]


def test_a_rank_may_let_one_call_go_first_when_all_are_open() -> None:
    def last_first(number: int, position: int, at_ns: int) -> tuple[int, ...]:
        return position > 0, -number

    assert [line.split(" ", 1)[1] for line in said_by_two(last_first)] == [
        *("1 > ClientHeader", "2 > ClientHeader"),  # the very first event waits for nothing
        *("2 > b1", "2 > b2", "2 > ClientHalfClose", "2 < ServerTrailer", "2   done"),
        *("1 > a1", "1 > a2", "1 > ClientHalfClose", "1 < ServerTrailer", "1   done"),
    ]


def test_the_rank_sees_the_number_the_position_and_the_recorded_time() -> None:
    seen = set()

    def rank(number: int, position: int, at_ns: int) -> tuple[int, ...]:
        seen.add((number, position, at_ns // MS))
        return (at_ns,)

    said_by_two(rank)
    assert seen == {(1, 1, 10), (1, 2, 30), (1, 3, 50), (2, 0, 5), (2, 1, 20), (2, 2, 40), (2, 3, 60)}


def test_what_waits_for_another_call_comes_behind_all_that_do_not() -> None:
    at = turns()
    soon, never = (Across(position, 2, Side.SERVER, 1, 0, "ServerHeader") for position in (1, 3))
    free = probe(TWO[1], Side.CLIENT, at)

    def reached(edge: Across) -> int | None:
        return 0 if edge == soon and free.sent == 2 else None

    waits = probe(TWO[0], Side.CLIENT, at, edges=[soon, never], reached=reached)
    assert Table(waits, free, reactions=ENDS).played() == [
        "0 1 > ClientHeader",
        "100 2 > ClientHeader",
        "200 2 > b1",
        "300 1 > a1",
        "400 1 > a2",
        "500 2 > b2",
        "600 2 > ClientHalfClose",
        "602 2 < ServerTrailer",
        "602 2   done",
        "702 1 > ClientHalfClose",
        "704 1 < ServerTrailer",
        "704 1   done",
    ]


def test_a_peer_that_speaks_on_one_call_keeps_the_others_waiting() -> None:
    at = turns()
    first, second = (replace(each, server=(Step(ANSWER, 0), *each.server)) for each in TWO)
    table = Table(
        probe(first, Side.CLIENT, at), probe(second, Side.CLIENT, at), reactions=ENDS, pushes=[(70, 1, ANSWER)]
    )
    assert table.played()[:3] == ["0 1 > ClientHeader", "70 1 < ServerHeader", "170 2 > ClientHeader"]


def test_a_call_whose_peer_has_ended_it_holds_nobody_up() -> None:
    at = turns()
    table = Table(*(probe(each, Side.CLIENT, at) for each in TWO), pushes=[(110, 1, OK)], reactions=ENDS)
    assert table.played() == [
        "0 1 > ClientHeader",
        "100 2 > ClientHeader",
        "110 1 < ServerTrailer",
        "110 1   done",
        "210 2 > b1",
        "310 2 > b2",
        "410 2 > ClientHalfClose",
        "412 2 < ServerTrailer",
        "412 2   done",
    ]


def test_a_call_that_is_given_to_another_session_holds_nobody_up() -> None:
    at = turns()
    left, stays = (probe(each, Side.SERVER, at) for each in TWO)
    left.received([row_of(HEADER)], 0)
    assert left.next(0) == Wait(100 * MS)
    left.received([row_of(ask("b1"))], 1 * MS)  # as in session 2: `left` is not asked any more
    assert left.mismatch is not None
    assert stays.adopt(left.history)
    assert stays.next(101 * MS) == Send((Step(OK, 62 * MS),))


def test_a_call_that_takes_the_session_of_another_one_takes_its_turn() -> None:
    at = turns()
    before, other = (probe(each, Side.SERVER, at) for each in TWO)
    for each in (before, other):
        each.received([row_of(HEADER)], 0)
        assert each.next(0) == Wait(100 * MS)
    taken = probe(TWO[0], Side.SERVER, at)
    assert taken.adopt(before.history)
    assert taken.next(50 * MS) == Wait(100 * MS)
    assert other.next(100 * MS) == Wait(200 * MS)
    assert taken.next(100 * MS) == Send((Step(OK, 52 * MS),))


def test_a_probe_that_the_peer_is_to_hear_the_rest_of_waits_for_others_too() -> None:
    """Only when all peers have said all is nothing left to learn."""
    at = turns()
    first, second = (probe(each, Side.SERVER, at) for each in TWO)
    for each, messages in ((first, ("a1", "a2")), (second, ("b1",))):
        each.received(list(map(row_of, (HEADER, *map(ask, messages)))), 0)
        each.next(0)
    first.received([row_of(HALF_CLOSE)], 10 * MS)
    assert first.has_heard_all
    assert first.next(10 * MS) == Wait(110 * MS)
    second.received([row_of(ask("b2")), row_of(HALF_CLOSE)], 20 * MS)
    assert first.next(20 * MS) == Send((Step(OK, 52 * MS),))
    assert second.next(20 * MS) == Send((Step(OK, 62 * MS),))


# The deadline


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("grpc-timeout", "5S")], [("grpc-timeout", "5100m")]),
        (
            [("k", "v"), ("grpc-timeout", "1u"), ("b-bin", b"\0")],
            [("k", "v"), ("grpc-timeout", "101m"), ("b-bin", b"\0")],
        ),
        ([("grpc-timeout", "99999999m")], [("grpc-timeout", "100001S")]),
        ([("grpc-timeout", "2000000S")], [("grpc-timeout", "2000001S")]),
    ],
)
def test_a_deadline_is_later_and_all_else_as_it_was(pairs: Any, expected: Any) -> None:
    assert extended(header(*pairs), 100 * MS) == header(*expected)


@pytest.mark.parametrize("pairs", [[], [("k", "v")], [("grpc-timeout", "soon")]])
def test_a_header_without_a_deadline_stays_as_it_is(pairs: Any) -> None:
    given = header(*pairs)
    assert extended(given, 100 * MS) is given


def test_a_header_is_said_with_time_for_two_holds_an_event_and_the_timeout() -> None:
    timed = header(("grpc-timeout", "5S"))
    ours = lanes(timed, ANSWER, ask("a"), HALF_CLOSE, OK)
    said = probe(ours, Side.CLIENT, turns(events=7), timeout_s=3).next(0)
    assert said == Send((Step(header(("grpc-timeout", "9400m")), 0),))  # 5 s, 2 of 100 ms for each of 7, and 3 s


# Its end


def test_it_ends_when_the_peer_ends_the_call() -> None:
    for last in (OK, Reset(8)):
        assert Table(probe(ECHO, Side.CLIENT), reactions={(1, ask("a")): [(3, last)]}).played()[1:] == [
            "100 1 > a",
            f"103 1 < {type(last).__name__}",
            "103 1   done",
        ]
    assert Table(probe(ECHO, Side.SERVER), pushes=[(0, 1, HEADER), (7, 1, CANCEL)]).played()[1:] == [
        "7 1 > Cancel",
        "7 1   done",
    ]


def test_it_ends_after_its_last_word() -> None:
    assert Table(probe(ECHO, Side.SERVER), pushes=[(0, 1, HEADER)]).played()[-2:] == [
        "400 1 < ServerTrailer",
        "400 1   done",
    ]
    cancelled = lanes(HEADER, ask("a"), CANCEL, ANSWER)
    assert Table(probe(cancelled, Side.CLIENT)).played()[-2:] == ["200 1 > Cancel", "200 1   done"]


def test_it_ends_when_the_peer_has_said_nothing_for_the_timeout() -> None:
    reactions = {(1, HALF_CLOSE): [(3.0, ANSWER), (900.0, reply("A")), (1905.0, reply("B"))]}
    assert Table(probe(ECHO, Side.CLIENT, timeout_s=1), reactions=reactions).played() == [
        "0 1 > ClientHeader",
        "100 1 > a",
        "200 1 > b",
        "300 1 > ClientHalfClose",
        "303 1 < ServerHeader",
        "1200 1 < A",
        "2200 1   done",
    ]


def test_more_than_was_recorded_does_not_keep_it_from_its_end() -> None:
    pushes = [(200.0 * n, 1, reply("more")) for n in range(1, 10)]
    ours = lanes(HEADER, ANSWER, HALF_CLOSE, OK)
    assert Table(probe(ours, Side.CLIENT, timeout_s=0.5), pushes=pushes).played()[-2:] == [
        "600 1 < more",
        "600 1   done",
    ]


def test_it_ends_when_all_was_said_and_heard_though_nobody_ended_it() -> None:
    ours = lanes(HEADER, ANSWER, ask("a"), reply("A"))
    assert Table(probe(ours, Side.CLIENT), reactions=ECHOES).played()[-2:] == ["106 1 < A", "106 1   done"]


def test_it_ends_when_the_connection_is_lost() -> None:
    at = turns()
    lost, other = (probe(each, Side.CLIENT, at) for each in TWO)
    assert lost.next(0) == Send((Step(HEADER, 0),))
    assert other.next(0) == Wait(100 * MS)
    lost.lost("reset by the peer", 4 * MS)
    assert lost.next(4 * MS) == Done()
    assert other.next(100 * MS) == Send((Step(HEADER, 5 * MS),))
    assert lost.outcome(CONNECTION, 3).session == Session(
        1, CONNECTION, 3, (Entry(0, HEADER),), Ended.CONNECTION_LOST, "reset by the peer"
    )


# What it took and said


def test_the_outcome_is_what_took_place_and_no_verdict() -> None:
    each = probe(ECHO, Side.CLIENT)
    Table(each, reactions={(1, HEADER): [(3, reply("other"))], (1, ask("a")): [(3, OK)]}).played()
    each.note("a note")
    outcome = each.outcome(CONNECTION, 5)
    entries = (Entry(0, HEADER), Entry(3 * MS, reply("other")), Entry(103 * MS, ask("a")), Entry(106 * MS, OK))
    session = Session(1, CONNECTION, 5, entries, Ended.TRAILER)
    assert outcome == Outcome(1, METHOD, Side.CLIENT, session, notes=("a note",))


@pytest.mark.parametrize("event", [ask("other"), HALF_CLOSE], ids=["another message", "another event"])
def test_what_is_not_as_recorded_is_marked_until_it_is_asked_again(event: Event) -> None:
    each = probe(ECHO, Side.SERVER)
    each.received(list(map(row_of, (HEADER, ask("a")))), 0)
    assert (each.mismatch, each.came) == (None, 2)
    each.received([row_of(event)], 5 * MS)
    assert (each.mismatch, each.came) == (Mismatch("", Side.CLIENT, 2, 0, 5 * MS), 3)
    assert each.next(5 * MS) == Wait(105 * MS)
    assert each.mismatch is None
    each.received((), 6 * MS)
    assert (each.mismatch, each.came) == (None, 3)


def test_more_than_was_recorded_is_marked_as_well() -> None:
    each = probe(lanes(HEADER, ANSWER), Side.SERVER)
    each.received([row_of(HEADER)], 0)
    each.received([row_of(ask("a"))], 1 * MS)
    assert each.mismatch == Mismatch("", Side.CLIENT, 1, 0, 1 * MS)


def test_what_it_says_has_what_has_arrived_put_into_it() -> None:
    def shouted(event: Event) -> Event:
        return replace(event, payload=event.payload.upper()) if isinstance(event, ClientMessage) else event

    reactions = {(1, HEADER): [(3.0, ANSWER)], (1, ask("A")): [(3.0, reply("A"))], (1, ask("B")): [(3.0, OK)]}
    assert Table(probe(ECHO, Side.CLIENT, bind=shouted), reactions=reactions).played() == [
        "0 1 > ClientHeader",
        "3 1 < ServerHeader",
        "103 1 > A",
        "106 1 < A",
        "206 1 > B",
        "209 1 < ServerTrailer",
        "209 1   done",
    ]


def test_nothing_is_joined_and_no_connection_is_lost() -> None:
    def never(what: object) -> Any:
        raise AssertionError(f"asked for {what}")

    each = probe(ECHO, Side.CLIENT, joined=never)
    assert each.next(0) == Send((Step(HEADER, 0),))
    assert (each.blocked_on, each.is_joining, each.arrived_ns) == (None, False, ())
    assert each.stands_at(Loss(Side.SERVER), 0)


# Going on where another one stands


def of_server(*happened: Arrived | Said) -> History:
    history = History()
    for each in happened:
        history.add(each)
    return history


def came(ms: float, *events: Event) -> Arrived:
    return Arrived(round(ms * MS), list(map(row_of, events)))


def test_it_goes_on_where_a_history_ends() -> None:
    at = turns()
    each = probe(ECHO, Side.SERVER, at)
    history = of_server(came(0, HEADER), Said(100 * MS, 0, ECHO.server[:1]), came(103, ask("a")))
    assert each.adopt(history)
    assert (each.sent, each.came, list(each.history)) == (1, 2, list(history))
    assert each.next(110 * MS) == Wait(203 * MS)
    assert each.next(203 * MS) == Send((ECHO.server[1],))


def test_it_goes_on_where_it_would_have_said_the_same_with_what_has_arrived_in_it() -> None:
    def signed(event: Event) -> Event:
        return replace(event, payload=b"signed") if isinstance(event, ServerMessage) else event

    history = of_server(came(0, HEADER), Said(0, 0, (Step(ANSWER), Step(reply("signed")))))
    assert probe(ECHO, Side.SERVER, bind=signed).adopt(history)
    assert not probe(ECHO, Side.SERVER).adopt(history)


@pytest.mark.parametrize(
    "happened",
    [
        pytest.param((came(0, header(("k", "v"))),), id="another header"),
        pytest.param((came(0, HEADER), came(1, ask("b"))), id="another message"),
        pytest.param((came(0, HEADER), Said(1, 0, (Step(reply("A")),))), id="another event of ours"),
        pytest.param((came(0, HEADER), Said(1, 0, (Step(ANSWER), Step(reply("B"))))), id="another message of ours"),
        pytest.param((came(0, HEADER), Said(1, 0, (*ECHO.server, Step(OK)))), id="more than all of ours"),
        pytest.param((came(0, HEADER, ask("a"), ask("b"), HALF_CLOSE, ask("c")),), id="more than all of the peer's"),
    ],
)
def test_it_refuses_to_go_on_from_what_does_not_fit(happened: tuple[Arrived | Said, ...]) -> None:
    def by_all(expected: Event, actual: Event) -> Any:
        if isinstance(expected, ClientHeader):
            return [] if expected == actual else ["metadata"]
        return by_bytes(expected, actual)

    each = Probe(turns(), ECHO, Side.SERVER, terms(ECHO, Side.SERVER), by_all)
    assert not each.adopt(of_server(*happened))


def test_a_history_that_did_not_fit_does_not_set_the_clock_back() -> None:
    at = turns()
    waits, other = probe(TWO[0], Side.SERVER, at), probe(TWO[1], Side.SERVER, at)
    waits.received([row_of(HEADER)], 0)
    waits.received([row_of(ask("a1"))], 10 * MS)
    waits.received([row_of(ask("a2"))], 80 * MS)
    assert waits.next(80 * MS) == Wait(180 * MS)
    assert not other.adopt(waits.history)
    assert waits.next(81 * MS) == Wait(180 * MS)
