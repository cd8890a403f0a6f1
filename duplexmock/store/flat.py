"""Rows as the file has them: each value of core flattened to a plain list, and read back with every type checked.

`flatten` is the hook that msgpack's Packer calls for what it does not know, so that a message row, which holds only
numbers and bytes, is packed without a look at it. The lists are those of the specification in fixture.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from duplexmock.core.connection import Closed, Closing, Connection, GoAway, Settings
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    Reset,
    ServerHeader,
    ServerTrailer,
    Side,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import Row, RowKind
from duplexmock.core.status import Status
from duplexmock.store.header import Expectations, expectations_from


def flatten(value: object) -> list[Any]:
    """Return the plain list that stands for a value of core; TypeError for anything else."""
    match value:
        case ClientHeader():
            return [value.method, value.authority, value.scheme, value.metadata.pairs]
        case ClientHalfClose():
            return []
        case Cancel() | Reset():
            return [value.code]
        case ServerHeader():
            return [value.http_status, value.metadata.pairs]
        case ServerTrailer():
            return [value.status, value.metadata.pairs, value.http_status, value.reset_after]
        case Status():
            return [value.code, value.message, value.details]
        case Connection():
            return [value.client, value.server, value.opened_at_ns]
        case Settings():
            return [value.at_ns, value.side.value, value.values]
        case GoAway():
            return [value.at_ns, value.side.value, value.last_stream_id, value.code, value.debug]
        case Closed():
            return [value.at_ns, value.how.value, value.side and value.side.value, value.reason]
        case Expectations():
            return [value.ignore, value.bind, value.expect]
        case _:
            return _flatten_learned(value)


def restore(fields: Any) -> Row:
    """Turn a row as it was read, in plain lists, into one of core/rows.py; ValueError says what is wrong with it."""
    match fields:
        case (0 | 1, int(), int(), bytes()) | (2 | 3, int(), bytes()) | (10, int(), int()) | (11, int(), str()):
            return tuple(fields)
        case (16, 0, bytes()):
            return tuple(fields)
        case (4, int(call), (str(method), str(authority), str(scheme), pairs), int(connection), int(stream_id)):
            if _SURROGATES.search(method):
                raise ValueError("a method that is not text")  # the wire's is latin-1, which is always UTF-8 here
            header = ClientHeader(method, _metadata(pairs), authority, scheme)
            return (RowKind.CLIENT_HEADER, call, header, connection, stream_id)
        case (int(kind), int(number), (*value,)) if kind in _VALUES:
            return (kind, number, _value(kind, number, value))
        case (int(kind), *_):
            raise ValueError(f"a row of kind {kind} that is not as its kind demands")
        case _:
            raise ValueError("something that is not a row")


def _flatten_learned(value: object) -> list[Any]:
    from duplexmock.core.learned import Needs  # here: few fixtures have any, and a replay is to begin at once

    if not isinstance(value, Needs):
        raise TypeError(f"{value!r} has no place in a fixture")
    lane = [[need.count, need.ground.value, need.probes, need.reason] for need in value.lane]
    return [value.number, value.side.value, lane]


def _value(kind: int, number: int, fields: Sequence[Any]) -> object:
    match (kind, *fields):
        case (RowKind.CLIENT_HALF_CLOSE,):
            return ClientHalfClose()
        case (RowKind.CANCEL, int(code)):
            return Cancel(code)
        case (RowKind.SERVER_HEADER, int(http_status), pairs):
            return ServerHeader(_metadata(pairs), http_status)
        case (RowKind.SERVER_TRAILER, status, pairs, int() | None as http_status, int() | None as reset_after):
            return ServerTrailer(_status(status), _metadata(pairs), http_status, reset_after)
        case (RowKind.RESET, int(code)):
            return Reset(code)
        case (RowKind.OPENED, str(client), str(server), int(at_ns)):
            return Connection(number, client, server, at_ns)
        case (RowKind.SETTINGS, int(at_ns), str(side), (*pairs,)):
            return Settings(at_ns, Side(side), tuple(_numbers(pair) for pair in pairs))
        case (RowKind.GOAWAY, int(at_ns), str(side), int(last_stream_id), int(code), bytes(debug)):
            return GoAway(at_ns, Side(side), last_stream_id, code, debug)
        case (RowKind.LEARNED, int(session), str(side), (*lane,)) if number == 0:
            return _learned(session, Side(side), lane)
        case (RowKind.EXPECTED, ignore, bind, expect) if number == 0:
            return expectations_from(ignore, bind, expect)
        case (RowKind.CLOSED, int(at_ns), str(how), str() | None as side, str(reason)):
            return Closed(at_ns, Closing(how), None if side is None else Side(side), reason)
        case _:
            raise ValueError(f"a {RowKind(kind).name} that is not as its kind demands")


def _learned(number: int, side: Side, lane: Sequence[Any]) -> object:
    from duplexmock.core.learned import Ground, Need, Needs

    needs: list[Need] = []
    for fields in lane:
        match fields:
            case (int(count), str(ground), int(probes), str(reason)) if count >= 0:
                needs.append(Need(count, Ground(ground), probes, reason))
            case _:
                raise ValueError("a need that is not a count, a ground, probes and a reason")
    return Needs(number, side, tuple(needs))


def _status(fields: Any) -> Status | None:
    match fields:
        case None:
            return None
        case (int(code), str(message), bytes() | None as details):
            return Status(code, message, details)
        case _:
            raise ValueError("a status that is not a code, a message and details")


def _metadata(pairs: Any) -> Metadata:
    match pairs:
        case (*_,):
            return Metadata(tuple(_pair(pair) for pair in pairs))
        case _:
            raise ValueError("metadata that is not pairs of a key and a value")


def _pair(pair: Any) -> tuple[str, str | bytes]:
    match pair:
        case (str(key), str() | bytes() as value):
            return key, value
        case _:
            raise ValueError("metadata that is not pairs of a key and a value")


def _numbers(pair: Any) -> tuple[int, int]:
    match pair:
        case (int(identifier), int(value)):
            return identifier, value
        case _:
            raise ValueError("a setting that is not an identifier and a value")


_SURROGATES = re.compile("[\ud800-\udfff]")
"""What stands for bytes that are not UTF-8."""

_VALUES = frozenset(RowKind) - {
    RowKind.CLIENT_MESSAGE,
    RowKind.SERVER_MESSAGE,
    RowKind.CLIENT_PART,
    RowKind.SERVER_PART,
    RowKind.CLIENT_HEADER,
    RowKind.RESET_AFTER,
    RowKind.DAMAGED,
    RowKind.DESCRIPTORS,
}
"""The kinds of row whose third element is a value of core."""
