"""Finding scripts by what people call them, and what they are told where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from duplexmock.cli.scripts import found
from duplexmock.errors import ScriptError
from duplexmock.play.handler import Handler

CHAT = "/chat.ChatService/Chat"

TWO = """
import beside_it
from duplexmock import Script, handler, turn

hello = Script("/chat.ChatService/Chat", turn(b"a", reply=b"A"))

@handler("/chat.ChatService/Chat")
async def answer(call): ...

again = hello
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "two_scripts.py").write_text(TWO)
    (tmp_path / "beside_it.py").write_text("")
    (tmp_path / "empty_one.py").write_text("number = 1\n")
    (tmp_path / "wrong_one.py").write_text("nothing()\n")
    (tmp_path / "bad_one.py").write_text("import duplexmock\nduplexmock.handler('/Chat')\n")
    return tmp_path


def test_a_file_has_its_scripts_and_handlers_in_their_order_each_once() -> None:
    script, handler = found("two_scripts.py")
    assert (script.method, type(handler), handler.name) == (CHAT, Handler, "answer")


def test_one_is_found_in_a_module() -> None:
    (script,) = found("two_scripts:hello")
    assert repr(script) == repr(found("two_scripts.py")[0])


def test_a_ready_made_one_is_found_by_its_name() -> None:
    (echo,) = found("echo")
    assert (echo.method, echo.name) == (CHAT, "echo")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "chatt",
            "'chatt': no ready-made script; they are chat, drain, echo, flaky, room, slow. "
            "A file ends in .py; in a module it is written module:name",
        ),
        ("nowhere.py", "nowhere.py: there is no such file"),
        ("empty_one.py", "empty_one.py: there is no Script and no handler at its top level"),
        ("wrong_one.py", "wrong_one.py: cannot be imported: NameError: name 'nothing' is not defined"),
        (
            "bad_one.py",
            "bad_one.py: cannot be imported: method '/Chat': a method is written /package.Service/Method",
        ),
        ("empty_one:chat", "empty_one:chat: the module has no 'chat'"),
        (
            "empty_one:number",
            "empty_one:number: neither a Script nor a handler: is @duplexmock.handler(METHOD) missing above it?",
        ),
        ("nowhere:chat", "nowhere:chat: cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ScriptError) as raised:
        found(text)
    assert str(raised.value) == sentence
