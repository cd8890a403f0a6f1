"""The file of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from duplexmock.pytest_plugin.naming import MAX_NAME, fixture_name, given
from tests.pytest_plugin.conftest import Project


@pytest.mark.parametrize(
    ("module", "names", "path"),
    [
        ("tests/test_chat", ["test_say"], "tests/test_chat/test_say.duplex"),
        ("test_chat", ["TestRoom", "TestDoor", "test_join[two]"], "test_chat/TestRoom.TestDoor.test_join[two].duplex"),
        ("test_chat", ["test_say[1.5-a_b]"], "test_chat/test_say[1.5-a_b].duplex"),
        ("test_chat", ["test_say[a/b]"], "test_chat/test_say[a_b]-442ea954.duplex"),
        ("test_chat", ["test_say[a:b]"], "test_chat/test_say[a_b]-1d6c09c7.duplex"),
        ("test_chat", ["test_say[größe]"], "test_chat/test_say[gr__e]-fd26b567.duplex"),
    ],
)
def test_a_name_is_what_a_file_system_takes_and_other_names_stay_others(
    module: str, names: list[str], path: str
) -> None:
    assert fixture_name(module.split("/"), names) == Path(path)


def test_nothing_leads_out_of_the_folder() -> None:
    path = fixture_name(["..", "elsewhere", "test_chat"], ["test_say[../../etc]"])
    assert ".." not in path.parts
    assert len(path.parts) == 4
    assert "/" not in path.name


def test_a_long_name_is_cut_and_told_apart() -> None:
    long = fixture_name(["test_chat"], ["x" * 300 + "a"]), fixture_name(["test_chat"], ["x" * 300 + "b"])
    assert len({path.name for path in long}) == 2
    assert all(path.name.startswith("x" * MAX_NAME + "-") and len(path.name) < 150 for path in long)


def test_a_path_that_is_given_is_below_the_folder_or_absolute(tmp_path: Path) -> None:
    assert given("chat/three.duplex", tmp_path) == tmp_path / "chat" / "three.duplex"
    assert given(tmp_path / "x.duplex", Path("/elsewhere")) == tmp_path / "x.duplex"


def test_every_case_of_a_test_has_its_file_and_the_folder_is_chosen(project: Project) -> None:
    project.ini("duplexmock_dir = recordings/of calls")
    project.test(
        """
        class TestRoom:
            @pytest.mark.parametrize("text", ["plain", "a/b", "a:b", "größe", "a b"])
            def test_say(self, duplex, text):
                with serving() as server:
                    with duplex.replay(upstream=server) as mock:
                        chatted(mock.target)
        """
    )
    project.passes("--duplexmock-record=once", count=5)
    folder = project.path / "recordings" / "of calls" / "tests" / "test_chat"
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 5
    assert names[0].startswith("TestRoom.test_say[")
    assert all(name.startswith("TestRoom.test_say[") and name.isascii() and " " not in name for name in names)
    project.passes(count=5)
