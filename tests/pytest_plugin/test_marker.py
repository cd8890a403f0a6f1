"""The marker: where it stands, what it says, and what the fixture's own arguments change."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from duplexmock.errors import ScriptError
from duplexmock.net.replay import Unplayed
from duplexmock.pytest_plugin.marker import _EXPECT, _UNPLAYED, Asked
from duplexmock.store.header import Expect
from tests.pytest_plugin.conftest import Project


def test_the_nearer_one_counts_for_what_it_says() -> None:
    near, far = Asked(path="a", ignore=()), Asked(path="b", ignore=["x"], speed=2)
    assert near.over(far) == Asked(path="a", ignore=(), speed=2)


PAIRS = "a list of pairs: the field that is received, and the one that is sent with its value"


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (
            {"ignore": "chat.ChatMessage.timestamp"},
            "ignore='chat.ChatMessage.timestamp': a list of them, also where there is one",
        ),
        ({"unplayed": "never"}, "unplayed='never': fail, warn or ignore"),
        ({"path": 5}, "path=5: a path, as a text or a pathlib.Path"),
        ({"ignore": 5}, "ignore=5: a list of them, also where there is one"),
        ({"methods": [5]}, "methods=[5]: a list of them, also where there is one"),
        ({"sessions": 1}, "sessions=1: a list of their numbers, also where there is one"),
        ({"sessions": ["1"]}, "sessions=['1']: a list of their numbers, also where there is one"),
        ({"bind": ["a"]}, f"bind=['a']: {PAIRS}"),
        ({"bind": [("a",)]}, f"bind=[('a',)]: {PAIRS}"),
        ({"bind": {"a": "b"}}, f"bind={{'a': 'b'}}: {PAIRS}"),
        ({"metadata": [("a", "b")]}, "metadata=[('a', 'b')]: a dict of texts: the key and its value"),
        ({"metadata": {"a": 5}}, "metadata={'a': 5}: a dict of texts: the key and its value"),
        ({"speed": True}, "speed=True: a number"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        Asked(**asked)
    assert str(caught.value) == text


PLACES = {
    "function": """
        @pytest.mark.duplexmock("three.duplex")
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "class": """
        @pytest.mark.duplexmock("three.duplex")
        class TestChat:
            def test_chat(self, duplex):
                chat_sync(duplex.channel(), talk())
    """,
    "module": """
        pytestmark = pytest.mark.duplexmock("three.duplex")

        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "nearest": """
        pytestmark = pytest.mark.duplexmock("nowhere.duplex")

        @pytest.mark.duplexmock("nowhere.duplex")
        class TestChat:
            @pytest.mark.duplexmock("three.duplex")
            def test_chat(self, duplex):
                chat_sync(duplex.channel(), talk())
    """,
    "case": """
        @pytest.mark.duplexmock("nowhere.duplex")
        @pytest.mark.parametrize("turn", [pytest.param(1, marks=pytest.mark.duplexmock("three.duplex"))])
        def test_chat(duplex, turn):
            chat_sync(duplex.channel(), talk())
    """,
    "path by name": """
        @pytest.mark.duplexmock(path="three.duplex")
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "folder": """
        @pytest.mark.duplexmock("")
        def test_chat(duplex):
            chat_sync(duplex.channel(), talk())
    """,
    "call": """
        @pytest.mark.duplexmock("nowhere.duplex")
        def test_chat(duplex):
            with duplex.replay("three.duplex") as mock:
                chat_sync(mock.channel(), talk())
    """,
}


@pytest.mark.parametrize("source", PLACES.values(), ids=PLACES)
def test_a_marker_says_which_fixture(project: Project, source: str) -> None:
    project.fixture("three.duplex")
    project.test(source)
    project.passes()


LATER = """
    import duplexmock
    from chat_app.client import Talk
    from tests.net.chats import LIMIT_S

    def later():
        return Talk(3, 0, LIMIT_S, lambda: 7)

    @pytest.mark.duplexmock("three.duplex", {arguments})
    def test_chat(duplex):
        chat_sync(duplex.channel(), later())
"""


@pytest.mark.parametrize(
    ("arguments", "passes"),
    [
        ("", False),
        ("ignore=['chat.ChatMessage.timestamp']", True),
        ("ignore=['chat.ChatMessage.timestamp'], expect='lanes', speed=1", True),
        ("ignore=['chat.ChatMessage.timestamp'], methods=['*/Chat'], sessions=[1], timeout_s=5", True),
        ("bind=[('/chat.ChatService/Chat>3', '/chat.ChatService/Chat<3')]", True),
    ],
)
def test_a_marker_says_how_it_is_played(project: Project, arguments: str, passes: bool) -> None:
    project.fixture("three.duplex")
    project.test(LATER.format(arguments=arguments))
    assert project.run().parseoutcomes() == ({"passed": 1} if passes else {"failed": 1})


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ("duplexmock(upsteam='x')", "*the marker duplexmock has no argument 'upsteam'; it has path, upstream, *"),
        ("duplexmock(5)", "path=5: a path, as a text or a pathlib.Path"),
        ("duplexmock('a', 'b')", "*the marker duplexmock takes one path, and other arguments by name: ('a', 'b')"),
        ("duplexmock('a', path='b')", "*the marker duplexmock takes one path, and other arguments by name: ('a',)"),
        ("duplexmock(ignore='x')", "ignore='x': a list of them, also where there is one"),
        ("duplexmock(expect='all')", "expect='all': lanes, order or strict"),
        ("duplexmock(unplayed='no')", "unplayed='no': fail, warn or ignore"),
        ("duplexmock(speed='fast')", "speed='fast': a number"),
    ],
)
def test_a_marker_that_makes_no_sense_is_told(project: Project, marker: str, text: str) -> None:
    project.test(f"@pytest.mark.{marker}\ndef test_chat(duplex):\n    pass\n")
    result = project.run()
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines([text])
    assert "def duplex(" not in result.stdout.str()


def test_the_words_that_are_known_are_those_of_a_replay() -> None:
    assert get_args(Expect) == _EXPECT
    assert get_args(Unplayed) == _UNPLAYED


def test_the_marker_is_listed_and_known(project: Project) -> None:
    project.run("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.duplexmock(path=None, *, expect, ignore, bind, speed, *"]
    )
    project.test("@pytest.mark.duplexmock(speed=1)\ndef test_plain():\n    pass\n")
    project.passes("--strict-markers")


def test_the_fixture_and_the_options_are_listed(project: Project) -> None:
    project.run("--fixtures").stdout.fnmatch_lines(["duplex -- *", "*Stand in for a gRPC server: *"])
    text = project.run("--help").stdout.str()
    for name in ("--duplexmock-record", "--duplexmock-prune", "duplexmock_record", "duplexmock_dir"):
        assert name in text
