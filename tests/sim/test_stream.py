"""A fixture plays the server to a grpc.aio client, and the client to a servicer, in memory and in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import ChatServiceStub, add_ChatServiceServicer_to_server
from chat_app.client import Heard, Talk, chat
from chat_app.server import AckServicer

from duplexmock.core.events import Cancel, ClientHeader, Reset, ServerMessage, ServerTrailer, Side
from duplexmock.core.outcome import Outcome
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Status
from duplexmock.play.plan import Options, source
from duplexmock.play.play import Play
from duplexmock.play.reading import FixtureReading
from duplexmock.play.repertoire import Part, Repertoire
from duplexmock.sim.bounds import Bounds
from duplexmock.sim.simulation import Simulation, simulate
from duplexmock.sim.stream import SimStream
from duplexmock.store.fixture import Fixture

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CHAT = "/chat.ChatService/Chat"
TIMESTAMP = 1795348800


@contextmanager
def played(name: str, side: Side, sim: Simulation, **options: Any) -> Iterator[Play]:
    """Play one side of a fixture."""
    with Fixture.open(FIXTURES / name) as fixture:
        reading = FixtureReading(fixture, name, None, ["chat.ChatMessage.timestamp"], [])
        part = source(fixture, name, side, Options(**options), reading)
        yield Play(Repertoire([part], side), side, sim.clock)


def verdicts(play: Play) -> list[str]:
    return [outcome.mismatch.sentence if outcome.mismatch else "agreed" for _, outcome in play.outcomes]


def outcome(play: Play) -> Outcome:
    ((_, only),) = play.outcomes
    return only


def ack(number: int) -> ChatMessage:
    return ChatMessage(sender="Server", message=f"ack: Hi there! Message {number}", timestamp=TIMESTAMP)


def test_a_fixture_plays_the_server() -> None:
    with simulate() as sim, played("chat/echo_three.duplex", Side.SERVER, sim) as play:
        sim.answer(play.answer)
        heard = sim.run(chat(sim.aio_channel(), Talk(clock=lambda: 1)))
        sim.settle()
    assert heard == Heard((ack(0), ack(1), ack(2)), grpc.StatusCode.OK)
    assert verdicts(play) == ["agreed"]
    session = outcome(play).session
    assert session is not None
    assert session.word == ">><<><><><"


def test_a_client_that_says_something_else_is_told_so() -> None:
    with simulate() as sim, played("chat/echo_three.duplex", Side.SERVER, sim) as play:
        sim.answer(play.answer)
        heard = sim.run(chat(sim.aio_channel(), Talk(count=2)))
    assert heard.status is grpc.StatusCode.FAILED_PRECONDITION
    assert verdicts(play) == ["The client half-closed before its third message."]


def test_a_method_that_the_fixture_does_not_have_is_not_implemented() -> None:
    async def call(channel: grpc.aio.Channel) -> None:
        await channel.unary_unary("/other.Service/Call")(b"")

    with simulate() as sim, played("chat/echo_three.duplex", Side.SERVER, sim) as play:
        sim.answer(play.answer)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            sim.run(call(sim.aio_channel()))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_fixture_plays_the_client() -> None:
    async def opened(part: Part) -> SimStream:
        return sim.stream()

    with simulate() as sim, played("chat/echo_three.duplex", Side.CLIENT, sim) as play:
        add_ChatServiceServicer_to_server(AckServicer(), sim.aio_server())
        sim.run(play.perform(opened))
    assert verdicts(play) == ["agreed"]


def test_a_servicer_that_answers_something_else_is_told_so() -> None:
    class Silent(AckServicer):
        async def Chat(self, request_iterator: Any, context: Any) -> None:
            async for _ in request_iterator:
                pass

    async def opened(part: Part) -> SimStream:
        return sim.stream()

    with simulate() as sim, played("chat/echo_three.duplex", Side.CLIENT, sim, timeout_s=3.0) as play:
        add_ChatServiceServicer_to_server(Silent(), sim.aio_server())
        sim.run(play.perform(opened))
    assert verdicts(play) == [
        "Nothing came from the server within 3 s, and its initial metadata was expected: the server waits for "
        "ClientMessage #2; that needs ServerMessage #1 (seen, not learned); nothing is on its way."
    ]
    assert sim.now_s < 10


def test_a_call_without_a_server_is_lost() -> None:
    async def opened(part: Part) -> SimStream:
        return sim.stream()

    with simulate() as sim, played("chat/echo_three.duplex", Side.CLIENT, sim) as play:
        sim.run(play.perform(opened))
    assert verdicts(play) == [
        "The server's connection was lost (failed to connect to all addresses; last error: UNKNOWN: sim… 9 more …to "
        "connect to remote host: connect: Connection refused (111)) before its initial metadata."
    ]


@pytest.mark.parametrize("name", sorted(path.name for path in (FIXTURES / "cases").glob("*.duplex")))
def test_what_a_fixture_says_as_a_server_arrives_as_it_was_recorded(name: str) -> None:
    """A fixture plays both seats of the same call, and each agrees with the other."""

    async def opened(part: Part) -> SimStream:
        return sim.stream()

    with simulate() as sim:
        with played(f"cases/{name}", Side.SERVER, sim) as server, played(f"cases/{name}", Side.CLIENT, sim) as client:
            sim.answer(server.answer)
            sim.run(client.perform(opened))
            sim.settle()
    assert (verdicts(server), verdicts(client)) == (["agreed"], ["agreed"])


def test_a_window_holds_back_one_that_plays() -> None:
    """The server pushes three; the client reads one in each second, and with a window of one no more is under way."""

    async def pushes(stream: SimStream) -> None:
        rows = await stream.receive(10**12)
        assert isinstance(rows[0][2], ClientHeader)
        for number in range(3):
            await stream.send([message(number)])
            sent.append((number, sim.now_s))
        await stream.send([ServerTrailer(Status(0))])
        stream.close()

    async def client(channel: grpc.aio.Channel) -> list[str]:
        call = ChatServiceStub(channel).Chat()
        heard = []
        await call.done_writing()
        for _ in range(3):
            await asyncio.sleep(1)
            heard.append((await call.read()).message)
        return heard

    sent: list[tuple[int, float]] = []
    with simulate(bounds=Bounds(window=1)) as sim:
        sim.answer(pushes)
        assert sim.run(client(sim.aio_channel())) == ["0", "1", "2"]
    assert sent == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_a_reset_and_a_cancel_reach_the_other_end() -> None:
    async def resets(stream: SimStream) -> None:
        await stream.receive(10**12)
        await stream.send([Reset(2)])

    async def cancelled(stream: SimStream) -> None:
        rows = list(await stream.receive(10**12))
        while rows[-1][0] != RowKind.CANCEL:
            rows += await stream.receive(10**12)
        seen.append(rows[-1][2])

    async def reads(channel: grpc.aio.Channel) -> None:
        await ChatServiceStub(channel).Chat().read()

    async def cancels(channel: grpc.aio.Channel) -> None:
        call = ChatServiceStub(channel).Chat()
        await asyncio.sleep(1)
        call.cancel()

    seen: list[Any] = []
    with simulate() as sim:
        sim.answer(resets)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            sim.run(reads(sim.aio_channel()))
        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.INTERNAL,
            "Received RST_STREAM with error code 2",
        )
        sim.answer(cancelled)
        sim.run(cancels(sim.aio_channel()))
    assert seen == [Cancel(8)]


def message(number: int) -> ServerMessage:
    return ServerMessage(ChatMessage(message=str(number)).SerializeToString())
