"""The Player, by playbooks: what it says, when, and what it makes of its peer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.call import NEXT, LaneState
from duplexmock.core.connection import Closing
from duplexmock.core.events import (
    CLIENT_EVENTS,
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    side_of,
)
from duplexmock.core.lanes import Lanes, Loss, Parting, Step
from duplexmock.core.matching import Difference
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.moves import Do, Done, Send, Wait
from duplexmock.core.outcome import Unreached
from duplexmock.core.player import Player
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Code, Status
from duplexmock.core.terms import Across
from tests.playbook import (
    ANSWER,
    CANCEL,
    CONNECTION,
    HALF_CLOSE,
    HEADER,
    MS,
    OK,
    After,
    Broken,
    Lost,
    Playbook,
    Reached,
    ask,
    by_bytes,
    fails,
    goaway,
    header,
    lanes,
    lost_by,
    recorded,
    reply,
    row_of,
    terms,
)
from tests.wire.talk import examples

ECHO = lanes(HEADER, ANSWER, ask("a"), reply("a"), ask("b"), reply("b"), HALF_CLOSE, OK)


def closing(sentence: str) -> ServerTrailer:
    return ServerTrailer(Status(Code.FAILED_PRECONDITION, sentence))


def refusing(sentence: str) -> ServerTrailer:
    """Return the `closing` of a call on which no ServerHeader was said: it says that it is gRPC (trailers-only)."""
    return replace(closing(sentence), metadata=GRPC_ANSWER)


# The order of our lane


def test_the_server_answers_as_it_was_seen_to() -> None:
    outcome = (
        Playbook(ECHO, Side.SERVER)
        >> HEADER
        << ANSWER
        >> ask("a")
        << reply("a")
        >> ask("b")
        << reply("b")
        >> HALF_CLOSE
        << OK
    ).done()

    assert outcome.session == Session(
        1,
        CONNECTION,
        1,
        tuple(
            Entry(0, event) for event in (HEADER, ANSWER, ask("a"), reply("a"), ask("b"), reply("b"), HALF_CLOSE, OK)
        ),
        Ended.TRAILER,
    )
    assert (outcome.number, outcome.side, outcome.unreached, outcome.notes) == (1, Side.SERVER, (), ())


def test_the_client_asks_as_it_was_seen_to() -> None:
    (
        Playbook(ECHO, Side.CLIENT)
        >> HEADER
        << ANSWER
        >> ask("a")
        << reply("a")
        >> ask("b")
        << reply("b")
        >> HALF_CLOSE
        << OK
    ).done()


def test_a_server_does_not_answer_what_it_was_not_asked() -> None:
    player = (Playbook(ECHO, Side.SERVER) >> HEADER << ANSWER >> After(9_000)).waits()

    assert (player.sent, player.came) == (1, 1)


def test_a_client_that_hurries_is_answered_at_once() -> None:
    (
        Playbook(ECHO, Side.SERVER) >> (HEADER, ask("a"), ask("b"), HALF_CLOSE) << (ANSWER, reply("a"), reply("b"), OK)
    ).done()


def test_what_is_said_at_once_is_one_send() -> None:
    pushes = lanes(HEADER, ANSWER, reply("a"), reply("b"), OK)
    player = Player(pushes, Side.SERVER, terms(pushes, Side.SERVER), by_bytes)

    player.received([row_of(HEADER)], 0)

    assert player.next(0) == Send(pushes.server, 0)
    assert player.next(0) == Done()


def test_an_order_word_takes_the_place_of_what_was_seen() -> None:
    (
        Playbook(ECHO, Side.SERVER, word="><>>><<<")
        >> HEADER
        << ANSWER
        >> ask("a")
        >> ask("b")
        >> HALF_CLOSE
        << (reply("a"), reply("b"), OK)
    ).done()


def test_a_word_that_waits_for_less_says_things_earlier() -> None:
    (
        Playbook(ECHO, Side.CLIENT, word=">>>><<<<")
        >> (HEADER, ask("a"), ask("b"), HALF_CLOSE)
        << (ANSWER, reply("a"))
        << (reply("b"), OK)
    ).done()


# What is demanded of the peer


def test_lanes_do_not_mind_the_order_across_them() -> None:
    pushed = lanes(HEADER, ANSWER, reply("a"), ask("a"), HALF_CLOSE, OK)

    (Playbook(pushed, Side.CLIENT) >> HEADER << ANSWER << reply("a") >> (ask("a"), HALF_CLOSE) << OK).done()
    (Playbook(pushed, Side.SERVER) >> (HEADER, ask("a"), HALF_CLOSE) << (ANSWER, reply("a"), OK)).done()


def test_strict_minds_what_comes_before_what_it_followed() -> None:
    outcome = (
        Playbook(ECHO, Side.SERVER, expect="strict")
        >> HEADER
        << ANSWER
        >> (ask("a"), ask("b"))
        << closing("ClientMessage #2 came before ServerMessage #1, and has to come after it (seen, not learned).")
    ).failed()

    assert outcome.mismatch is not None
    assert (outcome.mismatch.position, outcome.mismatch.messages, outcome.mismatch.entries) == (2, 1, 3)
    assert outcome.unreached == (
        Unreached(Side.SERVER, "ServerMessage #1", ""),
        Unreached(Side.SERVER, "ServerMessage #2", "ClientMessage #2 (seen, not learned)"),
        Unreached(Side.SERVER, "ServerTrailer", "ClientHalfClose (seen, not learned)"),
    )


def test_strict_is_content_with_the_recorded_word() -> None:
    (
        Playbook(ECHO, Side.SERVER, expect="strict")
        >> HEADER
        << ANSWER
        >> ask("a")
        << reply("a")
        >> ask("b")
        << reply("b")
        >> HALF_CLOSE
        << OK
    ).done()


# The pace


def test_at_speed_1_the_gaps_are_the_recorded_ones() -> None:
    timed = Lanes.of(
        recorded(
            (0, HEADER), (2, ANSWER), (10, ask("a")), (13, reply("a")), (20, reply("b")), (21, HALF_CLOSE), (25, OK)
        )
    )
    (
        Playbook(timed, Side.SERVER, speed=1)
        >> After(100)
        >> HEADER
        >> After(2)
        << ANSWER
        >> After(1)
        >> ask("a")
        >> After(3)
        << reply("a")
        >> After(7)
        << reply("b")
        >> After(500)
        >> HALF_CLOSE
        >> After(4)
        << OK
    ).done()
    (
        Playbook(timed, Side.CLIENT, speed=2)
        >> HEADER
        << ANSWER
        >> After(4)
        >> ask("a")
        << (reply("a"), reply("b"))
        >> After(0.5)
        >> HALF_CLOSE
        << OK
    ).done()


def test_a_peer_that_is_late_makes_nothing_come_sooner() -> None:
    timed = Lanes.of(recorded((0, HEADER), (0, ANSWER), (1, ask("a")), (50, reply("a")), (60, ask("b")), (61, OK)))
    (
        Playbook(timed, Side.SERVER, speed=1)
        >> HEADER
        << ANSWER
        >> After(300)
        >> ask("a")
        >> After(49)
        << reply("a")
        >> After(20)
        >> ask("b")
        >> After(1)
        << OK
    ).done()


def test_a_loop_that_is_late_does_not_delay_what_comes_behind() -> None:
    ticks = Lanes.of(recorded((0, HEADER), (0, ANSWER), (10, reply("a")), (20, reply("b")), (30, OK)))
    player = Player(ticks, Side.SERVER, terms(ticks, Side.SERVER, speed=1), by_bytes)

    player.received([row_of(HEADER)], 0)

    assert player.next(0) == Send(ticks.server[:1], 0)
    assert player.next(0) == Wait(10 * MS)
    assert player.next(14 * MS) == Send(ticks.server[1:2], 1)
    assert player.next(14 * MS) == Wait(20 * MS)
    assert player.next(35 * MS) == Send(ticks.server[2:], 2)


def test_the_first_event_of_a_client_is_due_when_the_call_may_begin() -> None:
    playbook = Playbook(ECHO, Side.CLIENT, speed=1, start_ns=30 * MS)

    (playbook >> After(30) >> HEADER).waits()


# Who waits for whom


def test_a_peer_that_says_nothing_is_a_stall() -> None:
    outcome = (
        Playbook(ECHO, Side.SERVER)
        >> HEADER
        << ANSWER
        >> ask("a")
        << reply("a")
        >> After(10_000)
        >> After(1)
        << closing(
            "Nothing came from the client within 10 s, and its second message was expected: the client waits for "
            "ServerMessage #2; that needs ClientMessage #2 (seen, not learned); nothing is on its way."
        )
    ).failed()

    assert outcome.mismatch is not None
    assert (outcome.mismatch.at_ns, outcome.mismatch.entries) == (10_001 * MS, 4)


def test_the_peer_has_the_recorded_time_on_top() -> None:
    slow = Lanes.of(recorded((0, HEADER), (1, ANSWER), (60_001, ask("a")), (60_002, OK)))

    (Playbook(slow, Side.SERVER) >> HEADER << ANSWER >> After(69_999) >> ask("a") << OK).done()
    (
        Playbook(slow, Side.SERVER)
        >> HEADER
        << ANSWER
        >> After(70_000)
        << closing(
            "Nothing came from the client within 70 s, and its first message was expected: the client waits for "
            "ServerTrailer; that needs ClientMessage #1 (seen, not learned); nothing is on its way."
        )
    ).failed()


@pytest.mark.parametrize(("gap_ms", "within"), [(999, "10 s"), (1_000, "11 s"), (2_500, "12.5 s")])
def test_a_stall_says_the_time_that_was_waited_without_a_little_on_top(gap_ms: int, within: str) -> None:
    slow = Lanes.of(recorded((0, HEADER), (1, ANSWER), (1 + gap_ms, ask("a")), (9_000, OK)))
    (
        Playbook(slow, Side.SERVER)
        >> HEADER
        << ANSWER
        >> After(10_000 + gap_ms)
        << closing(
            f"Nothing came from the client within {within}, and its first message was expected: the client waits for "
            "ServerTrailer; that needs ClientMessage #1 (seen, not learned); nothing is on its way."
        )
    ).failed()


def test_a_strict_timeout_has_nothing_on_top() -> None:
    slow = Lanes.of(recorded((0, HEADER), (1, ANSWER), (60_001, ask("a")), (60_002, OK)))
    (
        Playbook(slow, Side.SERVER, timeout_s=3, is_timeout_strict=True)
        >> HEADER
        << ANSWER
        >> After(3_000)
        << closing(
            "Nothing came from the client within 3 s, and its first message was expected: the client waits for "
            "ServerTrailer; that needs ClientMessage #1 (seen, not learned); nothing is on its way."
        )
    ).failed()


def test_a_server_that_says_nothing_is_a_stall_of_its_own() -> None:
    sentence = "Nothing came from the server within 500 ms, and its status OK was expected."
    outcome = (
        Playbook(lanes(HEADER, HALF_CLOSE, OK), Side.CLIENT, timeout_s=0.5)
        >> (HEADER, HALF_CLOSE)
        >> After(501)
        >> CANCEL
    ).failed()

    assert outcome.mismatch is not None
    assert outcome.mismatch.sentence == sentence


# Other calls


EDGE = Across(2, 2, Side.CLIENT, 1, 5 * MS, "ClientHeader")
NOTICE = lanes(HEADER, ANSWER, reply("notice"), HALF_CLOSE, OK)


def test_an_event_waits_for_another_call() -> None:
    notified = lanes(HEADER, ANSWER, reply("a"), reply("b"), HALF_CLOSE, OK)
    (
        Playbook(notified, Side.SERVER, edges=[EDGE])
        >> HEADER
        << (ANSWER, reply("a"))
        >> After(3)
        >> Reached(EDGE)
        << reply("b")
        >> HALF_CLOSE
        << OK
    ).done()


def test_an_edge_that_is_reached_holds_nothing() -> None:
    edge = replace(EDGE, position=1)
    (Playbook(NOTICE, Side.SERVER, edges=[edge]) >> Reached(edge) >> HEADER << (ANSWER, reply("notice"))).waits()


def test_only_an_event_that_nothing_else_holds_is_blocked_on_another_call() -> None:
    edge = replace(EDGE, position=1)
    playbook = Playbook(NOTICE, Side.SERVER, edges=[edge])

    assert (playbook >> After(1)).waits().blocked_on is None
    assert (Playbook(NOTICE, Side.SERVER, edges=[edge]) >> HEADER << ANSWER).waits().blocked_on == edge
    assert (
        Playbook(NOTICE, Side.SERVER, edges=[edge]) >> HEADER << ANSWER >> Reached(edge) << reply("notice")
    ).waits().blocked_on is None


def test_an_event_is_due_its_gap_behind_what_happened_on_the_other_call() -> None:
    timed = Lanes.of(recorded((0, HEADER), (1, ANSWER), (9, reply("notice")), (10, HALF_CLOSE), (11, OK)))
    edge = replace(EDGE, position=1)

    (
        Playbook(timed, Side.SERVER, edges=[edge], speed=1)
        >> HEADER
        >> After(1)
        << ANSWER
        >> After(99)
        >> Reached(edge)
        >> After(4)
        << reply("notice")
    ).waits()


def test_an_event_that_is_not_due_does_not_ask_for_the_other_call() -> None:
    timed = Lanes.of(recorded((0, HEADER), (1, ANSWER), (60_000, reply("notice")), (60_001, OK)))
    asked: list[Across] = []
    edge = replace(EDGE, position=1)
    player = Player(
        timed, Side.SERVER, terms(timed, Side.SERVER, speed=1), by_bytes, edges=[edge], reached=asked.append
    )
    player.received([row_of(HEADER)], 0)

    assert player.next(0) == Wait(1 * MS)
    assert isinstance(player.next(1 * MS), Send)
    assert player.next(1 * MS) == Wait(60_000 * MS)
    assert asked == []
    assert isinstance(player.next(60_000 * MS), Wait)
    assert (asked, player.blocked_on) == ([edge], edge)


def test_a_stall_names_the_other_call() -> None:
    quiet = lanes(HEADER, ANSWER, reply("notice"), OK)
    edge = replace(EDGE, position=1, name="ClientMessage #2")
    (
        Playbook(quiet, Side.SERVER, edges=[edge])
        >> HEADER
        << ANSWER
        >> After(10_001)
        << closing(
            "Nothing happened for 10 s: the client waits for ServerMessage #1; that needs ClientMessage #2 of session "
            "2 (inferred); nothing is on its way."
        )
    ).failed()


# How a call ends


def test_metadata_status_and_details_are_said_as_recorded() -> None:
    rich = ServerTrailer(Status(Code.NOT_FOUND, "no such room", b"\x08\x05"), Metadata((("x-why", "quota"),)), None, 0)
    recording = lanes(HEADER, ServerHeader(Metadata((("x-room", "7"),))), rich)

    (Playbook(recording, Side.SERVER) >> HEADER << (recording.server[0].event, rich)).done()


@pytest.mark.parametrize(
    "ending",
    [
        ServerTrailer(Status(Code.UNIMPLEMENTED, "no"), Metadata(), 200),
        ServerTrailer(None, Metadata(), 503),
        Reset(7),
        Reset(2),
    ],
)
def test_a_call_may_end_at_once(ending: Event) -> None:
    (Playbook(lanes(HEADER, ending), Side.SERVER) >> HEADER << ending).done()
    (Playbook(lanes(HEADER, ending), Side.CLIENT) >> HEADER << ending).done()


def test_a_recorded_cancel_is_said_by_the_order() -> None:
    cancelled = lanes(HEADER, ANSWER, reply("a"), CANCEL)

    (Playbook(cancelled, Side.CLIENT) >> HEADER << ANSWER << reply("a") >> CANCEL).done()
    (Playbook(cancelled, Side.SERVER) >> HEADER << (ANSWER, reply("a")) >> CANCEL).done()


def test_a_client_that_goes_away_has_cancelled() -> None:
    outcome = (Playbook(lanes(HEADER, ANSWER, CANCEL), Side.SERVER) >> HEADER << ANSWER >> Lost("reset")).done()

    assert outcome.session is not None
    assert (outcome.session.ended, outcome.session.reason) == (Ended.CONNECTION_LOST, "reset")


DEADLINE = header(("grpc-timeout", "250m"))
TIMED_OUT = fails(Code.DEADLINE_EXCEEDED)


def test_a_deadline_is_said_by_the_order_and_accepted_when_it_is_up() -> None:
    late = Lanes.of(recorded((0, DEADLINE), (1, ANSWER), (251, CANCEL)))

    (Playbook(late, Side.CLIENT) >> DEADLINE << ANSWER >> CANCEL).done()
    outcome = (Playbook(late, Side.SERVER) >> DEADLINE << ANSWER >> After(250) >> CANCEL).done()

    assert outcome.notes == ("the call ends by the client's deadline of 250 ms, which a server cannot hurry",)
    assert (Playbook(late, Side.SERVER) >> DEADLINE << ANSWER >> CANCEL).done().notes == ()
    at_its_time = Playbook(late, Side.SERVER, speed=1) >> DEADLINE >> After(1) << ANSWER >> After(249) >> CANCEL
    assert at_its_time.done().notes == ()


def test_whichever_clock_is_first_ends_a_call_by_its_deadline() -> None:
    by_client = Lanes.of(recorded((0, DEADLINE), (1, ANSWER), (251, CANCEL)))
    by_server = Lanes.of(recorded((0, DEADLINE), (1, ANSWER), (251, TIMED_OUT)))

    (Playbook(by_client, Side.CLIENT, speed=1) >> DEADLINE << ANSWER >> After(249) << TIMED_OUT).done()
    (Playbook(by_server, Side.CLIENT) >> DEADLINE << ANSWER >> After(250) << TIMED_OUT).done()
    (Playbook(by_server, Side.SERVER, speed=1) >> DEADLINE >> After(1) << ANSWER >> After(248) >> CANCEL).done()


def test_a_call_that_ended_by_its_deadline_needs_one() -> None:
    late = Lanes.of(recorded((0, DEADLINE), (251, CANCEL)))
    (
        Playbook(late, Side.SERVER)
        >> HEADER
        << refusing("The call has no deadline; in the recording it ends by its deadline of 250 ms.")
    ).failed()


def test_a_deadline_that_is_longer_or_gone_is_no_mismatch_where_it_ended_nothing() -> None:
    (Playbook(lanes(DEADLINE, HALF_CLOSE, OK), Side.SERVER) >> (HEADER, HALF_CLOSE) << OK).done()
    (Playbook(lanes(HEADER, HALF_CLOSE, OK), Side.SERVER) >> (DEADLINE, HALF_CLOSE) << OK).done()


def test_what_crosses_our_last_word_is_not_judged() -> None:
    early = lanes(HEADER, ANSWER, ask("a"), OK, HALF_CLOSE)
    outcome = (Playbook(early, Side.SERVER) >> HEADER << ANSWER >> ask("a") << OK >> (ask("b"), CANCEL)).done()

    assert outcome.session is not None
    assert [entry.event for entry in outcome.session.entries][-2:] == [ask("b"), CANCEL]


def test_what_was_seen_behind_the_servers_end_is_said_and_not_missed() -> None:
    early = Lanes.of(recorded((0, HEADER), (1, OK), (2, HALF_CLOSE)))

    assert (Playbook(early, Side.CLIENT) >> HEADER << OK >> HALF_CLOSE).done().notes == ()
    assert (Playbook(early, Side.CLIENT, speed=1) >> HEADER << OK).done().notes == ()


def test_what_the_peers_end_left_unsaid_is_noted() -> None:
    cancelled = Lanes.of(recorded((0, HEADER), (1, ANSWER), (10, reply("a")), (20, reply("b")), (30, CANCEL)))
    early = Playbook(cancelled, Side.SERVER, speed=1) >> HEADER >> After(1) << ANSWER >> CANCEL

    assert early.done().notes == ("2 of our events were not sent: the client had ended the call",)
    one = Playbook(cancelled, Side.SERVER, speed=1) >> HEADER >> After(1) << ANSWER >> After(9) << reply("a") >> CANCEL
    assert one.done().notes == ("1 of our events was not sent: the client had ended the call",)


# How a connection ends


def test_a_lost_connection_is_lost_as_it_was() -> None:
    lost = Lanes.of(recorded((0, HEADER), (1, ANSWER), (2, ask("a")), closed=lost_by(Side.SERVER, 9, Closing.RESET)))
    loss = Loss(Side.SERVER, True, 9 * MS)

    outcome = (Playbook(lost, Side.SERVER) >> HEADER << ANSWER >> ask("a") << loss).done()
    assert outcome.session is not None
    assert (outcome.session.ended, outcome.session.reason) == (Ended.CONNECTION_LOST, "as recorded")
    (Playbook(lost, Side.CLIENT) >> HEADER << ANSWER >> ask("a") << Lost("reset")).done()
    (
        Playbook(lost, Side.SERVER, speed=1) >> HEADER >> After(1) << ANSWER >> After(1) >> ask("a") >> After(7) << loss
    ).done()


def test_a_client_that_loses_its_connection_does_so_again() -> None:
    lost = Lanes.of(recorded((0, HEADER), (1, ANSWER), closed=lost_by(Side.CLIENT, 2)))

    (Playbook(lost, Side.CLIENT) >> HEADER << ANSWER >> Loss(Side.CLIENT, False, 2 * MS)).done()
    (Playbook(lost, Side.SERVER) >> HEADER << ANSWER >> Lost()).done()
    (Playbook(lost, Side.SERVER) >> HEADER << ANSWER >> CANCEL).done()
    outcome = (
        Playbook(lost, Side.SERVER)
        >> HEADER
        << ANSWER
        >> After(10_000)
        << closing("Nothing came from the client within 10 s, and the loss of its connection was expected.")
    ).failed()
    assert outcome.unreached == ()


def test_a_loss_that_was_not_recorded_is_a_mismatch() -> None:
    outcome = (Playbook(ECHO, Side.SERVER) >> HEADER << ANSWER >> Lost("reset")).failed()

    assert outcome.mismatch is not None
    assert outcome.mismatch.sentence == "The client's connection was lost (reset) before its first message."
    silent = lanes(HEADER, HALF_CLOSE, ANSWER, reply("a"), OK)
    waiting = Playbook(silent, Side.SERVER, edges=[replace(EDGE, position=1)])
    outcome = (waiting >> (HEADER, HALF_CLOSE) << ANSWER >> Lost()).failed()
    assert outcome.mismatch is not None
    assert outcome.mismatch.sentence == "The client's connection was lost (closed) before the end of the call."


def test_a_connection_that_goes_behind_the_end_is_nothing() -> None:
    (Playbook(lanes(HEADER, OK), Side.SERVER) >> HEADER << OK >> Lost()).done()
    (Playbook(lanes(HEADER, OK), Side.CLIENT) >> HEADER << OK << Lost()).done()


def test_goaway_is_said_where_it_was() -> None:
    leaving = Lanes.of(
        recorded(
            (0, HEADER), (1, ANSWER), (2, ask("a")), (4, reply("a")), (5, HALF_CLOSE), (6, OK),
            goaways=[goaway(3, 11, b"too_many_pings")],
        )
    )  # fmt: skip
    parting = Parting(2, 1, 11, b"too_many_pings", 3 * MS)

    (Playbook(leaving, Side.SERVER) >> HEADER << ANSWER >> ask("a") << (parting, reply("a")) >> HALF_CLOSE << OK).done()
    (
        Playbook(leaving, Side.SERVER, speed=1)
        >> HEADER
        >> After(1)
        << ANSWER
        >> ask("a")
        >> After(1)
        << parting
        >> After(1)
        << reply("a")
    ).waits()
    (Playbook(leaving, Side.CLIENT) >> HEADER << ANSWER >> ask("a") << reply("a") >> HALF_CLOSE << OK).done()


def test_a_loss_waits_for_the_other_calls_of_its_connection() -> None:
    loss = Loss(Side.SERVER, False, 2 * MS)
    there: list[Loss | Parting] = []
    lost = Lanes.of(recorded((0, HEADER), (1, ANSWER), closed=lost_by(Side.SERVER, 2)))
    book = Playbook(lost, Side.SERVER, joined=there.__contains__)

    player = (book >> HEADER << ANSWER >> After(20_000)).waits()
    assert (player.is_joining, player.stands_at(loss, 0)) == (True, True)
    there.append(loss)
    assert player.next(21_000 * MS) == Do(loss)
    assert not player.is_joining


def test_goaway_waits_for_the_other_calls_of_its_connection_and_what_is_behind_it_does_too() -> None:
    leaving = Lanes.of(recorded((0, HEADER), (1, ANSWER), (3, OK), goaways=[goaway(2)]))
    others = [False, False, True]
    book = Playbook(leaving, Side.SERVER, joined=lambda what: others.pop(0))
    parting = Parting(1, 1, 0, b"", 2 * MS)

    assert not book.player.stands_at(parting, 0)
    player = (book >> HEADER << ANSWER).waits()
    assert (player.is_joining, player.stands_at(parting, 0)) == (True, True)
    assert [player.next(0) for _ in range(3)] == [Wait(10_000 * MS), Do(parting), Send(leaving.server[1:], 1)]


def test_a_call_stands_at_a_loss_when_it_would_be_due() -> None:
    loss = Loss(Side.SERVER, False, 9 * MS)
    lost = Lanes.of(recorded((0, HEADER), (1, ANSWER), closed=lost_by(Side.SERVER, 9)))
    player = (Playbook(lost, Side.SERVER, speed=1) >> HEADER >> After(1) << ANSWER).waits()

    assert [player.stands_at(loss, ms * MS) for ms in (1, 8, 9)] == [False, False, True]


def test_what_comes_while_a_loss_waits_for_other_calls_is_judged() -> None:
    lost = Lanes.of(recorded((0, HEADER), (1, ANSWER), closed=lost_by(Side.SERVER, 2)))
    (
        Playbook(lost, Side.SERVER, joined=lambda what: False)
        >> HEADER
        << ANSWER
        >> ask("a")
        << closing("The client sent its first message; in the recording nothing more comes from the client.")
    ).failed()


def test_goaway_before_the_connection_is_lost() -> None:
    leaving = Lanes.of(recorded((0, HEADER), (1, ANSWER), goaways=[goaway(3)], closed=lost_by(Side.SERVER, 4)))

    (
        Playbook(leaving, Side.SERVER)
        >> HEADER
        << (ANSWER, Parting(1, 1, 0, b"", 3 * MS), Loss(Side.SERVER, False, 4 * MS))
    ).done()


def test_a_stall_names_what_a_goaway_waits_for() -> None:
    leaving = Lanes.of(recorded((0, HEADER), (1, ask("a")), (3, ANSWER), (4, OK), goaways=[goaway(2)]))
    (
        Playbook(leaving, Side.SERVER, word="><<>")
        >> HEADER
        >> After(10_001)
        << refusing(
            "Nothing came from the client within 10 s, and its first message was expected: the client waits for "
            "ServerHeader; that needs a GOAWAY behind ClientMessage #1 (seen, not learned); nothing is on its way."
        )
    ).failed()


def test_a_recording_that_was_cut_is_played_to_its_last_entry() -> None:
    cut = lanes(HEADER, ANSWER, ask("a"), ended=Ended.DAMAGED, reason="frames out of step")
    note = "replayed up to the last entry of the recording, which is damaged: frames out of step"

    served = (
        Playbook(cut, Side.SERVER)
        >> HEADER
        << ANSWER
        >> ask("a")
        << closing("the recording stops here: damaged: frames out of step")
    ).done()
    asked = (Playbook(cut, Side.CLIENT) >> HEADER << ANSWER >> (ask("a"), CANCEL)).done()
    assert (served.notes, asked.notes) == ((note,), (note,))


# Mismatches


def test_the_call_is_ended_once_and_what_still_comes_is_kept() -> None:
    outcome = (
        Playbook(ECHO, Side.SERVER)
        >> HEADER
        << ANSWER
        >> (ask("x"), ask("b"))
        << closing("ClientMessage #1 differs from the recorded one: message: expected b'a', got b'x'.")
        >> HALF_CLOSE
    ).failed()

    assert outcome.mismatch is not None
    assert outcome.mismatch.differences == (Difference("message", b"a", b"x"),)
    assert (outcome.mismatch.expected, outcome.mismatch.actual) == (ask("a"), ask("x"))
    assert outcome.session is not None
    assert [entry.event for entry in outcome.session.entries][2:4] == [ask("x"), ask("b")]
    assert outcome.session.entries[-1].event == HALF_CLOSE


def test_a_call_that_the_peer_has_ended_is_not_ended_again() -> None:
    (Playbook(ECHO, Side.SERVER) >> HEADER << ANSWER >> CANCEL).failed()
    (Playbook(ECHO, Side.CLIENT) >> HEADER << fails(Code.UNAVAILABLE)).failed()


def test_a_broken_protocol_is_the_peers_mismatch() -> None:
    outcome = (
        Playbook(ECHO, Side.SERVER)
        >> HEADER
        << ANSWER
        >> Broken("a message of 3 bytes in a frame of 2")
        << closing("The client broke the protocol: a message of 3 bytes in a frame of 2.")
    ).failed()

    assert outcome.session is not None
    assert (outcome.session.ended, outcome.session.reason) == (Ended.DAMAGED, "a message of 3 bytes in a frame of 2")


# What is compared and bound


def test_equal_bytes_are_not_compared_unless_it_is_asked_for() -> None:
    compared: list[Event] = []

    def match(expected: Event, actual: Event) -> Sequence[Difference]:
        compared.append(actual)
        return ()

    (Playbook(ECHO, Side.SERVER, match=match) >> (HEADER, ask("a"), ask("b"), HALF_CLOSE)).player.received(
        [row_of(event) for event in (HEADER, ask("a"), ask("other"), HALF_CLOSE)], 0
    )
    assert compared == [HEADER, ask("other"), HALF_CLOSE]

    compared.clear()
    playbook = Playbook(ECHO, Side.SERVER, match=match, sees_all=True)
    playbook.player.received([row_of(event) for event in (HEADER, ask("a"))], 0)
    assert compared == [HEADER, ask("a")]


def test_a_flag_is_a_difference_of_bytes() -> None:
    (
        Playbook(ECHO, Side.SERVER)
        >> HEADER
        << ANSWER
        >> ask("a", flags=1)
        << closing("ClientMessage #1 differs from the recorded one: message: expected b'a', got b'a'.")
    ).failed()


def test_bound_values_are_what_is_said_and_kept() -> None:
    def bind(event: Event) -> Event:
        return ServerMessage(event.payload.upper()) if isinstance(event, ServerMessage) else event

    outcome = (
        Playbook(ECHO, Side.SERVER, bind=bind)
        >> HEADER
        << ANSWER
        >> ask("a")
        << reply("A")
        >> ask("b")
        << reply("B")
        >> HALF_CLOSE
        << OK
    ).done()

    assert outcome.session is not None
    assert outcome.session.lane(Side.SERVER) == (ANSWER, reply("A"), reply("B"), OK)


def test_what_is_bound_is_not_what_was_prepared() -> None:
    player = Player(ECHO, Side.SERVER, terms(ECHO, Side.SERVER), by_bytes, bind=lambda event: event)

    player.received([row_of(HEADER)], 0)

    assert player.next(0) == Send(ECHO.server[:1], None)


def test_a_note_is_made_once() -> None:
    player = Playbook(lanes(HEADER, OK), Side.SERVER).player
    player.note("this")
    player.note("this")

    assert player.outcome(CONNECTION, 1).notes == ("this",)


def test_a_call_on_which_nothing_happened_has_no_session() -> None:
    assert Playbook(ECHO, Side.SERVER).player.outcome(CONNECTION, 1).session is None


# One player goes on where another stands


def adopted(by: Lanes, of: Playbook, **more: Any) -> tuple[Player, bool]:
    history = of.waits().history
    player = Player(by, Side.SERVER, terms(by, Side.SERVER, **more), by_bytes)
    return player, player.adopt(history)


def test_a_history_that_fits_is_adopted() -> None:
    other = lanes(HEADER, ANSWER, ask("a"), reply("a"), ask("c"), reply("c"), HALF_CLOSE, OK)
    player, fits = adopted(other, Playbook(ECHO, Side.SERVER) >> HEADER << ANSWER >> ask("a") << reply("a"))

    assert fits
    assert (player.sent, player.came, player.is_ahead) == (2, 2, False)
    player.received([row_of(ask("c"))], 0)
    assert player.next(0) == Send(other.server[2:3], 2)
    session = player.outcome(CONNECTION, 1).session
    assert session is not None
    assert [entry.event for entry in session.entries] == [HEADER, ANSWER, ask("a"), reply("a"), ask("c"), reply("c")]


@pytest.mark.parametrize(
    "other",
    [
        lanes(HEADER, ANSWER, ask("a"), reply("other"), HALF_CLOSE, OK),
        lanes(HEADER, ANSWER, ask("b"), reply("a"), HALF_CLOSE, OK),
        lanes(HEADER, ANSWER, ask("a"), OK),
        lanes(HEADER, OK),
    ],
    ids=["said otherwise", "asked otherwise", "said more", "ended"],
)
def test_a_history_that_does_not_fit_is_not_adopted(other: Lanes) -> None:
    assert not adopted(other, Playbook(ECHO, Side.SERVER) >> HEADER << ANSWER >> ask("a") << reply("a"))[1]


def test_a_history_in_which_ours_was_said_sooner_is_adopted_and_told() -> None:
    later = lanes(HEADER, ask("a"), HALF_CLOSE, ANSWER, reply("a"), OK)
    player, fits = adopted(later, Playbook(ECHO, Side.SERVER) >> HEADER << ANSWER >> ask("a") << reply("a"))

    assert (fits, player.is_ahead, player.sent) == (True, True, 2)
    player.received([row_of(HALF_CLOSE)], 0)
    assert player.next(0) == Send(later.server[2:3], 2)


def test_a_call_that_was_ended_for_a_mismatch_is_not_adopted() -> None:
    play = (
        Playbook(ECHO, Side.SERVER) >> HEADER << ANSWER >> Broken("so") << closing("The client broke the protocol: so.")
    )
    play.failed()

    assert not Player(ECHO, Side.SERVER, terms(ECHO, Side.SERVER), by_bytes).adopt(play.player.history)


def test_an_adopted_pace_goes_on_from_what_was_said() -> None:
    timed = Lanes.of(recorded((0, HEADER), (1, ANSWER), (11, reply("a")), (12, OK)))
    player, fits = adopted(timed, Playbook(ECHO, Side.SERVER) >> After(5) >> HEADER << ANSWER, speed=1)

    assert fits
    assert player.next(5 * MS) == Wait(15 * MS)


# What it costs


class Counted(tuple[Any, ...]):
    """A lane or a gate that counts how often something of it is asked for."""

    asked: int

    def __new__(cls, values: Sequence[Any]) -> Counted:
        self = super().__new__(cls, values)
        self.asked = 0
        return self

    def __getitem__(self, part: Any) -> Any:
        self.asked += len(range(*part.indices(len(self)))) if isinstance(part, slice) else 1
        return super().__getitem__(part)


def echoes(count: int) -> Lanes:
    rounds = [event for number in range(count) for event in (ask(f"{number}"), reply(f"{number}"))]
    return lanes(HEADER, ANSWER, *rounds, HALF_CLOSE, OK)


@pytest.mark.parametrize("speed", [math.inf, 1e6])
@pytest.mark.parametrize("side", list(Side))
def test_a_long_call_costs_the_same_for_each_message(side: Side, speed: float) -> None:
    costs = []
    for count in (200, 400):
        long = echoes(count)
        own, peer = Counted(long.lane(side)), Counted(long.lane(side.other))
        lanes = {"client": own, "server": peer} if side is Side.CLIENT else {"client": peer, "server": own}
        counted = replace(long, **lanes)
        on = terms(long, side, speed=speed)
        gate, need = Counted(on.gate), Counted(on.need)
        asked: list[Across] = []
        edges = [Across(place, 2, side.other, 1, 0, "ClientHeader") for place in range(1, len(own))]

        def reached(edge: Across, asked: list[Across] = asked) -> int:
            asked.append(edge)
            return 0

        player = Player(counted, side, replace(on, gate=gate, need=need), by_bytes, edges=edges, reached=reached)
        now_ns = place = 0
        rows = [row_of(step.event) for step in tuple(peer)]
        turns = 0
        while not isinstance(player.next(now_ns), Done):
            turns += 1
            now_ns += MS
            if (
                place < len(rows)
                and on.need[place] <= player.sent
                and long.seen.allows(
                    side.other, *((player.sent, place) if side is Side.CLIENT else (place, player.sent))
                )
            ):
                player.received(rows[place : place + 1], now_ns)
                place += 1
        assert player.mismatch is None
        costs.append(own.asked + peer.asked + gate.asked + need.asked + len(asked) + turns)
    assert costs[1] < 2.2 * costs[0]


# Two players, and nothing else


@st.composite
def sessions(draw: st.DrawFn) -> Session:
    """Draw a call whose lanes are legal by the table of call.py, in any interleaving, its events a while apart."""
    lanes = {side: draw(lane_of(side)) for side in Side}
    word = draw(
        st.permutations([Side.CLIENT] * (len(lanes[Side.CLIENT]) - 1) + [Side.SERVER] * len(lanes[Side.SERVER]))
    )
    places = {side: iter(lane) for side, lane in lanes.items()}
    at_ms, timed = 0, []
    for side in (Side.CLIENT, *word):
        timed.append((at_ms, next(places[side])))
        at_ms += draw(st.integers(0, 40))
    return recorded(*timed)


@st.composite
def lane_of(draw: st.DrawFn, side: Side) -> list[Event]:
    lane: list[Event] = []
    state = LaneState.IDLE
    for _ in range(draw(st.integers(0, 6)) if side is Side.SERVER else draw(st.integers(1, 6))):
        kinds = sorted(
            (kind for (of, kind) in NEXT if of is state and (kind in CLIENT_EVENTS) is (side is Side.CLIENT)),
            key=lambda kind: kind.__name__,
        )
        if not kinds:
            break
        kind = draw(st.sampled_from(kinds))
        lane.append(_EXAMPLES[kind] if kind not in (ClientMessage, ServerMessage) else kind(b"%d" % len(lane)))
        state = NEXT[state, kind]
    return lane


_EXAMPLES: dict[type[Event], Event] = {
    ClientHeader: HEADER,
    ClientHalfClose: HALF_CLOSE,
    Cancel: CANCEL,
    ServerHeader: ANSWER,
    ServerTrailer: OK,
    Reset: Reset(2),
}


def joined(players: dict[Side, Player]) -> str:
    """Play both sides against each other, each event a read of its own; return the word that took place."""
    now_ns, word = 0, ""
    done: set[Side] = set()
    while len(done) < 2:
        waits: list[int] = []
        progress = False
        for side, player in players.items():
            if side in done:
                continue
            match player.next(now_ns):
                case Send(steps):
                    progress = True
                    for step in steps:
                        word += side_of(step.event).value
                        players[side.other].received([row_of(step.event)], now_ns)
                case Do():
                    raise AssertionError("no connection was lost")
                case Wait(until_ns):
                    waits.append(until_ns)
                case Done():
                    progress = True
                    done.add(side)
        if not progress:
            now_ns = min(waits)
    return word


@pytest.mark.parametrize("speed", [math.inf, 1, 3.5])
@pytest.mark.parametrize("expect", ["lanes", "strict"])
@examples(150)
@given(session=sessions())
def test_a_client_and_a_server_of_one_script_agree(session: Session, expect: str, speed: float) -> None:
    recording = Lanes.of(session)
    players = {
        side: Player(recording, side, terms(recording, side, expect, speed), by_bytes, sees_all=speed == 1)
        for side in Side
    }

    word = joined(players)

    for player in players.values():
        outcome = player.outcome(CONNECTION, 1)
        assert outcome.mismatch is None, outcome.mismatch.sentence
    # What took place keeps the order that was seen, as far as it came: behind an ending nobody is waited for, and a
    # call without one is ended by both.
    client = server = 0
    for arrow in word[: len(session.word)]:
        side = Side(arrow)
        if not recording.seen.allows(side, client, server):
            assert ended(recording, client, server) or (client, server) == (
                len(recording.client),
                len(recording.server),
            )
            break
        client, server = client + (side is Side.CLIENT), server + (side is Side.SERVER)


def ended(recording: Lanes, client: int, server: int) -> bool:
    said = (*recording.client[:client], *recording.server[:server])
    return any(isinstance(step.event, (Cancel, Reset, ServerTrailer)) for step in said)


def test_steps_of_messages_carry_their_row() -> None:
    assert Step(ask("a")).row == (row_of(ask("a"))[0], 0, b"a")
    assert Step(HEADER).row is None


REFUSED = ServerTrailer(Status(Code.UNIMPLEMENTED, "no such method"), GRPC_ANSWER)


@pytest.mark.parametrize("more", [(ask("a"),), (HALF_CLOSE,), (ask("a"), ask("b"), HALF_CLOSE)])
def test_what_comes_with_the_event_that_lets_us_say_our_last_word_crosses_it(more: tuple[Event, ...]) -> None:
    one = lanes(HEADER, REFUSED)
    player = Player(one, Side.SERVER, terms(one, Side.SERVER), by_bytes)
    player.received([row_of(HEADER), *map(row_of, more)], 0)
    assert player.next(0) == Send((Step(REFUSED, 1 * MS),), 0)
    assert player.next(0) == Done()
    assert player.outcome(CONNECTION, 1).agreed


def test_a_cancel_does_not_cross_what_was_not_said() -> None:
    one = lanes(HEADER, REFUSED)
    player = Player(one, Side.SERVER, terms(one, Side.SERVER), by_bytes)
    player.received([row_of(HEADER), row_of(CANCEL)], 0)
    mismatch = player.outcome(CONNECTION, 1).mismatch
    assert mismatch is not None
    assert mismatch.sentence == (
        "The client cancelled the call (CANCEL); in the recording nothing more comes from the client."
    )
