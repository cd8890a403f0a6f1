"""The client's seat: dials, and opens the calls of a Play on connections as the recording had them."""

from __future__ import annotations

import asyncio

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.net import address as addresses
from duplexmock.net.address import Address
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.driver import Driver, LiveStream
from duplexmock.play.repertoire import Part


class Client:
    """Opens calls at `target`: sessions that shared a connection share one, as long as it takes new calls.

    The first `patience_s` seconds a server that nobody reaches is tried again: it may be starting.
    """

    def __init__(self, target: Address, clock: MonotonicClock, patience_s: float = 0) -> None:
        self._target = target
        self._clock = clock
        self._until_ns = clock.now_ns() + round(patience_s * 1e9)
        self._drivers: dict[tuple[str, int, int], Driver] = {}
        self._connections = 0

    async def open(self, part: Part) -> LiveStream:
        """Return a stream for a part, on which nothing has been said; ScriptError where nobody answers."""
        key = part.source.name, part.turn, part.connection
        driver = self._drivers.get(key)
        if driver is None or driver.is_leaving:
            driver = self._drivers[key] = await self._dial()
        return LiveStream(driver)

    def close(self) -> None:
        """Close all connections."""
        for driver in self._drivers.values():
            driver.close()

    async def _dial(self) -> Driver:
        self._connections += 1
        driver = Driver(Side.CLIENT, self._clock, self._connections)
        while True:
            try:
                await addresses.connect(self._target, lambda: driver)
                return driver
            except OSError as exc:
                if self._clock.now_ns() >= self._until_ns:
                    raise ScriptError(f"{self._target} cannot be reached: {addresses.reason(exc)}") from exc
            await asyncio.sleep(_AGAIN_S)


_AGAIN_S = 0.05
"""Between two tries to reach a server that is starting."""
