"""Adding behind a recording: what is read afterwards, what becomes of the file, and of the one beside it."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import pytest

from duplexmock.core.events import Side
from duplexmock.core.learned import Ground, Need, Needs
from duplexmock.core.session import Session
from duplexmock.errors import FixtureError
from duplexmock.store.amend import amend
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from duplexmock.store.records import RecordKind, Source
from duplexmock.store.writer import Writer
from tests.store.fixtures import (
    BARE,
    EXPECTED,
    HEADER,
    NEEDS,
    RICH_CONNECTIONS,
    RICH_SESSIONS,
    rich_bytes,
    write,
)

ROOT = Path(__file__).parents[2]
CLIENT_NEEDS = Needs(1, Side.CLIENT, tuple(Need(0, Ground.STRUCTURAL) for _ in range(3)))
OTHER_NEEDS = Needs(2, Side.SERVER, (Need(1, Ground.STRUCTURAL),))
LATER = Needs(1, Side.SERVER, (Need(1, Ground.STRUCTURAL), Need(1, Ground.REFUTED, 3), Need(3, Ground.HELD, 3)))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A rich fixture, a block a read; nothing is left beside it."""
    (tmp_path / "x.duplex").write_bytes(rich_bytes(tmp_path))
    yield tmp_path / "x.duplex"
    assert os.listdir(tmp_path) == ["x.duplex"]


def learned(path: Path) -> dict[tuple[int, Side], Needs]:
    with Fixture.open(path) as fixture:
        assert fixture.complete
        return dict(fixture.needs)


def expectations(path: Path) -> Expectations:
    with Fixture.open(path) as fixture:
        return fixture.expectations


def refused(path: Path, *needs: Needs) -> str:
    with pytest.raises(FixtureError) as caught:
        amend(path, needs)
    return str(caught.value)


# What is read afterwards


def test_what_is_added_is_read(path: Path) -> None:
    amend(path, [NEEDS, OTHER_NEEDS], EXPECTED)
    assert learned(path) == {(1, Side.SERVER): NEEDS, (2, Side.SERVER): OTHER_NEEDS}
    assert expectations(path) == EXPECTED


def test_what_was_recorded_is_read_as_before(path: Path) -> None:
    with Fixture.open(path) as fixture:
        before = fixture.header, tuple(fixture.summaries()), dict(fixture.methods), fixture.descriptors
    amend(path, [NEEDS, CLIENT_NEEDS], EXPECTED)
    with Fixture.open(path) as fixture:
        assert (fixture.header, tuple(fixture.summaries()), dict(fixture.methods), fixture.descriptors) == before
        assert fixture.header == HEADER
        assert tuple(fixture.sessions()) == RICH_SESSIONS
        assert tuple(map(fixture.session, range(1, 8))) == RICH_SESSIONS
        assert fixture.connections == RICH_CONNECTIONS


def test_what_is_learned_again_is_in_the_place_of_what_was(path: Path) -> None:
    amend(path, [NEEDS, CLIENT_NEEDS, OTHER_NEEDS])
    amend(path, [LATER])
    assert learned(path) == {(1, Side.SERVER): LATER, (1, Side.CLIENT): CLIENT_NEEDS, (2, Side.SERVER): OTHER_NEEDS}


def test_expectations_are_kept_where_none_are_given_and_replaced_where_some_are(path: Path) -> None:
    amend(path, [NEEDS])
    assert expectations(path) == HEADER.expectations
    amend(path, [], EXPECTED)
    amend(path, [CLIENT_NEEDS])
    assert (expectations(path), set(learned(path))) == (EXPECTED, {(1, Side.SERVER), (1, Side.CLIENT)})
    amend(path, [], Expectations())
    assert expectations(path) == Expectations()


def test_it_can_be_done_again_and_again(path: Path) -> None:
    sizes = [path.stat().st_size]
    for probes in range(1, 6):
        amend(path, [Needs(1, Side.SERVER, (*NEEDS.lane[:2], Need(3, Ground.HELD, probes)))])
        sizes.append(path.stat().st_size)
        assert learned(path)[1, Side.SERVER].lane[2] == Need(3, Ground.HELD, probes)
    grown = {after - before for before, after in pairwise(sizes[1:])}
    assert len(grown) == 1, "each time it grows by as much"
    with Fixture.open(path) as fixture:
        assert tuple(fixture.sessions()) == RICH_SESSIONS


