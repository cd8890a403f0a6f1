"""The two engines that the same code runs on: grpc.aio over loopback, and sim.

A story is a coroutine function that is given a Stage, by which it serves handlers and opens channels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from duplexmock.sim.simulation import Leaks, Simulation, simulate

Result = TypeVar("Result")


class Stage(Protocol):
    """Where a story takes place."""

    def server(self, interceptors: Sequence[Any] = (), **terms: Any) -> grpc.aio.Server:
        """Return a server that is not started; it is stopped at the story's end."""

    def channel(self, interceptors: Sequence[Any] = ()) -> grpc.aio.Channel:
        """Return a channel to the server that was made last; it is closed at the story's end."""


Story = Callable[[Any], Awaitable[Result]]


class Loopback:
    """A stage of real servers and channels."""

    def __init__(self) -> None:
        self._servers: list[grpc.aio.Server] = []
        self._channels: list[grpc.aio.Channel] = []
        self._port = 1  # nobody listens there

    def server(self, interceptors: Sequence[Any] = (), **terms: Any) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=interceptors, **terms)
        self._port = server.add_insecure_port("127.0.0.1:0")
        self._servers.append(server)
        return server

    def channel(self, interceptors: Sequence[Any] = ()) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", interceptors=list(interceptors))
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        """Close what was opened."""
        for channel in self._channels:
            await channel.close()
        for server in self._servers:
            await server.stop(None)


def on_loopback(story: Story[Result]) -> Result:
    """Run a story on real grpc.aio."""

    async def told() -> Result:
        stage = Loopback()
        try:
            return await story(stage)
        finally:
            await stage.close()

    return asyncio.run(told())


def in_sim(story: Story[Result]) -> Result:
    """Run a story in a simulation."""
    with simulate(leaks=Leaks.ALLOW) as sim:
        return sim.run(story(Simulated(sim)))


class Simulated:
    """A stage in memory."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._target = "127.0.0.1:1"  # nobody listens there

    def server(self, interceptors: Sequence[Any] = (), **terms: Any) -> grpc.aio.Server:
        server = self._sim.aio_server(interceptors=interceptors, **terms)
        self._target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        return server

    def channel(self, interceptors: Sequence[Any] = ()) -> grpc.aio.Channel:
        return self._sim.aio_channel(self._target, interceptors=list(interceptors))
