"""Steps: the events of a script, each at its place in it; and what reads and writes their messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

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
    Side,
)
from duplexmock.core.given import Anything, Function, Like, Message, Pattern, is_protobuf, told
from duplexmock.core.matching import Difference, match_events, shown
from duplexmock.core.metadata import GRPC_ANSWER, Metadata
from duplexmock.core.parts import Said, code_text
from duplexmock.core.rows import RowKind
from duplexmock.core.status import Code, ErrorCode, Status
from duplexmock.errors import ScriptError


class Codec(Protocol):
    """Reads and writes the messages of one method: bytes here (PlainCodec), all others in schema/messages.py."""

    def fits(self, side: Side, pattern: Pattern) -> Callable[[bytes], bool] | None:
        """Return what tells whether a payload is as the pattern says; None where any is."""

    def write(self, side: Side, message: Message) -> bytes:
        """Return the payload of a message that `side` says."""

    def answers(self, match: Pattern, function: Function) -> Callable[[bytes], Sequence[Message]]:
        """Return what makes the server's answers of a payload of the client's."""

    def differences(self, side: Side, pattern: Pattern, payload: bytes) -> tuple[Difference, ...]:
        """Say how a payload is not as the pattern says."""

    def plain(self, payload: bytes, flags: int, encoding: str) -> bytes:
        """Return a message without its compression; ProtocolError where that cannot be done."""

    def text(self, side: Side, payload: bytes) -> str:
        """Write a payload for people."""


class Step:
    """One event of a script, at its place in it.

    `fits` takes a message's payload, or another event, and is None where any will do. `event` is what is said, None
    where this has no example, or has to be made of what came. `answers` makes the server's answers of the client's
    message; `owes` is the step whose answers this one says.
    """

    __slots__ = ("answers", "event", "fits", "kind", "name", "owes", "said", "side")

    def __init__(
        self,
        side: Side,
        kind: int,
        said: Said | None,
        name: str,
        fits: Callable[[Any], bool] | None,
        event: Event | None,
        answers: Callable[[bytes], Sequence[Message]] | None = None,
        owes: Step | None = None,
    ) -> None:
        self.side = side
        self.kind = kind
        self.said = said
        self.name = name
        self.fits = fits
        self.event = event
        self.answers = answers
        self.owes = owes

    def __repr__(self) -> str:
        return f"{self.side.name.lower()}({self.name})"


class PlainCodec:
    """Messages are bytes: what functions get, and return. `plain` takes their compression away."""

    def __init__(self, plain: Callable[[bytes, int, str], bytes] = lambda payload, flags, encoding: payload) -> None:
        self._plain = plain

    def fits(self, side: Side, pattern: Pattern) -> Callable[[bytes], bool] | None:
        """See Codec."""
        match pattern:
            case Anything():
                return None
            case Like(match=match):
                return self.fits(side, match)
            case bytes():
                return pattern.__eq__
            case _:
                return pattern  # type: ignore[return-value]  # a function

    def write(self, side: Side, message: Message) -> bytes:
        """See Codec."""
        assert isinstance(message, bytes)
        return message

    def answers(self, match: Pattern, function: Function) -> Callable[[bytes], Sequence[Message]]:
        """See Codec."""

        def answers(payload: bytes) -> Sequence[Message]:
            reply = function(payload)
            if type(reply) is bytes:
                return (reply,)
            if reply is None:
                return ()
            return tuple([_bytes(each, function) for each in (reply if isinstance(reply, list | tuple) else (reply,))])

        return answers

    def differences(self, side: Side, pattern: Pattern, payload: bytes) -> tuple[Difference, ...]:
        """See Codec."""
        return (Difference("message", pattern, payload),) if isinstance(pattern, bytes) else ()

    def plain(self, payload: bytes, flags: int, encoding: str) -> bytes:
        """See Codec."""
        return self._plain(payload, flags, encoding)

    def text(self, side: Side, payload: bytes) -> str:
        """See Codec."""
        return shown(payload)


def _bytes(given: object, function: Function) -> bytes:
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    payload = given.SerializeToString() if is_protobuf(given) else None  # type: ignore[attr-defined]
    if isinstance(payload, bytes):
        return payload
    why = "; a dict needs descriptors to become a message" if isinstance(given, Mapping) else ""
    raise ScriptError(f"{told(function)} replied {shown(given)}: a reply is bytes, or a protobuf message{why}")


def event_step(side: Side, event: Any) -> Step:
    """Return the step of an event that is given as it is."""

    def fits(actual: Event) -> bool:
        return not any(match_events(expectation(event, actual), actual, match_messages=_differ))

    ours: Event = event
    match event:
        case ServerHeader(metadata):
            ours = ServerHeader(Metadata((*GRPC_ANSWER.pairs, *metadata.pairs)))
    return Step(side, KINDS[type(event)], event, event_text(event), fits, ours)


def expectation(expected: Event, actual: Event) -> Event:
    """Return an expected event without what a script leaves open: a status's message and details, how it was sent."""
    match expected, actual:
        case ServerTrailer(Status(code, message, details), metadata), ServerTrailer(Status() as came):
            status = Status(code, message or came.message, came.details if details is None else details)
            return ServerTrailer(status, metadata, actual.http_status, actual.reset_after)
        case ServerTrailer(status, metadata), ServerTrailer():
            return ServerTrailer(status, metadata, actual.http_status, actual.reset_after)
        case ServerHeader(metadata), ServerHeader():
            return ServerHeader(metadata, actual.http_status)
        case _:
            return expected


def event_text(event: Event) -> str:
    """Name an event that is no message, for people: `status OK`, `half-close`."""
    match event:
        case ClientHalfClose():
            return "half-close"
        case ServerTrailer(Status(code)):
            return f"status {code_text(code, Code)}"
        case ServerTrailer():
            return "end of the call without a status"
        case Cancel():
            return "cancel"
        case Reset(code):
            return f"reset ({code_text(code, ErrorCode)})"
        case ClientHeader():
            return "header"
        case ServerHeader():
            return "initial metadata"
        case _:
            raise TypeError(f"{event!r} is a message, or no event")


def _differ(expected: Event, actual: Event) -> tuple[Difference, ...]:
    return () if expected == actual else (Difference("message", expected, actual),)


EVENTS = (ClientHalfClose, ClientHeader, ServerHeader, ServerTrailer, Cancel, Reset)
KINDS: dict[type[Event], int] = {
    ClientMessage: int(RowKind.CLIENT_MESSAGE),
    ServerMessage: int(RowKind.SERVER_MESSAGE),
    ClientHeader: int(RowKind.CLIENT_HEADER),
    ClientHalfClose: int(RowKind.CLIENT_HALF_CLOSE),
    Cancel: int(RowKind.CANCEL),
    ServerHeader: int(RowKind.SERVER_HEADER),
    ServerTrailer: int(RowKind.SERVER_TRAILER),
    Reset: int(RowKind.RESET),
}
