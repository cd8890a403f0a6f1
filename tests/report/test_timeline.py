import gzip
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
from duplexmock.core.metadata import Metadata
from duplexmock.core.status import Code, Status
from duplexmock.report.timeline import Line, escaped, metadata_line, timeline, title
from tests.report.calls import BY_NUMBER, CONNECTION, DESCRIBED, OK, at, call, header, metadata, said


def written(session, reader=DESCRIBED, limit=200):
    return [str(line) for line in timeline(session, reader, limit)]


def told(event, *before):
    """What stands behind the arrow of an event that comes last."""
    session = call((0, header()), *((1, each) for each in before), (1, event))
    return list(map(str, timeline(session, DESCRIBED)))[len(before) + 1][21:]


def test_a_call_reads_like_this():
    session = call(
        (0, header(("te", "trailers"), ("content-type", "application/grpc"), ("grpc-timeout", "10S"))),
        (0.412, ServerHeader(metadata(("content-type", "application/grpc"), ("x-room", "7")))),
        (13.0204, ClientMessage(said("Hi there! Message 0"))),
        (13.3766, ServerMessage(said("ack: Hi there! Message 0", "Server"))),
        (1014, ClientMessage(said("Hi there! Message 1"))),
        (1014.5, ClientHalfClose()),
        (61_234.5678, OK),
    )

    assert written(session) == [
        "        0.000 ms  >  ClientHeader  grpc-timeout: 10S",
        "        0.412 ms  <  ServerHeader  x-room: 7",
        "       13.020 ms  >  ClientMessage #1  "
        "{sender: 'Client', message: 'Hi there! Message 0', timestamp: 1795348800}",
        "       13.377 ms  <  ServerMessage #1  "
        "{sender: 'Server', message: 'ack: Hi there! Message 0', timestamp: 1795348800}",
        "     1014.000 ms  >  ClientMessage #2  "
        "{sender: 'Client', message: 'Hi there! Message 1', timestamp: 1795348800}",
        "     1014.500 ms  >  ClientHalfClose",
        "    61234.568 ms  <  ServerTrailer OK",
    ]


def test_a_line_keeps_its_parts_for_whoever_colours_it():
    session = call((0, header(("x-a", "1"))), (1, ServerHeader()), (2, OK))

    assert list(timeline(session, BY_NUMBER)) == [
        Line("0.000 ms", Side.CLIENT, "ClientHeader", ("x-a: 1",)),
        Line("1.000 ms", Side.SERVER, "ServerHeader", ()),
        Line("2.000 ms", Side.SERVER, "ServerTrailer OK", ()),
    ]


@pytest.mark.parametrize(
    ("event", "before", "text"),
    [
        (ServerHeader(http_status=503), [], "ServerHeader  HTTP 503"),
        (ServerHeader(metadata(("x-a", "1")), 404), [], "ServerHeader  HTTP 404  x-a: 1"),
        (ClientMessage(b"\x08\x01"), [], "ClientMessage #1  {1: 1}"),
        (ClientMessage(b""), [ClientMessage(b"")], "ClientMessage #2  {}"),
        (ServerMessage(b"\xff\xfe"), [ServerHeader()], r"ServerMessage #1  b'\xff\xfe'"),
        (ClientHalfClose(), [], "ClientHalfClose"),
        (Cancel(8), [], "Cancel CANCEL"),
        (Cancel(8), [ClientHalfClose()], "Cancel CANCEL"),
        (Cancel(0x2A), [], "Cancel error 0x2a"),
        (OK, [ServerHeader()], "ServerTrailer OK"),
        (ServerTrailer(Status(Code.OK, "fine")), [], "ServerTrailer OK  'fine'"),
        (ServerTrailer(Status(42)), [], "ServerTrailer code 42"),
        (
            ServerTrailer(Status(Code.ABORTED, "100% of Zoë's"), metadata(("x-why", "quota")), None, 0),
            [ServerHeader()],
            'ServerTrailer ABORTED  "100% of Zoë\'s"  x-why: quota  reset_after NO_ERROR',
        ),
        (
            ServerTrailer(Status(Code.NOT_FOUND, "no such room", b"\x08\x05\x12\x02no"), http_status=200),
            [],
            "ServerTrailer NOT_FOUND  'no such room'  details {1: 5, 2: 'no'}  trailers-only",
        ),
        (
            ServerTrailer(Status(Code.INTERNAL, details=b"\xff\xff")),
            [],
            r"ServerTrailer INTERNAL  details b'\xff\xff'",
        ),
        (
            ServerTrailer(Status(Code.UNAVAILABLE), http_status=503),
            [],
            "ServerTrailer UNAVAILABLE  trailers-only  HTTP 503",
        ),
        (ServerTrailer(None), [ServerHeader()], "ServerTrailer UNKNOWN, derived: no grpc-status"),
        (ServerTrailer(None), [ServerHeader(http_status=503)], "ServerTrailer UNAVAILABLE, derived: HTTP 503"),
        (
            ServerTrailer(None, metadata(("content-type", "text/html")), 404),
            [],
            "ServerTrailer UNIMPLEMENTED, derived: HTTP 404  trailers-only  HTTP 404  content-type: text/html",
        ),
        (Reset(7), [], "Reset REFUSED_STREAM  UNAVAILABLE, derived: RST_STREAM"),
        (Reset(0x2A), [ServerHeader()], "Reset error 0x2a  UNKNOWN, derived: RST_STREAM"),
    ],
)
def test_every_event_has_its_line(event, before, text):
    assert told(event, *before) == text


