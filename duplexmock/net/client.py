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
from duplexmock.wire.limits import Config


class Client:
    """Opens calls at `target`: sessions that shared a connection share one, as long as it takes new calls.

    The first `patience_s` seconds a server that nobody reaches is tried again: it may be starting.
    """

    def __init__(
        self, target: Address, clock: MonotonicClock, patience_s: float = 0, config: Config | None = None
    ) -> None:
        self._target = target
        self._clock = clock
        self._config = config
        self._until_ns = clock.now_ns() + round(patience_s * 1e9)
        self._drivers: dict[tuple[str, int, int], Driver] = {}
        self._every: set[Driver] = set()
        self._connections = 0
        self._has_connected = False
        self._dialling = asyncio.Lock()

    async def open(self, part: Part) -> LiveStream:
        """Return a stream for a part, on which nothing has been said.

        ScriptError where nobody has answered yet; a server that answered before and does not any more is lost.
        """
        return await self.open_on((part.source.name, part.turn, part.connection))

    async def open_on(self, key: tuple[str, int, int]) -> LiveStream:
        """Return a stream on the connection that is known by this key, which is made where there is none yet."""
        async with self._dialling:
            driver = self._drivers.get(key)
            if driver is None or driver.is_leaving:
                self._close_past(key)
                driver = self._drivers[key] = await self._dial()
        return LiveStream(driver)

    def close(self) -> None:
        """Close all connections."""
        for driver in tuple(self._every):
            driver.close()

    def _close_past(self, key: tuple[str, int, int]) -> None:
        """Close what no call of this pass over this fixture is on, and as many idle ones as are too many."""
        for other in [other for other in self._drivers if other[:2] != key[:2]]:
            self._drivers.pop(other).close()
        for other in [other for other, driver in self._drivers.items() if driver.is_idle][:-MAX_IDLE]:
            self._drivers.pop(other).close()

    async def _dial(self) -> Driver:
        self._connections += 1
        driver = Driver(Side.CLIENT, self._clock, self._connections, config=self._config, over=self._every.discard)
        while True:
            try:
                await addresses.connect(self._target, lambda: driver)
                self._has_connected = True
                self._every.add(driver)
                return driver
            except OSError as exc:
                reason = f"{self._target} cannot be reached: {addresses.reason(exc)}"
                if self._has_connected:
                    driver.refuse_all(reason)
                    return driver
                if self._clock.now_ns() >= self._until_ns:
                    raise ScriptError(reason) from exc
            await asyncio.sleep(_AGAIN_S)


MAX_IDLE = 100
"""Connections without a call that are kept for the next one of the recording: each is a file, of which there are 1,024.

A session that comes later on such a connection gets a new one.
"""

_AGAIN_S = 0.05
"""Between two tries to reach a server that is starting."""
