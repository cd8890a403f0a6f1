"""`duplexmock serve`, as people call it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import grpc
import pytest

from duplexmock.store.fixture import Fixture
from tests.cli.commands import run, running
from tests.net.chats import channel
from tests.net.test_serve import Talking, chatting, texts
from tests.net.wires import LIMIT_S

TALK = [sys.executable, "-m", "chat_app.client", "--count", "2", "--interval", "0.01"]

MOODY = """
import duplexmock

@duplexmock.handler("/lobby.Lobby/Enter")
async def enter(call):
    if await call.receive() != b"please":
        call.fail("The client was not polite.")
    return b"welcome"

@duplexmock.handler("/lobby.Lobby/Leave")
async def leave(call):
    raise LookupError("nobody is here")

again = enter
"""


POLITE = """
from duplexmock import Script, turn

polite = Script("/lobby.Lobby/Enter", turn(b"please", reply=b"welcome"))
"""


@pytest.fixture
def moody(tmp_path: Path) -> Path:
    path = tmp_path / "moody.py"
    path.write_text(MOODY)
    return path


def ask(target: str, method: str, message: bytes) -> bytes:
    with channel(target) as dialled:
        answer: bytes = dialled.unary_unary(method)(message, timeout=LIMIT_S)
        return answer


def test_the_ready_made_scripts_are_listed_with_a_line_each() -> None:
    code, out, err = run("serve", "--list")
    assert (code, err) == (0, "")
    assert [line.partition("   ")[0].rstrip() for line in out.splitlines()] == [
        "chat", "drain", "echo", "flaky", "room", "slow",
    ]  # fmt: skip
    assert "echo    Says each message back as it came, and ends with OK at the client's half-close." in out


def test_a_command_finds_the_mock_and_its_exit_code_counts() -> None:
    code, out, err = run("serve", "drain", "--", *TALK)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "1 call: 1 agreed"
    assert "call 1   drain   /chat.ChatService/Chat   2 > 2 <   OK   " in out
    assert run("serve", "drain", "--", "sh", "-c", "exit 7")[0] == 7


def test_a_file_is_served_with_all_that_stands_at_its_top_level(moody: Path) -> None:
    with running("serve", moody) as mock:
        assert ask(mock.target, "/lobby.Lobby/Enter", b"please") == b"welcome"
        with pytest.raises(grpc.RpcError) as rude:
            ask(mock.target, "/lobby.Lobby/Enter", b"gimme")
        with pytest.raises(grpc.RpcError) as raised:
            ask(mock.target, "/lobby.Lobby/Leave", b"")
        mock.signal(signal.SIGTERM)
        code, out, err = mock.end()

    assert (rude.value.code(), rude.value.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "The client was not polite.",
    )
    assert raised.value.details() == "the handler raised LookupError: nobody is here"
    assert code == 1
    assert out.splitlines()[-1] == "3 calls: 1 agreed, 1 did not, 1 failed by their handler"
    assert "The client was not polite." in out.splitlines()
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1] == "LookupError: nobody is here"


def test_a_script_of_a_file_is_judged_and_faults_are_done(tmp_path: Path) -> None:
    (tmp_path / "polite.py").write_text(POLITE)
    with running("serve", "polite.py", "--fault", "status(ABORTED)@server:2", "--timeout", "9", cwd=tmp_path) as mock:
        assert ask(mock.target, "/lobby.Lobby/Enter", b"please") == b"welcome"
        with pytest.raises(grpc.RpcError):
            ask(mock.target, "/lobby.Lobby/Enter", b"gimme")
        mock.signal(signal.SIGTERM)
        code, out, err = mock.end()

    assert (code, err) == (1, "")
    first, *_, fault, tally = out.splitlines()[1:]
    assert first.startswith("call 1   /lobby.Lobby/Enter   1 > 1 <   OK   ")
    assert "b'gimme'" in out
    assert fault == "fault status(ABORTED)@server:2 never fired: no call came to ServerMessage #2"
    assert tally == "2 calls: 1 agreed, 1 did not"


def test_json_lines_say_all_of_it(moody: Path) -> None:
    with running("serve", f"{moody.stem}:enter", "--json", cwd=moody.parent) as mock:
        ask(mock.target, "/lobby.Lobby/Enter", b"please")
        with pytest.raises(grpc.RpcError):
            ask(mock.target, "/lobby.Lobby/Enter", b"gimme")
        mock.signal(signal.SIGINT)
        code, out, err = mock.end()

    listening, first, second, counts = map(json.loads, out.splitlines())
    called = {"method": "/lobby.Lobby/Enter", "script": "enter", "client_messages": 1, "raised": None}
    assert (code, err, list(listening)) == (1, "", ["listening"])
    assert first == {**called, "call": 1, "server_messages": 1, "ended": "OK", "agreed": True, "sentence": None}
    assert second == {
        **called,
        "call": 2,
        "server_messages": 0,
        "ended": "FAILED_PRECONDITION",
        "agreed": False,
        "sentence": "The client was not polite.",
    }
    assert counts == {"agreed": 1, "mismatched": 1, "raised": 0}


def test_all_that_is_said_goes_into_a_fixture(tmp_path: Path) -> None:
    out = tmp_path / "echo.duplex"
    with running("serve", "echo", "--out", out) as mock:
        assert texts(chatting(mock.target, "a", "b")) == ["a", "b"]
        mock.signal(signal.SIGTERM)
        assert mock.end()[0] == 0
    with Fixture.open(out) as fixture:
        (session,) = fixture.sessions()
    assert len(session.entries) == 8
    code, _, err = run("serve", "echo", "--out", out)
    assert (code, err.splitlines()[-1]) == (
        2,
        f"Error: {out}: the file exists; overwrite it, or record to another one",
    )


def test_open_calls_have_the_grace_to_end_and_a_second_signal_ends_at_once() -> None:
    with running("serve", "echo", "--grace", "100") as mock:
        client = Talking(mock.target)
        client.says("a")
        assert client.hears() == "a"
        mock.signal(signal.SIGTERM)
        client.says("b")
        assert client.hears() == "b"
        mock.signal(signal.SIGTERM)
        code, out, _ = mock.end()
        client.half_closes()
    assert (code, out.splitlines()[-1]) == (0, "1 call: 1 agreed")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.py"], "nowhere.py: there is no such file"),
        (["echo", "--grace", "-1"], "Invalid value for '--grace': '-1' is not a number of seconds, 0 or more."),
        ([], "Missing argument 'SCRIPT': a name of --list, a .py file, or module:name."),
    ],
)
def test_what_cannot_be_served_is_told_in_a_sentence(arguments: list[str], sentence: str) -> None:
    code, out, err = run("serve", *arguments)
    assert (code, out, err.splitlines()[-1]) == (2, "", f"Error: {sentence}")
