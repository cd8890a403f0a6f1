"""What is said at the end of a run: fixtures that no test has used, and what is removed."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.conftest import Project

TWO = """
    import sys

    def test_one(duplex):
        chat_sync(duplex.channel(), talk())

    def test_two(duplex):
        with duplex.replay("shared/two.duplex") as mock:
            chat_sync(mock.channel(), talk())
"""
UNUSED = "no test has used these fixtures (--duplexmock-prune removes them):"
ALL = ["shared/two.duplex", "tests/test_chat/test_gone.duplex", "tests/test_chat/test_one.duplex"]
KEPT = [ALL[0], ALL[2]]


@pytest.fixture
def chats(project: Project) -> Project:
    """Two tests, their fixtures, and one that nobody uses."""
    for name in ALL:
        project.fixture(name)
    project.test(TWO)
    return project


@pytest.mark.parametrize("args", [[], ["tests"], ["."], ["-n", "4"], ["-n", "2", "--dist=loadfile"]], ids=" ".join)
def test_fixtures_that_no_test_has_used_are_listed(chats: Project, args: list[str]) -> None:
    chats.ini("testpaths = tests")
    result = chats.passes(*args, count=2)
    result.stdout.fnmatch_lines([UNUSED, "    fixtures/tests/test_chat/test_gone.duplex"])
    assert "test_one.duplex" not in result.stdout.str()
    assert "two.duplex" not in result.stdout.str()
    assert chats.fixtures() == ALL


@pytest.mark.parametrize("args", [[], ["-n", "4"]], ids=["alone", "xdist"])
def test_they_are_removed_when_that_is_asked_for(chats: Project, args: list[str]) -> None:
    result = chats.passes("--duplexmock-prune", *args, count=2)
    result.stdout.fnmatch_lines(
        ["removed, because no test has used them:", "    fixtures/tests/test_chat/test_gone.duplex"]
    )
    assert chats.fixtures() == KEPT


def test_a_folder_that_is_empty_then_is_removed(chats: Project) -> None:
    chats.fixture("tests/test_old/deep/test_old.duplex")
    chats.passes("--duplexmock-prune", count=2)
    assert not (chats.path / "fixtures" / "tests" / "test_old").exists()
    assert chats.fixtures() == KEPT


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-k", "one"], "tests were chosen by -k"),
        (["-m", "not slow"], "tests were chosen by -m"),
        (["--deselect", "tests/test_chat.py::test_two"], "tests were chosen by --deselect"),
        (["--ignore", "tests/nothing"], "tests were chosen by --ignore"),
        (["tests/test_chat.py"], "tests were chosen by their paths"),
        (["tests/test_chat.py::test_one"], "tests were chosen by their paths"),
        (["tests"], "tests were chosen by their paths"),
        (["-k", "one", "-n", "2"], "tests were chosen by -k"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_where_tests_are_left_out_nothing_is_listed_or_removed(chats: Project, args: list[str], reason: str) -> None:
    result = chats.run("--duplexmock-prune", *args)
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"nothing was removed: {reason}"])
    assert UNUSED not in result.stdout.str()
    assert UNUSED not in chats.run(*args).stdout.str()
    assert chats.fixtures() == ALL


def test_lf_leaves_tests_out(chats: Project) -> None:
    result = chats.pytester.runpytest("--lf", "--duplexmock-prune")
    result.stdout.fnmatch_lines(["nothing was removed: tests were chosen by --lf"])
    assert chats.fixtures() == ALL


def test_a_conftest_that_deselects_leaves_tests_out(chats: Project) -> None:
    (chats.path / "conftest.py").write_text(
        "def pytest_collection_modifyitems(config, items):\n    config.hook.pytest_deselected(items=[items.pop()])\n"
    )
    chats.run("--duplexmock-prune").stdout.fnmatch_lines(["nothing was removed: tests were deselected"])
    assert chats.fixtures() == ALL


@pytest.mark.parametrize("args", [["-x"], ["-x", "-n", "2"], ["--maxfail=1"]], ids=" ".join)
def test_a_run_that_stops_early_lists_and_removes_nothing(chats: Project, args: list[str]) -> None:
    chats.test("def test_fails(duplex):\n    assert False\n", "test_a.py")
    result = chats.run("--duplexmock-prune", *args)
    result.stdout.fnmatch_lines(["nothing was removed: the run has stopped early"])
    assert UNUSED not in result.stdout.str()
    assert chats.fixtures() == ALL


def test_a_test_that_fails_keeps_fixtures_from_being_removed(chats: Project) -> None:
    chats.test("def test_fails():\n    assert False\n", "test_a.py")
    result = chats.run("--duplexmock-prune")
    result.stdout.fnmatch_lines(["nothing was removed: not every test has passed", UNUSED])
    assert chats.fixtures() == ALL


@pytest.mark.parametrize("args", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_a_test_that_is_skipped_may_have_fixtures_that_nobody_knows(chats: Project, args: list[str]) -> None:
    chats.test(
        '@pytest.mark.skip\n@pytest.mark.duplexmock("other.duplex")\ndef test_skipped(duplex):\n    pass\n', "test_a.py"
    )
    result = chats.run("--duplexmock-prune", *args)
    result.stdout.fnmatch_lines(["nothing was removed: tests/test_a.py::test_skipped did not run to its end"])
    assert chats.fixtures() == ALL


def test_a_module_that_is_not_collected_may_have_fixtures(chats: Project) -> None:
    chats.test("pytest.importorskip('no_such_module')\n", "test_a.py")
    result = chats.run("--duplexmock-prune")
    result.stdout.fnmatch_lines(["nothing was removed: tests/test_a.py was not collected"])
    assert chats.fixtures() == ALL


def test_a_project_that_does_not_use_duplex_hears_nothing(project: Project) -> None:
    project.fixture("other.duplex")
    project.test("def test_plain():\n    pass\n")
    assert "duplexmock" not in project.passes().stdout.str().replace("plugins: ", "").split("collected")[1]


@pytest.mark.parametrize("args", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_a_test_that_passes_when_it_is_run_again_has_played_and_recorded(project: Project, args: list[str]) -> None:
    pytest.importorskip("pytest_rerunfailures")
    project.test(
        """
        import pathlib

        def test_chat(duplex, request):
            ran = pathlib.Path(str(request.config.rootpath), "ran")
            with serving() as server, duplex.replay(upstream=server) as mock:
                chatted(mock.target, 2 if ran.exists() else 3)
            if not ran.exists():
                ran.write_text("")
                assert False
        """
    )
    result = project.run("--reruns=1", "--duplexmock-record=once", *args)
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}
    result.stdout.fnmatch_lines(["recorded: fixtures/tests/test_chat/test_chat.duplex"])
    result = project.run("--reruns=1", *args)
    assert result.parseoutcomes() == {"passed": 1}


def test_a_verdict_is_run_again_as_any_failure(project: Project) -> None:
    pytest.importorskip("pytest_rerunfailures")
    project.fixture("tests/test_chat/test_chat.duplex")
    project.test(
        """
        counts = [2, 3]

        def test_chat(duplex):
            chat_sync(duplex.channel(), talk(counts.pop(0)))
        """
    )
    assert project.run("--reruns=1").parseoutcomes() == {"passed": 1, "rerun": 1}
