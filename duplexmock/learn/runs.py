"""The runs of a program as they are learned from: their calls, and what every message of them says.

A lane of a method has one Shape (fields.py) for all runs: what is a message in one of them is one in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerHeader, ServerMessage, Side, side_of
from duplexmock.core.matching import TRANSPORT_KEYS
from duplexmock.core.session import Session
from duplexmock.errors import ProtocolError
from duplexmock.learn.fields import LaneField, Shape, shape_of
from duplexmock.learn.likeness import Features
from duplexmock.learn.relations import Moment
from duplexmock.learn.said import Said, leaves, said
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.payload import codec, encoding, plain
from duplexmock.schema.scalars import Scalar
from duplexmock.store.redact import is_redacted

MAX_VALUES = 64
"""Values of a message that it is recognised by; those of a call are four times as many."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message as it was read, None where it cannot be, and what it is recognised by."""

    moment: Moment
    said: Said | None
    features: Features


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A session, and its messages by side."""

    session: Session
    lanes: dict[Side, list[Message]]

    @property
    def features(self) -> Features:
        """Return what the call is recognised by."""
        keys = [
            (key, value)
            for key, value in self.session.header.metadata
            if key not in TRANSPORT_KEYS and not is_redacted(value)
        ]
        values = [value for lane in self.lanes.values() for each in lane for value in each.features.values]
        return Features(frozenset(), (*keys, *values[: 4 * MAX_VALUES]))


def read_runs(runs: Sequence[Sequence[Session]], descriptors: Descriptors | None) -> list[list[Call]]:
    """Read all messages; a lane of a method has one Shape for all runs."""
    plains = [[_plain(session) for session in run] for run in runs]
    payloads: dict[tuple[str, Side], list[bytes]] = {}
    for run, of_run in zip(runs, plains, strict=True):
        for session, of_session in zip(run, of_run, strict=True):
            for position, payload in of_session.items():
                key = session.method, side_of(session.entries[position].event)
                payloads.setdefault(key, []).append(payload)
    shapes = {key: shape_of(*key, of_lane, descriptors) for key, of_lane in payloads.items()}
    found = []
    for number, (run, of_run) in enumerate(zip(runs, plains, strict=True)):
        calls = [Call(session, {side: [] for side in Side}) for session in run]
        in_order = sorted(
            (entry.at_ns, call, position)
            for call, session in enumerate(run)
            for position, entry in enumerate(session.entries)
            if isinstance(entry.event, ClientMessage | ServerMessage)
        )
        for nth, (at_ns, call, position) in enumerate(in_order):
            event = run[call].entries[position].event
            shape = shapes.get((run[call].method, side_of(event)))
            message = _message(Moment(number, call, nth, at_ns), event, of_run[call].get(position), shape)
            calls[call].lanes[side_of(event)].append(message)
        found.append(calls)
    return found


def _plain(session: Session) -> dict[int, bytes]:
    """Return the decompressed payloads of what is protobuf in a session, by the position of the entry."""
    headers: dict[Side, Event] = {}
    found = {}
    for position, entry in enumerate(session.entries):
        event = entry.event
        match event:
            case ClientHeader() | ServerHeader():
                headers[side_of(event)] = event
            case ClientMessage(payload, flags) | ServerMessage(payload, flags):
                header = headers.get(side_of(event))
                used = ""
                if isinstance(header, ClientHeader | ServerHeader):
                    if codec(header.metadata) != "proto":
                        continue
                    used = encoding(header.metadata)
                try:
                    found[position] = plain(payload, flags, used)
                except ProtocolError:
                    continue  # as replay does: it is compared as it came, and no field of it can be meant
    return found


def _message(moment: Moment, event: Event, payload: bytes | None, shape: Shape | None) -> Message:
    message = said(payload, shape) if payload is not None and shape is not None else None
    if message is None:
        assert isinstance(event, ClientMessage | ServerMessage)
        return Message(moment, None, Features(frozenset(), ((None, event.payload),), "unread"))
    fields: list[LaneField] = []
    values: list[tuple[LaneField, Scalar]] = []
    for here, value in leaves(message):
        fields.append(here)
        if value is not None and len(values) < MAX_VALUES:
            values.append((here, value))
    kind = frozenset(message.values).intersection(message.shape.choices)
    return Message(moment, message, Features(frozenset(fields), tuple(values), kind))
