"""Matching what a peer says against what is expected of it, by what the messages mean.

Payloads that differ in bytes agree where they do so without their ignored fields, or as messages (differences.py). They
are compared decompressed: a recording and a replay need not be compressed alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from google.protobuf.message import Message

from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerHeader, ServerMessage, ServerTrailer, Side
from duplexmock.core.matching import Difference, Wildcard, match_events
from duplexmock.core.metadata import Metadata
from duplexmock.errors import ProtocolError
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.differences import WHOLE, Written, differences, whole
from duplexmock.schema.fieldpath import FieldPath, metadata_keys, routes
from duplexmock.schema.payload import codec, encoding, plain
from duplexmock.schema.reader import Reader
from duplexmock.schema.rewriting import without
from duplexmock.schema.selection import Selection
from duplexmock.schema.text import line


class Payloads:
    """Compares the payloads of any method, as `descriptors` say and without the `ignored` fields.

    One serves all calls of a play. Paths that lead nowhere by these descriptors ignore nothing; fieldpath.check tells.
    """

    def __init__(self, descriptors: Descriptors | None = None, ignored: Iterable[FieldPath] = ()) -> None:
        self._reader = Reader(descriptors) if descriptors is not None else Reader()
        self._by_number = Reader()
        self._ignored = Selection(routes(ignored, descriptors), descriptors)

    def differences(
        self, method: str, side: Side, expected: bytes, actual: bytes, codec: str = "proto"
    ) -> Iterator[Difference]:
        """Yield the differences of two decompressed payloads that `side` sends on `method`; none where they agree.

        What is not protobuf by its `codec` agrees where it is equal.
        """
        if expected == actual:
            return
        if codec == "proto":
            spot = self._ignored.of(method, side)
            if spot is not None:
                expected, actual = without(expected, spot), without(actual, spot)
                if expected == actual:
                    return
        yield from self._differences(method, side, expected, actual, codec)

    def line(self, method: str, side: Side, payload: bytes, codec: str = "proto") -> str:
        """Write a decompressed payload as timelines do."""
        return line(self._reader.read(method, side, payload, codec))

    def _differences(self, method: str, side: Side, expected: bytes, actual: bytes, codec: str) -> Iterator[Difference]:
        wanted = self._reader.read(method, side, expected, codec)
        came = self._reader.read(method, side, actual, codec)
        if isinstance(wanted, Message) and isinstance(came, Message):
            if wanted != came:  # fast, but no NaN equals another
                yield from differences(wanted, came)
            return
        wanted = self._by_number.read(method, side, expected, codec)
        came = self._by_number.read(method, side, actual, codec)
        if isinstance(wanted, tuple) and isinstance(came, tuple):
            yield from differences(wanted, came)
        else:
            yield whole(wanted, came)


class _Spoken:
    """How one side's messages are written, by its header."""

    __slots__ = ("codec", "encoding")

    def __init__(self, metadata: Metadata) -> None:
        self.encoding = encoding(metadata)
        self.codec = codec(metadata)


class CallMatcher:
    """The core's Matcher for one call: give it the pairs of events in their order, headers before messages.

    It learns from the headers how the messages of their side are compressed and encoded. `ignored` are the paths that
    `payloads` was made with; their metadata keys are meant here. `is_wildcard` is as in core.matching.
    """

    __slots__ = ("_client", "_ignored_keys", "_is_wildcard", "_method", "_payloads", "_server", "_spoken")

    def __init__(
        self,
        method: str,
        payloads: Payloads,
        ignored: Sequence[FieldPath] = (),
        is_wildcard: Wildcard = lambda value: False,
    ) -> None:
        self._method = method
        self._payloads = payloads
        self._ignored_keys = metadata_keys(ignored) if ignored else _NO_KEYS
        self._is_wildcard = is_wildcard
        self._client = self._server = _BARE
        self._spoken: dict[Side, tuple[_Spoken, _Spoken]] | None = None

    def __call__(self, expected: Event, actual: Event) -> Iterator[Difference]:
        """Yield the differences of two events of the same type."""
        match expected, actual:
            case ClientHeader(), ClientHeader():
                self._client = expected.metadata, actual.metadata
            case ServerHeader(), ServerHeader():
                self._server = expected.metadata, actual.metadata
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
                yield from self._payloads.differences(self._method, side, expected_plain, actual_plain, codec)
            case str(), str():
                if _payload(expected) != _payload(actual):
                    yield Difference(WHOLE, _payload(expected), _payload(actual))
            case _:
                shown = [
                    Written(
                        of_side
                        if isinstance(of_side, str)
                        else self._payloads.line(self._method, side, of_side, of.codec)
                    )
                    for of_side, of in ((expected_plain, wanted), (actual_plain, came))
                ]
                yield Difference(WHOLE, *shown)

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


_NO_KEYS: frozenset[str] = frozenset()
_BARE = (Metadata(), Metadata())
