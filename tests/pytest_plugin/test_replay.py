"""`duplex` replays: in synchronous and asyncio tests, in `with`, `async with` and without, and its verdict."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.pytest_plugin.conftest import Project

NAMED = "tests/test_chat/test_chat.duplex"

PLAIN = """
    def test_chat(duplex):
        heard = chat_sync(duplex.channel(), talk({count}))
        {then}
"""
WITH = """
    def test_chat(duplex):
        with duplex.replay() as mock:
            heard = chat_sync(mock.channel(), talk({count}))
            {then}
"""
DIALLED = """
    def test_chat(duplex):
        with duplex.replay() as mock:
            heard = chatted(mock.target, {count})
            {then}
"""
ASYNC = """
    async def test_chat(duplex):
        heard = await chat(duplex.aio_channel(), talk({count}))
        {then}
"""
ASYNC_WITH = """
    async def test_chat(duplex):
        async with duplex.replay() as mock:
            heard = await chat(mock.aio_channel(), talk({count}))
            {then}
"""
SYNC_WITH_IN_ASYNC = """
    async def test_chat(duplex):
        with duplex.replay() as mock:
            heard = await chat(mock.aio_channel(), talk({count}))
            {then}
"""
SYNC = {"plain": PLAIN, "with": WITH, "dialled": DIALLED}
ASYNCHRONOUS = {"plain": ASYNC, "async with": ASYNC_WITH, "with": SYNC_WITH_IN_ASYNC}

ANYIO = """
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
"""
LOOPS = {
    "pytest-asyncio auto": ("", ["--asyncio-mode=auto"]),
    "pytest-asyncio strict": ("\n    pytestmark = pytest.mark.asyncio\n", ["--asyncio-mode=strict"]),
    "anyio": (ANYIO, []),
}
EVERY_WAY = [
    *(pytest.param(source, [], id=name) for name, source in SYNC.items()),
    *(
        pytest.param(head + source, args, id=f"{loop}, {name}")
        for loop, (head, args) in LOOPS.items()
        for name, source in ASYNCHRONOUS.items()
    ),
]


@pytest.mark.parametrize(("source", "args"), EVERY_WAY)
def test_a_test_is_replayed_to(project: Project, source: str, args: list[str]) -> None:
    project.fixture(NAMED)
    then = "assert [m.message for m in heard.messages][-1] == 'ack: Hi there! Message 2'"
    project.test(source.format(count=3, then=then))
    project.passes(*args)


@pytest.mark.parametrize(("source", "args"), EVERY_WAY)
def test_a_mismatch_is_the_failure_of_the_test_and_is_shown_once(
    project: Project, source: str, args: list[str]
) -> None:
    project.fixture(NAMED)
    project.test(source.format(count=2, then="pass"))
    result = project.run(*args)
    assert result.parseoutcomes() == {"failed": 1}
    text = result.stdout.str()
    assert text.count("The client half-closed before its third message.") == 1
    assert text.count("ServerMessage #2") == 1
    assert "Again: pytest tests/test_chat.py::test_chat   (or: duplexmock replay fixtures/tests" in text
    assert "duplexmock/net" not in text
    assert "duplexmock/pytest_plugin" not in text


@pytest.mark.parametrize(("source", "args"), EVERY_WAY)
def test_an_exception_of_the_test_stays_the_first_thing_shown(project: Project, source: str, args: list[str]) -> None:
    project.fixture(NAMED)
    project.test(source.format(count=2, then="raise KeyError('mine')"))
    result = project.run(*args)
    assert result.parseoutcomes() == {"failed": 1}
    text = result.stdout.str()
    assert text.count("The client half-closed before its third message.") == 1
    assert text.index("KeyError: 'mine'") < text.index("The client half-closed before its third message.")
    assert text.count("Again: pytest tests/test_chat.py::test_chat   (or: duplexmock replay fixtures/tests") == 1


def test_the_whole_text_of_a_mismatch(project: Project) -> None:
    project.fixture(NAMED)
    project.test(PLAIN.format(count=0, then="pass"))
    result = project.run("-q", "--no-header")
    result.stdout.fnmatch_lines(
        [
            "*= FAILURES =*",
            "*_ test_chat _*",
            f"fixtures/{NAMED}   session 1   /chat.ChatService/Chat   the mock played the server",
            "*  >  ClientHeader  *",
            "*! * ms  >  ClientHalfClose  expected ClientMessage #1  {sender: 'Client', message: 'Hi there!*",
            "*–    <  ServerHeader  not reached: waited for * (seen, not learned)",
            "*",
            "The client half-closed before its first message.",
            "",
            "1 session: 0 agreed, 1 did not",
            f"Again: pytest tests/test_chat.py::test_chat   (or: duplexmock replay fixtures/{NAMED} -- COMMAND)",
            "*= short test summary info =*",
            "FAILED tests/test_chat.py::test_chat - *",
        ],
    )
    result.stdout.no_fnmatch_line("*hidden*")


def test_sessions_and_outcomes_are_those_of_the_calls(project: Project) -> None:
    project.fixture(NAMED)
    project.test(
        """
        def test_chat(duplex):
            assert duplex.outcomes == () and duplex.sessions == ()
            chat_sync(duplex.channel(), talk())
            assert [outcome.agreed for outcome in duplex.outcomes] == [True]
            (session,) = duplex.sessions
            assert session.method == "/chat.ChatService/Chat"
            assert session.word.count(">") == 5
        """
    )
    project.passes()


def test_two_servers_in_one_test(project: Project) -> None:
    project.fixture("one.duplex")
    project.fixture("two.duplex")
    project.test(
        """
        def test_chat(duplex):
            with duplex.replay("one.duplex") as one, duplex.replay("two.duplex") as two:
                assert one.target != two.target
                assert duplex.target == two.target
                chatted(one.target), chatted(two.target)
        """
    )
    project.passes()


def test_every_mock_of_a_test_has_a_verdict(project: Project) -> None:
    project.fixture("one.duplex")
    project.fixture("two.duplex")
    project.test(
        """
        def test_chat(duplex):
            one, two = duplex.replay("one.duplex"), duplex.replay("two.duplex")
            chatted(one.target, 1), chatted(two.target, 2)
        """
    )
    text = project.run().stdout.str()
    assert text.count("The client half-closed before its second message.") == 1
    assert text.count("The client half-closed before its third message.") == 1


def test_a_fixture_of_a_test_may_use_duplex(project: Project) -> None:
    project.fixture(NAMED)
    project.test(
        """
        @pytest.fixture
        def dialled(duplex):
            return duplex.channel()

        def test_chat(dialled):
            chat_sync(dialled, talk())
        """
    )
    project.passes()


def test_a_verdict_that_the_test_expects_is_not_raised_again(project: Project) -> None:
    project.fixture(NAMED)
    project.test(
        """
        import duplexmock

        def test_chat(duplex):
            with pytest.raises(duplexmock.MismatchError):
                with duplex.replay() as mock:
                    chatted(mock.target, 1)
        """
    )
    project.passes()


def test_a_mismatch_may_be_an_expected_failure(project: Project) -> None:
    project.fixture(NAMED)
    project.test("\n    @pytest.mark.xfail(strict=True)" + PLAIN.format(count=1, then="pass"))
    assert project.run().parseoutcomes() == {"xfailed": 1}


@pytest.mark.parametrize("how", ["pytest.skip('not today')", "pytest.xfail('not today')"])
def test_a_test_that_gives_up_has_no_verdict(project: Project, how: str) -> None:
    project.fixture(NAMED)
    project.test(PLAIN.format(count=1, then=how))
    assert project.run().parseoutcomes() in ({"skipped": 1}, {"xfailed": 1})


def test_a_session_that_was_not_played_fails_a_test_that_passed(project: Project) -> None:
    project.fixture(NAMED)
    project.test("def test_chat(duplex):\n    duplex.target\n")
    result = project.run()
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        ["not played: fixtures/tests/test_chat/test_chat.duplex   session 1   /chat.ChatService/Chat"]
    )


def test_a_test_that_takes_its_marker_s_fixture_and_does_not_dial_has_not_played_it(project: Project) -> None:
    project.fixture("three.duplex")
    project.test('@pytest.mark.duplexmock("three.duplex")\ndef test_chat(duplex):\n    pass\n')
    result = project.run()
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["not played: fixtures/three.duplex   session 1   /chat.ChatService/Chat"])


@pytest.mark.parametrize(("unplayed", "outcomes"), [("warn", {"passed": 1, "warnings": 1}), ("ignore", {"passed": 1})])
def test_what_was_not_played_may_be_a_warning_or_nothing(
    project: Project, unplayed: str, outcomes: dict[str, int]
) -> None:
    project.fixture("three.duplex")
    project.test(
        f'@pytest.mark.duplexmock("three.duplex", unplayed="{unplayed}")\ndef test_chat(duplex):\n    duplex.target\n'
    )
    result = project.run()
    assert result.parseoutcomes() == outcomes
    told = "not played: fixtures/three.duplex   session 1   /chat.ChatService/Chat" in result.stdout.str()
    assert told is (unplayed == "warn")


def test_a_fixture_that_is_not_there_fails_the_test_with_what_to_do(project: Project) -> None:
    project.test("def test_chat(duplex):\n    duplex.target\n")
    result = project.run()
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        [
            "E * fixtures/tests/test_chat/test_chat.duplex: no such fixture, and no live server to record it from is "
            "given (upstream=...)"
        ]
    )


def test_nothing_is_left_of_a_test(project: Project) -> None:
    project.fixture(NAMED)
    project.test(
        """
        import os, threading

        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())

        def test_nothing_is_left():
            assert [thread.name for thread in threading.enumerate() if thread.name.startswith("duplexmock")] == []
        """
    )
    project.passes(count=2)


def test_what_is_over_opens_no_channel_and_plays_nothing(project: Project) -> None:
    project.fixture(NAMED)
    project.test(
        """
        import duplexmock

        kept = []

        def test_chat(duplex):
            with duplex.replay() as mock:
                chat_sync(mock.channel(), talk())
            for stands_in in (mock, duplex):
                with pytest.raises(duplexmock.ScriptError) as caught:
                    stands_in.channel()
                assert str(caught.value) == (
                    f"channel(): {mock.target} is there no more; its `with` was left, or its test is over"
                )
            kept.append(duplex)

        def test_later():
            (duplex,) = kept
            for use in (duplex.replay, lambda: duplex.record("127.0.0.1:1")):
                with pytest.raises(duplexmock.ScriptError) as caught:
                    use()
                assert str(caught.value) == (
                    "the `duplex` of tests/test_chat.py::test_chat, which is over: nothing stands in for a server now"
                )
        """
    )
    project.passes(count=2)


def test_in_trio_and_in_synchronous_tests_what_is_for_asyncio_says_so(project: Project) -> None:
    pytest.importorskip("trio")
    project.fixture(NAMED)
    project.test(
        """
        import duplexmock

        FOR_ASYNCIO = "is for asyncio, and no event loop of asyncio runs here; use"

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["trio"])
        @pytest.mark.duplexmock("tests/test_chat/test_chat.duplex")
        async def test_trio(duplex):
            import anyio

            with pytest.raises(duplexmock.ScriptError) as caught:
                async with duplex.replay(unplayed="ignore"):
                    pass
            assert str(caught.value) == f"async with {FOR_ASYNCIO} with"
            with duplex.replay() as mock:
                with pytest.raises(duplexmock.ScriptError) as caught:
                    mock.aio_channel()
                assert str(caught.value) == f"aio_channel() {FOR_ASYNCIO} channel()"
                await anyio.to_thread.run_sync(chat_sync, mock.channel(), talk())

        def test_chat(duplex):
            with pytest.raises(duplexmock.ScriptError) as caught:
                duplex.aio_channel()
            assert str(caught.value) == f"aio_channel() {FOR_ASYNCIO} channel()"
            chat_sync(duplex.channel(), talk())
        """
    )
    project.passes("--asyncio-mode=strict", count=2)


def test_a_run_without_duplex_loads_nothing_of_ours_that_takes_time(project: Project) -> None:
    (project.path / "test_plain.py").write_text("def test_plain():\n    pass\n")
    program = (
        "import sys, pytest\n"
        "assert pytest.main(['-q', '-p', 'no:asyncio', '-p', 'no:anyio', *sys.argv[1:]]) == 0\n"
        "print('loaded', *sys.modules)"
    )

    def loaded(*args: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
        return set(done.stdout.splitlines()[-1].split())

    ours = loaded() - loaded("-p", "no:duplexmock")
    heavy = ("grpc", "google", "hypothesis", "msgpack", "asyncio", "hpack", "click", "rich")
    assert {name for name in ours if name.partition(".")[0] in heavy} == set()
    assert {name for name in ours if name.startswith("duplexmock") and "pytest_plugin" not in name} <= {
        "duplexmock", "duplexmock.errors", "duplexmock.version",
    }  # fmt: skip