def test_a_cancel_says_whether_the_deadline_was_up():
    def cancelled(ms):
        return written(call((0, header(("grpc-timeout", "250m"))), (1, ClientHalfClose()), (ms, Cancel(8))))[2]

    assert cancelled(249.9) == "      249.900 ms  >  Cancel CANCEL  deadline"
    assert cancelled(100) == "      100.000 ms  >  Cancel CANCEL"


def test_a_cancel_that_crossed_the_trailer_stands_behind_it():
    session = call((0, header()), (1, OK), (2, Cancel(8)))

    assert written(session)[1:] == [
        "        1.000 ms  <  ServerTrailer OK",
        "        2.000 ms  >  Cancel CANCEL",
    ]


def test_a_compressed_message_says_how_and_how_long_it_was():
    packed = gzip.compress(said("Hi"), mtime=0)
    session = call(
        (0, header(("grpc-encoding", "gzip"))),
        (1, ClientMessage(packed, 1)),
        (2, ClientMessage(said("short"))),
        (3, ClientMessage(b"\x01\x02\x03", 1)),
        (4, ServerHeader(metadata(("grpc-encoding", "zstd")))),
        (5, ServerMessage(b"\x01\x02", 1)),
    )

    assert [line[21:] for line in written(session)] == [
        "ClientHeader  grpc-encoding: gzip",
        f"ClientMessage #1  {{sender: 'Client', message: 'Hi', timestamp: 1795348800}}  gzip, {len(packed)} bytes",
        "ClientMessage #2  {sender: 'Client', message: 'short', timestamp: 1795348800}",
        r"ClientMessage #3  b'\x01\x02\x03'  gzip, 3 bytes, damaged",
        "ServerHeader  grpc-encoding: zstd",
        r"ServerMessage #1  b'\x01\x02'  zstd, 2 bytes, unknown encoding",
        "incomplete: the recording stops before the call's end",
    ]


def test_a_compressed_message_without_an_encoding_says_so():
    assert told(ClientMessage(b"\x08\x01", 1)) == (
        r"ClientMessage #1  b'\x08\x01'  2 bytes, compressed, without a grpc-encoding"
    )


@pytest.mark.parametrize(
    ("session", "last"),
    [
        (
            call((0, header())),
            "             –       incomplete: the recording stops before the call's end",
        ),
        (
            call((0, header()), connection=replace(CONNECTION, closed=Closed(at(9), Closing.STOPPED, None))),
            "             –       incomplete: the recording stops before the call's end",
        ),
        (
            call((0, header()), (1, ServerHeader()), damaged="a frame of 9 bytes\x1b[2J"),
            r"             –       damaged: 'a frame of 9 bytes\x1b[2J'",
        ),
        (
            call((0, header()), connection=replace(CONNECTION, closed=Closed(at(9.5), Closing.RESET, Side.SERVER))),
            "        9.500 ms     connection lost: the connection was reset by the server",
        ),
        (
            call(
                (0, header()),
                connection=replace(CONNECTION, closed=Closed(at(3), Closing.REFUSED, None, "Connection refused")),
            ),
            "        3.000 ms     connection lost: Connection refused",
        ),
        (replace(call((0, header())), reason=""), "             –       incomplete"),
    ],
)
def test_a_call_without_an_end_of_its_own_says_why(session, last):
    assert written(session)[-1] == last


def test_a_call_with_an_end_of_its_own_says_nothing_of_its_connection():
    closed = replace(CONNECTION, closed=Closed(at(9), Closing.RESET, Side.CLIENT))

    assert len(written(call((0, header()), (1, OK), connection=closed))) == 2


GOAWAYS = (
    GoAway(at(-1), Side.SERVER, 0, 0),
    GoAway(at(0), Side.SERVER, 2**31 - 1, 0),
    GoAway(at(1.5), Side.SERVER, 1, 11, b"too_many_pings\x1b"),
    GoAway(at(2), Side.CLIENT, 0, 0),
    GoAway(at(3), Side.SERVER, 1, 2),
)


