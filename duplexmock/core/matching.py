"""Comparing what was expected with what came, event by event.

A Matcher yields the Differences between two events; none mean that they agree. What two correct recordings of the same
program never share is not compared: how the wire was spoken (TRANSPORT_KEYS), how long a deadline is, and whether a
call was given up by a cancel or by its deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Event,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    event_name,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Status, code_name, error_name
from duplexmock.core.value import value

TRANSPORT_KEYS = frozenset(
    (
        "accept-encoding",
        "baggage",
        "content-type",
        "date",
        "grpc-accept-encoding",
        "grpc-encoding",
        "grpc-previous-rpc-attempts",
        "grpc-retry-pushback-ms",
        "grpc-tags-bin",
        "grpc-timeout",
        "grpc-trace-bin",
        "te",
        "traceparent",
        "tracestate",
        "user-agent",
    )
)
"""Keys that say how a call was made and not what was meant; they are never compared."""

WHOLE = "message"
"""The path of a difference that concerns all of a message."""


@value
class Difference:
    """One thing that is not as expected: where (`metadata.x-room`, `timestamp`), and both values; None where absent."""

    path: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{named(self.path)}: expected {_shown(self.expected)}, got {_shown(self.actual)}"


Matcher = Callable[[Event, Event], Iterable[Difference]]
"""`(expected, actual)`: how the actual event differs from the expected one of the same type."""

Wildcard = Callable[[str | bytes], bool]
"""Tells whether an expected metadata value stands for any value: one that was redacted, for instance."""


def match_events(
    expected: Event,
    actual: Event,
    *,
    match_messages: Matcher,
    is_wildcard: Wildcard = lambda value: False,
) -> Iterator[Difference]:
    """Yield the differences of two events; events of different types differ in that alone.

    Expected metadata must be among the actual; more may come. `match_messages` compares two messages of one side.
    """
    if type(expected) is not type(actual):
        yield Difference("event", event_name(expected), event_name(actual))
        return
    match expected, actual:
        case ClientHeader(), ClientHeader():
            if expected.method != actual.method:
                yield Difference("method", expected.method, actual.method)
            yield from match_metadata(expected.metadata, actual.metadata, is_wildcard)
        case (ClientMessage(), ClientMessage()) | (ServerMessage(), ServerMessage()):
            yield from match_messages(expected, actual)
        case ServerHeader(), ServerHeader():
            if expected.http_status != actual.http_status:
                yield Difference(":status", expected.http_status, actual.http_status)
            yield from match_metadata(expected.metadata, actual.metadata, is_wildcard)
        case ServerTrailer(), ServerTrailer():
            if expected.http_status != actual.http_status:
                yield Difference(":status", expected.http_status, actual.http_status)
            yield from _statuses(expected.status, actual.status, is_wildcard)
            yield from match_metadata(expected.metadata, actual.metadata, is_wildcard)
        case Reset(), Reset():
            if expected.code != actual.code:
                yield Difference("code", error_name(expected.code), error_name(actual.code))
        case (ClientHalfClose(), _) | (Cancel(), _):
            pass  # a half-close says nothing; a deadline cannot be told from a cancel (gRFC A16), nor its code trusted
        case _:
            raise TypeError(f"{expected!r} is no event")


def match_metadata(expected: Metadata, actual: Metadata, is_wildcard: Wildcard) -> Iterator[Difference]:
    """Yield what of the expected metadata is missing; the order of a key's values counts, that of keys does not."""
    if expected.pairs == actual.pairs:
        return
    for key in dict.fromkeys(key for key, _ in expected if key not in TRANSPORT_KEYS):
        wanted, came = expected.every(key), actual.every(key)
        if came != wanted and not _is_among(wanted, came, is_wildcard):
            yield Difference(f"metadata.{key}", _one_or_all(wanted), _one_or_all(came))


def _statuses(expected: Status | None, actual: Status | None, is_wildcard: Wildcard) -> Iterator[Difference]:
    if expected is None or actual is None:
        if expected is not actual:
            yield Difference("status", expected and code_name(expected.code), actual and code_name(actual.code))
        return
    if expected.code != actual.code:
        yield Difference("status", code_name(expected.code), code_name(actual.code))
    if expected.message != actual.message and not is_wildcard(expected.message):
        yield Difference("status.message", expected.message, actual.message)
    if expected.details != actual.details and not (expected.details is not None and is_wildcard(expected.details)):
        yield Difference("status.details", expected.details, actual.details)


def _is_among(wanted: tuple[str | bytes, ...], came: tuple[str | bytes, ...], is_wildcard: Wildcard) -> bool:
    """Tell whether all wanted values came, each as often as wanted, in their order."""
    rest = iter(came)
    return all(any(is_wildcard(value) or value == other for other in rest) for value in wanted)


def _one_or_all(values: tuple[str | bytes, ...]) -> Any:
    match values:
        case ():
            return None
        case (value,):
            return value
        case _:
            return values


def shown(value: Any) -> str:
    """Write a value for people: by repr, cut in the middle."""
    return _cut(repr(value))


def named(text: str) -> str:
    """Write a name or a reason that a peer chose: as it is where it can be printed, cut in the middle."""
    return _cut(text if text.isprintable() else repr(text))


def _shown(value: Any) -> str:
    return "nothing" if value is None else shown(value)


def _cut(text: str) -> str:
    if len(text) <= _SHOWN:
        return text
    return f"{text[: _SHOWN // 2]}… {len(text) - _SHOWN} more …{text[-_SHOWN // 2 :]}"


_SHOWN = 120
"""Characters of a value that are shown: more of them hide the sentence around it."""
