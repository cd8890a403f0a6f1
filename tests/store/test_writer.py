"""The Writer: where and how the file is made, blocks, parts, several INDEX records, and a disk that is full."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgpack
import pytest

from duplexmock.core.connection import Connection
from duplexmock.core.events import ClientHeader, ClientMessage, ServerHeader, ServerMessage, ServerTrailer
from duplexmock.core.rows import RowKind
from duplexmock.core.session import Ended, Entry
from duplexmock.core.status import Status
from duplexmock.errors import FixtureError
from duplexmock.store.fixture import Fixture, Summary
from duplexmock.store.header import Header
from duplexmock.store.records import RecordKind, Source
from duplexmock.store.writer import BLOCK_BYTES, LARGE_BYTES, PART_BYTES, Writer, _lock
from tests.store.fixtures import BARE, FIRST, HEADER, OTHER, RICH_SESSIONS, write

OPEN = (RowKind.CLIENT_HEADER, 1, OTHER, 1, 1)
BEGINNING = [(RowKind.OPENED, 1, FIRST), OPEN]
ANSWERED = [*BEGINNING, (RowKind.SERVER_HEADER, 1, ServerHeader())]


def records(path):
    """The kinds and bodies' sizes of a file's records."""
    source = Source(path)
    try:
        with Fixture.open(path) as fixture:
            return [(RecordKind(found.kind), found.body_bytes) for found in source.records(fixture._first)]
    finally:
        source.close()


def sent(path):
    """The payloads of session 1's messages, and whether they came whole."""
    with Fixture.open(path) as fixture:
        assert fixture.complete
        return [entry.event.payload for entry in fixture.session(1).entries if hasattr(entry.event, "payload")]


# The file


def test_the_file_is_readable_by_its_owner_only(tmp_path):
    before = os.umask(0)
    try:
        write(tmp_path / "x.duplex", [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "x.duplex").st_mode) == 0o600


