"""Across calls: what is inferred from a recording, and that it holds what it should and nothing else."""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from duplexmock.core.events import Event, Side, side_of
from duplexmock.core.session import Session
from duplexmock.core.terms import Across
from duplexmock.play.across import Heard, edges
from duplexmock.play.repertoire import Repertoire
from tests.play.live import Call, House, source, verdicts, virtual
from tests.playbook import (
    ANSWER,
    CANCEL,
    HALF_CLOSE,
    HEADER,
    MS,
    OK,
    After,
    Playbook,
    ask,
    header,
    lanes,
    recorded,
    reply,
)


def found(session: Session, *others: Session, side: Side = Side.SERVER) -> tuple[Across, ...]:
    heard = Heard(side.other)
    for each in (session, *others):
        heard.add(each)
    return edges(session, heard)


WATCH = recorded((0, HEADER), (1, ANSWER), (20, reply("put")), (40, reply("put")), number=1)
PUT = recorded((10, HEADER), (11, ask("x")), (12, HALF_CLOSE), (13, ANSWER), (14, reply("ok")), (15, OK), number=2)


def test_a_push_waits_for_the_latest_event_of_another_call() -> None:
    assert found(WATCH, PUT) == (Across(1, 2, Side.CLIENT, 3, 12 * MS, "ClientHalfClose"),)
    assert found(PUT, WATCH) == ()


def test_an_answer_is_no_push() -> None:
    answered = recorded((0, HEADER), (1, ANSWER), (15, ask("a")), (20, reply("a")))

    assert found(answered, PUT) == ()


def test_the_latest_of_several_calls_counts_and_only_since_the_calls_last_event() -> None:
    other = recorded((5, HEADER), (18, ask("x")), (30, ask("y")), (41, ask("z")), number=3)

    assert found(WATCH, PUT, other) == (
        Across(1, 3, Side.CLIENT, 2, 18 * MS, "ClientMessage #1"),
        Across(2, 3, Side.CLIENT, 3, 30 * MS, "ClientMessage #2"),
    )


def test_what_was_seen_at_the_same_time_came_before() -> None:
    at_once = recorded((20, HEADER), number=2)

    assert found(WATCH, at_once) == (Across(1, 2, Side.CLIENT, 1, 20 * MS, "ClientHeader"),)


def test_a_clients_header_waits_for_what_the_server_said_before_it() -> None:
    assert found(PUT, WATCH, side=Side.CLIENT) == (Across(0, 1, Side.SERVER, 1, 1 * MS, "ServerHeader"),)
    assert found(WATCH, PUT, side=Side.CLIENT) == ()


def test_a_session_does_not_wait_for_itself_nor_for_what_came_later() -> None:
    later = recorded((50, HEADER), number=2)

    assert found(WATCH, later) == ()


def test_an_edge_says_what_it_waits_for() -> None:
    assert str(found(WATCH, PUT)[0]) == "ClientHalfClose of session 2"


def test_what_nothing_can_have_waited_for_is_forgotten() -> None:
    heard = Heard(Side.CLIENT)
    kept: list[int] = []
    for number in range(1, 200):
        session = recorded((10 * number, HEADER), (10 * number + 1, ask("a")), (10 * number + 2, OK), number=number)
        heard.forget_before(10 * number * MS)
        heard.add(session)
        edges(session, heard)
        kept.append(len(heard))

    assert max(kept) <= 6


def plainly(session: Session, others: list[Session], side: Side) -> list[tuple[int, int, int]]:
    """Find the edges by looking at all events of all calls for each event: position, session, count."""
    edges: list[tuple[int, int, int]] = []
    position, previous = 0, None
    for entry in session.entries:
        if side_of(entry.event) is not side:
            previous = entry
            continue
        after_ns = previous.at_ns if previous else -1
        best: tuple[int, int, int] | None = None
        for other in others:
            count = 0
            for each in other.entries:
                if side_of(each.event) is side:
                    continue
                count += 1
                if other is session or not after_ns < each.at_ns <= entry.at_ns:
                    continue
                # The latest; of those at one time the first session's, and of that the last.
                if best is None or each.at_ns > best[0] or (each.at_ns, other.number) == best[:2]:
                    best = each.at_ns, other.number, count
        if best is not None and (previous is None or side_of(previous.event) is side):
            edges.append((position, *best[1:]))
        position, previous = position + 1, entry
    return edges


@pytest.mark.parametrize("seed", range(100))
def test_what_is_found_while_reading_is_what_is_found_with_all_in_view(seed: int) -> None:
    chance = random.Random(seed)
    sessions = []
    for number, begin_ms in enumerate(sorted(chance.choices(range(40), k=chance.randint(1, 12))), 1):
        times = sorted(chance.choices(range(begin_ms, begin_ms + chance.choice((3, 30))), k=chance.randint(0, 12)))
        events = [chance.choice((ask("a"), reply("a"))) for _ in times]
        sessions.append(recorded((begin_ms, HEADER), *zip(times, events, strict=True), number=number))

    for side in Side:
        for part in Repertoire([source(*sessions, side=side)], side):
            expected = plainly(sessions[part.lanes.number - 1], sessions, side)
            assert [(edge.position, edge.number, edge.count) for edge in part.edges] == expected


