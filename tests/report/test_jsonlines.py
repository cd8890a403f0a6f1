import gzip
import json
from base64 import b64encode
from dataclasses import replace

import pytest

from duplexmock.core.connection import Closed, Closing, GoAway
from duplexmock.core.events import (
    Cancel,
    ClientHalfClose,
    ClientMessage,
    Reset,
    ServerHeader,
    ServerMessage,
    ServerTrailer,
    Side,
)
from duplexmock.core.status import Code, Status
from duplexmock.report.jsonlines import fixture_line, session_line
from duplexmock.store.header import Header
from tests.report.calls import BY_NUMBER, CONNECTION, DESCRIBED, OK, at, call, header, metadata, said

CHAT = {"sender": "Client", "message": "Hi", "timestamp": "1795348800"}


def read(session, reader=DESCRIBED):
    """The session's line, read back; it is one line of ASCII."""
    line = "".join(session_line(session, reader))
    assert line.isascii()
    assert line.index("\n") == len(line) - 1
    return json.loads(line)


def entry_of(event, *before):
    """The entry of an event that comes 2 ms after the header."""
    session = call((0, header()), *((1, each) for each in before), (2, event))
    return read(session)["entries"][-1]


def b64(raw):
    return b64encode(raw).decode()


def test_the_first_line_tells_of_the_fixture():
    whole = fixture_line("chat.duplex", Header(1795348800_000000042, "127.0.0.1:50051"), 3)
    cut = fixture_line("chat.duplex", Header(-1, "unix:/run/chat\n"), 0, "the file ends inside entry 7")

    assert whole == (
        '{"fixture": "chat.duplex", "upstream": "127.0.0.1:50051", "started": "2026-11-22T12:00:00.000000042Z", '
        '"sessions": 3, "complete": true, "why_incomplete": ""}\n'
    )
    assert cut == (
        '{"fixture": "chat.duplex", "upstream": "unix:/run/chat\\n", "started": "1969-12-31T23:59:59.999999999Z", '
        '"sessions": 0, "complete": false, "why_incomplete": "the file ends inside entry 7"}\n'
    )


def test_a_session_is_one_line():
    session = call(
        (0, header(("grpc-timeout", "10S"), ("x-raw-bin", b"\x00\xff"))),
        (0.5, ServerHeader(metadata(("x-room", "7")))),
        (1, ClientMessage(said("Hi"))),
        (1.5, ClientHalfClose()),
        (2, ServerMessage(b"\x08\x01")),
        (2.5, OK),
    )

    assert read(session, DESCRIBED) == {
        "session": 1,
        "method": "/chat.ChatService/Chat",
        "authority": "localhost",
        "stream": 1,
        "connection": {
            "number": 1,
            "client": "127.0.0.1:41234",
            "server": "127.0.0.1:50051",
            "goaways": [],
            "closed": None,
        },
        "ended": "trailer",
        "reason": "",
        "entries": [
            {
                "at_ns": 5_000_000,
                "side": "client",
                "event": "ClientHeader",
                "metadata": [["grpc-timeout", "10S"], ["x-raw-bin", "AP8="]],
                "timeout_ns": 10_000_000_000,
            },
            {
                "at_ns": 5_500_000,
                "side": "server",
                "event": "ServerHeader",
                "metadata": [["x-room", "7"]],
                "http_status": 200,
            },
            {
                "at_ns": 6_000_000,
                "side": "client",
                "event": "ClientMessage",
                "number": 1,
                "flags": 0,
                "payload": b64(said("Hi")),
                "encoding": None,
                "message": CHAT,
                "problem": None,
            },
            {"at_ns": 6_500_000, "side": "client", "event": "ClientHalfClose"},
            {
                "at_ns": 7_000_000,
                "side": "server",
                "event": "ServerMessage",
                "number": 1,
                "flags": 0,
                "payload": "CAE=",
                "encoding": None,
                "message": {"1": 1},
                "problem": None,
            },
            {
                "at_ns": 7_500_000,
                "side": "server",
                "event": "ServerTrailer",
                "status": {"code": 0, "name": "OK", "message": "", "details": None},
                "derived": None,
                "metadata": [],
                "http_status": None,
                "reset_after": None,
            },
        ],
    }


@pytest.mark.parametrize(
    ("event", "before", "fields"),
    [
        (Cancel(8), [ClientHalfClose()], {"code": 8, "name": "CANCEL", "deadline": False}),
        (Cancel(0x2A), [], {"code": 42, "name": "error 0x2a", "deadline": False}),
        (ServerHeader(http_status=503), [], {"metadata": [], "http_status": 503}),
        (
            Reset(7),
            [],
            {
                "code": 7,
                "name": "REFUSED_STREAM",
                "derived": {"code": 14, "name": "UNAVAILABLE", "reason": "RST_STREAM"},
            },
        ),
        (
            ServerTrailer(Status(42, "100% of Zoë's", b"\x08\x05"), metadata(("x-why", "quota")), 200, 0),
            [],
            {
                "status": {"code": 42, "name": "code 42", "message": "100% of Zoë's", "details": "CAU="},
                "derived": None,
                "metadata": [["x-why", "quota"]],
                "http_status": 200,
                "reset_after": {"code": 0, "name": "NO_ERROR"},
            },
        ),
        (
            ServerTrailer(None),
            [ServerHeader(http_status=404)],
            {
                "status": None,
                "derived": {"code": 12, "name": "UNIMPLEMENTED", "reason": "HTTP 404"},
                "metadata": [],
                "http_status": None,
                "reset_after": None,
            },
        ),
    ],
)
def test_every_event_has_its_fields(event, before, fields):
    side = "client" if isinstance(event, Cancel) else "server"

    assert entry_of(event, *before) == {"at_ns": 7_000_000, "side": side, "event": type(event).__name__, **fields}


