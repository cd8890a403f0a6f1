"""Faults of the marker and of `duplex.replay`: what the client observes, and the verdict."""

from __future__ import annotations

from tests.pytest_plugin.conftest import Project

NAMED = "tests/test_chat/test_chat.duplex"


def test_a_marker_has_faults(project: Project) -> None:
    project.fixture(NAMED)
    project.test("""
        @pytest.mark.duplexmock(faults=["status(UNAVAILABLE, gone)@server:2"])
        def test_chat(duplex):
            heard = chat_sync(duplex.channel(), talk(3))
            assert (len(heard.messages), heard.status.name) == (1, "UNAVAILABLE")
    """)

    project.run().assert_outcomes(passed=1)


def test_a_block_has_faults(project: Project) -> None:
    project.fixture(NAMED)
    project.test("""
        def test_chat(duplex):
            with duplex.replay(faults=["reset(CANCEL)@client:half-close"]) as mock:
                heard = chat_sync(mock.channel(), talk(3))
            assert heard.status.name == "CANCELLED"  # a reset also takes messages away that came before it
            note = mock.outcomes[0].notes[0]
            assert note.startswith("fault reset(CANCEL)@client:half-close; the client was not judged")
    """)

    project.run().assert_outcomes(passed=1)


def test_a_fault_that_never_fired_fails_the_test(project: Project) -> None:
    project.fixture(NAMED)
    project.test("""
        @pytest.mark.duplexmock(faults=["drop@server:9"])
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk(3))
    """)

    result = project.run()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*fault drop@server:9 never fired: no call came to ServerMessage #9*"])


def test_a_text_is_no_list_of_faults(project: Project) -> None:
    project.fixture(NAMED)
    project.test("""
        @pytest.mark.duplexmock(faults="drop@server:1")
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk(3))
    """)

    result = project.run()

    result.stdout.fnmatch_lines(["*faults='drop@server:1': a list of them, also where there is one*"])
