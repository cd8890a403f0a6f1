"""Faults at work in virtual time: what the peer is told, when, what the play hears, and what becomes of the verdict."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from duplexmock.core.acts import Anyway, Cut, GoAway, Octets, Sever
from duplexmock.core.events import Event, Reset, ServerTrailer, Side
from duplexmock.core.metadata import GRPC_ANSWER
from duplexmock.core.outcome import Outcome
from duplexmock.core.session import Session
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.errors import ScriptError
from duplexmock.play.faulty import Faults, read
from tests.play.live import House, LoopClock, verdicts, virtual
from tests.playbook import ANSWER, CANCEL, HALF_CLOSE, HEADER, OK, ask, fails, header, recorded, reply

S = 1_000_000_000
TALK = (HEADER, ANSWER, ask("a"), reply("A"), ask("b"), reply("B"), ask("c"), reply("C"), HALF_CLOSE, OK)
BY_DEADLINE = header(("grpc-timeout", "2S"))


def session(*events: Event, number: int = 1) -> Session:
    return recorded(*((float(ms), event) for ms, event in enumerate(events or TALK)), number=number)


def house(*faults: str, sessions: Sequence[Session] = (), side: Side = Side.SERVER) -> House:
    return House(*(sessions or [session()]), side=side, more={"faults": Faults(faults, side, LoopClock(), 5 * S)})


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def told(mock: House) -> list[tuple[str, tuple[str, ...]]]:
    """The sentence and the notes of each outcome."""
    return [(sentence, outcome.notes) for outcome in await mock.outcomes() for _, sentence in verdicts([outcome])]


NOT_JUDGED = "the client was not judged behind it, and said"


@virtual
async def test_a_fault_of_time_leaves_the_client_judged() -> None:
    mock = house("delay(3s)@server:2", "delay(1s)@client:3")
    call = mock.call()
    await call.talks(*TALK[:5])
    assert now_s() == 0
    await call.hears(reply("B"))
    assert now_s() == 3
    call.says(ask("c"))
    await call.hears(reply("C"))
    assert now_s() == 4
    await call.talks(HALF_CLOSE, OK)

    assert await told(mock) == [("", ("fault delay(3s)@server:2", "fault delay(1s)@client:3"))]


@virtual
async def test_a_client_that_leaves_the_recording_behind_a_fault_of_time_is_told() -> None:
    mock = house("delay(30s)@server:1")
    call = mock.call()
    await call.talks(*TALK[:4], ask("x"), fails(Code.FAILED_PRECONDITION, DIFFERS))

    assert await told(mock) == [(DIFFERS, ("fault delay(30s)@server:1",))]


DIFFERS = "ClientMessage #2 differs from the recorded one: message: expected b'b', got b'x'."


@virtual
async def test_jitter_is_the_same_each_time() -> None:
    times: list[list[float]] = []
    for _ in range(2):
        mock = house("jitter(1s, 7)@server:*")
        call = mock.call()
        began = now_s()
        times.append([])
        for events in (TALK[:4], TALK[4:6], TALK[6:8]):
            await call.talks(*events)
            times[-1].append(round(now_s() - began, 6))
        await call.talks(*TALK[8:])
        assert await told(mock) == [("", ("fault jitter(1s, 7)@server:*, 3 times",))]

    assert times[0] == times[1]
    assert 0 < times[0][0] < times[0][1] < times[0][2] < 3


@virtual
async def test_a_slow_reader_takes_each_message_later() -> None:
    mock = house("slow(2s)@client:*")
    call = mock.call()
    await call.talks(*TALK)

    assert now_s() == 6
    assert await told(mock) == [("", ("fault slow(2s)@client:*, 3 times",))]


@virtual
async def test_a_late_header_comes_with_the_first_message() -> None:
    mock = house("late-header@server:header")
    call = mock.call(HEADER)
    await asyncio.sleep(1)
    assert call.heard == []
    await call.talks(ask("a"), ANSWER, reply("A"), *TALK[4:])

    assert await told(mock) == [("", ("fault late-header@server:header",))]


@virtual
async def test_a_later_header_comes_behind_a_message() -> None:
    mock = house("late-header(1)@server:header")
    call = mock.call(HEADER)
    await asyncio.sleep(1)
    call.says(ask("a"))
    await call.hears(Anyway(reply("A")), ANSWER)
    await call.talks(*TALK[4:])

    said = "ClientMessage #1, ClientMessage #2, ClientMessage #3, ClientHalfClose"
    assert await told(mock) == [("", (f"fault late-header(1)@server:header; {NOT_JUDGED} {said}",))]


@virtual
async def test_what_is_dropped_is_not_said_and_a_client_that_gives_up_is_not_blamed() -> None:
    mock = house("drop@server:2")
    call = mock.call()
    await call.talks(*TALK[:5])
    await asyncio.sleep(1)
    await call.talks(CANCEL)

    outcomes = await mock.outcomes()
    notes = (
        f"fault drop@server:2; {NOT_JUDGED} Cancel",
        "the call was ended there: The client cancelled the call (CANCEL) before its third message.",
    )
    assert [(each.mismatch, each.notes) for each in outcomes] == [(None, notes)]
    assert words(outcomes) == [[HEADER, ANSWER, ask("a"), reply("A"), ask("b"), CANCEL]]


def words(outcomes: Sequence[Outcome]) -> list[list[Event]]:
    """What took place on each call."""
    return [[entry.event for entry in outcome.session.entries] for outcome in outcomes if outcome.session is not None]


@virtual
async def test_a_client_that_does_nothing_about_a_fault_is_told() -> None:
    mock = house("drop@server:2")
    call = mock.call()
    await call.talks(*TALK[:5])
    sentence = (
        "Nothing came from the client within 10 s, and its third message was expected: the client waits for "
        "ServerMessage #3; that needs ClientMessage #3 (seen, not learned); nothing is on its way."
    )
    await call.hears(fails(Code.FAILED_PRECONDITION, sentence))

    assert await told(mock) == [(sentence, (f"fault drop@server:2; {NOT_JUDGED} nothing",))]


@virtual
async def test_a_client_that_does_not_end_a_call_without_an_end_is_told() -> None:
    mock = house("drop@server:trailer")
    call = mock.call()
    await call.talks(*TALK[:9])

    sentence = "The client did not end the call within 5 s behind the fault drop@server:trailer."
    assert await told(mock) == [(sentence, (f"fault drop@server:trailer; {NOT_JUDGED} nothing",))]
    assert now_s() == 5


@virtual
async def test_messages_are_said_twice_and_change_places() -> None:
    mock = house("duplicate@server:1", "reorder@server:2")
    call = mock.call()
    await call.talks(*TALK[:3], reply("A"), reply("A"), ask("b"), ask("c"), reply("C"), reply("B"), HALF_CLOSE, OK)

    said = "ClientMessage #2, ClientMessage #3, ClientHalfClose"
    assert await told(mock) == [
        ("", (f"fault duplicate@server:1; {NOT_JUDGED} {said}", "fault reorder@server:2")),
    ]


@virtual
async def test_a_message_without_a_next_one_keeps_its_place() -> None:
    mock = house("reorder@server:3")
    call = mock.call()
    await call.talks(*TALK[:7])
    call.says(HALF_CLOSE)
    await call.hears(reply("C"), OK)

    await mock.outcomes()


@virtual
async def test_bytes_that_lie_are_sent() -> None:
    mock = house("length@server:1", "cut(3)@server:2")
    call = mock.call()
    await call.talks(*TALK[:3])
    await call.hears(Octets(b"\0\0\0\0\x02A"))
    call.says(ask("b"))
    await call.hears(Cut(reply("B"), 3))

    notes = (f"fault length@server:1; {NOT_JUDGED} ClientMessage #2", "fault cut(3)@server:2")
    assert await told(mock) == [("", notes)]


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ("reset(CANCEL)@server:2", [Reset(ErrorCode.CANCEL)]),
        ("reset(42)@client:2", [Reset(42)]),
        ("status(UNAVAILABLE, gone)@server:2", [fails(Code.UNAVAILABLE, "gone")]),
        ("status(OK)@client:2", [fails(Code.OK)]),
        ("lose@server:2", [Sever()]),
        ("lose(reset)@client:2", [Sever(by_reset=True)]),
        ("abrupt-goaway@server:2", [GoAway(ErrorCode.INTERNAL_ERROR), Sever()]),
        ("reset@after:server:1", [Reset(ErrorCode.INTERNAL_ERROR)]),
    ],
)
def test_a_call_ends_by_a_fault(fault: str, last: list[Any]) -> None:
    @virtual
    async def play() -> None:
        mock = house(fault)
        call = mock.call()
        await call.talks(*TALK[:4])
        if "after" not in fault:
            call.says(ask("b"))
        await call.hears(*last)

        assert await told(mock) == [("", (f"fault {fault}; {NOT_JUDGED} nothing",))]
        assert call.heard[-len(last) :] == last

    play()


@virtual
async def test_a_call_ends_before_its_header() -> None:
    mock = house("trailers-only(NOT_FOUND, no)@server:header")
    call = mock.call(HEADER)
    await call.hears(ServerTrailer(Status(Code.NOT_FOUND, "no"), GRPC_ANSWER))

    assert await told(mock) == [("", (f"fault trailers-only(NOT_FOUND, no)@server:header; {NOT_JUDGED} nothing",))]


@virtual
async def test_a_call_is_heard_though_a_fault_ends_it_in_the_place_of_its_header() -> None:
    mock = house("reset@client:header")
    call = mock.call(HEADER)
    await call.hears(Reset(ErrorCode.INTERNAL_ERROR))

    assert await told(mock) == [("", (f"fault reset@client:header; {NOT_JUDGED} nothing",))]
    assert mock.unplayed() == []


@virtual
async def test_what_comes_behind_an_early_trailer_is_said_anyway() -> None:
    mock = house("early-trailer@server:2")
    call = mock.call()
    await call.talks(*TALK[:4])
    call.says(ask("b"))
    await call.hears(OK, Anyway(reply("B")))
    call.says(ask("c"), HALF_CLOSE)
    await call.hears(Anyway(reply("C")), Anyway(OK))

    said = "ClientMessage #3, ClientHalfClose"
    assert await told(mock) == [("", (f"fault early-trailer@server:2; {NOT_JUDGED} {said}",))]


@virtual
async def test_a_call_ends_without_trailers_or_without_a_status() -> None:
    mock = house("no-trailers@server:trailer#1", "no-status@server:trailer#2", sessions=[session(), session(number=2)])
    first = mock.call()
    await first.talks(*TALK[:9])
    await first.hears(ServerTrailer(None))
    second = mock.call()
    await second.talks(*TALK[:9])
    await second.hears(Anyway(ServerTrailer(None)))

    notes = [f"fault no-{what}@server:trailer#{call}; {NOT_JUDGED} nothing" for call, what in _WITHOUT.items()]
    assert await told(mock) == [("", (note,)) for note in notes]


_WITHOUT = {1: "trailers", 2: "status"}


@virtual
async def test_a_call_that_stalls_waits_for_the_client_to_give_up() -> None:
    mock = house("stall@server:2")
    call = mock.call()
    await call.talks(*TALK[:5])
    await asyncio.sleep(0.5)
    call.says(CANCEL)

    assert (await told(mock))[0][0] == ""
    assert call.heard == [ANSWER, reply("A")]


@virtual
async def test_an_endless_stream_ends_with_the_client() -> None:
    mock = house("endless(1s)@server:trailer")
    call = mock.call()
    await call.talks(*TALK[:9])
    await call.hears(reply("C"), reply("C"), reply("C"))
    assert now_s() == 2
    call.says(CANCEL)

    assert await told(mock) == [("", (f"fault endless(1s)@server:trailer; {NOT_JUDGED} Cancel",))]
    assert now_s() == 2


@virtual
async def test_an_endless_stream_ends_when_the_client_has_had_its_time() -> None:
    mock = house("endless(1s)@server:1")
    call = mock.call()
    await call.talks(*TALK[:3])

    sentence = "The client did not end the call within 5 s behind the fault endless(1s)@server:1."
    assert await told(mock) == [(sentence, (f"fault endless(1s)@server:1; {NOT_JUDGED} nothing",))]
    assert call.heard == [ANSWER, *[reply("A")] * 5]


@virtual
async def test_a_cancel_is_ignored_for_a_while() -> None:
    mock = house("ignore-cancel(2s)@client:cancel", "delay(1s)@server:2")
    call = mock.call()
    await call.talks(*TALK[:5])
    call.says(CANCEL)

    outcomes = await mock.outcomes()
    assert [(each.mismatch, each.notes[0]) for each in outcomes] == [
        (None, f"fault ignore-cancel(2s)@client:cancel; {NOT_JUDGED} nothing")
    ]


@virtual
async def test_a_deadline_is_ignored() -> None:
    talk = (BY_DEADLINE, ANSWER, ask("a"), reply("A"), ServerTrailer(Status(Code.DEADLINE_EXCEEDED)))
    mock = House(
        recorded(*zip((0, 1, 2, 3, 2000), talk, strict=True)),
        speed=1,
        more={"faults": Faults(["ignore-deadline@client:deadline"], Side.SERVER, LoopClock(), 5 * S)},
    )
    call = mock.call()
    await call.talks(*talk[:4])
    await asyncio.sleep(2.5)
    assert call.heard == [ANSWER, reply("A")]
    call.says(CANCEL)

    assert await told(mock) == [("", (f"fault ignore-deadline@client:deadline; {NOT_JUDGED} Cancel",))]


@virtual
async def test_a_goaway_lets_the_call_go_on_and_one_that_refuses_it_leaves_its_session() -> None:
    mock = house("goaway@server:1#1", "goaway(last=0)@server:1#2", sessions=[session(), session(number=2)])
    first = mock.call()
    await first.talks(*TALK[:3])
    await first.hears(GoAway(ErrorCode.NO_ERROR))
    await first.talks(*TALK[3:])
    second = mock.call()
    await second.talks(*TALK[:3])
    await second.hears(GoAway(ErrorCode.NO_ERROR, 0), reply("A"))
    second.goes()
    third = mock.call()
    await third.talks(*TALK)

    outcomes = await mock.outcomes()
    assert [(each.number, each.mismatch) for each in outcomes] == [(1, None), (2, None), (2, None)]
    assert outcomes[0].notes == ("fault goaway@server:1#1",)
    assert outcomes[1].notes[0] == "the call was refused unprocessed, and its session is left to the next one"
    assert outcomes[2].notes == ()


@virtual
async def test_the_calls_of_a_connection_that_a_fault_has_cut_are_not_blamed() -> None:
    mock = house("lose@server:2#1", sessions=[session(), session(number=2)])
    first, second = mock.call(), mock.call()
    await first.talks(*TALK[:4])
    await second.talks(*TALK[:4])
    first.says(ask("b"))
    await first.hears(Sever())
    first.goes("by a fault")
    second.goes("by a fault")

    assert await told(mock) == [
        ("", (f"fault lose@server:2#1; {NOT_JUDGED} nothing",)),
        ("", ("the connection was lost by the fault lose@server:2#1",)),
    ]


@virtual
async def test_a_client_that_left_the_recording_before_is_told_and_no_fault_is_done() -> None:
    mock = house("reset@server:trailer")
    call = mock.call()
    await call.talks(*TALK[:4], ask("x"), fails(Code.FAILED_PRECONDITION, DIFFERS))

    assert await told(mock) == [(DIFFERS, ())]


@virtual
async def test_the_client_is_played_with_faults() -> None:
    mock = house("duplicate@client:1", "drop@server:2", "reset(CONNECT_ERROR)@client:half-close", side=Side.CLIENT)
    playing = mock.performs()
    call = await mock.opened(0)
    await call.talks(HEADER, ANSWER, ask("a"), ask("a"), reply("A"), ask("b"), our=Side.SERVER)
    call.says(reply("B"), reply("C"))
    await asyncio.sleep(2)
    await playing

    assert call.is_closed
    [(_, outcome)] = mock.play.outcomes
    assert outcome.notes[0].startswith("fault duplicate@client:1; the server was not judged behind it, and said ")


def test_a_fault_that_was_not_done_is_told() -> None:
    faults = Faults(["reset@server:9", "drop@server:*#2", "stall@client:half-close#/a.B/C"], Side.SERVER, LoopClock())

    assert faults.unfired() == [
        "fault reset@server:9 never fired: no call came to ServerMessage #9",
        "fault drop@server:*#2 never fired: no call #2 came to a ServerMessage",
        "fault stall@client:half-close#/a.B/C never fired: no call of /a.B/C came to ClientHalfClose",
    ]


@virtual
async def test_a_fault_that_was_done_once_is_not_told() -> None:
    mock = house("delay(1s)@server:3")
    faults: Any = mock.play._faults
    assert len(faults.unfired()) == 1
    call = mock.call()
    await call.talks(*TALK)
    await mock.outcomes()

    assert faults.unfired() == []


def test_a_text_is_not_a_list_of_faults() -> None:
    with pytest.raises(ScriptError) as refused:
        read("drop@server:1", Side.SERVER)

    assert str(refused.value) == "faults='drop@server:1': a list of them, also where there is one"
