"""Runs written by hand: `call(">", {1: "id"}, "<", {1: "id"})` is a session of two messages, by field number."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from duplexmock.core.events import ClientHeader, ClientMessage, Event, ServerHeader, ServerMessage, ServerTrailer, Side
from duplexmock.core.metadata import Metadata
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Status
from duplexmock.schema.binding import Bindings, parse_bind
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import check, metadata_keys, parse
from duplexmock.schema.matching import CallMatcher
from duplexmock.schema.payloads import Payloads
from duplexmock.schema.wirescan import varint
from duplexmock.store.redact import is_redacted
from tests.core.calls import CONNECTION
from tests.schema.protos import add_field, kinds_file, set_of

TALK = "/desk.Desk/Talk"


def desk_file() -> FileDescriptorProto:
    """Return a file with the messages that the tests write by number: requests with an id, replies that repeat it."""
    file = FileDescriptorProto(name="desk.proto", package="desk", syntax="proto3")
    ask = file.message_type.add(name="Ask")
    for number, (name, kind) in enumerate((("id", "string"), ("text", "string"), ("at", "int64")), start=1):
        add_field(ask, name, number, kind)
    answer = file.message_type.add(name="Answer")
    for number, (name, kind) in enumerate(
        (("id", "string"), ("text", "string"), ("at", "int64"), ("token", "string"), ("urgent", "bool")), start=1
    ):
        add_field(answer, name, number, kind)
    up = file.message_type.add(name="Up")
    down = file.message_type.add(name="Down")
    for message in (up, down):
        message.oneof_decl.add(name="what")
        for number, (name, kind) in enumerate((("ask", "Ask"), ("answer", "Answer"), ("notice", "Answer")), start=1):
            add_field(message, name, number, "message", f".desk.{kind}").oneof_index = 0
    add_field(down, "about", 4, "message", ".desk.Answer", repeated=True)
    service = file.service.add(name="Desk")
    service.method.add(name="Talk", input_type=".desk.Ask", output_type=".desk.Answer")
    service.method.add(name="Wrap", input_type=".desk.Up", output_type=".desk.Down")
    service.method.add(name="Mirror", input_type=".desk.Ask", output_type=".desk.Ask")
    return file


DESCRIPTORS = Descriptors(set_of(desk_file(), kinds_file()))


def wire(fields: Mapping[int, object]) -> bytes:
    """Write a message by its field numbers: numbers as varints and doubles, text, bytes, and messages; lists repeat."""
    written = b""
    for number, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            match each:
                case int():
                    written += varint(number << 3) + varint(each & (1 << 64) - 1)
                case float():
                    written += varint(number << 3 | 1) + struct.pack("<d", each)
                case _:
                    raw = each.encode() if isinstance(each, str) else wire(each) if isinstance(each, dict) else each
                    written += varint(number << 3 | 2) + varint(len(raw)) + raw
    return written


def call(
    *said: object,
    method: str = TALK,
    step_ns: int = 1000,
    start_ns: int = 0,
    asked: Mapping[str, str] | None = None,
    answered: Mapping[str, str] | None = None,
    ended: Mapping[str, str] | None = None,
    status: Status | None = None,
) -> Session:
    """Return a session: arrows, each with the message it stands for; `step_ns` lies between two events."""
    events: list[Event] = [ClientHeader(method, _metadata(asked)), ServerHeader(_metadata(answered))]
    for arrow, message in zip(said[::2], said[1::2], strict=True):
        payload = message if isinstance(message, bytes) else wire(message)
        events.append(ClientMessage(payload) if arrow == ">" else ServerMessage(payload))
    events.append(ServerTrailer(status or Status(0), _metadata(ended)))
    entries = [Entry(start_ns + step_ns * number, event) for number, event in enumerate(events)]
    return Session(1, CONNECTION, 1, tuple(entries), Ended.TRAILER)


def _metadata(pairs: Mapping[str, str] | None) -> Metadata:
    return Metadata(tuple((pairs or {}).items()))


def replayed(
    recorded: Sequence[Session],
    live: Sequence[Session],
    ignore: Sequence[str],
    bind: Sequence[tuple[str, str]],
    descriptors: Descriptors | None = None,
) -> list[str]:
    """Replay recorded calls in either seat against a peer that behaves as the live ones; return what did not agree.

    The peer repeats what it is told where its own client or server did. What we say has to agree with the live call
    too: a bind that puts a wrong value into a message is as bad as one that is missing.
    """
    for path in (*ignore, *(path for pair in bind for path in pair)):
        check(parse(path), descriptors)
    found = []
    for side in Side:
        binds = [parse_bind(f"{source}={target}") for source, target in bind]
        ours, theirs = Bindings(binds, descriptors), Bindings(binds, descriptors)
        ignored = [*map(parse, ignore), *ours.ignored]
        payloads = Payloads(descriptors, ignored)
        for expected_call, live_call in zip(recorded, live, strict=True):
            method = expected_call.method
            match = CallMatcher(method, lambda payloads=payloads: payloads, metadata_keys(ignored), is_redacted)
            events = [[entry.event for entry in each.entries] for each in (expected_call, live_call)]
            for expected, actual in zip(*events, strict=True):
                assert type(expected) is type(actual)
                if isinstance(expected, ClientMessage | ServerMessage):
                    sender = Side.CLIENT if isinstance(expected, ClientMessage) else Side.SERVER
                    kind = type(expected)
                    if sender is side:
                        said = ours.bound(method, sender, expected.payload)
                        theirs.received(method, sender, actual.payload, said)
                        expected = kind(said)
                    else:
                        actual = kind(theirs.bound(method, sender, actual.payload))
                        ours.received(method, sender, expected.payload, actual.payload)
                found += [f"{side.value} {method}: {difference}" for difference in match(expected, actual)]
    return found
