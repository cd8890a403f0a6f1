"""Fixtures for the tests, written by the Writer: a small one with a row of every kind, and whatever rows a test has."""

from duplexmock.core.connection import Closed, Closing, Connection, GoAway, Settings
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientHeader,
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.learned import Ground, Need, Needs
from duplexmock.core.metadata import Metadata
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended, Entry, Session
from duplexmock.core.status import Status
from duplexmock.store.amend import amend
from duplexmock.store.header import Expectations, Header
from duplexmock.store.writer import Writer
from tests.schema.protos import CHAT, chat_file, chat_message, set_of

HEADER = Header(
    1_795_348_800_000_000_001,
    "127.0.0.1:50051",
    set_of(chat_file()),
    ("authorization", "cookie"),
    Expectations(("chat.ChatMessage.timestamp",), (("a.B.id", "a.C.id"),), "order"),
    {"made by": "the tests", "for": "the reader"},
)
BARE = Header(1_795_348_800_000_000_000, "unix:/run/chat.sock")

FIRST = Connection(1, "127.0.0.1:41234", "127.0.0.1:50051", 10)
SECOND = Connection(2, "unix:", "127.0.0.1:50051", 20)
OPENED = ClientHeader(
    CHAT,
    Metadata((("te", "trailers"), ("grpc-timeout", "5S"), ("x", "caf\xe9"), ("x", "2"), ("raw-bin", b"\0\xff"))),
    "localhost:50051",
)
OTHER = ClientHeader("/other.Service/Method", Metadata(), "", "https")
GZIPPED = ServerHeader(Metadata((("grpc-encoding", "gzip"), ("k", "v"))), 200)
BARE_HEADER = ServerHeader()
UNAVAILABLE = ServerTrailer(None, Metadata(), 503)
TRAILER = ServerTrailer(Status(5, "no such café", b"\x08\x05"), Metadata((("t-bin", b""), ("u", ""))), None)
SETTINGS = (Settings(11, Side.CLIENT, ((1, 4096), (4, 65_535))), Settings(12, Side.SERVER, ()))
GOAWAY = GoAway(95, Side.SERVER, 7, 11, b"too_many_pings")
CLOSED = Closed(99, Closing.RESET, Side.SERVER, "the reason")
NEEDS = Needs(
    1,
    Side.SERVER,
    (Need(1, Ground.REFUTED, 2), Need(2, Ground.HELD, 2), Need(3, Ground.UNKNOWN, 2, "the server gave up")),
)
EXPECTED = Expectations(("metadata:date",), (("a.B.id", "a.C.id"),), "lanes")


def said(text):
    return chat_message("Client", text).SerializeToString()


