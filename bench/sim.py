"""What a session costs in sim: complete calls through generated stubs, beside grpc over loopback in the same process.

A session is a whole call: so many messages written, each echoed and read, then the half-close and the status. Both ends
are the same code on both engines, and both run on one core: the process is bound to one while it is measured, because
sim uses no more and grpcio's threads would take the others. A second is one of that core's time, given to this process:
all that a session costs is done here, by grpcio too. Sessions follow one another, on one channel.

Exploring makes a simulation for each session, so that is measured too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench.processes import BenchError
from bench.rows import Row, Target, median_row, paired
from duplexmock.sim.simulation import simulate

sys.path.append(str(Path(__file__).parents[1] / "examples" / "chat_app"))  # of the chat program, whose stubs are used
from chat_app.chat_pb2 import ChatMessage
from chat_app.chat_pb2_grpc import ChatServiceServicer, ChatServiceStub, add_ChatServiceServicer_to_server

ROUNDS = 7
ROUND_S = 0.5

Rate = Callable[[int], float]
"""Given how many messages a session has in each lane: sessions a second."""


class AioEcho(ChatServiceServicer):
    """Says again what it is told."""

    async def Chat(self, request_iterator: AsyncIterator[ChatMessage], context: Any) -> AsyncIterator[ChatMessage]:
        """Echo."""
        async for message in request_iterator:
            yield message


async def aio_session(stub: Any, messages: int) -> None:
    """One whole call; BenchError where it did not go as it should have."""
    call = stub.Chat()
    for number in range(messages):
        await call.write(ChatMessage(sender="Client", message="Hi there!", timestamp=number))
        if (await call.read()).timestamp != number:
            raise BenchError("an echo of another message")
    await call.done_writing()
    if await call.read() is not grpc.aio.EOF or await call.code() is not grpc.StatusCode.OK:
        raise BenchError("the call did not end as it should have")


async def _aio_rate(session: Callable[[int], Awaitable[None]], messages: int) -> float:
    for _ in range(20):
        await session(messages)  # warms up
    sessions, before = 0, time.process_time()
    while (passed := time.process_time() - before) < ROUND_S:
        await session(messages)
        sessions += 1
    return sessions / passed


def of_sim(messages: int) -> float:
    """Sessions a second, all in one simulation."""
    with simulate() as sim:
        add_ChatServiceServicer_to_server(AioEcho(), sim.aio_server())
        stub = ChatServiceStub(sim.aio_channel())
        return sim.run(_aio_rate(lambda count: aio_session(stub, count), messages))


def of_sims(messages: int) -> float:
    """Sessions a second, each in a simulation of its own, with the choices of its deliveries left to a chooser."""
    sessions, before = 0, time.process_time()
    while (passed := time.process_time() - before) < ROUND_S:
        with simulate(choose=lambda options: 0) as sim:
            add_ChatServiceServicer_to_server(AioEcho(), sim.aio_server())
            sim.run(aio_session(ChatServiceStub(sim.aio_channel()), messages))
        sessions += 1
    return sessions / passed


def of_grpc_aio(messages: int) -> float:
    """Sessions a second of grpc.aio over loopback, client and server on one loop."""

    async def measured() -> float:
        server = grpc.aio.server()
        add_ChatServiceServicer_to_server(AioEcho(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = ChatServiceStub(channel)
            rate = await _aio_rate(lambda count: aio_session(stub, count), messages)
        await server.stop(None)
        return rate

    return asyncio.run(measured())


class SyncEcho(ChatServiceServicer):
    """Says again what it is told."""

    def Chat(self, request_iterator: Iterator[ChatMessage], context: Any) -> Iterator[ChatMessage]:
        """Echo."""
        yield from request_iterator


def sync_session(stub: Any, messages: int) -> None:
    """One whole call, synchronously; BenchError where it did not go as it should have."""
    said = (ChatMessage(sender="Client", message="Hi there!", timestamp=number) for number in range(messages))
    call = stub.Chat(said)
    if [message.timestamp for message in call] != list(range(messages)) or call.code() is not grpc.StatusCode.OK:
        raise BenchError("the call did not go as it should have")


def _sync_rate(stub: Any, messages: int) -> float:
    for _ in range(20):
        sync_session(stub, messages)  # warms up
    sessions, before = 0, time.process_time()
    while (passed := time.process_time() - before) < ROUND_S:
        sync_session(stub, messages)
        sessions += 1
    return sessions / passed


def of_sync_sim(messages: int) -> float:
    """Synchronous sessions a second, all in one simulation."""
    with simulate() as sim:
        add_ChatServiceServicer_to_server(SyncEcho(), sim.server())
        return _sync_rate(ChatServiceStub(sim.channel()), messages)


def of_grpc(messages: int) -> float:
    """Synchronous sessions a second of grpc over loopback."""
    server = grpc.server(ThreadPoolExecutor(4))
    add_ChatServiceServicer_to_server(SyncEcho(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        rate = _sync_rate(ChatServiceStub(channel), messages)
    server.stop(None).wait()
    return rate


def rows(folder: Path) -> Iterator[Row]:
    """Yield the rows of both sizes of sessions, and of both APIs."""
    with _one_core():
        for messages in (3, 10):
            rates = _rounds({"sim": of_sim, "sims": of_sims, "grpc.aio": of_grpc_aio}, messages)
            said = f"{messages}+{messages} messages"
            aim = "10,000" if messages == 3 else "5,000"
            yield median_row(f"sim sessions of {said} (hoped for {aim})", rates["sim"], "a second")
            yield median_row(f"sim sessions of {said}, each in its own simulation", rates["sims"], "a second")
            yield median_row(f"grpc.aio sessions of {said}", rates["grpc.aio"], "a second")
            ratios = paired(rates["sim"], rates["grpc.aio"])
            yield median_row(f"sim sessions of {said}, of grpc.aio's", ratios, "times", Target(">=", 8))
        for messages in (3, 10):
            rates = _rounds({"sim": of_sync_sim, "grpc": of_grpc}, messages)
            said = f"{messages}+{messages} messages"
            yield median_row(f"synchronous sim sessions of {said}", rates["sim"], "a second")
            yield median_row(f"synchronous grpc sessions of {said}", rates["grpc"], "a second")
            ratios = paired(rates["sim"], rates["grpc"])
            yield median_row(f"synchronous sim sessions of {said}, of grpc's", ratios, "times", Target(">=", 2))


def _rounds(rates: dict[str, Rate], messages: int) -> dict[str, list[float]]:
    measured: dict[str, list[float]] = {name: [] for name in rates}
    for number in range(ROUNDS):
        names = list(rates) if number % 2 else list(reversed(rates))
        for name in names:
            measured[name].append(rates[name](messages))
    return measured


@contextmanager
def _one_core() -> Iterator[None]:
    """Bind the process to one core, where that can be done."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
