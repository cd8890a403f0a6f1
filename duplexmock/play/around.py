"""A Stream around a Stream: it passes all on, and who derives from it says what it does otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duplexmock.core.acts import Wrong
    from duplexmock.core.connection import Connection
    from duplexmock.core.lanes import Loss, Parting
    from duplexmock.core.rows import Row
    from duplexmock.play.stream import Stream


class Around:
    """The live end of one call, as play/stream.py has it; nothing is changed here."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def lost(self) -> str | None:
        """Say why the connection went away."""
        return self._stream.lost

    @property
    def is_refused(self) -> bool:
        """Tell whether the call was refused unprocessed."""
        return self._stream.is_refused

    @property
    def connection(self) -> Connection:
        """Return the connection that it runs on."""
        return self._stream.connection

    @property
    def stream_id(self) -> int:
        """Return the stream that it has there."""
        return self._stream.stream_id

    async def send(self, events: Sequence[Any]) -> None:
        """Say these."""
        await self._stream.send(events)

    async def do(self, what: Loss | Parting | Wrong) -> None:
        """Lose the connection, say GOAWAY, or do what a fault has done."""
        await self._stream.do(what)

    def receive(self, until_ns: int) -> Awaitable[Sequence[Row]]:
        """Return what has come."""
        return self._stream.receive(until_ns)

    def wake(self) -> None:
        """Let `receive` return."""
        self._stream.wake()

    async def drained(self) -> None:
        """Wait until little of what was said waits for the peer's windows."""
        await self._stream.drained()

    def hold(self) -> None:
        """Give the peer no more window."""
        self._stream.hold()

    def release(self) -> None:
        """Give the peer window again."""
        self._stream.release()

    def close(self) -> None:
        """Give up what is still open of the call."""
        self._stream.close()
