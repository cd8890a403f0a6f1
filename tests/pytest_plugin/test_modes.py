"""The record modes: what is chosen, what is played, and what is kept of a recording."""

from __future__ import annotations

import pytest

from duplexmock.pytest_plugin.modes import chosen, in_ci, is_named
from duplexmock.store.fixture import Fixture
from tests.pytest_plugin.conftest import Project

NAMED = "tests/test_chat/test_chat.duplex"

SERVED = """
    from tests.net.chats import AckServicer, add_ChatServiceServicer_to_server, clock

    def acks(server):
        global served
        served += 1
        add_ChatServiceServicer_to_server(AckServicer(clock=clock), server)

    served = 0
    pytestmark = pytest.mark.duplexmock(upstream=acks)
"""
CHAT = """
    def test_chat(duplex):
        heard = chat_sync(duplex.channel(), talk({count}))
        assert len(heard.messages) == {count}
        assert served == {served}
"""


def served(count: int = 3, served: int = 1) -> str:
    return SERVED + CHAT.format(count=count, served=served)


# The choice


@pytest.mark.parametrize("mode", ["once", "new", "rewrite"])
def test_in_ci_nothing_is_recorded_unless_it_is_named_on_the_command_line(mode: str) -> None:
    assert chosen(mode, False, False) == mode
    assert chosen(mode, False, True) == "none"
    assert chosen(mode, True, True) == mode


def test_none_and_verify_count_in_ci_too() -> None:
    assert chosen("", False, True) == "none"
    assert chosen("none", False, True) == "none"
    assert chosen("verify", False, True) == "verify"


def test_a_mode_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        chosen("always", False, False)
    assert str(caught.value) == "duplexmock_record = always: not one of none, once, new, rewrite, verify"


@pytest.mark.parametrize(("value", "is_ci"), [("true", True), ("1", True), ("", False), ("false", False), ("0", False)])
def test_ci_is_told_by_its_variable(value: str, is_ci: bool) -> None:
    assert in_ci({"CI": value}) is is_ci
    assert not in_ci({})


def test_a_mode_is_named_in_either_form_of_an_option() -> None:
    assert is_named(["-q", "--duplexmock-record=once"])
    assert is_named(["--duplexmock-record", "once"])
    assert not is_named(["-q", "tests/--duplexmock-record"])


def test_ini_chooses_a_mode_and_the_command_line_another(project: Project) -> None:
    project.ini("duplexmock_record = once")
    project.test(served())
    project.passes()
    assert project.fixtures() == [NAMED]
    project.test(served(served=0))
    project.passes("--duplexmock-record=none")


def test_a_mode_of_the_ini_file_that_there_is_not_ends_the_run(project: Project) -> None:
    project.ini("duplexmock_record = always")
    project.test(served())
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*duplexmock_record = always: not one of none, once, new, rewrite, verify*"])


@pytest.mark.parametrize("ini", ["duplexmock_record = once", "addopts = --duplexmock-record=once"])
def test_in_ci_the_ini_file_does_not_make_recordings(
    project: Project, monkeypatch: pytest.MonkeyPatch, ini: str
) -> None:
    monkeypatch.setenv("CI", "true")
    project.ini(ini)
    project.test(served())
    result = project.run()
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        ["duplexmock: record mode none (CI is set, and once was not named on the command line)"]
    )
    assert project.fixtures() == []
    project.passes("--duplexmock-record=once")
    assert project.fixtures() == [NAMED]


# none


def test_none_does_not_record_and_says_how(project: Project) -> None:
    project.test(served())
    result = project.run()
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "E * fixtures/tests/test_chat/test_chat.duplex: no such fixture; record it: "
            "pytest tests/test_chat.py::test_chat --duplexmock-record=once"
        ]
    )
    assert project.fixtures() == []


def test_what_to_do_is_told_from_where_the_run_was_started(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.ini("")
    project.test(served())
    monkeypatch.chdir(project.path / "tests")
    result = project.run()
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        ["E * no such fixture; record it: pytest test_chat.py::test_chat --duplexmock-record=once"]
    )
    assert "fixtures/tests/test_chat/test_chat.duplex: no such" in result.stdout.str()


def test_none_does_not_start_the_live_server(project: Project) -> None:
    project.fixture(NAMED)
    project.test(served(served=0))
    project.passes()


# once


def test_once_records_where_the_fixture_is_missing_and_replays_it_afterwards(project: Project) -> None:
    project.test(served())
    result = project.passes("--duplexmock-record=once")
    result.stdout.fnmatch_lines(["recorded: fixtures/tests/test_chat/test_chat.duplex"])
    path = project.path / "fixtures" / NAMED
    recorded = path.read_bytes()
    project.test(served(served=0))
    project.passes("--duplexmock-record=once")
    project.passes()
    assert path.read_bytes() == recorded
    assert project.fixtures() == [NAMED]


