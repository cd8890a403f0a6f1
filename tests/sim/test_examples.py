"""Programs unchanged on both engines: examples/chat_app, and small ones in the manner of grpcio's examples."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import (
    ChatServiceServicer,
    ChatServiceStub,
    add_ChatServiceServicer_to_server,
)
from chat_app.client import Heard, Talk, chat, chat_sync
from chat_app.server import AckServicer, ChatServicer

from duplexmock.sim.simulation import simulate
from tests.sim import routes
from tests.sim.engines import in_sim, on_loopback

Run = Callable[[Any], Any]
Lend = Callable[[Callable[[Any], None]], Any]


@pytest.fixture(params=[on_loopback, in_sim], ids=["grpcio", "sim"])
def engine(request: pytest.FixtureRequest) -> Run:
    run: Run = request.param
    return run


@contextmanager
def real_sync(add: Callable[[Any], None]) -> Iterator[Any]:
    server = grpc.server(ThreadPoolExecutor(4))
    add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


@contextmanager
def simulated_sync(add: Callable[[Any], None]) -> Iterator[Any]:
    with simulate() as sim:
        add(sim.server())
        yield sim.channel()


@pytest.fixture(params=[real_sync, simulated_sync], ids=["grpcio", "sim"])
def lend(request: pytest.FixtureRequest) -> Lend:
    given: Lend = request.param
    return given


class SyncAck(ChatServiceServicer):
    """Acknowledges each message."""

    def Chat(self, request_iterator: Iterator[ChatMessage], context: Any) -> Iterator[ChatMessage]:
        for message in request_iterator:
            yield ChatMessage(sender="Server", message=f"ack: {message.message}", timestamp=8)


def acks(count: int) -> tuple[ChatMessage, ...]:
    texts = (f"ack: Hi there! Message {number}" for number in range(count))
    return tuple(ChatMessage(sender="Server", message=text, timestamp=8) for text in texts)


# The chat of examples/


def chatted(engine: Run, servicer: ChatServiceServicer, talk: Talk) -> Heard:
    async def story(stage: Any) -> Heard:
        server = stage.server()
        add_ChatServiceServicer_to_server(servicer, server)
        await server.start()
        return await chat(stage.channel(), talk)

    heard: Heard = engine(story)
    return heard


def test_the_chat_acknowledges(engine: Run) -> None:
    talk = Talk(count=3, interval_s=0.01, deadline_s=20.0, clock=lambda: 7)

    assert chatted(engine, AckServicer(clock=lambda: 8), talk) == Heard(acks(3), grpc.StatusCode.OK)


def test_the_chat_pushes_until_the_deadline(engine: Run) -> None:
    talk = Talk(count=1, interval_s=0.0, deadline_s=0.25, clock=lambda: 7)

    heard = chatted(engine, ChatServicer(interval_s=0.1, clock=lambda: 8), talk)

    assert heard.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert {message.message for message in heard.messages} == {"Hello from the server!"}


def test_the_chat_as_it_is_written_takes_no_time_in_sim() -> None:
    """Two seconds between messages, five between pushes, a deadline of ten: the third push is the second's last."""
    began = time.monotonic()
    with simulate() as sim:
        add_ChatServiceServicer_to_server(ChatServicer(clock=lambda: 8), sim.aio_server())
        heard = sim.run(chat(sim.aio_channel(), Talk(clock=lambda: 7)))
        assert sim.now_s == 10.0

    assert heard.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(heard.messages) in (2, 3)
    assert time.monotonic() - began < 5  # of ten that it would take


def test_the_synchronous_chat_acknowledges(lend: Lend) -> None:
    talk = Talk(count=3, interval_s=0.0, deadline_s=20.0, clock=lambda: 7)
    with lend(lambda server: add_ChatServiceServicer_to_server(SyncAck(), server)) as channel:
        assert chat_sync(channel, talk) == Heard(acks(3), grpc.StatusCode.OK)


def test_the_synchronous_chat_talks_to_the_servicer_of_the_example() -> None:
    talk = Talk(count=3, interval_s=0.0, deadline_s=20.0, clock=lambda: 7)
    with simulate() as sim:
        add_ChatServiceServicer_to_server(AckServicer(clock=lambda: 8), sim.aio_server())
        assert chat_sync(sim.channel(), talk) == Heard(acks(3), grpc.StatusCode.OK)


# In the manner of route guide


CHATTED = ["here: First", "here: First", "here: Third"]
FOUND = ["Patriots Path", "NOT_FOUND: no feature 7", "Patriots Path"]


def test_the_four_types_of_call(engine: Run) -> None:
    async def story(stage: Any) -> list[str]:
        server = stage.server()
        routes.add_to_server(routes.AioRoutes(), server)
        await server.start()
        return await routes.guide(stage.channel(), 0.01)

    assert engine(story) == [*FOUND, "3 points in 0 s", *CHATTED]