def test_a_record_and_an_index_are_added_each_time(path: Path) -> None:
    before = kinds(path)
    amend(path, [NEEDS])
    amend(path, [LATER])
    added = [RecordKind.BLOCK, RecordKind.INDEX]
    assert kinds(path) == [*before[:-1], *added, *added, RecordKind.END]


def kinds(path: Path) -> list[int]:
    source = Source(path)
    try:
        with Fixture.open(path) as fixture:
            return [record.kind for record in source.records(fixture._first)]
    finally:
        source.close()


def test_a_file_that_has_lost_its_end_afterwards_still_has_what_was_learned(path: Path) -> None:
    amend(path, [NEEDS], EXPECTED)
    path.write_bytes(path.read_bytes()[:-3])
    with Fixture.open(path) as fixture:
        assert not fixture.complete
        assert (fixture.needs, fixture.expectations) == ({(1, Side.SERVER): NEEDS}, EXPECTED)
        assert tuple(fixture.sessions()) == RICH_SESSIONS


def test_zeros_behind_the_end_are_no_part_of_it(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(4096))
    amend(path, [NEEDS])
    assert learned(path) == {(1, Side.SERVER): NEEDS}


def test_a_fixture_of_nothing_may_have_expectations(tmp_path: Path) -> None:
    write(tmp_path / "none.duplex", [], BARE)
    for expected in (EXPECTED, Expectations(expect="strict")):
        amend(tmp_path / "none.duplex", [], expected)
        assert expectations(tmp_path / "none.duplex") == expected
        assert len(learned(tmp_path / "none.duplex")) == 0


# What was learned, and of what


def test_a_session_has_what_was_learned_of_it(path: Path) -> None:
    amend(path, [NEEDS, CLIENT_NEEDS, OTHER_NEEDS])
    with Fixture.open(path) as fixture:
        assert [fixture.learned(session) for session in RICH_SESSIONS[:3]] == [
            {Side.SERVER: NEEDS, Side.CLIENT: CLIENT_NEEDS},
            {Side.SERVER: OTHER_NEEDS},
            {},
        ]


@pytest.mark.parametrize(
    ("needs", "misfit"),
    [
        (Needs(1, Side.SERVER, NEEDS.lane[:2]), "server"),
        (Needs(1, Side.SERVER, (*NEEDS.lane[:2], Need(4, Ground.HELD, 2))), "server"),
        (Needs(1, Side.SERVER, (Need(0, Ground.HELD, 2), *NEEDS.lane[1:])), "server"),
        (Needs(1, Side.CLIENT, (*CLIENT_NEEDS.lane, Need(0, Ground.STRUCTURAL))), "client"),
    ],
    ids=["too short", "more than there is", "held by nothing", "too long"],
)
def test_what_was_learned_of_another_lane_is_refused(path: Path, needs: Needs, misfit: str) -> None:
    amend(path, [needs])
    first: Session = RICH_SESSIONS[0]
    with Fixture.open(path) as fixture, pytest.raises(FixtureError) as caught:
        fixture.learned(first)
    assert str(caught.value) == (
        f"{path}: session 1: what was learned of the {misfit} does not fit; the file is damaged or was edited by hand"
    )
    with Fixture.open(path) as fixture:
        assert fixture.learned(RICH_SESSIONS[1]) == {}


def test_what_was_learned_of_a_session_that_is_not_there_is_refused(path: Path) -> None:
    amend(path, [NEEDS, Needs(8, Side.SERVER, NEEDS.lane)])
    with Fixture.open(path) as fixture, pytest.raises(FixtureError) as caught:
        fixture.learned(RICH_SESSIONS[0])
    assert str(caught.value) == (
        f"{path}: entry 17: row 2: there is no session 8; the file is damaged or was edited by hand"
    )


# The file


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444], ids=oct)
def test_the_mode_is_kept(path: Path, mode: int) -> None:
    path.chmod(mode)
    amend(path, [NEEDS])
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert learned(path) == {(1, Side.SERVER): NEEDS}


def test_what_is_written_beside_it_is_for_its_owner_only(path: Path) -> None:
    told = python(
        f"""
        def note(event, arguments):
            if event == "shutil.copyfile":
                print(oct(os.stat(arguments[1]).st_mode & 0o777))
        os.umask(0)
        sys.addaudithook(note)
        amend({str(path)!r}, [NEEDS])
        """
    )
    assert told == "0o600\n"


