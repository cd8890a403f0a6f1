"""Held: a Stream whose player speaks when a test lets it.

While it is held, what is said is kept here, in its order, and what comes is heard all the same; `release` says it, all
of it or so many messages. `push` says a message past what is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duplexmock.core.events import LAST_WORDS, ServerHeader, ServerMessage, ServerTrailer
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.play.around import Around

if TYPE_CHECKING:
    from duplexmock.core.acts import Wrong
    from duplexmock.core.lanes import Loss, Parting
    from duplexmock.core.status import Status
    from duplexmock.play.stream import Stream


class _Deed(NamedTuple):
    """What is to be done to the connection, kept among what is to be said."""

    what: Loss | Parting | Wrong


class Held(Around):
    """The server's end of one call.

    `is_held` tells whether it keeps what is said, `has_ended` whether a last word was said, and `was_ended` whether
    that was said by `end`, and not by who plays the call: to that one it is lost.
    """

    def __init__(self, stream: Stream, is_held: bool = False) -> None:
        super().__init__(stream)
        self.is_held = is_held
        self.has_header = False
        self.has_ended = False
        self.was_ended = False
        self._kept: deque[Any] = deque()

    @property
    def lost(self) -> str | None:
        """Say why the connection went away, or that the call was ended."""
        return "ended by the test" if self.was_ended else self._stream.lost

    @property
    def kept(self) -> int:
        """Return how many events wait to be let go."""
        return len(self._kept)

    def keep(self) -> None:
        """Say nothing from now on."""
        self.is_held = True

    async def let_go(self, messages: int | None = None) -> None:
        """Say what was kept: all, and from now on everything at once; or so many messages, and go on keeping.

        A status counts as a message, and a header goes with what stands behind it.
        """
        if messages is None:
            self.is_held = False
        left = messages
        while self._kept and left != 0:
            event = self._kept.popleft()
            if isinstance(event, _Deed):
                await self._stream.do(event.what)
            else:
                await self._say([event])
            if left is not None and not isinstance(event, ServerHeader):
                left -= 1
        self.wake()

    async def push(self, event: ServerMessage) -> None:
        """Say this now, behind a header if there was none."""
        await self._say([event] if self.has_header else [self._header(), event])

    async def end(self, status: Status, trailing: Metadata = Metadata()) -> None:
        """End the call with a status now; what was kept is not said any more."""
        self._kept.clear()
        first = () if self.has_header else GRPC_ANSWER
        self.was_ended = not self.has_ended
        await self._say([ServerTrailer(status, Metadata((*first, *trailing)))])
        self.wake()

    async def send(self, events: Sequence[Any]) -> None:
        """Say these, or keep them."""
        if self.is_held:
            self._kept.extend(events)
        else:
            await self._say(events)

    async def do(self, what: Loss | Parting | Wrong) -> None:
        """Lose the connection, or say GOAWAY: in its turn."""
        if self.is_held:
            self._kept.append(_Deed(what))
        else:
            await self._stream.do(what)

    def close(self) -> None:
        """Give up what is still open of the call, and what was kept."""
        self._kept.clear()
        self._stream.close()

    def _header(self) -> ServerHeader:
        """Return the header that is kept, which is said now, or a bare one."""
        for place, event in enumerate(self._kept):
            if isinstance(event, ServerHeader):
                del self._kept[place]
                return event
        return ServerHeader(GRPC_ANSWER)

    async def _say(self, events: Sequence[Any]) -> None:
        if not self.has_header:
            self.has_header = any(isinstance(event, ServerHeader) for event in events)
        elif isinstance(events[0], ServerHeader):
            events = events[1:]  # a push has said one
        if events and not self.has_ended:
            self.has_ended = isinstance(events[-1], LAST_WORDS)
            await self._stream.send(events)