def test_a_route_of_an_hour_takes_no_time_in_sim() -> None:
    with simulate() as sim:
        routes.add_to_server(routes.AioRoutes(), sim.aio_server())
        assert sim.run(routes.guide(sim.aio_channel(), 1200.0)) == [*FOUND, "3 points in 3600 s", *CHATTED]


def test_the_four_types_of_call_synchronously(lend: Lend) -> None:
    with lend(lambda server: routes.add_to_server(routes.SyncRoutes(), server)) as channel:
        assert routes.guide_sync(channel) == [*FOUND, "3 points", *CHATTED]


# A chat that is kept alive


class KeepsAlive(ChatServiceServicer):
    """Answers, and says `ping` whenever nothing was said for a while; three pings without a word end the call."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s

    async def Chat(self, request_iterator: AsyncIterator[ChatMessage], context: Any) -> None:
        said: asyncio.Queue[ChatMessage | None] = asyncio.Queue()

        async def listen() -> None:
            async for message in request_iterator:
                said.put_nowait(message)
            said.put_nowait(None)

        listening = asyncio.create_task(listen())
        pings = 0
        while pings < 3:
            try:
                message = await asyncio.wait_for(said.get(), self._patience_s)
            except TimeoutError:
                pings += 1
                await context.write(ChatMessage(sender="Server", message="ping"))
                continue
            if message is None:
                return
            pings = 0
            await context.write(ChatMessage(sender="Server", message=f"heard {message.message}"))
        listening.cancel()
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "nobody there")


def kept_alive(engine: Run, patience_s: float, client: Callable[[Any], Any]) -> Any:
    async def story(stage: Any) -> Any:
        server = stage.server()
        add_ChatServiceServicer_to_server(KeepsAlive(patience_s), server)
        await server.start()
        return await client(ChatServiceStub(stage.channel()).Chat())

    return engine(story)


def test_who_answers_pings_is_kept(engine: Run) -> None:
    async def client(call: Any) -> list[str]:
        heard = []
        async with asyncio.timeout(20):
            await call.write(ChatMessage(message="hello"))
            heard.append((await call.read()).message)
            heard.append((await call.read()).message)
            await call.write(ChatMessage(message="pong"))
            while (message := await call.read()).message == "ping":
                pass
            heard.append(message.message)
            await call.done_writing()
            while (message := await call.read()) is not grpc.aio.EOF:
                pass
        return [*heard, (await call.code()).name]

    assert kept_alive(engine, 0.1, client) == ["heard hello", "ping", "heard pong", "OK"]


def test_who_says_nothing_is_let_go(engine: Run) -> None:
    async def client(call: Any) -> tuple[list[str], Any]:
        heard = []
        try:
            async for message in call:
                heard.append(message.message)
        except grpc.aio.AioRpcError as error:
            return heard, (error.code(), error.details())
        return heard, None

    expected = (["ping"] * 3, (grpc.StatusCode.DEADLINE_EXCEEDED, "nobody there"))
    assert kept_alive(engine, 0.05, client) == expected


# An interceptor that authenticates

USER: contextvars.ContextVar[str] = contextvars.ContextVar("user")
KEYS = {"key-of-ada": "ada"}


class Authenticates(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets those through who have a key, and refuses the others."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        key = dict(handler_call_details.invocation_metadata).get("x-api-key")
        if key in KEYS:
            USER.set(KEYS[key])
            return await continuation(handler_call_details)

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "a key is missing or wrong")

        return grpc.stream_stream_rpc_method_handler(refuse)


class HasKey(grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    """Adds a key to each call."""

    def __init__(self, key: str) -> None:
        self._key = key

    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()), ("x-api-key", self._key))
        return await continuation(client_call_details._replace(metadata=metadata), request_iterator)


class Greets(ChatServiceServicer):
    """Greets its user by name, at each message."""

    async def Chat(self, request_iterator: AsyncIterator[ChatMessage], context: Any) -> AsyncIterator[ChatMessage]:
        async for message in request_iterator:
            yield ChatMessage(sender="Server", message=f"{message.message}, {USER.get()}")


@pytest.mark.parametrize(
    ("key", "heard"),
    [
        ("key-of-ada", ["hello, ada", "bye, ada", "OK"]),
        ("key-of-eve", ["UNAUTHENTICATED: a key is missing or wrong"]),
    ],
)
def test_a_call_is_authenticated(engine: Run, key: str, heard: list[str]) -> None:
    async def said() -> AsyncIterator[ChatMessage]:
        for text in ("hello", "bye"):
            yield ChatMessage(message=text)

    async def story(stage: Any) -> list[str]:
        server = stage.server([Authenticates()])
        add_ChatServiceServicer_to_server(Greets(), server)
        await server.start()
        call = ChatServiceStub(stage.channel([HasKey(key)])).Chat(said() if key == "key-of-ada" else None)
        try:
            replies = [message.message async for message in call]
        except grpc.aio.AioRpcError as error:
            return [f"{error.code().name}: {error.details()}"]
        return [*replies, (await call.code()).name]

    assert engine(story) == heard
