"""Matching what a peer says against what is expected of it, by what the messages mean.

Messages are compared decompressed: a recording and a replay need not be compressed alike. What compares their payloads
is payloads.py, which is loaded when two messages differ: protobuf and all that knows it take as long to load as all
else that a replay needs before it listens (bench: `cold start`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerHeader, ServerMessage, ServerTrailer, Side
from duplexmock.core.matching import WHOLE, Difference, Wildcard, match_events
from duplexmock.core.metadata import Metadata
from duplexmock.errors import ProtocolError
from duplexmock.schema.payload import codec, encoding, plain

if TYPE_CHECKING:
    from duplexmock.schema.payloads import Payloads


class _Spoken:
    """How one side's messages are written, by its header."""

    __slots__ = ("codec", "encoding")

    def __init__(self, metadata: Metadata) -> None:
        self.encoding = encoding(metadata)
        self.codec = codec(metadata)


class CallMatcher:
    """The core's Matcher for one call: give it the pairs of events in their order, headers before messages.

    It learns from the headers how the messages of their side are compressed and encoded. `payloads` is called when two
    messages differ. Metadata under `ignored_keys` is not compared. `is_wildcard` is as in core.matching.
    """

    __slots__ = ("_client", "_ignored_keys", "_is_wildcard", "_method", "_payloads", "_server", "_spoken")

    def __init__(
        self,
        method: str,
        payloads: Callable[[], Payloads],
        ignored_keys: frozenset[str] = frozenset(),
        is_wildcard: Wildcard = lambda value: False,
    ) -> None:
        self._method = method
        self._payloads = payloads
        self._ignored_keys = ignored_keys
        self._is_wildcard = is_wildcard
        self._client = self._server = _BARE
        self._spoken: dict[Side, tuple[_Spoken, _Spoken]] | None = None

    def __call__(self, expected: Event, actual: Event) -> Iterable[Difference]:
        """Yield the differences of two events of the same type."""
        match expected, actual:
            case ClientHeader(), ClientHeader():
                self._client = expected.metadata, actual.metadata
            case ServerHeader(), ServerHeader():
                self._server = expected.metadata, actual.metadata
        if expected == actual:
            return ()  # most events are (bench: `short sessions`)
        return match_events(
            self._without_ignored(expected, actual),
            actual,
            match_messages=self._messages,
            is_wildcard=self._is_wildcard,
        )

    def _written(self, side: Side) -> tuple[_Spoken, _Spoken]:
        """Return how the expected and the actual messages of a side are written; most calls never need to know."""
        if self._spoken is None:
            self._spoken = {}
        if side not in self._spoken:
            expected, actual = self._client if side is Side.CLIENT else self._server
            self._spoken[side] = _Spoken(expected), _Spoken(actual)
        return self._spoken[side]

    def _messages(self, expected: Event, actual: Event) -> Iterator[Difference]:
        side = Side.CLIENT if isinstance(expected, ClientMessage) else Side.SERVER
        wanted, came = self._written(side)
        codec = wanted.codec if wanted.codec == came.codec else ""
        expected_plain, actual_plain = _plain(expected, wanted.encoding), _plain(actual, came.encoding)
        match expected_plain, actual_plain:
            case bytes(), bytes():
                if expected_plain != actual_plain:
                    payloads = self._payloads()
                    yield from payloads.differences(self._method, side, expected_plain, actual_plain, codec)
            case str(), str():
                if _payload(expected) != _payload(actual):
                    yield Difference(WHOLE, _payload(expected), _payload(actual))
            case _:
                written = self._payloads().written
                yield Difference(
                    WHOLE,
                    written(self._method, side, expected_plain, wanted.codec),
                    written(self._method, side, actual_plain, came.codec),
                )

    def _without_ignored(self, expected: Event, actual: Event) -> Event:
        """Return the expected event without what is not asked for."""
        if not self._ignored_keys:
            return expected
        match expected:
            case ClientHeader() | ServerHeader():
                return replace(expected, metadata=self._kept(expected.metadata))
            case ServerTrailer(status):
                if status is not None and isinstance(actual, ServerTrailer) and actual.status is not None:
                    if "grpc-message" in self._ignored_keys:
                        status = replace(status, message=actual.status.message)
                    if "grpc-status-details-bin" in self._ignored_keys:
                        status = replace(status, details=actual.status.details)
                return replace(expected, status=status, metadata=self._kept(expected.metadata))
            case _:
                return expected

    def _kept(self, metadata: Metadata) -> Metadata:
        return Metadata(tuple((key, value) for key, value in metadata if key not in self._ignored_keys))


def _payload(event: Event) -> bytes:
    assert isinstance(event, ClientMessage | ServerMessage)
    return event.payload


def _plain(event: Event, encoding: str) -> bytes | str:
    """Return the decompressed payload, or in words why there is none."""
    assert isinstance(event, ClientMessage | ServerMessage)
    try:
        return plain(event.payload, event.flags, encoding)
    except ProtocolError as exc:
        return f"cannot be decompressed: {exc}"


_BARE = (Metadata(), Metadata())