def test_a_file_that_is_there_is_refused_and_stays_as_it_is(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_text("precious")
    with pytest.raises(FixtureError) as caught:
        Writer(path, BARE)
    assert str(caught.value) == f"{path}: the file exists; overwrite it, or record to another one"
    assert path.read_text() == "precious"


def test_a_file_that_is_overwritten_is_emptied_and_closed_to_others(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_bytes(bytes(100_000))
    path.chmod(0o644)
    Writer(path, BARE, if_exists="overwrite").close()
    assert path.stat().st_size < 1000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Fixture.open(path) as fixture:
        assert (fixture.header, len(fixture), fixture.complete) == (BARE, 0, True)


def test_a_file_that_is_being_written_is_refused_and_stays_as_it_is(tmp_path):
    path = tmp_path / "x.duplex"
    writer = Writer(path, BARE)
    writer.write(10, BEGINNING)
    writer.flush()
    content = path.read_bytes()
    for _ in range(2):  # a refusal takes no lock away
        with pytest.raises(FixtureError) as caught:
            Writer(path, HEADER, if_exists="overwrite")
        assert str(caught.value) == f"{path}: another recording is writing it"
        assert path.read_bytes() == content
    writer.close()
    with Fixture.open(path) as fixture:
        assert (fixture.header, len(fixture), fixture.complete) == (BARE, 1, True)
    Writer(path, HEADER, if_exists="overwrite").close()
    with Fixture.open(path) as fixture:
        assert (fixture.header, len(fixture)) == (HEADER, 0)


def test_two_that_overwrite_a_file_do_not_damage_it(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_bytes(bytes(100_000))
    writer = Writer(path, BARE, if_exists="overwrite")
    with pytest.raises(FixtureError) as caught:
        Writer(path, HEADER, if_exists="overwrite")
    assert str(caught.value) == f"{path}: another recording is writing it"
    writer.close()
    with Fixture.open(path) as fixture:
        assert (fixture.header, fixture.complete) == (BARE, True)


def test_a_file_under_another_name_is_the_same_file(tmp_path):
    writer = Writer(tmp_path / "x.duplex", BARE)
    (tmp_path / "link").symlink_to(tmp_path / "x.duplex")
    with pytest.raises(FixtureError) as caught:
        Writer(tmp_path / "link", HEADER, if_exists="overwrite")
    assert str(caught.value) == f"{tmp_path}/link: another recording is writing it"
    writer.close()


def test_a_file_that_was_closed_is_free_where_a_child_still_has_it(tmp_path):
    path = tmp_path / "x.duplex"
    writer = Writer(path, BARE)
    ours, theirs = os.pipe()
    child = os.fork()  # as multiprocessing does: what is open here is open there
    if not child:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    try:
        writer.close()
        Writer(path, HEADER, if_exists="overwrite").close()
    finally:
        os.close(theirs)
        os.waitpid(child, 0)


def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    def no_locks(fd, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    Writer(tmp_path / "x.duplex", BARE).close()
    Writer(tmp_path / "x.duplex", HEADER, if_exists="overwrite").close()
    with Fixture.open(tmp_path / "x.duplex") as fixture:
        assert (fixture.header, fixture.complete) == (HEADER, True)


def test_a_device_may_be_written_to_by_many():
    writers = [Writer("/dev/null", BARE, if_exists="overwrite") for _ in range(2)]
    for writer in writers:
        writer.close()
    assert [writer.failure for writer in writers] == ["", ""]


@pytest.mark.parametrize("if_exists", ["refuse", "overwrite"])
def test_what_cannot_be_made_is_refused_with_the_reason(tmp_path, if_exists):
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none" / "x.duplex", "No such file or directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(FixtureError) as caught:
            Writer(path, BARE, if_exists=if_exists)
        assert str(caught.value) == f"{path}: cannot be written: {reason}"


def test_a_dangling_link_is_refused(tmp_path):
    path = tmp_path / "x.duplex"
    path.symlink_to(tmp_path / "none" / "y")
    with pytest.raises(FixtureError) as caught:
        Writer(path, BARE)
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


def test_a_fifo_gets_the_fixture(tmp_path):
    fifo, copy = tmp_path / "fifo", tmp_path / "copy.duplex"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: copy.write_bytes(fifo.read_bytes()))
    reader.start()
    write(fifo)
    reader.join()
    with Fixture.open(copy) as fixture:
        assert tuple(fixture.sessions()) == RICH_SESSIONS
        assert fixture.complete


def test_dev_null_takes_all_and_is_left_as_it_is():
    before = os.stat("/dev/null").st_mode
    write("/dev/null")
    assert os.stat("/dev/null").st_mode == before


# The layout


def test_any_msgpack_library_reads_the_objects_of_the_specification(tmp_path):
    path = tmp_path / "x.duplex"
    message = (RowKind.CLIENT_MESSAGE, 1, 0, b"payload")
    write(path, [(10, BEGINNING), (25, [message]), (40, [(RowKind.SERVER_TRAILER, 1, ServerTrailer(Status(0)))])], BARE)
    with path.open("rb") as file:
        header, block, body, nil, index, index_body, index_nil, end, end_nil = msgpack.Unpacker(file)
    offset = len(msgpack.packb(header))
    assert (header["format"], header["version"], header["upstream"]) == ("duplexmock", 1, "unix:/run/chat.sock")
    assert block == [1, 1, len(body), 10, 40, ["/other.Service/Method"], [[1, 1, 0, 8, 0, 1]], [1]]
    unpacker = msgpack.Unpacker()
    unpacker.feed(body)
    assert list(unpacker) == [
        [
            0,
            [
                [12, 1, ["127.0.0.1:41234", "127.0.0.1:50051", 10]],
                [4, 1, ["/other.Service/Method", "", "https", []], 1, 1],
            ],
        ],
        [15, [[0, 1, 0, b"payload"]]],
        [30, [[8, 1, [[0, "", None], [], None, None]]]],
    ]  # fmt: skip
    assert index == [2, 2, len(index_body), 0]
    assert msgpack.unpackb(index_body) == [
        ["/other.Service/Method"],
        [[1, 1, 0, 8, 0, 1, offset, offset]],
        [[1, offset]],
    ]
    assert end[0] == 3
    assert path.read_bytes()[end[1]] == 0x94  # an INDEX record's head: an array of four
    assert (nil, index_nil, end_nil) == (None, None, None)


def test_rows_are_in_the_file_when_they_are_flushed(tmp_path):
    path = tmp_path / "x.duplex"
    writer = Writer(path, BARE)
    with Fixture.open(path) as fixture:
        assert (fixture.header, len(fixture)) == (BARE, 0)
        assert fixture.why_incomplete == "the file ends behind entry 0, and the recording was not closed"
    writer.write(10, BEGINNING)
    with Fixture.open(path) as fixture:
        assert len(fixture) == 0
    writer.flush()
    writer.flush()  # nothing is pending: no empty block
    with Fixture.open(path) as fixture:
        assert len(fixture) == 1
        assert fixture.why_incomplete == "the file ends behind entry 1, and the recording was not closed"
    writer.close()
    with Fixture.open(path) as fixture:
        assert (len(fixture), fixture.complete) == (1, True)


def test_a_block_ends_when_it_is_full(tmp_path):
    path = tmp_path / "x.duplex"
    payload = b"x" * 1000
    reads = [(10, ANSWERED), *((n, [(RowKind.SERVER_MESSAGE, 1, 0, payload)] * 50) for n in range(20, 40))]
    write(path, reads)
    kinds, sizes = zip(*records(path), strict=True)
    assert kinds == (*[RecordKind.BLOCK] * 4, RecordKind.INDEX, RecordKind.END)
    assert all(BLOCK_BYTES <= size < BLOCK_BYTES + 51_000 for size in sizes[:3])
    assert sent(path) == [payload] * 1000


def test_reads_keep_their_times_over_blocks(tmp_path):
    path = tmp_path / "x.duplex"
    message = (RowKind.CLIENT_MESSAGE, 1, 0, b"")
    times = [2**40 + 7 * number for number in range(300)]
    writer = Writer(path, BARE)
    writer.write(5, BEGINNING)
    for position, at_ns in enumerate(times):
        writer.write(at_ns, [message, message])
        if position % 7 == 0:
            writer.flush()
    writer.close()
    with Fixture.open(path) as fixture:
        entries = fixture.session(1).entries
    assert entries == (
        Entry(5, OTHER),
        *(Entry(at_ns, ClientMessage(b"")) for at_ns in times for _ in range(2)),
    )


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        LARGE_BYTES - 1,
        LARGE_BYTES,
        PART_BYTES - 1,
        PART_BYTES,
        PART_BYTES + 1,
        2 * PART_BYTES,
        5 * PART_BYTES + 3,
    ],
)
@pytest.mark.parametrize("kind", [RowKind.CLIENT_MESSAGE, RowKind.SERVER_MESSAGE], ids=["client", "server"])
def test_payloads_of_any_size_come_back_as_they_were(tmp_path, size, kind):
    path = tmp_path / "x.duplex"
    payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    row = (kind, 1, 1, payload)
    write(path, [(10, ANSWERED), (20, [row]), (30, [(kind, 1, 0, b"small"), row, row])])
    assert sent(path) == [payload, b"small", payload, payload]
    assert max(size for _, size in records(path)) <= BLOCK_BYTES + PART_BYTES + 1000


def test_parts_of_both_sides_and_of_several_calls_may_alternate(tmp_path):
    path = tmp_path / "x.duplex"
    big = [bytes((letter,)) * (PART_BYTES + 5) for letter in b"abcd"]
    rows = [
        (RowKind.CLIENT_PART, 1, big[0]),
        (RowKind.SERVER_PART, 1, big[1]),
        (RowKind.CLIENT_PART, 2, big[2]),
        (RowKind.SERVER_PART, 2, b""),
        (RowKind.CLIENT_PART, 1, b"-"),
        (RowKind.SERVER_MESSAGE, 2, 0, b""),
        (RowKind.SERVER_MESSAGE, 1, 0, big[3]),
        (RowKind.CLIENT_MESSAGE, 2, 0, b"."),
        (RowKind.CLIENT_MESSAGE, 1, 0, b"."),
    ]
    second = (RowKind.CLIENT_HEADER, 2, OTHER, 1, 3)
    answers = [(RowKind.SERVER_HEADER, call, ServerHeader()) for call in (1, 2)]
    write(path, [(10, [*BEGINNING, second, *answers]), (20, rows)])
    with Fixture.open(path) as fixture:
        one, two = ([entry.event for entry in session.entries[2:]] for session in fixture.sessions())
    assert one == [ServerMessage(big[1] + big[3]), ClientMessage(big[0] + b"-.")]
    assert two == [ServerMessage(b""), ClientMessage(big[2] + b".")]


def test_a_read_of_many_rows_is_cut_into_batches(tmp_path):
    path = tmp_path / "x.duplex"
    payloads = [bytes((number % 256,)) * 300 for number in range(3000)]
    write(path, [(10, BEGINNING), (20, [(RowKind.CLIENT_MESSAGE, 1, 0, payload) for payload in payloads])])
    assert sent(path) == payloads


def test_a_read_of_many_small_rows_may_end_in_a_large_one(tmp_path):
    path = tmp_path / "x.duplex"
    payloads = [b"s"] * 100 + [b"L" * (3 * PART_BYTES)] + [b"s"]
    write(path, [(10, BEGINNING), (20, [(RowKind.CLIENT_MESSAGE, 1, 0, payload) for payload in payloads])])
    assert sent(path) == payloads


def test_a_long_recording_has_several_index_records(tmp_path):
    path = tmp_path / "x.duplex"
    count = 9000
    reads = [(1, [(RowKind.OPENED, 1, FIRST)])]
    for number in range(1, count + 1):
        header = ClientHeader(f"/a.B/{number % 7}")
        reads.append((number, [(RowKind.CLIENT_HEADER, number, header, 1, 2 * number - 1)]))
        if number > 3000:  # far behind the block that opened it
            done = number - 3000
            reads.append((number, [(RowKind.CLIENT_MESSAGE, done, 0, b"x" * 50), (RowKind.SERVER_TRAILER, done, _OK)]))
    write(path, reads)
    assert [kind for kind, _ in records(path)].count(RecordKind.INDEX) >= 3
    expected = [
        Summary(number, f"/a.B/{number % 7}", *((1, 0, Ended.TRAILER) if number <= 6000 else (0, 0, Ended.INCOMPLETE)))
        for number in range(1, count + 1)
    ]
    with Fixture.open(path) as fixture:
        assert list(fixture.summaries()) == expected
        assert [session.number for session in fixture.sessions()] == list(range(1, count + 1))
        assert fixture.session(4711).entries == (
            Entry(4711, ClientHeader("/a.B/0")),
            Entry(7711, ClientMessage(b"x" * 50)),
            Entry(7711, _OK),
        )
    cut = path.read_bytes()[:-12]
    path.write_bytes(cut)
    with Fixture.open(path) as fixture:
        assert list(fixture.summaries()) == expected
        assert not fixture.complete


def test_the_writer_tells_of_each_session_of_a_block_that_has_gone_out(tmp_path):
    told = []
    writer = Writer(
        tmp_path / "x.duplex",
        BARE,
        wrote=lambda lines: told.append({n: (line.client_messages, line.ending) for n, line in lines.items()}),
    )
    writer.write(10, [*BEGINNING, (RowKind.CLIENT_MESSAGE, 1, 0, b"x")])
    assert told == []
    writer.flush()
    writer.write(20, [(RowKind.SERVER_TRAILER, 1, _OK)])
    writer.close()
    assert told == [{1: (1, 0)}, {1: (0, RowKind.SERVER_TRAILER)}]


def test_a_writer_that_is_closed_takes_no_more(tmp_path):
    path = tmp_path / "x.duplex"
    writer = write(path)
    content = path.read_bytes()
    writer.write(200, [(RowKind.CLIENT_MESSAGE, 1, 0, b"late")])
    writer.flush()
    writer.sync()
    writer.close()
    assert path.read_bytes() == content
    assert writer.failure == ""


def test_text_that_is_not_unicode_comes_back_as_it_was(tmp_path):
    path = tmp_path / "x.duplex"
    connection = Connection(1, "unix:", "unix:/\udc80", 1)
    header = Header(1, "unix:/\udc80", notes={"\udcff": "\udcfe"})
    write(path, [(1, [(RowKind.OPENED, 1, connection)])], header)
    with Fixture.open(path) as fixture:
        assert fixture.header == header
        assert fixture.connections == (connection,)


# A disk that is full


def test_a_full_disk_is_told_in_a_sentence_and_does_not_raise():
    writer = Writer("/dev/full", BARE)
    sentence = (
        "/dev/full: No space left on device; recording stopped after 0 bytes, and the fixture is readable up to there"
    )
    assert writer.failure == sentence
    writer.write(10, BEGINNING)
    writer.flush()
    writer.sync()
    writer.close()
    writer.close()
    assert writer.failure == sentence


def test_a_disk_that_fills_up_leaves_what_was_written_readable(tmp_path):
    path = tmp_path / "x.duplex"
    code = f"""
import resource, signal
from duplexmock.core.rows import RowKind
from tests.store.test_writer import BEGINNING, HEADER, Writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
writer = Writer({str(path)!r}, HEADER)
writer.write(10, BEGINNING)
for number in range(100):
    writer.write(20 + number, [(RowKind.CLIENT_MESSAGE, 1, 0, b"%03d" % number * 100)])
    writer.flush()
writer.close()
print(writer.failure)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    before, _, rest = done.stdout.strip().partition(" after ")
    assert before == f"{path}: File too large; recording stopped"
    stopped_at = int(rest.removesuffix(" bytes, and the fixture is readable up to there"))
    assert 9000 < stopped_at <= path.stat().st_size == 10_000
    with Fixture.open(path) as fixture:
        payloads = [entry.event.payload for entry in fixture.session(1).entries[1:]]
        assert payloads == [b"%03d" % number * 100 for number in range(len(payloads))]
        assert len(payloads) >= 20
        assert fixture.why_incomplete == f"the file ends inside entry {len(payloads) + 1}"


def test_a_descriptor_that_fails_at_the_sync_is_told(tmp_path):
    writer = Writer(tmp_path / "x.duplex", BARE)
    os.close(writer._fd)
    writer.sync()
    assert writer.failure.startswith(f"{tmp_path}/x.duplex: Bad file descriptor; recording stopped after ")


def test_no_descriptor_is_left_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        write(tmp_path / f"{number}.duplex")
        with pytest.raises(FixtureError):
            Writer(tmp_path / f"{number}.duplex", HEADER)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_was_replaced_since_it_was_opened_is_not_taken_for_the_one_that_is_there(tmp_path):
    path, other = tmp_path / "x.duplex", tmp_path / "other.duplex"
    write(path)
    write(other)
    fd = os.open(path, os.O_RDONLY)
    try:
        _lock(fd, path)
        os.replace(other, path)
        with pytest.raises(FixtureError) as caught:
            _lock(fd, path)
    finally:
        os.close(fd)
    assert str(caught.value) == f"{path}: another process has just written it; try again"


_OK = ServerTrailer(Status(0))
