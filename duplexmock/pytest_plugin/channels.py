"""Ready grpcio channels to one address, closed together.

They share no connection with other channels of the process: a test must not find that of the test before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from duplexmock.errors import ScriptError
from duplexmock.net.background import Background


class Channels:
    """Opens channels; `close` and `close_async` close those that are open."""

    def __init__(self) -> None:
        self._channels: list[Any] = []
        self._aio_channels: list[tuple[asyncio.AbstractEventLoop, Any]] = []

    def channel(self, target: str) -> Any:
        """Return a channel of grpc."""
        import grpc

        channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._channels.append(channel)
        return channel

    def aio_channel(self, target: str) -> Any:
        """Return a channel of grpc.aio, for the event loop that runs here."""
        import grpc.aio

        channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._aio_channels.append((asyncio.get_running_loop(), channel))
        return channel

    def close(self) -> None:
        """Close all; those of grpc.aio whose loop runs no more have no calls that could be ended in order."""
        while self._channels:
            self._channels.pop().close()
        if self._aio_channels:
            background = Background("duplexmock-channels")
            try:
                for _, channel in self._aio_channels:
                    with suppress(RuntimeError):  # a call of a loop that is closed cannot be cancelled
                        background.run(channel.close())
            finally:
                self._aio_channels.clear()
                background.close()

    async def close_async(self) -> None:
        """Close all channels of grpc.aio that belong to the event loop that runs here."""
        here = asyncio.get_running_loop()
        for loop, channel in self._aio_channels:
            if loop is here:
                await channel.close()
        self._aio_channels = [each for each in self._aio_channels if each[0] is not here]


def check_asyncio(what: str, instead: str) -> None:
    """Raise ScriptError where no event loop of asyncio runs: in a synchronous test, and in one of trio."""
    __tracebackhide__ = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise ScriptError(f"{what} is for asyncio, and no event loop of asyncio runs here; use {instead}") from None


_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)