def test_a_recording_has_the_node_id_and_what_the_marker_expects(project: Project) -> None:
    project.test(
        served()
        + """
    pytestmark = pytest.mark.duplexmock(upstream=acks, ignore=["chat.ChatMessage.timestamp"], expect="lanes")
"""
    )
    project.passes("--duplexmock-record=once")
    with Fixture.open(project.path / "fixtures" / NAMED) as fixture:
        assert dict(fixture.header.notes) == {"test": "tests/test_chat.py::test_chat"}
        assert fixture.expectations.ignore == ("chat.ChatMessage.timestamp",)
        assert fixture.expectations.expect == "lanes"
        assert len(fixture) == 1


@pytest.mark.parametrize("mode", ["once", "new", "rewrite"])
@pytest.mark.parametrize("how", ["assert False", "pytest.skip('no')", "pytest.xfail('no')"])
def test_a_recording_is_kept_only_if_its_test_has_passed(project: Project, mode: str, how: str) -> None:
    project.test(served() + f"        {how}\n")
    project.run(f"--duplexmock-record={mode}")
    assert not (project.path / "fixtures").exists()


@pytest.mark.parametrize("mode", ["once", "new", "rewrite"])
def test_a_recording_is_not_kept_of_a_test_that_was_to_fail(project: Project, mode: str) -> None:
    project.test(SERVED + "\n    @pytest.mark.xfail(strict=True)" + CHAT.format(count=3, served=1))
    assert project.run(f"--duplexmock-record={mode}").parseoutcomes() == {"failed": 1}
    assert not (project.path / "fixtures").exists()


def test_a_recording_that_cannot_be_kept_fails_its_test(project: Project) -> None:
    project.test(served())
    (project.path / "fixtures").write_text("a file")
    result = project.run("--duplexmock-record=once")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*/fixtures/tests/test_chat/test_chat.duplex: the recording cannot be kept: *"])


def test_a_test_that_makes_no_call_has_nothing_to_record(project: Project) -> None:
    project.test(SERVED + "\n    def test_chat(duplex):\n        duplex.target\n")
    result = project.run("--duplexmock-record=once")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["nothing was recorded: no call was made at 127.0.0.1:*"])
    assert project.fixtures() == []


@pytest.mark.parametrize("mode", ["once", "new", "rewrite"])
def test_without_an_upstream_what_is_missing_cannot_be_recorded(project: Project, mode: str) -> None:
    project.test("def test_chat(duplex):\n    duplex.target\n")
    result = project.run(f"--duplexmock-record={mode}")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["E * no such fixture, and no live server to record it from is given (upstream=...)"])


# rewrite


def test_rewrite_records_afresh(project: Project) -> None:
    path = project.fixture(NAMED)
    project.test(served(count=2))
    project.passes("--duplexmock-record=rewrite")
    with Fixture.open(path) as fixture:
        assert [summary.client_messages for summary in fixture.summaries()] == [2]
    project.test(served(count=2, served=0))
    project.passes()


def test_rewrite_leaves_what_is_there_where_the_test_fails(project: Project) -> None:
    path = project.fixture(NAMED)
    before = path.read_bytes()
    project.test(served(count=2) + "        assert False\n")
    assert project.run("--duplexmock-record=rewrite").parseoutcomes() == {"failed": 1}
    assert path.read_bytes() == before
    assert project.fixtures() == [NAMED]


def test_a_path_that_a_replay_would_refuse_is_not_recorded(project: Project) -> None:
    project.test(
        SERVED
        + """
    @pytest.mark.duplexmock(descriptors="chat_app.chat_pb2", ignore=["chat.ChatMessage.time"])
    def test_chat(duplex):
        chat_sync(duplex.channel(), talk())
"""
    )
    result = project.run("--duplexmock-record=once")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["E * ignore 'chat.ChatMessage.time': chat.ChatMessage has no field 'time'; it has *"])
    assert "duplexmock/net" not in result.stdout.str()
    assert project.fixtures() == []


def test_tests_that_share_a_fixture_rewrite_it_once(project: Project) -> None:
    project.fixture("three.duplex")
    project.test(
        SERVED
        + """
    @pytest.mark.duplexmock("three.duplex")
    @pytest.mark.parametrize("turn", [1, 2])
    def test_chat(duplex, turn):
        chat_sync(duplex.channel(), talk(2))
        assert served == 1
"""
    )
    project.passes("--duplexmock-record=rewrite", count=2)


