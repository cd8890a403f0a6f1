"""The parts of headers and trailers, as a simulated call carries them: plain, and made into events when asked for.

Metadata is a tuple of pairs, as grpcio's: what an application says, without what grpcio's transport adds to it. An
event has both, as it would have been recorded, so that fixtures and simulated calls can play one another. An event's
text is latin-1 (core/metadata.py) and its keys are lower case.
"""

from __future__ import annotations

from typing import NamedTuple

import grpc

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
    timeout: Pairs = ()
    if parts.timeout_s is not None:
        timeout = (("grpc-timeout", timeout_value(max(round(parts.timeout_s * 1e9), 0))),)
    pairs = (_CONTENT, ("te", "trailers"), _ENCODINGS, *timeout, ("user-agent", USER_AGENT), *parts.metadata)
    return ClientHeader(parts.method, _metadata(pairs), _AUTHORITY)


def server_header(pairs: Pairs) -> ServerHeader:
    """Return the event."""
    return ServerHeader(_metadata((_CONTENT, _ENCODINGS, *pairs)))


def server_trailer(parts: TrailerParts) -> ServerTrailer:
    """Return the event; `grpc-status-details-bin` becomes the status' details."""
    details = next((text for key, text in parts.metadata if key == _DETAILS and isinstance(text, bytes)), None)
    pairs = tuple([pair for pair in parts.metadata if pair[0] != _DETAILS])
    status = Status(int(parts.code), parts.message, details)
    if parts.is_alone:
        return ServerTrailer(status, _metadata((_CONTENT, *pairs)), 200)
    return ServerTrailer(status, _metadata(pairs))


def header_parts(header: ClientHeader) -> HeaderParts:
    """Return the parts of an event."""
    timeout_ns = header.timeout_ns
    return HeaderParts(header.method, said(header.metadata), None if timeout_ns is None else timeout_ns / 1e9)


def trailer_parts(trailer: ServerTrailer) -> TrailerParts:
    """Return the parts of an event; one without a status is what a client makes of it, UNKNOWN."""
    status, is_alone = trailer.status or Status(2), trailer.http_status is not None
    details = () if status.details is None else ((_DETAILS, status.details),)
    return TrailerParts(status.code, status.message, (*said(trailer.metadata), *details), is_alone)


def said(metadata: Metadata) -> Pairs:
    """Return what the application said of it."""
    return tuple([pair for pair in metadata if pair[0] not in _TRANSPORT])


def _metadata(pairs: Pairs) -> Metadata:
    return Metadata(tuple([(key.lower(), text) for key, text in pairs]))


USER_AGENT = f"grpc-python-asyncio/{grpc.__version__} grpc-c (sim)"

_AUTHORITY = "sim"
_DETAILS = "grpc-status-details-bin"
_CONTENT = ("content-type", "application/grpc")
_ENCODINGS = ("grpc-accept-encoding", "identity, deflate, gzip")
_TRANSPORT = frozenset(
    ("content-type", "te", "user-agent", "grpc-accept-encoding", "grpc-encoding", "grpc-timeout", "date")
)
"""Keys that no application is shown, or that are made anew."""
