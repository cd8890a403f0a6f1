"""Which session a call is, and all of them at once: Plays of both seats, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core import verdict
from duplexmock.core.connection import Closing
from duplexmock.core.events import ClientHeader, Event, Reset, ServerTrailer, Side
from duplexmock.core.lanes import Loss
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.outcome import Outcome
from duplexmock.core.session import Session
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.play.play import REFUSALS
from duplexmock.play.repertoire import Part
from tests.play.live import Call, House, source, verdicts, virtual
from tests.playbook import (
    ANSWER,
    CANCEL,
    HALF_CLOSE,
    HEADER,
    MS,
    OK,
    ask,
    fails,
    header,
    lost_by,
    recorded,
    reply,
)
from tests.wire.talk import examples

OTHER = "/chat.ChatService/Other"


def echo(text: str, number: int = 1, at_ms: float = 0, opens: ClientHeader = HEADER) -> Session:
    """The call that says this, and hears it in capitals; it takes 6 ms."""
    events: list[Event] = [opens, ANSWER, ask(text), reply(text.upper()), HALF_CLOSE, OK]
    return recorded(*((at_ms + place, event) for place, event in enumerate(events)), number=number)


def talk(text: str, opens: ClientHeader = HEADER) -> list[Event]:
    return [opens, ANSWER, ask(text), reply(text.upper()), HALF_CLOSE, OK]


def closing(sentence: str) -> ServerTrailer:
    return ServerTrailer(Status(Code.FAILED_PRECONDITION, sentence))


def refusing(sentence: str) -> ServerTrailer:
    """Return the `closing` of a call on which no ServerHeader was said: it says that it is gRPC (trailers-only)."""
    return replace(closing(sentence), metadata=GRPC_ANSWER)


# Which session a call is


@virtual
async def test_calls_take_the_sessions_in_their_order() -> None:
    house = House(echo("a", 1), echo("a", 2, 10), echo("a", 3, 20))

    for _ in range(2):
        await house.call().talks(*talk("a"))

    assert list(verdicts(await house.outcomes())) == [(1, ""), (2, "")]
    assert house.unplayed() == [3]


@virtual
async def test_a_call_is_the_session_that_its_messages_fit() -> None:
    house = House(echo("a", 1), echo("b", 2, 10), echo("c", 3, 20))

    for text in "cab":
        await house.call().talks(*talk(text))

    assert list(verdicts(await house.outcomes())) == [(3, ""), (1, ""), (2, "")]
    assert house.unplayed() == []


@virtual
async def test_metadata_tells_sessions_apart() -> None:
    rooms = [header(("x-room", room)) for room in "12"]
    house = House(echo("a", 1, 0, rooms[0]), echo("a", 2, 10, rooms[1]))

    await house.call().talks(*talk("a", header(("x-room", "2"), ("x-more", "1"))))

    assert list(verdicts(await house.outcomes())) == [(2, "")]
    assert house.unplayed() == [1]


@virtual
async def test_the_method_tells_sessions_apart() -> None:
    house = House(echo("a", 1), echo("a", 2, 10, header(method=OTHER)))

    await house.call().talks(*talk("a", header(method=OTHER)))

    assert list(verdicts(await house.outcomes())) == [(2, "")]


@virtual
async def test_parallel_calls_of_one_method() -> None:
    house = House(*(echo(text, number, number) for number, text in enumerate("abcd", 1)))
    calls = [house.call(HEADER) for _ in range(4)]
    for call in calls:
        await call.hears(ANSWER)

    for call, text in zip(calls, "dbca", strict=True):
        await call.talks(*talk(text)[2:])

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, ""), (3, ""), (4, "")]


@virtual
async def test_a_call_takes_a_session_from_one_that_fits_another() -> None:
    house = House(echo("a", 1), echo("b", 2, 1))
    first, second = house.call(HEADER), house.call(HEADER)
    await first.hears(ANSWER)
    await second.hears(ANSWER)

    await first.talks(ask("b"), reply("B"))
    await second.talks(ask("a"), reply("A"), HALF_CLOSE, OK)
    await first.talks(HALF_CLOSE, OK)

    assert list(verdicts(await house.outcomes())) == [(1, ""), (2, "")]


@virtual
async def test_sessions_are_passed_on_along_a_chain_of_calls() -> None:
    rooms = [("x-a", "1"), ("x-b", "1")]
    house = House(echo("a", 1, 0), echo("a", 2, 1, header(rooms[0])), echo("a", 3, 2, header(*rooms)), echo("b", 4, 3))
    both = header(*rooms)
    # They hold the sessions in their order, and each but the last may have the one behind its own as well.
    calls = [house.call(opens) for opens in (header(rooms[0]), both, HEADER)]
    for call in calls:
        await call.hears(ANSWER)
    assert house.unplayed() == [3]

    # Now the last one is found to be the first session: that one's call goes to the second, and its call to the third.
    await calls[2].talks(*talk("a")[2:])
    await calls[0].talks(*talk("a")[2:])
    await calls[1].talks(*talk("a")[2:])
    await house.call().talks(*talk("b"))

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, ""), (3, ""), (4, "")]


@virtual
async def test_a_session_is_not_taken_from_a_call_that_has_no_other() -> None:
    house = House(echo("a", 1), echo("b", 2, 1))
    first, second = house.call(HEADER), house.call(HEADER)
    await first.hears(ANSWER)
    await second.talks(ANSWER, ask("b"), reply("B"))
    sentence = "ClientMessage #1 differs from the recorded one: message: expected b'a', got b'b'."

    await first.talks(ask("b"), closing(sentence))
    await second.talks(HALF_CLOSE, OK)

    assert list(verdicts(await house.outcomes())) == [(1, sentence), (2, "")]


def twice(first: str, second: str, at_ms: float) -> Session:
    """The call that says one, hears it, says the other and hears that."""
    events: list[Event] = [*talk(first)[:4], *talk(second)[2:]]
    return recorded(*((at_ms + place, event) for place, event in enumerate(events)))


def late(*texts: str, number: int, at_ms: float) -> Session:
    """The call that says these and half-closes, and only then hears them in capitals."""
    asked, replied = [ask(text) for text in texts], [reply(text.upper()) for text in texts]
    events: list[Event] = [HEADER, *asked, HALF_CLOSE, ANSWER, *replied, OK]
    return recorded(*((at_ms + place, event) for place, event in enumerate(events)), number=number)


@virtual
async def test_a_session_whose_replies_happened_to_come_later_takes_over() -> None:
    house = House(echo("a", 1), late("a", "b", number=2, at_ms=10))
    call = house.call()

    await call.talks(*talk("a")[:4], ask("b"), HALF_CLOSE, reply("B"), OK)
    await house.call().talks(*talk("a"))

    assert sorted(verdicts(await house.outcomes())) == [(1, ""), (2, "")]


@virtual
async def test_a_session_whose_replies_came_as_soon_is_preferred() -> None:
    house = House(echo("a", 1), late("a", "b", number=2, at_ms=10), replace(twice("a", "b", 20), number=3))
    call = house.call()

    await call.talks(*talk("a")[:4], ask("b"), reply("B"), HALF_CLOSE, OK)
    await house.outcomes()

    assert house.unplayed() == [1, 2]


@virtual
async def test_a_session_that_would_have_said_otherwise_does_not_fit() -> None:
    other = ANSWER.__class__(Metadata((("x-other", "1"),)))
    house = House(
        echo("a", 1),
        recorded((1, HEADER), (2, other), (3, ask("b")), (4, reply("B")), (5, HALF_CLOSE), (6, OK), number=2),
    )
    call = house.call()

    await call.talks(HEADER, ANSWER, ask("b"))
    await call.hears(closing("ClientMessage #1 differs from the recorded one: message: expected b'a', got b'b'."))
    await house.outcomes()
    assert house.unplayed() == [2]


@virtual
async def test_a_header_that_fits_nothing_is_told_of_the_first_session_that_is_free() -> None:
    sentence = "The call's metadata differs from the recorded one: metadata.x-room: expected '7', got nothing."
    house = House(echo("a", 1, 0, header(("x-room", "7"))))

    await house.call().talks(HEADER, refusing(sentence))

    assert list(verdicts(await house.outcomes())) == [(1, sentence)]


@virtual
async def test_what_fits_nothing_is_told_of_the_session_that_fits_furthest() -> None:
    house = House(
        echo("a", 1, 0, header(("x-room", "1"))),
        echo("b", 2, 1),
        echo("c", 3, 2),
        echo("a", 4, 3, header(method=OTHER)),
    )
    call = house.call(HEADER, ask("x"))

    sentence = "ClientMessage #1 differs from the recorded one: message: expected b'b', got b'x'."
    await call.hears(refusing(sentence))
    assert list(verdicts(await house.outcomes())) == [(2, sentence)]


# Calls without a session


@virtual
async def test_a_call_more_than_was_recorded() -> None:
    house = House(echo("a"))
    sentence = "Every session of /chat.ChatService/Chat is taken by another call; this call is one more."
    await house.call().talks(*talk("a"))

    await house.call().talks(HEADER, refusing(sentence))

    played, refused = await house.outcomes()
    assert played.agreed
    assert (refused.number, refused.method) == (0, "/chat.ChatService/Chat")
    assert refused.mismatch is not None
    assert (refused.mismatch.sentence, refused.mismatch.actual) == (sentence, HEADER)
    assert refused.session is not None
    assert [entry.event for entry in refused.session.entries] == [HEADER, refusing(sentence)]


@virtual
async def test_a_method_that_was_not_recorded() -> None:
    house = House(echo("a"))
    sentence = "There is no session of '/chat.ChatService/\\x9bOther'."

    await house.call().talks(
        header(method="/chat.ChatService/\x9bOther"), ServerTrailer(Status(Code.UNIMPLEMENTED, sentence), GRPC_ANSWER)
    )

    assert list(verdicts(await house.outcomes())) == [(0, sentence)]
    assert house.unplayed() == [1]


@virtual
async def test_the_verdict_sticks() -> None:
    house = House(echo("a"))
    await house.call().talks(HEADER, ANSWER, CANCEL)
    await asyncio.sleep(0.1)

    retry = header(("grpc-previous-rpc-attempts", "1"))
    await house.call(retry).hears(
        refusing("Every session of /chat.ChatService/Chat is taken by another call; this call is one more.")
    )

    outcomes = await house.outcomes()
    assert [number for number, sentence in verdicts(outcomes) if sentence] == [1, 0]
    assert outcomes[1].notes == ("the client has tried this call before: grpc-previous-rpc-attempts is '1'",)


@virtual
async def test_a_call_that_goes_before_its_header_is_none() -> None:
    house = House(echo("a"))
    call = house.call()
    await asyncio.sleep(5)
    call.goes()

    assert call.task is not None
    await call.task
    assert (house.play.outcomes, house.unplayed()) == ([], [1])


@virtual
async def test_a_recorded_refusal_is_played_and_the_next_attempt_is_another_session() -> None:
    refused = Reset(ErrorCode.REFUSED_STREAM)
    house = House(recorded((0, HEADER), (1, refused), number=1), echo("a", 2, 10))

    await house.call().talks(HEADER, refused)
    await house.call().talks(*talk("a", header(("grpc-previous-rpc-attempts", "1"))))

    outcomes = await house.outcomes()
    assert list(verdicts(outcomes)) == [(1, ""), (2, "")]
    assert [outcome.notes for outcome in outcomes] == [
        (),
        ("the client has tried this call before: grpc-previous-rpc-attempts is '1'",),
    ]


# The loop


@virtual
async def test_a_lost_connection_is_done_to_the_stream() -> None:
    house = House(recorded((0, HEADER), (1, ANSWER), closed=lost_by(Side.SERVER, 2, Closing.RESET)))
    call = house.call(HEADER)

    await call.hears(ANSWER, Loss(Side.SERVER, True, 2 * MS))

    assert [outcome.agreed for outcome in await house.outcomes()] == [True]


@virtual
async def test_what_came_before_a_loss_is_read_first() -> None:
    house = House(echo("a"))
    call = house.call(HEADER)
    await call.hears(ANSWER)
    call.says(ask("a"), HALF_CLOSE)
    call.goes()

    assert list(verdicts(await house.outcomes())) == [(1, "")]


@virtual
async def test_a_stall_ends_the_call_in_time() -> None:
    house = House(echo("a"), timeout_s=3)
    call = house.call(HEADER)

    await call.hears(
        ANSWER,
        closing(
            "Nothing came from the client within 3 s, and its first message was expected: the client waits for "
            "ServerMessage #1; that needs ClientMessage #1 (seen, not learned); nothing is on its way."
        ),
    )
    assert house.clock.now_ns() == 3_001 * MS


@virtual
async def test_a_lane_is_prepared_once_and_slices_of_it_are_sent() -> None:
    prepared: list[Sequence[Event]] = []

    def prepare(lane: Sequence[Event]) -> list[Any]:
        prepared.append(lane)
        return [("ready", event) for event in lane]

    house = House(echo("a"), repeat=2, more={"prepare": prepare})
    for _ in range(2):
        call = house.call(HEADER)
        await call.hears(("ready", ANSWER))
        call.says(ask("a"), HALF_CLOSE)
        await call.hears(("ready", reply("A")), ("ready", OK))

    assert [outcome.agreed for outcome in await house.outcomes()] == [True, True]
    assert prepared == [[ANSWER, reply("A"), OK]]


@virtual
async def test_who_listens_is_told_when_a_call_has_ended() -> None:
    told: list[tuple[str, Outcome]] = []
    house = House(echo("a"), more={"ended": lambda name, outcome: told.append((name, outcome))})
    await house.call().talks(*talk("a"))
    await house.outcomes()

    assert told == house.play.outcomes
    assert [(name, outcome.number) for name, outcome in told] == [("one.duplex", 1)]


@virtual
async def test_a_call_is_given_up_before_its_outcome_is_told() -> None:
    closed: list[bool] = []
    house = House(echo("a"), more={"ended": lambda name, outcome: closed.append(house.calls[-1].is_closed)})
    await house.call().talks(*talk("a"))
    await house.call().talks(HEADER, refusing(verdict.one_more("/chat.ChatService/Chat")))
    await house.outcomes()

    assert closed == [True, True]


@virtual
async def test_a_hundred_parallel_calls_in_any_order() -> None:
    texts = [f"t{number}" for number in range(100)]
    house = House(*(echo(text, number, number / 100) for number, text in enumerate(texts, 1)))
    calls = [house.call(HEADER) for _ in texts]

    for call, text in zip(calls, reversed(texts), strict=True):
        call.says(*talk(text)[2::2])

    assert all(outcome.agreed for outcome in await house.outcomes())
    assert house.unplayed() == []


@st.composite
def conversations(draw: st.DrawFn) -> list[str]:
    """Draw what is said on some calls, a letter a message, so that many begin alike."""
    return draw(st.lists(st.text("ab", max_size=3), min_size=1, max_size=6))


@examples(150)
@given(conversations(), st.randoms(use_true_random=False))
def test_calls_find_their_sessions_however_they_cross(texts: list[str], chance: Random) -> None:
    """The server answers alike on all sessions, so that there is a session for each call at any time."""
    sessions = []
    for number, text in enumerate(texts, 1):
        rounds = [event for letter in text for event in (ask(letter), reply(letter.upper()))]
        timed = enumerate([HEADER, ANSWER, *rounds, HALF_CLOSE, OK])
        sessions.append(recorded(*((number / 10 + place, event) for place, event in timed), number=number))

    @virtual
    async def play() -> None:
        house = House(*sessions)
        waiting = [[step.event for step in session.entries] for session in sessions]
        chance.shuffle(waiting)
        calls = [(house.call(), iter(events)) for events in waiting]
        while calls:
            call, events = chance.choice(calls)
            event = next(events, None)
            if event is None:
                calls.remove((call, events))
            else:
                await call.talks(event)
        assert sorted(verdicts(await house.outcomes())) == [(number, "") for number in range(1, len(texts) + 1)]
        assert house.unplayed() == []

    play()


# The client's seat


@virtual
async def test_the_client_plays_all_sessions_each_behind_what_it_followed() -> None:
    house = House(echo("a", 1), echo("b", 2, 10), side=Side.CLIENT)
    playing = house.performs()

    await (await house.opened(0)).talks(*talk("a")[:-1], our=Side.SERVER)
    await asyncio.sleep(1)
    assert house.calls[1].heard == []
    house.calls[0].says(OK)
    await house.calls[1].talks(*talk("b"), our=Side.SERVER)

    await playing
    assert list(verdicts([outcome for _, outcome in house.play.outcomes])) == [(1, ""), (2, "")]
    assert [call.is_closed for call in house.calls] == [True, True]


@virtual
async def test_calls_that_overlapped_overlap() -> None:
    house = House(echo("a", 1), echo("b", 2, 0.5), side=Side.CLIENT)
    playing = house.performs()

    first, second = await house.opened(0), await house.opened(1)
    await second.talks(*talk("b"), our=Side.SERVER)
    await first.talks(*talk("a"), our=Side.SERVER)

    await playing
    assert list(verdicts([outcome for _, outcome in house.play.outcomes])) == [(2, ""), (1, "")]


@virtual
async def test_at_speed_1_calls_are_opened_when_they_were() -> None:
    house = House(echo("a", 1, 500), echo("b", 2, 501), side=Side.CLIENT, speed=1)
    playing = house.performs()
    begun: list[int] = []

    async def answer(call: Call, text: str) -> None:
        await call.hears(HEADER)
        begun.append(house.clock.now_ns())
        await call.talks(*talk(text)[1:], our=Side.SERVER)

    await asyncio.gather(answer(await house.opened(0), "a"), answer(await house.opened(1), "b"))
    await playing
    assert begun == [0, 1 * MS]


@virtual
async def test_a_fixture_begins_when_the_one_before_has_ended() -> None:
    house = House(
        source(echo("a", 1, 60_000), name="one.duplex", side=Side.CLIENT, speed=1),
        source(echo("b", 1, 5), name="two.duplex", side=Side.CLIENT, speed=1),
        side=Side.CLIENT,
        repeat=2,
    )
    playing = house.performs()

    for place, text in enumerate("abab"):
        call = await house.opened(place)
        assert len(house.calls) == place + 1
        await call.talks(*talk(text), our=Side.SERVER)

    await playing
    assert [name for name, _ in house.play.outcomes] == ["one.duplex", "two.duplex"] * 2
    assert house.clock.now_ns() < 1_000 * MS


@virtual
async def test_a_refused_call_is_opened_again() -> None:
    house = House(echo("a"), side=Side.CLIENT)
    playing = house.performs()

    await (await house.opened(0)).talks(HEADER, Reset(ErrorCode.REFUSED_STREAM), our=Side.SERVER)
    await (await house.opened(1)).talks(*talk("a"), our=Side.SERVER)

    await playing
    [(_, outcome)] = house.play.outcomes
    assert outcome.agreed
    assert outcome.notes == ("the server refused the call unprocessed; it was opened again",)
    assert [call.is_closed for call in house.calls] == [True, True]


@virtual
async def test_a_call_that_is_always_refused_is_a_mismatch() -> None:
    house = House(echo("a"), side=Side.CLIENT)
    playing = house.performs()

    for place in range(REFUSALS + 1):
        await (await house.opened(place)).talks(HEADER, Reset(ErrorCode.REFUSED_STREAM), our=Side.SERVER)

    await playing
    [(_, outcome)] = house.play.outcomes
    assert list(verdicts([outcome])) == [
        (1, "The server reset the call (REFUSED_STREAM) before its initial metadata."),
    ]
    assert len(house.calls) == REFUSALS + 1


@virtual
async def test_a_refusal_that_was_recorded_is_not_tried_again() -> None:
    house = House(recorded((0, HEADER), (1, Reset(ErrorCode.REFUSED_STREAM))), side=Side.CLIENT)
    playing = house.performs()

    await (await house.opened(0)).talks(HEADER, Reset(ErrorCode.REFUSED_STREAM), our=Side.SERVER)

    await playing
    assert list(verdicts([outcome for _, outcome in house.play.outcomes])) == [(1, "")]
    assert len(house.calls) == 1


@virtual
async def test_a_mismatch_of_one_call_does_not_end_the_others() -> None:
    house = House(echo("a", 1), echo("b", 2, 10), side=Side.CLIENT)
    playing = house.performs()

    await (await house.opened(0)).talks(HEADER, fails(Code.UNAVAILABLE, "down"), our=Side.SERVER)
    await (await house.opened(1)).talks(*talk("b"), our=Side.SERVER)

    await playing
    assert list(verdicts([outcome for _, outcome in house.play.outcomes])) == [
        (1, "The server ended the call with UNAVAILABLE 'down' before its initial metadata."),
        (2, ""),
    ]


@virtual
async def test_a_stream_that_cannot_be_had_is_raised() -> None:
    house = House(echo("a"), side=Side.CLIENT)

    async def nobody(part: Part) -> Call:
        raise ConnectionError("nobody there")

    with pytest.raises(ExceptionGroup) as caught:
        await house.play.perform(nobody)

    assert [str(exc) for exc in caught.value.exceptions] == ["nobody there"]
