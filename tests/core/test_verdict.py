"""The sentences: one for each way to leave the lanes; report/test_outcomes.py has them in their places."""

from __future__ import annotations

import pytest

from duplexmock.core.events import ClientMessage, Event, Reset, ServerHeader, ServerMessage, ServerTrailer, Side
from duplexmock.core.matching import Difference
from duplexmock.core.status import Code
from duplexmock.core.verdict import (
    Expected,
    broken,
    differs,
    duration,
    label,
    labels,
    lost,
    no_deadline,
    no_session,
    one_more,
    out_of_turn,
    stalled,
    too_early,
)
from tests.playbook import ANSWER, CANCEL, HALF_CLOSE, HEADER, OK, ask, fails, reply


def client(event: Event | None, messages: int = 0) -> Expected:
    return Expected(Side.CLIENT, event, messages)


def server(event: Event | None, messages: int = 0) -> Expected:
    return Expected(Side.SERVER, event, messages)


@pytest.mark.parametrize(
    ("expected", "actual", "text"),
    [
        (client(ask("b"), 1), HALF_CLOSE, "The client half-closed before its second message."),
        (client(ask("b"), 0), CANCEL, "The client cancelled the call (CANCEL) before its first message."),
        (
            client(HALF_CLOSE, 0),
            ask("a"),
            "The client sent its first message; in the recording it half-closes without a message.",
        ),
        (
            client(HALF_CLOSE, 1),
            ask("a"),
            "The client sent its second message; in the recording it half-closes after one message.",
        ),
        (
            client(HALF_CLOSE, 2),
            ask("a"),
            "The client sent its third message; in the recording it half-closes after 2 messages.",
        ),
        (client(HALF_CLOSE), CANCEL, "The client cancelled the call (CANCEL) before its half-close."),
        (
            client(CANCEL, 1),
            ask("a"),
            "The client sent its second message; in the recording it cancels the call after one message.",
        ),
        (client(CANCEL), HALF_CLOSE, "The client half-closed; in the recording it cancels the call at this point."),
        (
            client(None),
            CANCEL,
            "The client cancelled the call (CANCEL); in the recording nothing more comes from the client.",
        ),
        (client(None), HALF_CLOSE, "The client half-closed; in the recording nothing more comes from the client."),
        (client(ask("a")), HEADER, "The client sent its header before its first message."),
        (server(ANSWER), OK, "The server ended the call with OK before its initial metadata."),
        (server(ANSWER), Reset(7), "The server reset the call (REFUSED_STREAM) before its initial metadata."),
        (server(reply("a"), 20), OK, "The server ended the call with OK before its 21st message."),
        (
            server(OK, 1),
            reply("a"),
            "The server sent its second message; in the recording it ends the call with OK after one message.",
        ),
        (
            server(fails(Code.ABORTED)),
            Reset(2),
            "The server reset the call (INTERNAL_ERROR); in the recording it ends the call with ABORTED at this point.",
        ),
        (
            server(ServerTrailer(None)),
            Reset(2),
            "The server reset the call (INTERNAL_ERROR); in the recording "
            "it ends the call without a status at this point.",
        ),
        (
            server(Reset(2)),
            ServerTrailer(None),
            "The server ended the call without a status; in the recording "
            "it resets the call (INTERNAL_ERROR) at this point.",
        ),
        (
            server(Reset(2), 3),
            reply("a"),
            "The server sent its fourth message; in the recording "
            "it resets the call (INTERNAL_ERROR) after 3 messages.",
        ),
        (
            server(fails(Code.UNIMPLEMENTED)),
            ServerHeader(),
            "The server sent its initial metadata; in the recording it ends the call with UNIMPLEMENTED at this point.",
        ),
        (
            server(None),
            reply("a"),
            "The server sent its first message; in the recording nothing more comes from the server.",
        ),
    ],
)
def test_another_event_came(expected: Expected, actual: Event, text: str) -> None:
    assert out_of_turn(expected, actual) == text


def test_a_deadline_that_was_up() -> None:
    assert (
        out_of_turn(client(ask("a")), CANCEL, "2 s")
        == "The client gave up at its deadline of 2 s before its first message."
    )
    assert out_of_turn(client(None), CANCEL, "2 s") == (
        "The client gave up at its deadline of 2 s; in the recording nothing more comes from the client."
    )


ONE = [Difference("x", 1, 2)]


