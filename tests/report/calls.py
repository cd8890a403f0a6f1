"""Calls for the tests, made by the Recorder from events and times."""

from duplexmock.core.connection import Connection
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
)
from duplexmock.core.metadata import Metadata
from duplexmock.core.recorder import Recorder
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Entry
from duplexmock.core.status import Code, Status
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.reader import Reader
from tests.schema.protos import CHAT, chat_file, chat_message, set_of

CONNECTION = Connection(1, "127.0.0.1:41234", "127.0.0.1:50051", 0)
BY_NUMBER = Reader()
DESCRIBED = Reader(Descriptors(set_of(chat_file())))
OK = ServerTrailer(Status(Code.OK))
STARTED_NS = 5_000_000
"""When the calls begin: the recording is older than they are."""


def call(*timed, connection=CONNECTION, damaged=""):
    """The session of events at times in ms from the call's start; the first one is a ClientHeader."""
    (first_ms, header), *others = timed
    recorder = Recorder(1, 1, header, at(first_ms))
    for ms, event in others:
        recorder.add(at(ms), _row(event))
    if damaged:
        recorder.add(at(0), (RowKind.DAMAGED, 1, damaged))
    return recorder.session(connection)


def at(ms):
    return STARTED_NS + round(ms * 1_000_000)


def header(*pairs, method=CHAT, authority="localhost"):
    return ClientHeader(method, Metadata(pairs), authority)


def metadata(*pairs):
    return Metadata(pairs)


def said(text, sender="Client"):
    """The payload of a chat message."""
    return chat_message(sender, text).SerializeToString()


def cancel_at(ms, *pairs):
    """A call that is cancelled then, and the entry that says so."""
    session = call((0, header(*pairs)), (ms, Cancel(8)))
    return session, Entry(at(ms), Cancel(8))


def _row(event):
    match event:
        case ClientMessage(payload, flags) | ServerMessage(payload, flags):
            return _KINDS[type(event)], 1, flags, payload
        case _:
            return _KINDS[type(event)], 1, event


_KINDS = {
    ClientMessage: RowKind.CLIENT_MESSAGE,
    ClientHalfClose: RowKind.CLIENT_HALF_CLOSE,
    Cancel: RowKind.CANCEL,
    ServerHeader: RowKind.SERVER_HEADER,
    ServerMessage: RowKind.SERVER_MESSAGE,
    ServerTrailer: RowKind.SERVER_TRAILER,
    Reset: RowKind.RESET,
}