# A chat room of two, in which everybody hears everything


ANN = recorded(
    (0, HEADER), (1, ANSWER), (10, ask("hi")), (11, reply("Ann: hi")), (21, reply("Bob: yo")), (30, HALF_CLOSE),
    (31, OK), number=1,
)  # fmt: skip
BOB = recorded(
    (2, HEADER), (3, ANSWER), (12, reply("Ann: hi")), (20, ask("yo")), (22, reply("Bob: yo")), (32, HALF_CLOSE),
    (33, OK), number=2,
)  # fmt: skip
LANES: dict[str, list[Event]] = {
    name: [entry.event for entry in session.entries] for name, session in (("Ann", ANN), ("Bob", BOB))
}


class Room:
    """Two members who talk as they please, and when each of their messages was said and heard."""

    def __init__(self, house: House, seed: int) -> None:
        self._random = random.Random(seed)
        self._house = house
        self.word: list[str] = []

    async def member(self, name: str, call: Call | None = None) -> None:
        await self._pause()
        call = call or self._house.call()
        for event in LANES[name]:
            await self._pause()
            if event in (ask("hi"), ask("yo")):
                self.word.append(f"{name} says {event.payload.decode()}")  # type: ignore[union-attr]
            await call.talks(event)
            if event in (reply("Ann: hi"), reply("Bob: yo")):
                self.word.append(f"{name} hears {event.payload.decode()}")  # type: ignore[union-attr]

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.choice((0, 0, 0.001, 0.3)))


TALK = {"Ann says hi": "Bob hears Ann: hi", "Bob says yo": "Ann hears Bob: yo"}


@pytest.mark.parametrize("seed", range(100))
@virtual
async def test_a_message_appears_at_the_other_member_when_it_was_said(seed: int) -> None:
    house = House(ANN, BOB)
    room = Room(house, seed)

    await asyncio.gather(room.member("Ann"), room.member("Bob"))

    for said, heard in TALK.items():
        assert room.word.index(said) < room.word.index(heard)
    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, "")]
    assert [outcome.notes for outcome in await house.outcomes()] == [(), ()]


@virtual
async def test_without_edges_a_message_is_heard_before_it_is_said() -> None:
    house = House(source(ANN, name="ann"), source(BOB, name="bob"))
    room = Room(house, 0)
    ann, bob = house.call(), house.call()
    ann.says(HEADER)
    await ann.hears(ANSWER)

    await bob.talks(HEADER, ANSWER, reply("Ann: hi"))

    assert room.word == []
    ann.goes()
    bob.goes()
    await house.outcomes()


@virtual
async def test_the_server_is_played_to_by_two_members_of_ours() -> None:
    house = House(ANN, BOB, side=Side.CLIENT)
    playing = house.performs()
    ann, bob = await house.opened(0), await house.opened(1)
    await ann.talks(HEADER, ANSWER, ask("hi"), reply("Ann: hi"), our=Side.SERVER)
    await bob.talks(HEADER, ANSWER, reply("Ann: hi"), ask("yo"), our=Side.SERVER)
    await asyncio.sleep(0.1)
    assert len(ann.heard) == 2

    await ann.talks(reply("Bob: yo"), HALF_CLOSE, OK, our=Side.SERVER)
    await bob.talks(reply("Bob: yo"), HALF_CLOSE, OK, our=Side.SERVER)

    await playing
    assert list(verdicts([outcome for _, outcome in house.play.outcomes])) == [(1, ""), (2, "")]


# Calls that do not come


@virtual
async def test_a_member_that_is_missing_is_not_waited_for_and_told() -> None:
    house = House(ANN, BOB)

    await house.call().talks(*LANES["Ann"])

    [outcome] = await house.outcomes()
    assert outcome.agreed
    assert outcome.notes == ("ServerMessage #2 did not wait for ClientMessage #1 of session 2: there was no such call",)
    assert house.unplayed() == [2]
    assert 5_000 * MS <= house.clock.now_ns() < 6_500 * MS


@virtual
async def test_the_next_call_is_waited_for_while_a_program_thinks() -> None:
    house = House(ANN, BOB)
    room = Room(house, 1)
    ann = asyncio.ensure_future(room.member("Ann"))
    await asyncio.sleep(4)

    await room.member("Bob")

    await ann
    assert room.word[0] == "Ann says hi"
    assert [outcome.notes for outcome in await house.outcomes()] == [(), ()]


