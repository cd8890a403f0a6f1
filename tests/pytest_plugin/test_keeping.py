"""Keeping a recording: whole or not at all, and one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from duplexmock.errors import FixtureError
from duplexmock.pytest_plugin.keeping import keep_first, keep_last, locked


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "recorded"
    path.write_bytes(b"new")
    return path


def test_the_first_one_stays(tmp_path: Path, recorded: Path) -> None:
    path = tmp_path / "fixtures" / "chat" / "x.duplex"
    assert keep_first(recorded, path)
    recorded.write_bytes(b"newer")
    assert not keep_first(recorded, path)
    assert path.read_bytes() == b"new"
    assert [each.name for each in path.parent.iterdir()] == ["x.duplex"]


def test_the_last_one_stays(tmp_path: Path, recorded: Path) -> None:
    path = tmp_path / "x.duplex"
    path.write_bytes(b"old")
    keep_last(recorded, path)
    assert path.read_bytes() == b"new"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["recorded", "x.duplex"]


def test_what_cannot_be_kept_is_told_and_leaves_nothing(tmp_path: Path, recorded: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FixtureError) as caught:
        keep_last(recorded, tmp_path / "file" / "x.duplex")
    assert str(caught.value) == f"{tmp_path}/file/x.duplex: the recording cannot be kept: File exists"
    with pytest.raises(FixtureError) as caught:
        keep_last(tmp_path / "nothing", tmp_path / "x.duplex")
    assert str(caught.value) == f"{tmp_path}/x.duplex: the recording cannot be kept: No such file or directory"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "recorded"]


def test_what_many_change_at_a_time_has_every_change(tmp_path: Path) -> None:
    path = tmp_path / "x.duplex"
    path.write_text("")

    def change(number: int) -> None:
        for turn in range(10):
            with locked(path):
                made = tmp_path / f"{number}"
                made.write_text(f"{path.read_text()}{number}.{turn}\n")
                made.rename(path)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text().split()) == sorted(f"{number}.{turn}" for number in range(4) for turn in range(10))
