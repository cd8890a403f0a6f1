"""What is done to a connection: once, and when all calls that were on it are where the recording saw them."""

from __future__ import annotations

import asyncio
import math

import pytest

from duplexmock.core.connection import Closing
from duplexmock.core.events import Event, ServerTrailer, Side
from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.session import Session
from duplexmock.core.status import Code, Status
from tests.play.live import House, verdicts, virtual
from tests.playbook import ANSWER, CANCEL, HALF_CLOSE, HEADER, MS, OK, ask, goaway, header, lost_by, recorded, reply

OTHER = header(("x-other", "1"))
LOSS = Loss(Side.SERVER, True, 30 * MS)
SECOND: list[Event] = [OTHER, ANSWER, ask("a"), reply("A")]


def lost(by: Side = Side.SERVER) -> tuple[Session, Session]:
    """Two calls of one connection, which was lost under both; the second one was opened late and said more."""
    closed = lost_by(by, 30, Closing.RESET)
    timed = zip((10, 11, 20, 21), SECOND, strict=True)
    return (
        recorded((0, HEADER), (1, ANSWER), number=1, closed=closed),
        recorded(*timed, number=2, closed=closed),
    )


def parted() -> tuple[Session, Session]:
    """Two calls of one connection on which the server said GOAWAY at 15 ms, while both were open."""
    said = [goaway(15, 0, b"bye")]
    return (
        recorded((0, HEADER), (1, ANSWER), (40, OK), number=1, goaways=said),
        recorded((10, OTHER), (11, ANSWER), (20, ask("a")), (21, reply("A")), (22, OK), number=2, goaways=said),
    )


# A loss


@pytest.mark.parametrize("speed", [1, math.inf])
@virtual
async def test_a_connection_is_not_lost_before_all_of_its_calls_are_through(speed: float) -> None:
    house = House(*lost(), speed=speed)
    first = house.call()
    await first.talks(HEADER, ANSWER)
    await asyncio.sleep(0.5)
    second = house.call()
    await second.talks(*SECOND)

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, "")]
    assert [call.heard.count(LOSS) for call in (first, second)] in ([1, 0], [0, 1])
    assert [outcome.notes for outcome in await house.outcomes()] == [(), ()]


@virtual
async def test_at_speed_1_the_call_that_is_through_last_says_when() -> None:
    house = House(*lost(), speed=1)
    first = house.call()
    await first.talks(HEADER, ANSWER)
    second = house.call()
    await asyncio.sleep(0.5)
    await second.talks(*SECOND)
    through_ns = house.clock.now_ns()

    await house.outcomes()

    assert house.clock.now_ns() - through_ns == 9 * MS


@virtual
async def test_a_loss_follows_the_last_word_of_the_other_call_at_once() -> None:
    closed = lost_by(Side.SERVER, 30)
    house = House(
        recorded((0, HEADER), (1, ANSWER), number=1, closed=closed),
        recorded((2, OTHER), (3, ANSWER), (20, reply("put")), number=2, closed=closed),
        recorded((10, header(("x-put", "1"))), (19, HALF_CLOSE), (25, OK), number=3, connection=2),
    )
    first, second = house.call(HEADER), house.call(OTHER)
    await first.hears(ANSWER)
    await second.hears(ANSWER)
    third = house.call(header(("x-put", "1")), connection=2)
    await asyncio.sleep(0.3)
    third.says(HALF_CLOSE)
    begun_ns = house.clock.now_ns()

    await house.outcomes()

    assert house.clock.now_ns() == begun_ns
    assert second.heard[1] == reply("put")


@virtual
async def test_the_call_that_is_through_last_may_be_the_first() -> None:
    house = House(*lost())
    second = house.call()
    await second.talks(*SECOND)
    await asyncio.sleep(0.5)
    first = house.call()
    await first.talks(HEADER, ANSWER)

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, "")]


@virtual
async def test_a_call_that_does_not_come_is_not_waited_for_and_told() -> None:
    house = House(*lost())
    call = house.call(HEADER)

    await call.hears(ANSWER, LOSS)

    [outcome] = await house.outcomes()
    assert outcome.agreed
    assert outcome.notes == ("the loss of the connection did not wait for session 2: there was no such call",)
    assert 5_000 * MS <= house.clock.now_ns() < 5_500 * MS
    assert house.unplayed() == [2]


@virtual
async def test_a_call_that_fails_is_not_waited_for() -> None:
    house = House(*lost())
    first, second = house.call(HEADER), house.call(OTHER)
    await second.hears(ANSWER)
    await first.hears(ANSWER)
    await asyncio.sleep(0.1)
    second.says(CANCEL)

    sentence = "The client cancelled the call (CANCEL) before its first message."
    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, sentence)]
    assert first.heard == [ANSWER, LOSS]
    assert house.clock.now_ns() < 200 * MS


