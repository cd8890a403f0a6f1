"""A lane made ready for the wire: its messages framed once, ahead of time, for every play of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from duplexmock.core.events import ClientMessage, Event, ServerMessage
from duplexmock.wire.framed import Framed


class FramedLane(Sequence[Any]):
    """The events of a lane; a slice has a run of messages as one Framed. The messages of a lane stand together."""

    def __init__(self, lane: Sequence[Event]) -> None:
        messages = [
            (position, event)
            for position, event in enumerate(lane)
            if isinstance(event, (ClientMessage, ServerMessage))
        ]
        self._lane = lane
        self._first = messages[0][0] if messages else len(lane)
        self._behind = self._first + len(messages)
        self._framed = Framed([(message.flags, message.payload) for _, message in messages])

    def __len__(self) -> int:
        return len(self._lane)

    @overload
    def __getitem__(self, part: int) -> Any: ...

    @overload
    def __getitem__(self, part: slice) -> Sequence[Any]: ...

    def __getitem__(self, part: int | slice) -> Any:
        if isinstance(part, int):
            return self._lane[part]
        start, stop, _ = part.indices(len(self._lane))
        first, behind = max(start, self._first), min(stop, self._behind)
        if first >= behind:
            return self._lane[start:stop]
        run = self._framed[first - self._first : behind - self._first]
        return [*self._lane[start:first], run, *self._lane[behind:stop]]
