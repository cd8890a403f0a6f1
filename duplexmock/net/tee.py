"""A Tee: what a mock sees and says, written into a fixture as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from duplexmock.core.connection import Closing
from duplexmock.core.events import Side
from duplexmock.core.rows import Row, RowKind
from duplexmock.net.recording import Finished, Recording
from duplexmock.wire.tap import Tap

if TYPE_CHECKING:
    from duplexmock.net.driver import Driver
    from duplexmock.play.serving import ServedCall
    from duplexmock.schema.descriptors import Descriptors


class Tee:
    """Writes a mock's calls into the fixture `out`; `warnings` has what went wrong with the file."""

    def __init__(
        self,
        out: Path | str,
        *,
        if_exists: Literal["refuse", "overwrite"] = "refuse",
        redact: Sequence[str] = (),
    ) -> None:
        self.warnings: list[str] = []
        self._out = out
        self._if_exists = if_exists
        self._redact = redact
        self._recording: Recording | None = None
        self._connections: dict[int, int] = {}

    @property
    def recording(self) -> Recording:
        """Return what is written; there from `begin` on."""
        assert self._recording is not None
        return self._recording

    def begin(self, target: str, descriptors: Descriptors | None) -> None:
        """Make the file, of the mock that listens there; FixtureError where that cannot be done."""
        serialized = None if descriptors is None else descriptors.serialized
        self._recording = Recording(
            self._out, target, self, if_exists=self._if_exists, redact=self._redact, descriptors=serialized
        )

    async def end(self) -> None:
        """Complete the file."""
        if self._recording is not None:
            await self._recording.finish()

    def take(self, call: ServedCall, rows: Sequence[Row]) -> None:
        """Take rows of a call."""
        recording, number = self.recording, call.number
        first = rows[0]
        if first[0] == RowKind.CLIENT_HEADER:
            connection = self._connections.get(call.connection.number)
            if connection is None:
                made = call.connection
                connection = self._connections[made.number] = recording.connected(made.client, made.server)
            admitted = recording.admit(call.method)
            assert admitted == number
            header = (first[0], number, first[2], connection, call.stream_id)
            rows = [header, *((row[0], number, *row[2:]) for row in rows[1:])]
        else:
            rows = [(row[0], number, *row[2:]) for row in rows]
        recording.take(recording.now_ns(), rows)

    def gone(self, driver: Driver, open_calls: Sequence[int]) -> None:
        """Take the end of a connection, on which these calls may have been open."""
        number = self._connections.pop(driver.connection.number, None)
        if number is None:
            return
        recording = self.recording
        how, side = _HOW.get(driver.lost or "", (Closing.CLOSED, Side.CLIENT))
        recording.disconnected(number, Tap(number, recording.admit), open_calls, how, side)

    def ended(self, session: Finished) -> None:
        """A session is in the file."""

    def warn(self, text: str) -> None:
        """Something is not as it should be."""
        self.warnings.append(text)


_HOW: dict[str, tuple[Closing, Side | None]] = {
    "reset": (Closing.RESET, Side.CLIENT),
    "as recorded": (Closing.CLOSED, Side.SERVER),
    "the mock was ended": (Closing.STOPPED, None),
}
"""What the driver calls the loss of its connection, and what that was."""
