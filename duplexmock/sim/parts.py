"""The parts of headers and trailers, as a simulated call carries them: plain, and made into events when asked for.

Metadata is a tuple of pairs, as grpcio's. An event's text is latin-1 (core/metadata.py) and its keys are lower case.
"""

from __future__ import annotations

from typing import NamedTuple

from duplexmock.core.deadline import timeout_value
from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Status

Pairs = tuple[tuple[str, str | bytes], ...]


class HeaderParts(NamedTuple):
    """What a ClientHeader is made of; `timeout_s` is what was left until the deadline when it was sent."""

    method: str
    metadata: Pairs
    timeout_s: float | None


class TrailerParts(NamedTuple):
    """What a ServerTrailer is made of; `is_alone` tells that no ServerHeader came before it."""

    code: int
    message: str
    metadata: Pairs
    is_alone: bool


def client_header(parts: HeaderParts) -> ClientHeader:
    """Return the event."""
    pairs = parts.metadata
    if parts.timeout_s is not None:
        pairs = (("grpc-timeout", timeout_value(max(round(parts.timeout_s * 1e9), 0))), *pairs)
    return ClientHeader(parts.method, _metadata(pairs), AUTHORITY)


def server_header(pairs: Pairs) -> ServerHeader:
    """Return the event."""
    return ServerHeader(_metadata(pairs))


def server_trailer(parts: TrailerParts) -> ServerTrailer:
    """Return the event; `grpc-status-details-bin` becomes the status' details."""
    details = next((text for key, text in parts.metadata if key == _DETAILS and isinstance(text, bytes)), None)
    pairs = tuple([pair for pair in parts.metadata if pair[0] != _DETAILS])
    status = Status(int(parts.code), parts.message, details)
    return ServerTrailer(status, _metadata(pairs), 200 if parts.is_alone else None)


def header_parts(header: ClientHeader) -> HeaderParts:
    """Return the parts of an event."""
    pairs = tuple([pair for pair in header.metadata if pair[0] != "grpc-timeout"])
    timeout_ns = header.timeout_ns
    return HeaderParts(header.method, pairs, None if timeout_ns is None else timeout_ns / 1e9)


def trailer_parts(trailer: ServerTrailer, *, is_alone: bool) -> TrailerParts:
    """Return the parts of an event; one without a status is what a client makes of it, UNKNOWN."""
    status = trailer.status
    if status is None:
        return TrailerParts(2, "", trailer.metadata.pairs, is_alone)
    details = () if status.details is None else ((_DETAILS, status.details),)
    return TrailerParts(status.code, status.message, (*trailer.metadata.pairs, *details), is_alone)


def _metadata(pairs: Pairs) -> Metadata:
    return Metadata(tuple([(key.lower(), text) for key, text in pairs]))


AUTHORITY = "sim"
_DETAILS = "grpc-status-details-bin"
