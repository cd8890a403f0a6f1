"""Damaged files: cut at every byte, and with bytes changed at random. Each reads, or says where it is damaged."""

import os
import random
import re
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from duplexmock.cli import show
from duplexmock.errors import FixtureError
from duplexmock.schema.reader import Reader
from duplexmock.store.fixture import Fixture
from tests.store.fixtures import HEADER, RICH, RICH_SESSIONS, rich_bytes, write

FLIPS = 10_000 * (20 if os.environ.get("DUPLEXMOCK_SOAK") else 1)
PROCESSES = 2

MEMORY_BYTES = 200_000_000
"""Of address space, on top of what a process has when it begins: a length that is believed asks for gigabytes."""

WITH_PLACE = re.compile(r"(entry -?\d+|the header|the end|byte -?\d+|session -?\d+)\b.*: .+|session -?\d+ .+")
WITHOUT = (
    "not a duplexmock fixture",
    "the file ends inside its header; nothing was recorded",
    "its header lacks a field or has one of a wrong type; it is damaged or was edited by hand",
)
OF_THE_VERSION = ("its version is ", "it has version ")


def read_all(path, alone_of=lambda sessions: sessions):
    """Read a file in every way there is; return what its sessions are, and those of `alone_of` read one by one."""
    with Fixture.open(path) as fixture:
        for summary in fixture.summaries():
            assert summary.ended
        assert fixture.expectations
        connections = fixture.connections
        sessions = tuple(fixture.sessions())
        alone = tuple(fixture.session(session.number) for session in alone_of(sessions))
        assert {session.connection for session in sessions} <= set(connections)
        reader = Reader(*show._known(str(path), fixture, None))
        if fixture.header.descriptors != HEADER.descriptors:  # whatever they say now, it is protobuf that reads them
            reader = Reader()
        for say in (show._text, show._json):
            for line in say(path.name, fixture, iter(sessions), reader):
                line.encode("utf-8", "backslashreplace")
    return sessions, alone


def answer(path, alone_of=lambda sessions: sessions):
    """Return what a file's sessions are, or the error of a damaged file: the file's name, a place and a reason."""
    try:
        return read_all(path, alone_of)
    except FixtureError as exc:
        refusal = str(exc)
    name, separator, rest = refusal.partition(": ")
    assert (name, separator) == (str(path), ": ")
    assert WITH_PLACE.fullmatch(rest) or rest in WITHOUT or rest.startswith(OF_THE_VERSION), refusal
    return refusal


@pytest.mark.parametrize("flush", [True, False], ids=["a block a read", "one block"])
def test_a_file_that_is_cut_anywhere_reads_up_to_there(tmp_path, flush):
    whole = rich_bytes(tmp_path, flush=flush)
    path = tmp_path / "cut.duplex"
    header = len(rich_header(tmp_path))
    read = []
    for size in range(len(whole)):
        found = answer_to(path, whole[:size])
        if size < 19:
            assert found == f"{path}: not a duplexmock fixture"
        elif size < header:
            assert found == f"{path}: the file ends inside its header; nothing was recorded"
        else:
            sessions, alone = found
            read.append(sessions)
            assert sessions == alone
            assert is_beginning(sessions), size
    assert read[0] == ()
    assert [session.entries for session in read[-1]] == [session.entries for session in RICH_SESSIONS]
    assert [total(sessions) for sessions in read] == sorted(total(sessions) for sessions in read)


def rich_header(folder):
    write(folder / "header.duplex", [], close=False)
    return (folder / "header.duplex").read_bytes()


def is_beginning(sessions):
    """Tell whether each session's entries are the first ones of what it is in the whole file."""
    return [session.number for session in sessions] == list(range(1, len(sessions) + 1)) and all(
        untrailed(session.entries) == untrailed(whole.entries[: len(session.entries)])
        for session, whole in zip(sessions, RICH_SESSIONS, strict=False)
    )


def untrailed(entries):
    """The entries without `reset_after`, which comes behind them."""
    return [
        replace(entry, event=replace(entry.event, reset_after=None)) if hasattr(entry.event, "reset_after") else entry
        for entry in entries
    ]


def total(sessions):
    return sum(len(session.entries) for session in sessions)


def test_bytes_that_are_changed_at_random_never_do_worse_than_an_error(tmp_path):
    with ThreadPoolExecutor(PROCESSES) as pool:
        answers = list(pool.map(flipped, range(PROCESSES), [tmp_path] * PROCESSES))
    read, refused = map(sum, zip(*answers, strict=True))
    assert read + refused == FLIPS
    assert read > FLIPS // 20  # flips in payloads and names do no harm
    assert refused > FLIPS // 20


def flipped(part, folder):
    """Run a part of the flips in a process of its own; return how many files could be read, and how many were not."""
    own = folder / str(part)
    own.mkdir()
    done = subprocess.run(
        [sys.executable, __file__, str(own), str(part), str(FLIPS // PROCESSES)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return tuple(map(int, done.stdout.split()))


def flips(folder, part, count):
    """Change bytes of a fixture `count` times, and read it each time, with little memory to have."""
    files = [
        rich_bytes(folder, flush=True),
        rich_bytes(folder, flush=False),
        rich_bytes(folder, close=False),
        rich_bytes(folder, learned=True),
    ]
    path = folder / "flipped.duplex"
    chosen = random.Random(part)
    answers = {True: 0, False: 0}
    answer_to(path, files[0])  # everything is imported now
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    for number in range(count):
        content = bytearray(chosen.choice(files))
        for _ in range(chosen.choice((1, 1, 1, 2, 5))):
            position = chosen.randrange(len(content))
            content[position] = chosen.choice(
                (chosen.randrange(256), content[position] ^ 1 << chosen.randrange(8), 0xFF, 0xDD, 0xC6)
            )
        began = time.process_time()
        try:
            found = answer_to(path, bytes(content), lambda sessions: sessions and [chosen.choice(sessions)])
        except BaseException:
            print(f"flip {number} of part {part}", file=sys.stderr)
            raise
        if time.process_time() - began > 10:
            sys.exit(f"flip {number} of part {part} took more than 10 s")
        answers[isinstance(found, tuple)] += 1
    print(answers[True], answers[False])


def answer_to(path, content, alone_of=lambda sessions: sessions):
    path.unlink(missing_ok=True)  # emptying a file may wait for the disk
    path.write_bytes(content)
    return answer(path, alone_of)


def test_descriptors_that_are_damaged_are_told_as_the_files_damage(tmp_path):
    path = tmp_path / "x.duplex"
    write(path, RICH, replace(HEADER, descriptors=b"\xff\xff"))
    with pytest.raises(FixtureError) as caught:
        read_all(path)
    assert str(caught.value) == (
        f"{path}: the header: 'descriptors' is not a descriptor set; make it with: "
        "protoc --include_imports --descriptor_set_out=set.pb FILE.proto; the file is damaged or was edited by hand"
    )


if __name__ == "__main__":
    flips(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
