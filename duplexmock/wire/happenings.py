"""What happens on a connection outside of its calls, as an endpoint tells it: values of the group of stream 0."""

from __future__ import annotations

from typing import NamedTuple


class SettingsReceived(NamedTuple):
    """The peer's SETTINGS, already in force and acknowledged; pairs in their order, unknown ones included."""

    values: tuple[tuple[int, int], ...]


class SettingsAcknowledged(NamedTuple):
    """The peer has taken our SETTINGS `number`: 1 is the first of the connection, a `barrier()` returns the others."""

    number: int


class PingAcknowledged(NamedTuple):
    """The answer to our PING with the same eight bytes."""

    opaque: bytes


class GoAwayReceived(NamedTuple):
    """The peer takes no more calls; `unprocessed` are those of ours that it says it has not touched: safe to retry."""

    last_stream_id: int
    code: int
    debug: bytes
    unprocessed: tuple[int, ...]


class Drained(NamedTuple):
    """The call on `stream_id`, which flow control had stopped, has no unsent bytes any more."""

    stream_id: int


class Answered(NamedTuple):
    """A request that was not gRPC's was answered with `http_status`."""

    stream_id: int
    http_status: int


class Failed(NamedTuple):
    """The connection is at its end, by the peer's fault: write what `take()` returns, then close it.

    Calls that were open get no more events; they ended with the connection.
    """

    code: int
    reason: str


Happening = SettingsReceived | SettingsAcknowledged | PingAcknowledged | GoAwayReceived | Drained | Answered | Failed
