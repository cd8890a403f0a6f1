"""A capture: calls that no session of a replay fits, passed on to the live server and recorded.

    client ─── the replay's connection ─── Capture ─── a connection for each call ─── server

Unlike the proxy it answers for both connections, because the first one is the replay's: what is said on a call is said
again by an endpoint of our own. What is recorded is what each side said, when it came here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from duplexmock.core.connection import Closing
from duplexmock.core.events import Cancel, ServerHeader, ServerTrailer, Side
from duplexmock.core.rows import Row, RowKind, event_of
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.net import address as addresses
from duplexmock.net.address import Address
from duplexmock.net.clock import MonotonicClock
from duplexmock.net.driver import Driver, LiveStream
from duplexmock.net.recording import Finished, Recording
from duplexmock.play.stream import LONG_NS, Stream
from duplexmock.store.index import ENDINGS
from duplexmock.wire.tap import Tap


class Capture:
    """Records calls of `upstream` into the fixture `out`; given to a replay, which begins and ends it on its loop.

    `redact` are metadata keys besides the usual ones whose values are not written. `count` is how many calls there
    were.
    """

    def __init__(self, upstream: str, out: Path | str, redact: Sequence[str] = ()) -> None:
        self.out = Path(out)
        self.warnings: list[str] = []
        self._upstream: Address = addresses.parse_target(upstream, "upstream")
        self._redact = redact
        self._clock = MonotonicClock()
        self._recording: Recording | None = None

    @property
    def count(self) -> int:
        """Return how many calls were passed on."""
        return 0 if self._recording is None else self._recording.counts.sessions

    def begin(self) -> None:
        """Make the file."""
        self._recording = Recording(self.out, str(self._upstream), self, redact=self._redact)

    def flush(self) -> None:
        """Have in the file what has been seen."""
        if self._recording is not None:
            self._recording.flush()

    async def end(self) -> None:
        """Complete the file."""
        if self._recording is not None:
            await self._recording.finish()

    def ended(self, session: Finished) -> None:
        """A session is in the file."""

    def warn(self, text: str) -> None:
        """Something is not as it should be."""
        self.warnings.append(text)

    async def take(self, stream: Stream, rows: Sequence[Row], has_header: bool) -> None:
        """Pass a call on to its end: what came on it, and what comes; `has_header` where it was answered already."""
        recording = self._recording
        assert recording is not None
        driver = Driver(Side.CLIENT, self._clock, 1)
        try:
            await addresses.connect(self._upstream, lambda: driver)
        except OSError as exc:
            reason = f"{self._upstream} cannot be reached: {addresses.reason(exc)}"
            self.warn(reason)
            await stream.send([ServerTrailer(Status(Code.UNAVAILABLE, reason))])
            return
        connection = recording.connected(stream.connection.client, driver.connection.server)
        number = recording.admit(rows[0][2].method)
        assert number is not None
        upstream = LiveStream(driver)
        passing = _Passing(recording, self._clock, connection, number)
        asked = asyncio.ensure_future(passing.client(stream, upstream, rows))
        try:
            if not await passing.server(upstream, stream, has_header):
                await stream.send([ServerTrailer(Status(Code.UNAVAILABLE, f"{self._upstream}: {upstream.lost}"))])
        finally:
            asked.cancel()
            await asyncio.wait((asked,))
            upstream.close()
            driver.close()
            is_over = passing.is_over
            recording.disconnected(
                connection, Tap(connection, recording.admit), () if is_over else (number,), Closing.CLOSED, Side.CLIENT
            )


class _Passing:
    """One call that is passed on; `is_over` when one side has ended it."""

    def __init__(self, recording: Recording, clock: MonotonicClock, connection: int, number: int) -> None:
        self.is_over = False
        self._recording = recording
        self._clock = clock
        self._connection = connection
        self._number = number

    async def client(self, client: Stream, server: Stream, rows: Sequence[Row]) -> None:
        """Pass on what the client says, until it cancels or is lost."""
        while True:
            if rows:
                await self._pass(rows, server)
            elif client.lost is not None:
                await server.send([Cancel(ErrorCode.CANCEL)])
                return
            rows = await client.receive(self._clock.now_ns() + LONG_NS)

    async def server(self, server: Stream, client: Stream, has_header: bool) -> bool:
        """Pass on what the server says, to the end of the call; tell whether it was ended, and not lost."""
        while not self.is_over:
            rows = await server.receive(self._clock.now_ns() + LONG_NS)
            if rows:
                await self._pass(rows, client, has_header)
            elif server.lost is not None:
                return self.is_over
        return True

    async def _pass(self, rows: Sequence[Row], to: Stream, has_header: bool = False) -> None:
        self._recording.take(self._recording.now_ns(), [self._numbered(row) for row in rows])
        events = [event for event in map(event_of, rows) if event is not None]
        if any(row[0] in ENDINGS for row in rows):
            self.is_over = True
        await to.send([event for event in events if not (has_header and isinstance(event, ServerHeader))])
        if self.is_over:
            to.wake()

    def _numbered(self, row: Row) -> Row:
        if row[0] == RowKind.CLIENT_HEADER:
            return (row[0], self._number, row[2], self._connection, row[4])
        return (row[0], self._number, *row[2:])