def test_a_link_stays_one(tmp_path: Path, path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    link = folder / "link.duplex"
    link.symlink_to(Path("..", "x.duplex"))
    amend(link, [NEEDS])
    assert (os.readlink(link), os.listdir(folder)) == ("../x.duplex", ["link.duplex"])
    assert learned(link) == learned(path) == {(1, Side.SERVER): NEEDS}
    link.unlink()
    folder.rmdir()


def test_who_has_it_open_reads_on(path: Path) -> None:
    with Fixture.open(path) as before:
        amend(path, [NEEDS], EXPECTED)
        assert tuple(before.sessions()) == RICH_SESSIONS
        assert (before.needs, before.expectations) == ({}, HEADER.expectations)
    assert learned(path) == {(1, Side.SERVER): NEEDS}


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    amend(path, [NEEDS])
    assert len(os.listdir("/proc/self/fd")) == before


# Where nothing is added


@pytest.mark.parametrize("cut", [1, 12, 40, 200])
def test_a_recording_that_was_not_closed_is_refused_and_stays_as_it_is(path: Path, cut: int) -> None:
    content = path.read_bytes()[:-cut]
    path.write_bytes(content)
    with Fixture.open(path) as fixture:
        why = fixture.why_incomplete
    assert why
    assert refused(path, NEEDS) == f"{path}: {why}; what is learned can be added to a whole recording only"
    assert path.read_bytes() == content


def test_the_whole_text_of_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "x.duplex").write_bytes(rich_bytes(tmp_path, flush=False, close=False))
    assert refused(tmp_path / "x.duplex", NEEDS) == (
        f"{tmp_path}/x.duplex: the file ends behind entry 1, and the recording was not closed; "
        "what is learned can be added to a whole recording only"
    )


def test_a_recording_that_is_another_one_by_now_is_refused(path: Path) -> None:
    amend(path, [NEEDS], started_at_ns=HEADER.started_at_ns)
    content = path.read_bytes()
    with pytest.raises(FixtureError) as caught:
        amend(path, [LATER], started_at_ns=HEADER.started_at_ns - 1)
    assert str(caught.value) == f"{path}: it was recorded anew meanwhile; nothing was added"
    assert path.read_bytes() == content


def test_a_file_that_is_being_written_is_refused(path: Path) -> None:
    writer = Writer(path, HEADER, if_exists="overwrite")
    writer.flush()
    content = path.read_bytes()
    assert refused(path, NEEDS) == f"{path}: another recording is writing it"
    assert path.read_bytes() == content
    writer.close()
    amend(path, [], EXPECTED)
    assert expectations(path) == EXPECTED


def test_what_is_no_fixture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.duplex").write_text("precious")
    assert refused(tmp_path / "x.duplex", NEEDS) == f"{tmp_path}/x.duplex: not a duplexmock fixture"
    assert refused(tmp_path / "y.duplex", NEEDS) == f"{tmp_path}/y.duplex: No such file or directory"
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("x.duplex", "precious")]


def test_a_folder_that_cannot_be_written_is_told() -> None:
    """Root may write everything: it works as somebody else, in a folder that the other one can reach."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.duplex")
        content = rich_bytes(Path(folder))
        path.write_bytes(content)
        path.chmod(0o644)
        Path(folder).chmod(0o555)
        try:
            told = python(
                f"""
                os.chdir({folder!r})
                if os.geteuid() == 0:
                    os.seteuid(65_534)
                try:
                    amend("x.duplex", [NEEDS])
                except FixtureError as error:
                    print(error)
                """
            )
        finally:
            Path(folder).chmod(0o700)
        assert told == "x.duplex: nothing was added: no file can be made beside it: Permission denied\n"
        assert (os.listdir(folder), path.read_bytes()) == (["x.duplex"], content)


def test_a_disk_that_is_full_is_told(path: Path) -> None:
    content = path.read_bytes()
    for limit in (len(content) // 2, len(content) + 20):
        told = python(
            f"""
            import resource, signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
            try:
                amend({str(path)!r}, [NEEDS])
            except FixtureError as error:
                print(error)
            """
        )
        assert told == f"{path}: nothing was added: File too large\n"
        assert path.read_bytes() == content


def python(code: str) -> str:
    """Run this in a process of its own, with what it needs loaded; return what it says."""
    lines = (
        "import os, sys",
        "from duplexmock.errors import FixtureError",
        "from duplexmock.store.amend import amend",
        "from tests.store.fixtures import NEEDS",
    )
    program = "\n".join((*lines, dedent(code)))
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout
