"""The Fixture: what is written is what is read, in one pass or one by one, closed or cut, and what is no fixture."""

import os

import msgpack
import pytest

from duplexmock.core.connection import Closed, Closing, Connection
from duplexmock.core.events import ClientHeader, ClientMessage, ServerTrailer
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended, Entry
from duplexmock.core.status import Status
from duplexmock.errors import FixtureError, ScriptError
from duplexmock.store.fixture import Fixture, Summary
from duplexmock.store.header import Header, header_fields
from duplexmock.store.records import END, Source
from duplexmock.store.writer import BLOCK_BYTES
from tests.schema.protos import CHAT
from tests.store.fixtures import (
    BARE,
    CLOSED,
    FIRST,
    HEADER,
    OTHER,
    RICH_CONNECTIONS,
    RICH_SESSIONS,
    SECOND,
    rich_bytes,
    write,
)

OK = ServerTrailer(Status(0))


@pytest.fixture(params=["one block", "a block a read"])
def rich(request, tmp_path):
    write(tmp_path / "rich.duplex", flush=request.param != "one block")
    return tmp_path / "rich.duplex"


def test_sessions_come_back_as_they_were(rich):
    with Fixture.open(rich) as fixture:
        assert fixture.header == HEADER
        assert fixture.complete
        assert fixture.why_incomplete == ""
        assert len(fixture) == 7
        assert tuple(fixture.sessions()) == RICH_SESSIONS
        assert tuple(fixture.sessions()) == RICH_SESSIONS  # a second pass


def test_a_session_alone_is_the_same_as_in_the_pass(rich):
    with Fixture.open(rich) as fixture:
        assert tuple(fixture.session(number) for number in (7, 6, 5, 4, 3, 2, 1)) == RICH_SESSIONS[::-1]


def test_connections_come_back_as_they_were(rich):
    with Fixture.open(rich) as fixture:
        assert fixture.connections == RICH_CONNECTIONS


def test_summaries_say_what_the_sessions_are_without_reading_them(rich):
    other = "/other.Service/Method"
    with Fixture.open(rich) as fixture:
        assert list(fixture.summaries()) == [
            Summary(1, CHAT, 1, 1, Ended.TRAILER),
            Summary(2, other, 0, 0, Ended.TRAILER),
            Summary(3, other, 1, 0, Ended.CANCELLED),
            Summary(4, CHAT, 0, 0, Ended.RESET),
            Summary(5, other, 0, 1, Ended.CONNECTION_LOST),
            Summary(6, other, 0, 0, Ended.DAMAGED),
            Summary(7, other, 0, 0, Ended.INCOMPLETE),
        ]


@pytest.mark.parametrize("flush", [False, True], ids=["one block", "a block a read"])
def test_a_recording_that_was_not_closed_reads_the_same(tmp_path, flush):
    write(tmp_path / "x.duplex", flush=flush, close=False)
    with Fixture.open(tmp_path / "x.duplex") as fixture:
        assert not fixture.complete
        blocks = 15 if flush else 1
        assert fixture.why_incomplete == (f"the file ends behind entry {blocks}, and the recording was not closed")
        assert tuple(fixture.sessions()) == RICH_SESSIONS
        assert fixture.connections == RICH_CONNECTIONS


@pytest.mark.parametrize("close", [True, False], ids=["closed", "not closed"])
def test_zeros_at_the_end_change_nothing(tmp_path, close):
    path = tmp_path / "x.duplex"
    path.write_bytes(rich_bytes(tmp_path, close=close) + bytes(100_000))
    with Fixture.open(path) as fixture:
        assert fixture.complete is close
        assert tuple(fixture.sessions()) == RICH_SESSIONS


def test_a_cut_before_the_index_costs_no_session(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_bytes(rich_bytes(tmp_path)[: -END.size - 1])
    with Fixture.open(path) as fixture:
        assert fixture.why_incomplete == "the file ends inside entry 16"
        assert tuple(fixture.sessions()) == RICH_SESSIONS


def test_a_cut_inside_a_payload_costs_that_row_only(tmp_path):
    path = tmp_path / "x.duplex"
    header = [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)]
    messages = [(20 + n, [(RowKind.CLIENT_MESSAGE, 1, 0, bytes((65 + n,)) * 1000)]) for n in range(5)]
    write(path, [(10, header), *messages], close=False)
    size = path.stat().st_size
    os.truncate(path, size - 1500)  # in the middle of the fourth
    with Fixture.open(path) as fixture:
        assert fixture.why_incomplete == "the file ends inside entry 1"
        (session,) = fixture.sessions()
        assert fixture.session(1) == session
        assert list(fixture.summaries()) == [Summary(1, OTHER.method, 3, 0, Ended.INCOMPLETE)]
    assert session.entries == (
        Entry(10, OTHER),
        *(Entry(20 + n, ClientMessage(bytes((65 + n,)) * 1000)) for n in range(3)),
    )
    assert (session.ended, session.reason) == (Ended.INCOMPLETE, "the recording stops before the call's end")


def test_a_message_whose_last_part_is_cut_is_not_there(tmp_path):
    path = tmp_path / "x.duplex"
    rows = [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1), (RowKind.CLIENT_PART, 1, b"half")]
    write(path, [(10, rows)], close=False)
    with Fixture.open(path) as fixture:
        assert fixture.session(1).entries == (Entry(10, OTHER),)