def test_a_cancel_says_whether_the_deadline_was_up():
    session = call((0, header(("grpc-timeout", "250m"))), (250, Cancel(8)))

    assert read(session)["entries"] == [
        {
            "at_ns": 5_000_000,
            "side": "client",
            "event": "ClientHeader",
            "metadata": [["grpc-timeout", "250m"]],
            "timeout_ns": 250_000_000,
        },
        {
            "at_ns": 255_000_000,
            "side": "client",
            "event": "Cancel",
            "code": 8,
            "name": "CANCEL",
            "deadline": True,
        },
    ]


@pytest.mark.parametrize(
    ("encoding", "payload", "flags", "fields"),
    [
        ([("grpc-encoding", "gzip")], gzip.compress(said("Hi"), mtime=0), 1, ("gzip", CHAT, None)),
        ([("grpc-encoding", "gzip")], said("Hi"), 0, (None, CHAT, None)),
        ([("grpc-encoding", "zstd")], b"\x01\x02", 1, ("zstd", None, "unknown encoding")),
        ([], said("Hi"), 1, ("", None, "compressed, without a grpc-encoding")),
        ([("content-type", "application/grpc+json")], b'{"a": "\xc3\xab"}', 0, (None, '{"a": "ë"}', None)),
        ([("content-type", "application/grpc+raw")], b"\xff", 0, (None, None, None)),
        ([], b"\xff\xff", 0, (None, None, None)),
    ],
)
def test_a_message_says_how_it_was_read(encoding, payload, flags, fields):
    session = call((0, header(*encoding)), (2, ClientMessage(payload, flags)))

    assert read(session)["entries"][1] == {
        "at_ns": 7_000_000,
        "side": "client",
        "event": "ClientMessage",
        "number": 1,
        "flags": flags,
        "payload": b64(payload),
        **dict(zip(("encoding", "message", "problem"), fields, strict=True)),
    }


@pytest.mark.parametrize(
    ("session", "ended", "reason"),
    [
        (call((0, header())), "incomplete", "the recording stops before the call's end"),
        (call((0, header()), damaged="a frame of 9 bytes"), "damaged", "a frame of 9 bytes"),
        (call((0, header()), (1, Cancel(8))), "cancelled by the client", ""),
        (call((0, header()), (1, Reset(8))), "reset by the server", ""),
        (call((0, header()), (1, OK), (2, Cancel(8))), "trailer", ""),
        (
            call((0, header()), connection=replace(CONNECTION, closed=Closed(at(3), Closing.REFUSED, None, "refused"))),
            "connection lost",
            "refused",
        ),
    ],
)
def test_a_session_says_how_it_ended(session, ended, reason):
    line = read(session)

    assert (line["ended"], line["reason"]) == (ended, reason)


def test_the_connection_tells_of_its_goaways_and_its_end():
    connection = replace(
        CONNECTION,
        goaways=(GoAway(at(1), Side.SERVER, 1, 11, b"too_many_pings"), GoAway(at(2), Side.CLIENT, 0, 42)),
        closed=Closed(at(3), Closing.RESET, Side.SERVER, "Connection reset by peer"),
    )
    ours = replace(CONNECTION, closed=Closed(at(3), Closing.STOPPED, None))

    assert read(call((0, header()), connection=connection))["connection"] == {
        "number": 1,
        "client": "127.0.0.1:41234",
        "server": "127.0.0.1:50051",
        "goaways": [
            {
                "at_ns": 6_000_000,
                "side": "server",
                "last_stream": 1,
                "code": 11,
                "name": "ENHANCE_YOUR_CALM",
                "debug": b64(b"too_many_pings"),
            },
            {"at_ns": 7_000_000, "side": "client", "last_stream": 0, "code": 42, "name": "error 0x2a", "debug": ""},
        ],
        "closed": {"at_ns": 8_000_000, "how": "reset", "side": "server", "reason": "Connection reset by peer"},
    }
    assert read(call((0, header()), connection=ours))["connection"]["closed"] == {
        "at_ns": 8_000_000,
        "how": "stopped",
        "side": None,
        "reason": "",
    }


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\u202eabc", "\u2028", "\udcff", "\x00", '"]}\n'])
def test_hostile_text_comes_back_as_it_was(hostile):
    session = call(
        (0, header(("x-a", hostile), method=hostile, authority=hostile)),
        (1, ServerTrailer(Status(Code.ABORTED, hostile))),
        connection=replace(CONNECTION, client=hostile),
    )

    line = read(session, BY_NUMBER)

    assert (line["method"], line["authority"], line["connection"]["client"]) == (hostile, hostile, hostile)
    assert line["entries"][0]["metadata"] == [["x-a", hostile]]
    assert line["entries"][1]["status"]["message"] == hostile


def test_the_line_comes_in_pieces_of_an_entry_each():
    session = call((0, header()), *((1, ClientMessage(b"")) for _ in range(1000)))

    pieces = list(session_line(session, BY_NUMBER))

    assert max(map(len, pieces)) < 400
    assert len(json.loads("".join(pieces))["entries"]) == 1001