@virtual
async def test_a_call_that_is_not_next_is_waited_for_no_longer_than_a_second() -> None:
    house = House(
        recorded((0, HEADER), (1, ANSWER), (40, reply("late")), (41, HALF_CLOSE), (42, OK), number=1),
        recorded((10, header(("x-a", "1"))), (50, OK), number=2),
        recorded((20, header(("x-b", "1"))), (50, OK), number=3),
    )

    await house.call().talks(HEADER, ANSWER, reply("late"), HALF_CLOSE, OK)

    [outcome] = await house.outcomes()
    assert outcome.notes == ("ServerMessage #1 did not wait for ClientHeader of session 3: there was no such call",)
    assert 1_000 * MS <= house.clock.now_ns() <= 1_250 * MS


@virtual
async def test_a_short_timeout_leaves_time_to_do_without_the_call() -> None:
    house = House(ANN, BOB, timeout_s=0.2)

    await house.call().talks(*LANES["Ann"])

    [outcome] = await house.outcomes()
    assert outcome.agreed
    assert len(outcome.notes) == 1


@virtual
async def test_a_call_that_ended_before_it_came_so_far_is_not_waited_for() -> None:
    house = House(ANN, BOB)
    ann, bob = house.call(), house.call()
    await ann.talks(*LANES["Ann"][:4])
    await bob.talks(*LANES["Bob"][:3])
    bob.goes("reset")

    await ann.talks(*LANES["Ann"][4:])

    lost, agreed = await house.outcomes()
    assert list(verdicts([lost, agreed])) == [
        (2, "The client's connection was lost (reset) before its first message."),
        (1, ""),
    ]
    assert agreed.notes == (
        "ServerMessage #2 did not wait for ClientMessage #1 of session 2: that call had ended before",
    )


@pytest.mark.parametrize("speed", [1, math.inf])
@virtual
async def test_a_client_that_dies_where_it_cancelled_has_come_so_far(speed: float) -> None:
    leaving = recorded((0, HEADER), (1, ANSWER), (20, CANCEL), number=1)
    told = recorded((2, HEADER), (3, ANSWER), (25, reply("Ann left")), (30, HALF_CLOSE), (31, OK), number=2)
    house = House(leaving, told, speed=speed)
    ann, bob = house.call(), house.call()
    await ann.talks(HEADER, ANSWER)
    await bob.talks(HEADER, ANSWER)
    await asyncio.sleep(0.5)
    ann.goes("reset")
    gone_ns = house.clock.now_ns()

    await bob.talks(reply("Ann left"))
    assert house.clock.now_ns() - gone_ns == (5 * MS if speed == 1 else 0)

    await bob.talks(HALF_CLOSE, OK)
    assert list(verdicts(await house.outcomes())) == [(1, ""), (2, "")]
    assert [outcome.notes for outcome in await house.outcomes()] == [(), ()]


@virtual
async def test_a_call_that_is_open_and_stands_still_is_a_stall() -> None:
    house = House(ANN, BOB, timeout_s=4)
    ann, bob = house.call(), house.call()
    await ann.talks(*LANES["Ann"][:4])
    await bob.talks(*LANES["Bob"][:3])

    bobs, anns = await house.outcomes()

    # The first stall ends one call, and what waited for that call is not held any longer.
    assert list(verdicts([bobs, anns])) == [
        (
            2,
            "Nothing came from the client within 4 s, and its first message was expected: the client waits for "
            "ServerMessage #2; that needs ClientMessage #1 (seen, not learned); nothing is on its way.",
        ),
        (
            1,
            "Nothing came from the client within 4 s, and its half-close was expected: the client waits for "
            "ServerTrailer; that needs ClientHalfClose (seen, not learned); nothing is on its way.",
        ),
    ]
    assert anns.notes == (
        "ServerMessage #2 did not wait for ClientMessage #1 of session 2: that call had ended before",
    )


# Pace across calls


@virtual
async def test_at_speed_1_a_call_of_a_minute_later_is_waited_for() -> None:
    watch = recorded((0, HEADER), (1, ANSWER), (60_005, reply("put")), (60_006, HALF_CLOSE), (60_007, OK), number=1)
    put = recorded((60_000, HEADER), (60_001, ask("x")), (60_002, OK), number=2)
    house = House(watch, put, speed=1)
    watching, begun_ns = house.call(HEADER), house.clock.now_ns()
    await watching.hears(ANSWER)
    await asyncio.sleep(60.001)
    putting = house.call(HEADER)
    putting.says(ask("x"))

    await watching.hears(reply("put"))
    assert house.clock.now_ns() - begun_ns == 60_006 * MS

    watching.says(HALF_CLOSE)
    assert [outcome.notes for outcome in await house.outcomes()] == [(), ()]


def test_the_room_of_a_player_alone() -> None:
    edge = found(BOB, ANN)[0]
    assert edge == Across(1, 1, Side.CLIENT, 2, 10 * MS, "ClientMessage #1")
    (Playbook(lanes(*LANES["Bob"], number=2), Side.SERVER, edges=[edge]) >> HEADER << ANSWER >> After(5)).waits()
