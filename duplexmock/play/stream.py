"""What a play needs of the world: the live end of a call, and a clock. net/ has real ones, a test can write its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from duplexmock.core.connection import Connection
from duplexmock.core.events import Event
from duplexmock.core.lanes import Loss, Parting
from duplexmock.core.rows import Row

if TYPE_CHECKING:
    from duplexmock.core.acts import Wrong


class Clock(Protocol):
    """Tells the time."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""


class Stream(Protocol):
    """The live end of one call."""

    @property
    def lost(self) -> str | None:
        """Say why its connection went away; None while it has not, and while rows that came before wait."""

    @property
    def is_refused(self) -> bool:
        """Tell whether the server said that it has not processed the call: it may be opened again."""

    @property
    def connection(self) -> Connection:
        """Return the connection that it runs on."""

    @property
    def stream_id(self) -> int:
        """Return the stream that it has there, 0 where it has not been opened."""

    async def send(self, events: Sequence[Any]) -> None:
        """Say these, in their order: events, or a slice of what `prepare` returned.

        Returns when so little waits to be written that more may be said. Nothing is raised where the call is over: what
        cannot be said is dropped, and the peer's rows tell.
        """

    async def do(self, what: Loss | Parting | Wrong) -> None:
        """Lose the connection, or say GOAWAY, behind all that was said; or do what a fault has done."""

    def receive(self, until_ns: int) -> Awaitable[Sequence[Row]]:
        """Return what has come, as soon as something has, or an empty run: at this time, at a `wake`, or at a loss."""

    def wake(self) -> None:
        """Let `receive` return."""

    async def drained(self) -> None:
        """Wait until little of what was said waits for the peer's windows; returns at once where the call is over."""

    def hold(self) -> None:
        """Give the peer no more window until `release`: what it says beyond the one it has waits on its side."""

    def release(self) -> None:
        """Give the peer window again."""

    def close(self) -> None:
        """Give up what is still open of the call: it has been played."""


class Answering(Protocol):
    """Answers the calls of a server: a Play of fixtures, a Serving of scripts."""

    async def answer(self, stream: Stream) -> None:
        """Answer a call that has come in, to its end."""


LONG_NS = 3_600_000_000_000
"""What a `receive` waits for at the most where nothing else bounds it: an hour, and then it is asked again."""

Prepare = Callable[[Sequence[Event]], Sequence[Any]]
"""Makes a lane ready to be sent, once for all plays of it; slices of the result go to `Stream.send`."""
