"""`duplexmock.play_client`: a Script plays the client against live servers of grpc, and against itself as a mock."""

from __future__ import annotations

import asyncio

import pytest
from chat_app import chat_pb2
from chat_app.server import AckServicer

import duplexmock
from duplexmock import MismatchError, Script, ScriptError, anything, client, half_close, like, turn
from duplexmock.core.events import Side
from tests.net.chats import CHAT, clock, serving

ACKED = Script(
    CHAT,
    turn({"sender": "me", "message": "a"}, reply={"sender": "Server", "message": "ack: a"}),
    turn({"message": "b"}, reply={"message": "ack: b"}),
    descriptors=chat_pb2,
)


def test_a_script_plays_the_client_of_a_grpc_server() -> None:
    with serving(AckServicer(clock=clock)) as target:
        outcomes = duplexmock.play_client(ACKED, target)

    outcomes.check()
    (outcome,) = outcomes
    assert (outcome.number, outcome.side, outcome.method, outcome.agreed) == (1, Side.CLIENT, CHAT, True)
    assert outcome.session is not None
    assert len(outcome.session.entries) == 8


def test_asyncio_code_awaits_it_beside_its_own_server() -> None:
    async def main() -> bool:
        async with duplexmock.serve(ACKED) as mock:
            return (await duplexmock.play_client_async([ACKED, ACKED], mock.target, repeat=2)).agreed

    assert asyncio.run(main()) is True


def test_a_server_that_leaves_the_script_is_told_of_with_its_timeline() -> None:
    with serving(AckServicer(clock=clock)) as target:
        outcomes = duplexmock.play_client(Script(CHAT, turn(b"", reply=b"x")), target)

    assert outcomes.agreed is False
    with pytest.raises(MismatchError) as raised:
        outcomes.check()
    heading, *timeline, sentence, blank, tally = str(raised.value).splitlines()
    assert heading.startswith("call 1   /chat.ChatService/Chat   127.0.0.1:")
    assert [line.split()[-1] if "!" not in line else "!" for line in timeline][-1] == "!"
    assert sentence == outcomes[0].mismatch.sentence  # type: ignore[union-attr]
    assert (blank, tally) == ("", "1 session: 0 agreed, 1 did not")


def test_what_cannot_be_played_is_told_in_a_sentence() -> None:
    @duplexmock.handler(CHAT)
    async def answer(call: duplexmock.Call) -> None: ...

    nowhere = "127.0.0.1:1"
    for script, more, sentence in (
        (
            Script(CHAT, client(anything)),
            {},
            "/chat.ChatService/Chat: client(anything) matches and does not say what is to be said; "
            "the client can be played with like(anything, example)",
        ),
        (answer, {}, f"{answer!r} is no Script: handlers answer calls, and make none"),
        (ACKED, {"repeat": 0}, "repeat 0: at least 1"),
        (ACKED, {"timeout_s": 0}, "timeout 0: not more than 0 seconds"),
        (ACKED, {}, f"{nowhere} cannot be reached: Connection refused"),
    ):
        with pytest.raises(ScriptError) as raised:
            duplexmock.play_client(script, nowhere, **more)  # type: ignore[arg-type]
        assert str(raised.value) == sentence


def test_a_match_with_an_example_is_played_by_both_seats() -> None:
    script = Script(CHAT, client(like(anything, b"hello"), half_close()))
    with duplexmock.serve(script) as mock:
        assert duplexmock.play_client(script, mock.target).agreed
        (call,) = mock.calls
        assert call.received == [b"hello"]


def test_playing_would_block_a_running_loop() -> None:
    async def main() -> None:
        duplexmock.play_client(ACKED, "127.0.0.1:1")

    with pytest.raises(ScriptError) as raised:
        asyncio.run(main())
    assert str(raised.value) == (
        "play_client would block the event loop that runs here, and a server on it could never answer; "
        "there, await play_client_async(...)"
    )
