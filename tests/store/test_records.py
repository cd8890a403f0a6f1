"""Records: framed, hopped over, found damaged; the end of the file; and files that are none."""

import os
import socket

import msgpack
import pytest

from duplexmock.errors import FixtureError
from duplexmock.store.records import BIN, BIN_32, END, END_HEAD, END_NIL, NIL, Record, RecordKind, Source

NO_BODY = "a head that is not followed by its body"
BY_HAND = "; the file is damaged or was edited by hand"


def record(kind, number, body, *head, stated=None):
    stated = len(body) if stated is None else stated
    return msgpack.packb([kind, number, stated, *head]) + BIN.pack(BIN_32, stated) + body + NIL


@pytest.fixture
def source(tmp_path):
    """`source(content)` opens a file of these bytes."""
    opened = []

    def of(content):
        path = tmp_path / "x.duplex"
        path.write_bytes(content)
        opened.append(Source(path))
        opened[-1].name = "x.duplex"
        return opened[-1]

    yield of
    for each in opened:
        each.close()


def test_records_are_hopped_over_by_their_heads(source):
    first, second = record(RecordKind.BLOCK, 1, b"\xff" * 70_000, 5, [6]), record(RecordKind.INDEX, 2, b"", 7)
    end = END.pack(*END_HEAD, 99, END_NIL)
    records = list(source(first + second + end).records(0))
    assert records == [
        Record(RecordKind.BLOCK, 1, [5, [6]], 0, len(first) - 70_001, 70_000, True),
        Record(RecordKind.INDEX, 2, [7], len(first), len(first + second) - 1, 0, True),
        Record(RecordKind.END, 0, [99], len(first + second), len(first + second + end) - 1, 0, True),
    ]
    assert [found.end for found in records] == [len(first), len(first + second), len(first + second + end)]


def test_a_record_of_an_unknown_kind_can_be_hopped_over(source):
    assert [found.kind for found in source(record(77, 1, b"later", {"a": 1}) + record(1, 2, b"")).records(0)] == [77, 1]


def test_a_head_longer_than_a_read_is_read_whole(source):
    methods = [f"/{'x' * 100}/{number}" for number in range(500)]
    (found,) = source(record(1, 1, b"body", methods)).records(0)
    assert found.head == [methods]


@pytest.mark.parametrize("kept", range(1, 18))
def test_a_record_that_the_file_cuts_is_what_is_there(source, kept):
    whole = record(1, 1, b"0123456", "h")
    head = len(whole) - len(b"0123456") - 1
    found = list(source(whole[:kept]).records(0))
    if kept < head - BIN.size:
        assert found == []
    else:
        there = max(kept - head, 0)
        assert found == [Record(1, 1, ["h"], 0, head, min(there, 7), False)] if kept < len(whole) else found[0].whole


def test_zeros_behind_the_last_record_are_not_part_of_the_file(source):
    whole = record(1, 1, b"\0\0")
    for zeros in (0, 1, 65_535, 65_536, 200_000):
        opened = source(whole + bytes(zeros))
        assert opened.end == len(whole)
        assert [found.whole for found in opened.records(0)] == [True]
    assert source(bytes(70_000)).end == 0
    assert source(b"").end == 0


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b"\xc1", "entry 1", "not msgpack, or not this format's"),
        (b"\x05", "entry 1", "no head of a record"),
        (msgpack.packb([1, 1]), "entry 1", "no head of a record"),
        (msgpack.packb([1, 1, -1]) + BIN.pack(BIN_32, 0) + NIL, "entry 1", "no head of a record"),
        (msgpack.packb({"a": [1]}), "entry 1", "no head of a record"),
        (record(1, 1, b"abc") + record(1, 3, b""), "entry 2", "it says that it is entry 3"),
        (record(1, 1, b"abc")[:-1] + b"\xc2", "entry 1", "a body that does not end where its head says"),
        (record(1, 1, b"abc", stated=2), "entry 1", "a body that does not end where its head says"),
        (
            msgpack.packb([1, 1, 3]) + BIN.pack(BIN_32, 4) + b"abc" + NIL,
            "entry 1",
            "a head that is not followed by its body",
        ),
        (msgpack.packb([1, 1, 3]) + b"\xc4\x03" + b"abc" + NIL, "entry 1", NO_BODY),
        (END.pack(*END_HEAD, 0, END_NIL) + record(1, 2, b""), "entry 1", "the file goes on behind its end"),
        (
            msgpack.packb([1, 1, 2**63]) + BIN.pack(BIN_32, 5) + b"abc",
            "entry 1",
            "a head that is not followed by its body",
        ),
    ],
)
def test_damage_is_told_with_file_entry_and_reason(source, content, place, reason):
    with pytest.raises(FixtureError) as caught:
        list(source(content).records(0))
    assert str(caught.value) == f"x.duplex: {place}: {reason}{BY_HAND}"


@pytest.mark.parametrize(
    "content",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 5000,
        b"\xd4\x01\x00",
        b"\x81\x90\x00",
    ],
    ids=["array", "map", "bin", "str", "ext", "nested", "fixext", "array as a key"],
)
def test_lengths_that_msgpack_states_are_not_believed(source, content):
    try:
        list(source(content).records(0))
    except FixtureError as exc:
        assert str(exc).startswith("x.duplex: entry 1: ")  # noqa: PT017 - a cut record is as well an answer


def test_a_read_stops_at_the_end(source):
    opened = source(b"0123456789")
    assert opened.read(8, 100) == b"89"
    assert opened.read(10, 1) == b""
    assert opened.read(11, 1) == b""


def test_a_file_that_is_closed_says_so(source):
    opened = source(b"0123456789")
    opened.close()
    with pytest.raises(FixtureError) as caught:
        opened.read(0, 5)
    assert str(caught.value) == "x.duplex: I/O operation on closed file"


def test_a_file_that_shrinks_while_it_is_read_is_short(source, tmp_path):
    opened = source(record(1, 1, b"0123456789"))
    os.truncate(tmp_path / "x.duplex", 6)
    with pytest.raises(FixtureError) as caught:
        list(opened.records(0))
    assert str(caught.value).startswith("x.duplex: entry 1: ")


def refusal(path):
    with pytest.raises(FixtureError) as caught:
        Source(path)
    return str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert refusal(tmp_path / "none") == f"{tmp_path}/none: No such file or directory"


def test_a_directory_is_refused(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: not a file that a fixture could be read from"


def test_a_fifo_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == f"{tmp_path}/fifo: not a file that a fixture could be read from"


def test_a_device_and_a_socket_are_refused(tmp_path):
    assert refusal("/dev/zero") == "/dev/zero: not a file that a fixture could be read from"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket") == f"{tmp_path}/socket: not a file that a fixture could be read from"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = tmp_path / "x.duplex"
    path.write_bytes(b"")
    path.chmod(0)
    assert refusal(path) == f"{path}: Permission denied"
