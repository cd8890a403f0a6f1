"""A Serving in virtual time: Scripts and handlers side by side, what is held, what is kept, and what is judged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from duplexmock import anything, client, every, half_close, repeat, server, status, turn
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
)
from duplexmock.core.metadata import GRPC_ANSWER
from duplexmock.core.session import Ended
from duplexmock.core.status import Code, Status
from duplexmock.errors import ScriptError
from duplexmock.play import serving, witness
from duplexmock.play.call import Call
from duplexmock.play.handler import Handler
from duplexmock.play.serving import ServedCall, Serving
from duplexmock.schema.script import Script
from tests.play.live import Call as Far
from tests.play.live import LoopClock, virtual

CHAT = "/chat.ChatService/Chat"
OPENING = ClientHeader(CHAT)
ANSWER = ServerHeader(GRPC_ANSWER)
HALF_CLOSE = ClientHalfClose()
OK = ServerTrailer(Status(Code.OK))


def ask(text: str) -> ClientMessage:
    return ClientMessage(text.encode())


def reply(text: str) -> ServerMessage:
    return ServerMessage(text.encode())


def failed(sentence: str) -> ServerTrailer:
    return ServerTrailer(Status(Code.FAILED_PRECONDITION, sentence))


ECHO = Script(CHAT, turn(b"a", reply=b"A"), turn(b"b", reply=b"B"))


class Mock:
    """A Serving, and the far ends of its calls."""

    def __init__(self, *scripts: Script | Handler, **more: Any) -> None:
        self.serving = Serving(scripts, LoopClock(), **more)
        self._tasks: list[asyncio.Task[None]] = []

    def call(self, *said: Any) -> Far:
        far = Far(number=len(self._tasks) + 1)
        far.says(OPENING, *said)
        self._tasks.append(asyncio.get_running_loop().create_task(self.serving.answer(far)))
        return far

    async def over(self) -> list[ServedCall]:
        for task in self._tasks:
            await task
        return self.serving.calls


def sentences(calls: list[ServedCall]) -> list[str | None]:
    return [call.outcome.mismatch.sentence if call.outcome and call.outcome.mismatch else None for call in calls]


async def upper(call: Call) -> None:
    async for message in call:
        await call.send(message.upper())


UPPER = Handler(CHAT, upper)


# Scripts


@virtual
async def test_a_script_answers_any_number_of_calls() -> None:
    mock = Mock(ECHO)
    for _ in range(2):
        await mock.call().talks(ask("a"), ANSWER, reply("A"), ask("b"), reply("B"), HALF_CLOSE, OK)
    assert sentences(await mock.over()) == [None, None]
    assert (mock.serving.agreed, mock.serving.disagreed, mock.serving.raised) == (2, 0, 0)


@virtual
async def test_a_client_that_leaves_the_script_is_told_and_its_session_is_what_took_place() -> None:
    mock = Mock(ECHO)
    far = mock.call(ask("a"))
    await far.hears(ANSWER, reply("A"))
    far.says(ask("c"))
    (call,) = await mock.over()

    (sentence,) = sentences([call])
    assert sentence is not None
    assert far.heard[-1] == failed(sentence)
    assert call.session.word == ">><<><"
    assert call.outcome is not None
    assert call.outcome.mismatch is not None
    assert (call.outcome.mismatch.entries, call.outcome.mismatch.actual) == (4, ask("c"))


@virtual
async def test_a_client_that_says_nothing_is_not_waited_for_longer_than_the_terms_say() -> None:
    mock = Mock(ECHO, terms=serving.ScriptTerms(timeout_ns=3_000_000_000))
    mock.call()
    (call,) = await mock.over()
    assert asyncio.get_running_loop().time() == 3.0
    assert call.outcome is not None
    assert call.outcome.mismatch is not None
    assert (call.outcome.mismatch.entries, call.outcome.mismatch.actual) == (1, None)


@virtual
async def test_a_script_pushes_while_it_listens() -> None:
    pushing = Script(CHAT, every("5s", server(b"hello")), client(half_close()))
    mock = Mock(pushing)
    far = mock.call()
    await far.hears(ANSWER, reply("hello"), reply("hello"))
    far.says(HALF_CLOSE)
    await far.hears(OK)
    assert sentences(await mock.over()) == [None]


@virtual
async def test_what_a_scripts_function_raises_is_internal_to_the_client() -> None:
    def broken(message: bytes) -> bytes:
        raise LookupError("no such room")

    mock = Mock(Script(CHAT, turn(b"a", reply=broken)))
    far = mock.call(ask("a"))
    status = Status(Code.INTERNAL, "the script raised LookupError: no such room")
    await far.hears(ServerTrailer(status, GRPC_ANSWER))
    (call,) = await mock.over()
    assert repr(call.failed) == "LookupError('no such room')"
    assert mock.serving.failures == [call]


@virtual
async def test_scripts_of_one_method_are_played_in_turn_and_the_last_goes_on() -> None:
    refusing = Script(CHAT, server(status("UNAVAILABLE")))
    mock = Mock(refusing, UPPER)
    await mock.call().hears(ServerTrailer(Status(Code.UNAVAILABLE), GRPC_ANSWER))
    for _ in range(2):
        await mock.call().talks(ask("a"), ANSWER, reply("A"), HALF_CLOSE, OK)
    assert [call.name for call in await mock.over()] == [CHAT, "upper", "upper"]


def test_a_script_that_the_server_cannot_play_is_refused_before_anybody_calls() -> None:
    with pytest.raises(ScriptError, match="matches and does not say what is to be said"):
        Serving([Script(CHAT, server(anything))], LoopClock())


# Held, pushed, ended


@virtual
@pytest.mark.parametrize("script", [ECHO, UPPER], ids=["script", "handler"])
async def test_what_is_held_is_kept_while_the_client_is_heard(script: Script | Handler) -> None:
    mock = Mock(script)
    await mock.serving.hold()
    far = mock.call(ask("a"), ask("b"), HALF_CLOSE)
    await asyncio.sleep(1)
    (call,) = mock.serving.calls
    assert (far.heard, call.witness.heard_messages, call.is_over) == ([], 2, False)
    await mock.serving.release(1)
    await far.hears(ANSWER, reply("A"))
    await call.push(b"between")
    await far.hears(reply("between"))
    await mock.serving.release()
    await far.hears(reply("B"), OK)
    assert sentences(await mock.over()) == [None]
    assert call.session.word == ">>>><<<<<"


@virtual
@pytest.mark.parametrize("script", [ECHO, UPPER], ids=["script", "handler"])
async def test_a_cancel_is_heard_while_the_mock_holds(script: Script | Handler) -> None:
    mock = Mock(script)
    await mock.serving.hold()
    far = mock.call(ask("a"), ask("b"), HALF_CLOSE)
    await asyncio.sleep(1)
    far.says(Cancel(8))
    (call,) = await mock.over()
    assert (far.heard, call.session.ended) == ([], Ended.CANCELLED)


@virtual
@pytest.mark.parametrize("script", [ECHO, UPPER], ids=["script", "handler"])
async def test_a_call_that_the_test_ends_is_judged_no_further(script: Script | Handler) -> None:
    mock = Mock(script)
    far = mock.call(ask("a"))
    await far.hears(ANSWER, reply("A"))
    (call,) = mock.serving.calls
    await call.finish("ABORTED", "enough", ())
    await far.hears(ServerTrailer(Status(Code.ABORTED, "enough")))
    assert sentences(await mock.over()) == [None]
    with pytest.raises(ScriptError, match="has ended: nothing more can be finished"):
        await call.finish("OK", "", ())


# What is kept


@virtual
async def test_a_long_call_keeps_its_beginning_and_its_latest_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "KEPT_FIRST", 3)
    monkeypatch.setattr(witness, "KEPT_ROWS", 4)
    mock = Mock(UPPER)
    far = mock.call()
    for number in range(10):
        await far.talks(ask(f"m{number}"), *([ANSWER] if not number else []), reply(f"M{number}"))
    await far.talks(HALF_CLOSE, OK)
    (call,) = await mock.over()

    kept = [entry.event for entry in call.session.entries]
    assert kept == [OPENING, ask("m0"), ANSWER, reply("M0"), ask("m9"), reply("M9"), HALF_CLOSE, OK]
    assert (call.witness.left_out, call.witness.heard_messages, call.witness.said_messages) == (16, 10, 10)
    assert call.outcome is not None
    assert call.outcome.notes == ("16 events in between were not kept",)


@virtual
async def test_a_long_call_keeps_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "KEPT_FIRST", 1)
    monkeypatch.setattr(witness, "KEPT_BYTES", 250)
    mock = Mock(UPPER)
    far = mock.call()
    for number in range(4):
        far.says(ask("x" * 100))
        await far.hears(*([ANSWER] if not number else []), reply("X" * 100))
    far.says(HALF_CLOSE)
    await far.hears(OK)
    (call,) = await mock.over()
    kept = [type(entry.event) for entry in call.session.entries]
    assert kept == [ClientHeader, ClientMessage, ClientMessage, ServerMessage, ClientHalfClose, ServerTrailer]


@virtual
async def test_the_oldest_past_calls_go_first_and_a_live_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "KEPT_CALLS", 2)
    mock = Mock(UPPER)
    live = mock.call()
    for _ in range(4):
        await mock.call().talks(HALF_CLOSE, ServerTrailer(Status(Code.OK), GRPC_ANSWER))
        await asyncio.sleep(0)
    assert [call.number for call in mock.serving.calls] == [1, 4, 5]
    live.says(HALF_CLOSE)
    assert [call.number for call in await mock.over()] == [1, 5]
    assert (mock.serving.dropped, mock.serving.agreed) == (3, 5)


@virtual
async def test_all_is_told_as_it_happens() -> None:
    told: list[Any] = []
    mock = Mock(
        Script(CHAT, repeat(turn(b"a", reply=b"A"))),
        heard=lambda call, at_ns, rows: told.append((call.number, at_ns, [row[0] for row in rows])),
        ended=lambda call: told.append(call.number),
    )
    far = mock.call()
    await asyncio.sleep(1)
    await far.talks(ask("a"), ANSWER, reply("A"), HALF_CLOSE, OK)
    await mock.over()
    at_ns = 1_000_000_000
    assert told == [(1, 0, [4]), (1, at_ns, [0]), (1, at_ns, [7, 1]), (1, at_ns, [5]), (1, at_ns, [8]), 1]