@pytest.mark.parametrize("size", [300, 5000, 3_000_000])
def test_a_header_of_any_length_is_read(tmp_path, size):
    header = Header(
        1, "127.0.0.1:1", None, (), notes={"long": "x" * size, **{f"n{n}": "" for n in range(size // 1000)}}
    )
    write(tmp_path / "x.duplex", header=header)
    with Fixture.open(tmp_path / "x.duplex") as fixture:
        assert fixture.header == header
        assert tuple(fixture.sessions()) == RICH_SESSIONS


def test_a_fixture_without_sessions_is_one(tmp_path):
    write(tmp_path / "x.duplex", [], BARE)
    with Fixture.open(tmp_path / "x.duplex") as fixture:
        assert (len(fixture), fixture.connections, list(fixture.sessions()), list(fixture.summaries())) == (
            0,
            (),
            [],
            [],
        )
        assert fixture.complete


def test_a_session_that_is_not_there_is_refused(tmp_path):
    none, one, many = tmp_path / "none.duplex", tmp_path / "one.duplex", tmp_path / "many.duplex"
    write(none, [])
    write(one, [(1, [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_HEADER, 3, OTHER, 1, 1)])])
    write(many)
    for path, number, held in (
        (none, 1, "the fixture holds no sessions"),
        (one, 1, "the fixture holds session 3 alone"),
        (many, 8, "the fixture holds sessions 1 to 7"),
        (many, 0, "the fixture holds sessions 1 to 7"),
    ):
        with Fixture.open(path) as fixture, pytest.raises(ScriptError) as caught:
            fixture.session(number)
        assert str(caught.value) == f"{path}: there is no session {number}; {held}"


def test_what_was_read_stays_usable_when_the_file_is_closed(tmp_path):
    write(tmp_path / "x.duplex")
    fixture = Fixture.open(tmp_path / "x.duplex")
    session = fixture.session(1)
    fixture.close()
    fixture.close()
    assert session == RICH_SESSIONS[0]
    with pytest.raises(FixtureError) as caught:
        fixture.session(2)
    assert str(caught.value) == f"{tmp_path}/x.duplex: I/O operation on closed file"


# Many sessions


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A file of 4 MB: session 1 spans it, and 40 others have a block or so each, in which the next one opens."""
    path = tmp_path_factory.mktemp("busy") / "busy.duplex"
    rows = [(0, [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)])]
    payload = b"x" * 10_000
    at_ns = 0
    for number in range(2, 42):
        rows.append((at_ns, [(RowKind.CLIENT_HEADER, number, ClientHeader(f"/a.B/M{number}"), 1, 2 * number)]))
        for _ in range(10):
            at_ns += 1
            rows.append((at_ns, [(RowKind.CLIENT_MESSAGE, number, 0, payload)]))
        if number > 2:
            rows.append((at_ns, [(RowKind.SERVER_TRAILER, number - 1, OK)]))
    rows += [(at_ns, [(RowKind.SERVER_TRAILER, number, OK)]) for number in (41, 1)]
    write(path, rows, BARE)
    assert path.stat().st_size > 4_000_000
    return path


def test_sessions_come_in_the_order_in_which_they_were_opened(busy):
    with Fixture.open(busy) as fixture:
        assert [session.number for session in fixture.sessions()] == list(range(1, 42))


def test_one_session_is_read_without_the_blocks_of_the_others(busy, monkeypatch):
    read = 0
    plainly = Source.read

    def counted(self, offset, size):
        nonlocal read
        found = plainly(self, offset, size)
        read += len(found)
        return found

    monkeypatch.setattr(Source, "read", counted)
    with Fixture.open(busy) as fixture:
        session = fixture.session(20)
    assert [entry.event for entry in session.entries] == [
        ClientHeader("/a.B/M20"),
        *[ClientMessage(b"x" * 10_000)] * 10,
        OK,
    ]
    assert read < 4 * BLOCK_BYTES


def test_sessions_that_have_ended_are_yielded_while_the_file_is_read(tmp_path, monkeypatch):
    path = tmp_path / "x.duplex"
    rows = [(0, [(RowKind.OPENED, 1, FIRST)])]
    for number in range(1, 21):
        rows.append(
            (
                number,
                [
                    (RowKind.CLIENT_HEADER, number, OTHER, 1, number),
                    (RowKind.CLIENT_MESSAGE, number, 0, b"x" * BLOCK_BYTES),
                    (RowKind.SERVER_TRAILER, number, OK),
                ],
            )
        )
    write(path, rows, BARE)
    reached = 0
    plainly = Source.read

    def watched(self, offset, size):
        nonlocal reached
        reached = max(reached, offset)
        return plainly(self, offset, size)

    with Fixture.open(path) as fixture:
        monkeypatch.setattr(Source, "read", watched)
        behind = []
        for session in fixture.sessions():
            behind.append(reached - session.number * BLOCK_BYTES)
    assert max(behind) < 3 * BLOCK_BYTES  # no more in memory than what overlaps


def test_connections_are_found_wherever_they_are_spoken_of(tmp_path):
    path = tmp_path / "x.duplex"
    filler = (RowKind.CLIENT_MESSAGE, 1, 0, b"x" * BLOCK_BYTES)
    reads = [
        (0, [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)]),
        (1, [filler]),
        (2, [(RowKind.OPENED, 2, SECOND), filler]),
        (3, [filler]),
        (4, [(RowKind.CLOSED, 1, CLOSED), filler]),
    ]
    write(path, reads, BARE)
    with Fixture.open(path) as fixture:
        assert fixture.session(1).connection == Connection(1, FIRST.client, FIRST.server, 10, closed=CLOSED)
        assert fixture.connections == (Connection(1, FIRST.client, FIRST.server, 10, closed=CLOSED), SECOND)


@pytest.mark.parametrize(
    ("how", "ended"),
    [
        (Closing.CLOSED, Ended.CONNECTION_LOST),
        (Closing.RESET, Ended.CONNECTION_LOST),
        (Closing.STOPPED, Ended.INCOMPLETE),
    ],
)
def test_a_session_without_an_end_ended_with_its_connection(tmp_path, how, ended):
    rows = [
        (RowKind.OPENED, 1, FIRST),
        (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1),
        (RowKind.CLOSED, 1, Closed(9, how, None)),
    ]
    write(tmp_path / "x.duplex", [(1, rows)])
    with Fixture.open(tmp_path / "x.duplex") as fixture:
        assert [summary.ended for summary in fixture.summaries()] == [ended]
        assert fixture.session(1).ended is ended


# What is no fixture


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x88",
        b"hello",
        b"\0" * 100_000,
        b"{}",
        msgpack.packb({}),
        msgpack.packb([1, 2]),
        msgpack.packb({"format": "other", "version": 1}),
        msgpack.packb({"version": 1, "format": "duplexmock"}),
        b"\x7fELF" + bytes(range(256)) * 20,
    ],
    ids=range(10),
)
def test_what_is_not_a_fixture_is_refused(tmp_path, content):
    path = tmp_path / "x.duplex"
    path.write_bytes(content)
    assert refusal(path) == f"{path}: not a duplexmock fixture"


def test_a_newer_version_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_bytes(msgpack.packb(header_fields(HEADER) | {"version": 2}))
    assert refusal(path) == (
        f"{path}: it has version 2 of the fixture format, and this duplexmock reads up to 1; "
        "a newer duplexmock reads it (pip install --upgrade duplexmock)"
    )


def test_a_header_that_is_cut_says_that_nothing_was_recorded(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_bytes(msgpack.packb(header_fields(HEADER))[:-5])
    assert refusal(path) == f"{path}: the file ends inside its header; nothing was recorded"


def test_files_that_cannot_be_read_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "none") == f"{tmp_path}/none: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: not a file that a fixture could be read from"
    assert refusal(tmp_path / "fifo") == f"{tmp_path}/fifo: not a file that a fixture could be read from"


def test_a_refused_file_is_closed_again(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_bytes(b"no fixture at all")
    before = len(os.listdir("/proc/self/fd"))
    refusal(path)
    assert len(os.listdir("/proc/self/fd")) == before


def refusal(path):
    with pytest.raises(FixtureError) as caught:
        Fixture.open(path)
    return str(caught.value)


# What contradicts itself


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            [(RowKind.CLIENT_HEADER, 1, OTHER, 1, 1), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)],
            "entry 1: row 3: ClientHeader while the client's lane is open",
        ),
        (
            [(RowKind.CLIENT_HEADER, 1, OTHER, 1, 1), (RowKind.SERVER_MESSAGE, 1, 0, b"")],
            "entry 1: row 3: ServerMessage while the server's lane is idle",
        ),
        (
            [(RowKind.CLIENT_HEADER, 1, OTHER, 1, 1), (RowKind.RESET_AFTER, 1, 0)],
            "entry 1: row 3: a reset behind a trailer that is not there",
        ),
        (
            [(RowKind.CLIENT_MESSAGE, 1, 0, b""), (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)],
            "entry 1: row 2: session 1 has not begun",
        ),
        (
            [(RowKind.CLIENT_HEADER, 1, OTHER, 1, 1), (RowKind.CLIENT_MESSAGE, 1, 0, b""), (RowKind.DAMAGED, 1, 0)],
            "entry 1: row 4: a row of kind 11 that is not as its kind demands",
        ),
    ],
)
def test_rows_that_cannot_follow_each_other_are_told_with_their_place(tmp_path, rows, reason):
    path = tmp_path / "x.duplex"
    write(path, [(1, [(RowKind.OPENED, 1, FIRST), *rows])])
    with Fixture.open(path) as fixture:
        for read in (lambda: list(fixture.sessions()), lambda: fixture.session(1)):
            with pytest.raises(FixtureError) as caught:
                read()
            assert str(caught.value) == f"{path}: {reason}; the file is damaged or was edited by hand"


def test_a_session_of_a_connection_that_is_not_there_is_told(tmp_path):
    path = tmp_path / "x.duplex"
    write(path, [(1, [(RowKind.CLIENT_HEADER, 1, OTHER, 5, 1)])])
    with Fixture.open(path) as fixture:
        for read in (lambda: list(fixture.sessions()), lambda: fixture.session(1), lambda: list(fixture.summaries())):
            with pytest.raises(FixtureError) as caught:
                read()
            assert str(caught.value) == f"{path}: session 1 ran on a connection that is not there"


def test_a_session_without_its_beginning_is_told(tmp_path):
    path = tmp_path / "x.duplex"
    write(path, [(1, [(RowKind.OPENED, 1, FIRST), (RowKind.CLIENT_MESSAGE, 1, 0, b"")])])
    with Fixture.open(path) as fixture, pytest.raises(FixtureError) as caught:
        list(fixture.summaries())
    assert str(caught.value) == f"{path}: session 1 has no ClientHeader; the file is damaged"


def test_sessions_are_chosen_by_number_in_the_order_asked_for_and_by_method(tmp_path):
    write(tmp_path / "x.duplex")
    with Fixture.open(tmp_path / "x.duplex") as fixture:
        assert tuple(fixture.chosen((), ())) == RICH_SESSIONS
        assert [session.number for session in fixture.chosen((3, 1), ())] == [3, 1]
        assert [session.number for session in fixture.chosen((), ["/chat.*"])] == [1, 4]
        assert [session.number for session in fixture.chosen((3, 4), ["/chat.*"])] == [4]
        with pytest.raises(ScriptError) as caught:
            list(fixture.chosen((8,), ()))
    assert str(caught.value) == f"{tmp_path}/x.duplex: there is no session 8; the fixture holds sessions 1 to 7"