@pytest.mark.parametrize(
    ("expected", "actual", "text"),
    [
        (client(HEADER), HEADER, "The call's metadata differs from the recorded one: x: expected 1, got 2."),
        (client(ask("a"), 4), ask("b"), "ClientMessage #5 differs from the recorded one: x: expected 1, got 2."),
        (server(ANSWER), ANSWER, "The server's initial metadata differs from the recorded one: x: expected 1, got 2."),
        (server(reply("a")), reply("b"), "ServerMessage #1 differs from the recorded one: x: expected 1, got 2."),
        (server(OK), OK, "The server's ending differs from the recorded one: x: expected 1, got 2."),
        (
            server(OK),
            fails(Code.ABORTED, "no"),
            "The server ended the call with ABORTED 'no'; in the recording it ends with OK.",
        ),
        (server(OK), ServerTrailer(None), "The server's ending differs from the recorded one: x: expected 1, got 2."),
        (
            server(Reset(2)),
            Reset(8),
            "The server reset the call (CANCEL); in the recording it does so with INTERNAL_ERROR.",
        ),
    ],
)
def test_an_event_differs(expected: Expected, actual: Event, text: str) -> None:
    assert differs(expected, actual, ONE) == text


def test_of_many_differences_three_are_told() -> None:
    many = [Difference(name, 1, 2) for name in "abcde"]

    assert differs(client(ask("a")), ask("b"), many) == (
        "ClientMessage #1 differs from the recorded one: a: expected 1, got 2; b: expected 1, got 2; "
        "c: expected 1, got 2; and 2 more."
    )
    assert differs(client(ask("a")), ask("b"), many[:3]).endswith("c: expected 1, got 2.")


def test_the_other_sentences() -> None:
    assert too_early(client(ask("b"), 1), "ServerMessage #1", "learned") == (
        "ClientMessage #2 came before ServerMessage #1, and has to come after it (learned)."
    )
    assert lost(client(ask("b"), 1), "reset") == "The client's connection was lost (reset) before its second message."
    assert lost(server(OK), "") == "The server's connection was lost before its status OK."
    assert lost(server(Reset(8)), "") == "The server's connection was lost before its reset (CANCEL)."
    assert lost(server(ServerTrailer(None)), "") == "The server's connection was lost before the end of its stream."
    assert lost(client(None), "") == "The client's connection was lost before the end of the call."
    assert lost(client(HEADER), "\n") == r"The client's connection was lost ('\n') before its header."
    assert broken(Side.CLIENT, "what \x1b") == r"The client broke the protocol: 'what \x1b'."
    assert no_deadline("2 s") == "The call has no deadline; in the recording it ends by its deadline of 2 s."
    assert (
        stalled(client(CANCEL), "10 s", "") == "Nothing came from the client within 10 s, and its cancel was expected."
    )
    assert stalled(server(ANSWER), "10 s", "it waits") == (
        "Nothing came from the server within 10 s, and its initial metadata was expected: it waits."
    )
    assert stalled(client(None), "10 s", "it waits") == "Nothing happened for 10 s: it waits."
    assert stalled(client(None), "10 s", "") == (
        "Nothing came from the client within 10 s, and the loss of its connection was expected."
    )
    assert no_session("/a.B/C") == "There is no session of /a.B/C."
    assert one_more("/a.B/C") == "Every session of /a.B/C is taken by another call; this call is one more."


@pytest.mark.parametrize(
    ("number", "ordinal"),
    [
        (1, "first"),
        (10, "tenth"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (22, "22nd"),
        (23, "23rd"),
        (24, "24th"),
        (101, "101st"),
        (111, "111th"),
        (112, "112th"),
        (1000, "1000th"),
    ],
)
def test_messages_are_counted_as_people_do(number: int, ordinal: str) -> None:
    assert lost(client(ask("a"), number - 1), "").endswith(f"before its {ordinal} message.")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (10_000_000_000, "10 s"),
        (1_500_000_000, "1.5 s"),
        (999_000_000, "999 ms"),
        (250_000_000, "250 ms"),
        (5_000, "0.005 ms"),
    ],
)
def test_a_span_of_time_is_for_people(ns: int, text: str) -> None:
    assert duration(ns) == text


def test_events_have_names() -> None:
    assert labels([HEADER, ask("a"), ask("b"), HALF_CLOSE]) == [
        "ClientHeader",
        "ClientMessage #1",
        "ClientMessage #2",
        "ClientHalfClose",
    ]
    assert (label(ServerMessage, 6), label(ClientMessage, 0), label(ServerTrailer, 6)) == (
        "ServerMessage #7",
        "ClientMessage #1",
        "ServerTrailer",
    )


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^7 is no event$"):
        out_of_turn(client(ask("a")), 7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^7 is no event$"):
        lost(client(7), "")  # type: ignore[arg-type]
