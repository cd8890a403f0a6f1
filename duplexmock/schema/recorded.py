"""A recorded session as the parts of a script, for a person to generalise: what was said, in the order it was.

Messages are dicts of their fields where descriptors know the method, else bytes. Metadata is what was meant and not how
the call was made (core/matching.py, TRANSPORT_KEYS). A server's header that went out with what follows is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from duplexmock.core.events import (
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
    side_of,
)
from duplexmock.core.matching import TRANSPORT_KEYS
from duplexmock.core.metadata import Metadata
from duplexmock.core.parts import Header, Part
from duplexmock.core.session import Session
from duplexmock.core.words import client, server, status
from duplexmock.errors import ProtocolError
from duplexmock.schema.payload import encoding, plain

if TYPE_CHECKING:
    from duplexmock.schema.descriptors import Descriptors


def parts_of(session: Session, descriptors: Descriptors | None) -> tuple[Part, ...]:
    """Return the parts that say what a session said; up to its last entry where it has no end of its own."""
    parts = []
    for side, said in groupby(_said(session, descriptors), key=lambda each: each[0]):
        parts.append((client if side is Side.CLIENT else server)(*(each for _, each in said)))
    return tuple(parts) or (client(Header()),)


def _said(session: Session, descriptors: Descriptors | None) -> Iterator[tuple[Side, object]]:
    encodings = dict.fromkeys(Side, "")
    events = [entry.event for entry in session.entries]
    is_over = False
    for position, event in enumerate(events):
        side = side_of(event)
        if is_over:
            return  # it crossed the end of the call
        match event:
            case ClientHeader(metadata=metadata):
                encodings[side] = encoding(metadata)
                if meant := _meant(metadata):
                    yield side, Header(Metadata(meant))
            case ServerHeader(metadata):
                encodings[side] = encoding(metadata)
                goes_out_with_the_next = position + 1 < len(events) and side_of(events[position + 1]) is Side.SERVER
                meant = _meant(metadata)
                if meant or not goes_out_with_the_next:
                    yield side, Header(Metadata(meant))
            case ClientMessage() | ServerMessage():
                yield side, _message(session.method, side, event, encodings[side], descriptors)
            case ServerTrailer(known, metadata):
                is_over = True
                pairs: Any = _meant(metadata)
                if known is None:
                    yield side, status(None, "", pairs)
                else:
                    yield side, status(known.code, known.message, pairs, details=known.details)
            case _:
                is_over = not isinstance(event, ClientHalfClose)
                yield side, event


def _message(
    method: str, side: Side, event: ClientMessage | ServerMessage, used: str, descriptors: Descriptors | None
) -> object:
    try:
        payload = plain(event.payload, event.flags, used)
    except ProtocolError:
        return event.payload
    kind = descriptors.type_sent(method, side) if descriptors is not None else None
    if kind is None:
        return payload
    from google.protobuf.message import DecodeError
    from google.protobuf.message_factory import GetMessageClass

    try:
        message = GetMessageClass(kind).FromString(payload)
    except DecodeError:
        return payload
    fields = _fields(message)
    # What a dict cannot say, unknown fields or extensions, stays bytes.
    try:
        is_whole = GetMessageClass(kind)(**fields) == message
    except (TypeError, ValueError):
        is_whole = False
    return fields if is_whole else payload


def _fields(message: Any) -> dict[str, Any]:
    return {field.name: _value(value) for field, value in message.ListFields()}


def _value(value: Any) -> Any:
    if hasattr(value, "ListFields"):
        return _fields(value)
    if hasattr(value, "items"):
        return {key: _value(each) for key, each in value.items()}
    if hasattr(value, "__len__") and not isinstance(value, str | bytes):
        return [_value(each) for each in value]
    return value


def _meant(metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
    return tuple(pair for pair in metadata if pair[0] not in TRANSPORT_KEYS)
