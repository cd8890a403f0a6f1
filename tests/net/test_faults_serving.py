"""Faults of mocks that are written: handlers, which speak and listen at a time, Scripts, and their client."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

import duplexmock
from duplexmock import Script, client, server
from duplexmock.core.events import Cancel, ClientMessage, Reset, ServerMessage, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.errors import MismatchError
from tests.net import ends
from tests.net.ends import ANSWER, REQUEST, request
from tests.net.wires import LIMIT_S, listening
from tests.playbook import HALF_CLOSE, METHOD, OK, ask, reply

CANCEL = Cancel(ErrorCode.CANCEL)
POLITE = Script(METHOD, client(b"a"), server(b"A"), client(b"b"), server(b"B"))


@duplexmock.handler(METHOD)
async def echo(call: duplexmock.Call) -> None:
    async for message in call:
        await call.send(message.upper())


def test_a_handler_hears_while_a_fault_delays_what_it_says() -> None:
    heard: list[bytes] = []

    @duplexmock.handler(METHOD)
    async def pushes(call: duplexmock.Call) -> None:
        saying = asyncio.create_task(call.send(b"late"))
        async for message in call:
            heard.append(message)
        saying.cancel()
        await call.finish("ABORTED")

    with duplexmock.serve(pushes, faults=["delay(1h)@server:1"]) as mock, ends.client(mock.target) as end:
        stream_id = end.open(REQUEST, ask("a"), ask("b"))
        mock.call(1).wait_for(lambda call: len(call.received) == 2)
        end.say(stream_id, CANCEL)

    assert heard == [b"a", b"b"]


def test_a_call_of_a_handler_ends_by_a_fault() -> None:
    ended: list[str] = []

    @duplexmock.handler(METHOD)
    async def waits(call: duplexmock.Call) -> None:
        try:
            await call.receive()
            await call.send(b"A")
            await call.receive()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with duplexmock.serve(waits, faults=["reset(CANCEL)@after:server:1"]) as mock, ends.client(mock.target) as end:
        stream_id = end.open(REQUEST, ask("a"))
        assert end.hear(stream_id, 3) == [ANSWER, reply("A"), Reset(ErrorCode.CANCEL)]

    assert ended == ["cancelled"]


def test_a_handler_goes_on_behind_a_deadline_that_is_ignored() -> None:
    deadlines: list[float | None] = []

    @duplexmock.handler(METHOD)
    async def goes_on(call: duplexmock.Call) -> None:
        deadlines.append(call.deadline)
        await call.send_header()
        await asyncio.Event().wait()

    fault = "ignore-deadline(1ms)@client:deadline"
    with duplexmock.serve(goes_on, faults=[fault]) as mock, ends.client(mock.target) as end:
        stream_id = end.open(request(("grpc-timeout", "1n")))
        assert end.hear(stream_id, 1) == [ANSWER]
        end.say(stream_id, CANCEL)

    assert deadlines == [None]


def test_a_message_of_a_handler_is_corrupted_and_the_session_is_what_was_said() -> None:
    with duplexmock.serve(echo, faults=["corrupt@server:1", "no-trailers@server:trailer"]) as mock:
        with ends.client(mock.target) as end:
            stream_id = end.open(REQUEST, ask("a"), HALF_CLOSE)
            assert end.hear(stream_id, 3) == [ANSWER, ServerMessage(b"\xbe"), ServerTrailer(None)]

    events = [entry.event for entry in mock.calls[0].session.entries]
    assert events[-2:] == [ServerMessage(b"\xbe"), ServerTrailer(None)]


def test_a_client_of_a_script_is_judged_up_to_a_fault() -> None:
    with duplexmock.serve(POLITE, faults=["duplicate@server:1"]) as mock, ends.client(mock.target) as end:
        stream_id = end.open(REQUEST, ask("a"))
        assert end.hear(stream_id, 3) == [ANSWER, reply("A"), reply("A")]
        end.say(stream_id, ask("x"))
        assert len(end.hear(stream_id, 1)) == 1


def test_a_client_that_left_a_script_before_a_fault_is_told() -> None:
    with pytest.raises(MismatchError) as failed:
        says("x", faults=["reset@server:trailer"])

    lines = str(failed.value).splitlines()
    assert [line for line in lines if line.startswith("fault")] == [
        "fault reset@server:trailer never fired: no call came to ServerTrailer"
    ]
    assert lines[-1] == "1 call: 0 agreed, 1 did not"


def says(text: str, faults: list[str]) -> None:
    with duplexmock.serve(POLITE, faults=faults) as mock, ends.client(mock.target) as end:
        end.hear(end.open(REQUEST, ask(text)), 1)


def test_the_client_of_a_script_has_faults() -> None:
    with listening() as (listener, address), ThreadPoolExecutor(1) as pool:
        playing = pool.submit(duplexmock.play_client, POLITE, address, faults=["corrupt@client:1"])
        end = ends.server(listener)
        stream_id = end.accept()
        assert end.hear(stream_id, 2)[1] == ClientMessage(b"\x9e")
        refusal = ServerTrailer(Status(Code.INVALID_ARGUMENT, "what?"), Metadata(ANSWER.metadata.pairs))
        end.say(stream_id, refusal)
        outcomes = playing.result(LIMIT_S)

    outcomes.check()
    assert outcomes[0].notes[0] == (
        "fault corrupt@client:1; the server was not judged behind it, and said ServerTrailer"
    )


def test_only_the_calls_that_are_meant_have_the_fault() -> None:
    with duplexmock.serve(echo, faults=["status(ABORTED)@server:1#2"]) as mock, ends.client(mock.target) as end:
        heard = []
        for _ in range(3):
            stream_id = end.open(REQUEST, ask("a"), HALF_CLOSE)
            heard.append(end.hear(stream_id, 3)[1:] if len(heard) != 1 else end.hear(stream_id, 2)[1:])

    assert heard == [[reply("A"), OK], [ServerTrailer(Status(Code.ABORTED))], [reply("A"), OK]]
