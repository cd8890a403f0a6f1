"""Under pytest-xdist: each worker records and replays, and no two of them write one file."""

from __future__ import annotations

import pytest

from duplexmock.store.fixture import Fixture
from tests.pytest_plugin.conftest import Project

pytest.importorskip("xdist")

MANY = """
    @pytest.mark.parametrize("number", range(12))
    def test_chat(duplex, number):
        with serving() as server, duplex.replay({path}upstream=server) as mock:
            assert len(chatted(mock.target, 3).messages) == 3
"""


@pytest.mark.parametrize("mode", ["once", "rewrite", "new"])
def test_every_case_is_recorded_and_replayed_by_four_workers(project: Project, mode: str) -> None:
    project.test(MANY.format(path=""))
    result = project.passes("-n", "4", f"--duplexmock-record={mode}", count=12)
    assert len([line for line in result.outlines if line.startswith("recorded: ")]) == 12
    assert project.fixtures() == sorted(f"tests/test_chat/test_chat[{number}].duplex" for number in range(12))
    project.passes("-n", "4", count=12)


@pytest.mark.parametrize("mode", ["once", "rewrite", "new"])
def test_a_file_that_all_cases_share_is_written_whole(project: Project, mode: str) -> None:
    project.test(MANY.format(path="'shared.duplex', "))
    project.passes("-n", "4", f"--duplexmock-record={mode}", count=12)
    assert project.fixtures() == ["shared.duplex"]
    with Fixture.open(project.path / "fixtures" / "shared.duplex") as fixture:
        assert fixture.complete
        assert len(fixture) == 1
    project.passes("-n", "4", count=12)


def test_calls_that_several_workers_add_to_one_file_are_all_there(project: Project) -> None:
    path = project.fixture("shared.duplex")
    project.test(
        """
        from chat_app.client import Talk

        @pytest.mark.parametrize("number", range(8))
        def test_chat(duplex, number):
            with serving() as server, duplex.replay("shared.duplex", upstream=server, unplayed="ignore") as mock:
                assert len(chat_sync(mock.channel(), Talk(3, 0, 30, lambda: number)).messages) == 3
        """
    )
    project.passes("-n", "4", "--duplexmock-record=new", count=8)
    with Fixture.open(path) as fixture:
        assert fixture.complete
        assert len(fixture) == 9
    project.passes("-n", "4", count=8)


def test_the_mode_is_that_of_the_command_line_also_in_workers(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "1")
    project.test(MANY.format(path=""))
    project.passes("-n", "2", "--duplexmock-record=once", count=12)
