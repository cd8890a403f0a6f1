"""Which header blocks are malformed, and what the others open (RFC 9113 sections 8.1.1, 8.2 and 8.3).

A passive reader takes whatever came. An endpoint refuses what is malformed, with a stream error of PROTOCOL_ERROR. The
functions here are pure converters for HeaderReader, so a block that repeats is checked once.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from duplexmock.core.events import ClientHeader, ServerHeader, ServerTrailer
from duplexmock.wire.headers import Body, Fields, client_header, server_header, server_trailer, trailers_only


class Request(NamedTuple):
    """A request: `fault` says why it is malformed, else `header` is the call it opens.

    `header` is None where the request is not gRPC's; `foreign_status` is then the `:status` to answer with.
    """

    fault: str
    header: ClientHeader | None
    foreign_status: int
    content_length: int | None


class Answer(NamedTuple):
    """A server's first block: `fault` says why it is malformed; an interim one (1xx) has neither that nor a header."""

    fault: str
    header: ServerHeader | None
    body: Body
    content_length: int | None


class Ending(NamedTuple):
    """A server's last block: `fault` says why it is malformed."""

    fault: str
    trailer: ServerTrailer


def request(fields: Fields) -> Request:
    """Check and convert the block that opens a stream."""
    fault = _fault(fields, _REQUEST_PSEUDO) or _request_fault(dict(fields))
    length, length_fault = _content_length(fields)
    fault = fault or length_fault
    header = None if fault else client_header(fields)
    # What grpc-go answers: 405 to other methods, 415 to other content.
    return Request(fault, header, 415 if dict(fields).get(b":method") == b"POST" else 405, length)


def answer(fields: Fields) -> Answer:
    """Check and convert a server's block that does not end the stream."""
    fault = _fault(fields, _ANSWER_PSEUDO) or _answer_fault(dict(fields))
    length, length_fault = _content_length(fields)
    fault = fault or length_fault
    converted = None if fault else server_header(fields)
    header, body = converted if converted else (None, Body.FOREIGN)
    return Answer(fault, header, body, length)


def answer_without_body(fields: Fields) -> Ending:
    """Check and convert a server's only block."""
    return Ending(_fault(fields, _ANSWER_PSEUDO) or _answer_fault(dict(fields)), trailers_only(fields))


def trailers(fields: Fields) -> Ending:
    """Check and convert a server's trailers."""
    return Ending(_fault(fields, frozenset()), server_trailer(fields))


def client_trailers(fields: Fields) -> str:
    """Check the trailers of a client, which gRPC does not have; return their fault."""
    return _fault(fields, frozenset())


def _fault(fields: Fields, pseudo: frozenset[bytes]) -> str:
    """Say what is wrong with the names, values and order of fields; empty where nothing is."""
    seen: set[bytes] = set()
    regular = False
    for name, value in fields:
        if name.startswith(b":"):
            if name not in pseudo:
                return f"pseudo-header {name!r} has no place here"
            if regular:
                return f"pseudo-header {name!r} behind other fields"
            if name in seen:
                return f"pseudo-header {name!r} twice"
            seen.add(name)
        else:
            regular = True
            if not _NAME.fullmatch(name):
                return f"field name {name!r}"
            if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
                return f"field {name!r}, which belongs to HTTP/1.1 connections"
        if not _VALUE.fullmatch(value):
            return f"the value of field {name!r}"
    return ""


def _request_fault(fields: dict[bytes, bytes]) -> str:
    if fields.get(b":method") == b"CONNECT":
        return "" if fields.get(b":authority") else "CONNECT without :authority"
    missing = [name.decode() for name in (b":method", b":scheme", b":path") if not fields.get(name)]
    return f"no {', '.join(missing)}" if missing else ""


def _answer_fault(fields: dict[bytes, bytes]) -> str:
    return "" if _HTTP_STATUS.fullmatch(fields.get(b":status", b"")) else "no :status of three digits"


def _content_length(fields: Fields) -> tuple[int | None, str]:
    values = {value for name, value in fields if name == b"content-length"}
    if not values:
        return None, ""
    value = values.pop()
    if values or not _LENGTH.fullmatch(value):
        return None, "more than one content-length, or one that is no number"
    return int(value), ""


_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_ANSWER_PSEUDO = frozenset((b":status",))
_OF_CONNECTIONS = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_NAME = re.compile(rb"[^\x00-\x20A-Z\x7f-\xff:]+")
_VALUE = re.compile(rb"|[^\x00\r\n\t ](?:[^\x00\r\n]*[^\x00\r\n\t ])?")
_HTTP_STATUS = re.compile(rb"[0-9]{3}")
_LENGTH = re.compile(rb"[0-9]{1,18}")