@pytest.mark.parametrize("mode", ["new", "rewrite", "verify"])
def test_a_fixture_with_a_live_server_in_another_test_is_not_told(project: Project, mode: str) -> None:
    project.fixture("three.duplex")
    project.test(
        """
        from tests.net.chats import AckServicer, add_ChatServiceServicer_to_server, clock

        def acks(server):
            add_ChatServiceServicer_to_server(AckServicer(clock=clock), server)

        @pytest.mark.duplexmock("three.duplex", upstream=acks)
        def test_with(duplex):
            chat_sync(duplex.channel(), talk())

        @pytest.mark.duplexmock("three.duplex")
        def test_without(duplex):
            chat_sync(duplex.channel(), talk())
        """
    )
    result = project.passes(f"--duplexmock-record={mode}", count=2)
    assert "played only" not in result.stdout.str()


@pytest.mark.parametrize(
    ("mode", "to_do"), [("rewrite", "record"), ("verify", "compare with"), ("new", "add new calls from")]
)
def test_a_fixture_without_a_live_server_is_played_and_told(project: Project, mode: str, to_do: str) -> None:
    project.fixture(NAMED)
    project.test("def test_chat(duplex):\n    chat_sync(duplex.channel(), talk())\n")
    result = project.passes(f"--duplexmock-record={mode}")
    result.stdout.fnmatch_lines(
        [
            f"played only, because no live server is given (upstream=...) to {to_do}:",
            "    fixtures/tests/test_chat/test_chat.duplex",
        ]
    )


# new


def test_new_records_the_calls_that_no_session_fits(project: Project) -> None:
    path = project.fixture(NAMED)
    project.test(
        SERVED
        + """
    def test_chat(duplex):
        for count in (3, 2, 3):
            heard = chat_sync(duplex.channel(), talk(count))
            assert len(heard.messages) == count
        assert len(duplex.sessions) == 3
        assert served == {served}
"""
    )
    source = (project.path / "tests" / "test_chat.py").read_text()
    (project.path / "tests" / "test_chat.py").write_text(source.format(served=1))
    project.passes("--duplexmock-record=new")
    with Fixture.open(path) as fixture:
        sessions = list(fixture.sessions())
        assert [session.number for session in sessions] == [1, 2, 3]
        assert [session.word.count(">") for session in sessions] == [5, 4, 5]
        assert fixture.complete
    (project.path / "tests" / "test_chat.py").write_text(source.format(served=0))
    project.passes()


def test_new_adds_nothing_where_the_test_fails(project: Project) -> None:
    path = project.fixture(NAMED)
    before = path.read_bytes()
    project.test(
        SERVED
        + """
    def test_chat(duplex):
        chat_sync(duplex.channel(), talk(3))
        chat_sync(duplex.channel(), talk(2))
        assert False
"""
    )
    assert project.run("--duplexmock-record=new").parseoutcomes() == {"failed": 1}
    assert path.read_bytes() == before


def test_new_records_all_where_there_is_no_fixture(project: Project) -> None:
    project.test(served())
    project.passes("--duplexmock-record=new")
    assert project.fixtures() == [NAMED]


# verify


def test_verify_plays_the_fixture_and_asks_the_live_server(project: Project) -> None:
    project.fixture(NAMED)
    project.test(served())
    project.passes("--duplexmock-record=verify")


def test_verify_tells_that_the_live_server_has_drifted(project: Project) -> None:
    project.fixture(NAMED)
    project.test(
        """
    from tests.net.chats import AckServicer, add_ChatServiceServicer_to_server

    def later(server):
        add_ChatServiceServicer_to_server(AckServicer(clock=lambda: 7), server)

    @pytest.mark.duplexmock(upstream=later)
    def test_chat(duplex):
        chat_sync(duplex.channel(), talk())
"""
    )
    result = project.run("--duplexmock-record=verify")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "fixtures/tests/test_chat/test_chat.duplex agrees with the client, and the live server at 127.0.0.1:* "
            "has drifted from it:",
            "ServerMessage #1 differs from the recorded one: *timestamp: expected 1795348800, got 7.",
            "Record it afresh: pytest tests/test_chat.py::test_chat --duplexmock-record=rewrite",
        ]
    )
    project.passes()


def test_a_test_that_does_not_agree_is_not_verified(project: Project) -> None:
    project.fixture(NAMED)
    project.test(served(count=2))
    text = project.run("--duplexmock-record=verify").stdout.str()
    assert "drifted" not in text
    assert "The client half-closed before its third message." in text


# record


def test_record_shows_what_is_said_and_keeps_nothing_by_default(project: Project) -> None:
    project.test(
        SERVED
        + """
    def test_chat(duplex):
        with duplex.record(acks) as proxy:
            chat_sync(proxy.channel(), talk())
            (session,) = proxy.sessions
        assert [each.word for each in proxy.sessions] == [session.word]
        assert session.word.count(">") == 5
        assert [each.word for each in duplex.sessions] == [session.word]
        assert duplex.outcomes == ()
"""
    )
    project.passes()
    assert project.fixtures() == []
    project.passes("--duplexmock-record=once")
    assert project.fixtures() == [NAMED]
