"""The mock's seat: listens, and gives every call that comes in to a Play, or to a Serving."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable

from duplexmock.core.events import Side
from duplexmock.net import address as addresses
from duplexmock.net.address import Address
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.driver import Driver, LiveStream
from duplexmock.play.stream import Answering
from duplexmock.wire.limits import Config

MAX_TOLD = 10
"""Connections whose end is told: whoever has read ten of them knows."""


class Server:
    """Answers calls by `play`. On one loop: start, then stop.

    `name` is what clients that are left behind were left by, and `gone` is told each connection that has gone.
    `unreadable` has a sentence for each connection that was ended because of what its client sent, MAX_TOLD at most.
    """

    def __init__(
        self,
        play: Answering,
        clock: MonotonicClock,
        config: Config | None = None,
        *,
        name: str = "the replay",
        gone: Callable[[Driver], None] = lambda driver: None,
    ) -> None:
        self._play = play
        self._name = name
        self._gone = gone
        self._clock = clock
        self._config = config
        self._server: asyncio.Server | None = None
        self._listening = Address()
        self._drivers: set[Driver] = set()
        self._connections = 0
        self._calls: dict[asyncio.Task[None], LiveStream] = {}
        self._failures: list[BaseException] = []
        self._idle_since_s = 0.0
        self._change = asyncio.Event()
        self.unreadable: list[str] = []
        # One for all calls: each of a thousand idle ones would keep its own (bench: `an idle call of 1,000`).
        self._context = contextvars.copy_context()
        self._when_ended = self._ended

    async def start(self, listen: Address) -> Address:
        """Listen, and return the address with its port; ScriptError where it cannot be had."""
        self._server, self._listening = await addresses.listen(listen, self._connected)
        await self._server.start_serving()
        self._idle_since_s = asyncio.get_running_loop().time()
        return self._listening

    async def idle(self, for_s: float) -> None:
        """Wait until no call has been open for so many seconds, those before this was called among them."""
        loop = asyncio.get_running_loop()
        while (left_s := self._idle_since_s + for_s - loop.time()) > 0 or self._calls:
            self._change.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._calls else left_s):
                    await self._change.wait()

    async def stop(self, grace_s: float) -> None:
        """Stop accepting connections, give open calls `grace_s` seconds to end, and close; what is open then is lost.

        Raises what a play has raised: a bug, or what a caller's own code has raised.
        """
        if self._server is not None:
            self._server.close()
            addresses.unlink(self._listening)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                if self._calls:
                    await asyncio.wait(self._calls)
                for driver in tuple(self._drivers):
                    await driver.finished()
        closing = tuple(self._drivers)
        for driver in closing:
            driver.close(f"{self._name} was ended")
        if self._calls:
            # Their streams are lost now, and their outcomes say what they still waited for.
            await asyncio.wait(self._calls)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                for driver in closing:
                    await driver.gone()
        for driver in closing:
            driver.abort()
        if self._failures:
            raise self._failures[0]

    async def abandon(self) -> None:
        """Lose all connections now, for one who does not wait for `stop`."""
        for driver in tuple(self._drivers):
            driver.close(f"{self._name} was ended")

    def _connected(self) -> Driver:
        self._connections += 1
        driver = Driver(
            Side.SERVER,
            self._clock,
            self._connections,
            config=self._config,
            accept=self._accept,
            over=self._over,
        )
        self._drivers.add(driver)
        return driver

    def _over(self, driver: Driver) -> None:
        self._drivers.discard(driver)
        self._gone(driver)
        failed = driver.endpoint.failed
        if failed is not None and len(self.unreadable) < MAX_TOLD:
            connection = driver.connection
            self.unreadable.append(f"connection {connection.number}, {connection.client}: {failed.reason}")

    def _accept(self, stream: LiveStream) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._play.answer(stream), name="duplexmock call", context=self._context)
        self._calls[task] = stream
        self._change.set()
        task.add_done_callback(self._when_ended, context=self._context)

    def _ended(self, task: asyncio.Task[None]) -> None:
        stream = self._calls.pop(task)
        self._idle_since_s = asyncio.get_running_loop().time()
        self._change.set()
        exc = None if task.cancelled() else task.exception()
        if exc is not None:
            self._failures.append(exc)
        if exc is not None or task.cancelled():
            stream.fail()  # a client must not wait for what will not come