@virtual
async def test_what_comes_while_the_others_are_waited_for_is_judged() -> None:
    house = House(*lost())
    call = house.call(HEADER)
    await call.hears(ANSWER)
    await asyncio.sleep(0.1)
    call.says(ask("more"))

    sentence = "The client sent its first message; in the recording nothing more comes from the client."
    await call.hears(ServerTrailer(Status(Code.FAILED_PRECONDITION, sentence)))
    assert list(verdicts(await house.outcomes())) == [(1, sentence)]


@virtual
async def test_each_connection_is_lost_on_which_such_a_call_is() -> None:
    house = House(*lost())
    first, second = house.call(HEADER, connection=1), house.call(*SECOND[::2], connection=2)

    await first.hears(ANSWER, LOSS)
    await second.hears(ANSWER, reply("A"), LOSS)

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, "")]


@virtual
async def test_a_second_pass_loses_it_again() -> None:
    house = House(*lost(), repeat=2)
    for connection in (1, 2):
        calls = house.call(HEADER, connection=connection), house.call(*SECOND[::2], connection=connection)
        for call in calls:
            assert call.task is not None
            await call.task
        assert sum(call.heard.count(LOSS) for call in calls) == 1

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (1, ""), (2, ""), (2, "")]


@virtual
async def test_the_client_loses_its_connection_when_all_calls_are_through() -> None:
    house = House(*lost(Side.CLIENT), side=Side.CLIENT)
    playing = house.performs()
    first = await house.opened(0)
    await first.talks(HEADER, ANSWER, our=Side.SERVER)
    second = await house.opened(1)
    await second.talks(*SECOND[:3], our=Side.SERVER)
    await asyncio.sleep(0.5)
    assert first.lost is None

    second.says(reply("A"))

    await playing
    assert sorted(verdicts([outcome for _, outcome in house.play.outcomes])) == [(1, ""), (2, "")]
    assert sum(call.heard.count(Loss(Side.CLIENT, True, 30 * MS)) for call in house.calls) == 1


# GOAWAY


@virtual
async def test_goaway_is_said_once_and_not_before_the_calls_it_came_behind_are_open() -> None:
    house = House(*parted())
    first = house.call()
    await first.talks(HEADER, ANSWER)
    await asyncio.sleep(0.5)
    assert first.heard == [ANSWER]

    second = house.call()
    await second.talks(OTHER, ANSWER)
    await asyncio.sleep(0.1)
    assert [isinstance(each, Parting) for each in first.heard + second.heard].count(True) == 1
    second.says(ask("a"))

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, "")]
    heard = first.heard + second.heard
    assert [(each.code, each.debug) for each in heard if isinstance(each, Parting)] == [(0, b"bye")]
    assert [outcome.notes for outcome in await house.outcomes()] == [(), ()]


@virtual
async def test_goaway_does_not_wait_for_a_call_that_was_opened_behind_it() -> None:
    said = [goaway(15)]
    house = House(
        recorded((0, HEADER), (1, ANSWER), (40, OK), number=1, goaways=said),
        recorded((16, OTHER), (17, ANSWER), (22, OK), number=2, goaways=said),
    )
    call = house.call(HEADER)
    await asyncio.sleep(0.001)

    assert [type(each) for each in call.heard[:2]] == [type(ANSWER), Parting]
    await house.call().talks(OTHER, ANSWER, OK)
    await house.outcomes()


@virtual
async def test_goaway_waits_for_a_call_that_had_ended_before() -> None:
    said = [goaway(15)]
    house = House(
        recorded((0, HEADER), (1, ANSWER), (40, OK), number=1, goaways=said),
        recorded((2, OTHER), (3, ANSWER), (4, HALF_CLOSE), (5, OK), number=2, goaways=said),
    )
    first, second = house.call(HEADER), house.call(OTHER)
    await second.hears(ANSWER)
    await asyncio.sleep(0.5)
    assert first.heard == [ANSWER]

    second.says(HALF_CLOSE)

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, "")]
    assert [type(each) for each in first.heard] == [type(ANSWER), Parting, type(OK)]


@virtual
async def test_goaway_does_without_a_call_that_does_not_come() -> None:
    house = House(*parted())
    call = house.call(HEADER)

    [outcome] = await house.outcomes()

    assert [type(each) for each in call.heard] == [type(ANSWER), Parting, type(OK)]
    assert outcome.notes[0] == "GOAWAY did not wait for session 2: there was no such call"
    assert house.clock.now_ns() < 11_000 * MS