def test_a_goaway_stands_where_it_came():
    session = call(
        (0, header()), (1, ServerHeader()), (2, OK), (2, Cancel(8)), connection=replace(CONNECTION, goaways=GOAWAYS)
    )

    assert written(session) == [
        "        0.000 ms  >  ClientHeader",
        "        0.000 ms  <  GOAWAY NO_ERROR  last stream 2147483647",
        "        1.000 ms  <  ServerHeader",
        r"        1.500 ms  <  GOAWAY ENHANCE_YOUR_CALM  last stream 1  b'too_many_pings\x1b'",
        "        2.000 ms  <  ServerTrailer OK",
        "        2.000 ms  >  Cancel CANCEL",
        "        2.000 ms  >  GOAWAY NO_ERROR  last stream 0",
    ]


def test_a_goaway_behind_the_last_event_of_an_unfinished_call_is_shown():
    closed = Closed(at(4), Closing.CLOSED, Side.SERVER)
    session = call((0, header()), connection=replace(CONNECTION, goaways=GOAWAYS[-1:], closed=closed))

    assert written(session) == [
        "        0.000 ms  >  ClientHeader",
        "        3.000 ms  <  GOAWAY INTERNAL_ERROR  last stream 1",
        "        4.000 ms     connection lost: the connection was closed by the server",
    ]


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        ((), ""),
        ((("te", "trailers"), ("content-type", "application/grpc")), ""),
        ((("te", "gzip"), ("content-type", "application/grpc+json")), "te: gzip, content-type: application/grpc+json"),
        ((("x-many", "a"), ("x-many", "b")), "x-many: a, x-many: b"),
        ((("x-empty", ""),), "x-empty: ''"),
        ((("user-agent", "grpc-go/1.85.0 (linux; x86)"),), "user-agent: 'grpc-go/1.85.0 (linux; x86)'"),
        ((("x-list", "a,b"), ("x-said", 'say "x"')), "x-list: 'a,b', x-said: 'say \"x\"'"),
        ((("x-name", "Zoë"),), "x-name: Zoë"),
        ((("x-raw-bin", b"\x00\xff"), ("x-none-bin", b"")), r"x-raw-bin: b'\x00\xff', x-none-bin: b''"),
    ],
)
def test_metadata_is_written_as_pairs(pairs, text):
    assert metadata_line(Metadata(pairs)) == text


def test_metadata_of_any_length_fits_its_line():
    many = Metadata(tuple((f"x-{number}", "v") for number in range(1000)))
    long = Metadata((("x-long", "abcdefghij" * 100), ("x-end", "v")))

    assert metadata_line(many, 30) == "x-0: v, x-1: v, x-2: v, …"
    assert metadata_line(long, 70) == "x-long: 'abcdefghijabcde'… 970 more …'fghijabcdefghij', x-end: v"
    assert metadata_line(Metadata((("x-" + "k" * 1000, "v"),)), 60) == "…"


def test_a_payload_and_a_text_of_any_length_fit_their_line():
    long = "x" * 1_000_000
    session = call(
        (0, header(("grpc-encoding", long))),
        (1, ClientMessage(said(long), 1)),
        (2, ServerTrailer(Status(Code.ABORTED, long, long.encode()))),
        connection=replace(CONNECTION, goaways=(GoAway(at(1.5), Side.SERVER, 1, 0, long.encode()),)),
    )

    assert [len(line) < 500 for line in written(session, limit=100)] == [True] * 4


HOSTILE = "\x1b[2J\x9b\u202e\r\n\x00"


def test_no_control_character_reaches_a_terminal():
    raw = HOSTILE.encode()
    text = raw.decode("latin-1")
    session = call(
        (0, header((text.lower(), text), (f"{text.lower()}-bin", raw), ("grpc-encoding", text), method=text)),
        (1, ClientMessage(said(HOSTILE))),
        (2, ClientMessage(raw, 1)),
        (3, ServerHeader(metadata((text.lower(), text)))),
        (4, ServerTrailer(Status(Code.ABORTED, HOSTILE, raw), metadata(("x-a", text)))),
        connection=replace(CONNECTION, client=f"unix:{HOSTILE}", goaways=(GoAway(at(3.5), Side.SERVER, 1, 0, raw),)),
    )
    lost = call((0, header()), connection=replace(CONNECTION, closed=Closed(at(1), Closing.RESET, None, HOSTILE)))

    lines = [*written(session), *written(session, BY_NUMBER), *written(lost), title(HOSTILE, session)]

    assert [line for line in lines if not line.isprintable()] == []


def test_the_title_names_fixture_session_method_and_peers():
    named = title("echo_three.duplex", call((0, header()), (1, OK)))

    assert named == "echo_three.duplex   session 1   /chat.ChatService/Chat   127.0.0.1:41234 > 127.0.0.1:50051"


def test_only_what_cannot_be_printed_is_escaped():
    assert escaped("/chat.ChatService/Zoë") == "/chat.ChatService/Zoë"
    assert escaped("a\x1bb") == r"'a\x1bb'"
    assert escaped("\udcff") == r"'\udcff'"