RICH = (
    (10, [(RowKind.OPENED, 1, FIRST), (RowKind.DESCRIPTORS, 0, b"no set of files")]),
    (11, [(RowKind.SETTINGS, 1, SETTINGS[0])]),
    (12, [(RowKind.SETTINGS, 1, SETTINGS[1]), (RowKind.OPENED, 2, SECOND)]),
    (15, [(RowKind.CLIENT_HEADER, 1, OPENED, 1, 1), (RowKind.CLIENT_MESSAGE, 1, 0, said("one"))]),
    (20, [(RowKind.CLIENT_HEADER, 2, OTHER, 2, 3), (RowKind.SERVER_HEADER, 1, GZIPPED)]),
    (
        25,
        [
            (RowKind.SERVER_MESSAGE, 1, 1, b"\x1f\x8b not gzip"),
            (RowKind.SERVER_TRAILER, 2, ServerTrailer(None, Metadata(), 503)),
        ],
    ),
    (30, [(RowKind.CLIENT_HALF_CLOSE, 1, ClientHalfClose()), (RowKind.CLIENT_HEADER, 3, OTHER, 2, 5)]),
    (35, [(RowKind.CLIENT_PART, 3, b"ab"), (RowKind.CLIENT_PART, 3, b"cd"), (RowKind.RESET_AFTER, 2, 0)]),
    (40, [(RowKind.CLIENT_MESSAGE, 3, 2, b"e"), (RowKind.CLIENT_HEADER, 4, OPENED, 1, 7)]),
    (50, [(RowKind.CANCEL, 3, Cancel(8)), (RowKind.SERVER_TRAILER, 1, TRAILER), (RowKind.RESET, 4, Reset(2))]),
    (60, [(RowKind.CLIENT_HEADER, 5, OTHER, 1, 9), (RowKind.CLIENT_HEADER, 6, OTHER, 2, 11)]),
    (
        70,
        [
            (RowKind.SERVER_HEADER, 5, ServerHeader()),
            (RowKind.SERVER_PART, 5, b"xy"),
            (RowKind.SERVER_MESSAGE, 5, 0, b"z"),
        ],
    ),
    (80, [(RowKind.DAMAGED, 6, "the rest cannot be read"), (RowKind.CLIENT_HEADER, 7, OTHER, 2, 13)]),
    (95, [(RowKind.GOAWAY, 1, GOAWAY)]),
    (99, [(RowKind.CLOSED, 1, CLOSED)]),
)
"""A row of every kind of a recording, and a session of every ending: reads with their times."""

LEARNED = ((RowKind.LEARNED, 0, NEEDS), (RowKind.EXPECTED, 0, EXPECTED))
"""What comes behind a recording."""

RICH_CONNECTIONS = (
    Connection(1, FIRST.client, FIRST.server, 10, SETTINGS, (GOAWAY,), CLOSED),
    SECOND,
)
_ONE, _TWO = RICH_CONNECTIONS

RICH_SESSIONS = (
    Session(
        1,
        _ONE,
        1,
        (
            Entry(15, OPENED),
            Entry(15, ClientMessage(said("one"))),
            Entry(20, GZIPPED),
            Entry(25, ServerMessage(b"\x1f\x8b not gzip", 1)),
            Entry(30, ClientHalfClose()),
            Entry(50, TRAILER),
        ),
        Ended.TRAILER,
    ),
    Session(2, _TWO, 3, (Entry(20, OTHER), Entry(25, ServerTrailer(None, Metadata(), 503, 0))), Ended.TRAILER),
    Session(
        3, _TWO, 5, (Entry(30, OTHER), Entry(40, ClientMessage(b"abcde", 2)), Entry(50, Cancel(8))), Ended.CANCELLED
    ),
    Session(4, _ONE, 7, (Entry(40, OPENED), Entry(50, Reset(2))), Ended.RESET),
    Session(
        5,
        _ONE,
        9,
        (Entry(60, OTHER), Entry(70, ServerHeader()), Entry(70, ServerMessage(b"xyz"))),
        Ended.CONNECTION_LOST,
        "the reason",
    ),
    Session(6, _TWO, 11, (Entry(60, OTHER),), Ended.DAMAGED, "the rest cannot be read"),
    Session(7, _TWO, 13, (Entry(80, OTHER),), Ended.INCOMPLETE, "the recording stops before the call's end"),
)


def write(path, reads=RICH, header=HEADER, *, flush=False, close=True):
    """Write these reads; `flush` makes a block of each, without `close` the recording does not end well."""
    writer = Writer(path, header)
    for at_ns, rows in reads:
        writer.write(at_ns, rows)
        if flush:
            writer.flush()
    if close:
        writer.close()
    else:
        writer.flush()
    assert writer.failure == ""
    return writer


def rich_bytes(folder, *, flush=True, close=True, learned=False):
    """The bytes of the rich fixture, a block a read; `learned` adds what comes behind a recording."""
    path = folder / "rich.duplex"
    write(path, flush=flush, close=close)
    if learned:
        amend(path, [NEEDS], EXPECTED)
    content = path.read_bytes()
    path.unlink()
    return content
