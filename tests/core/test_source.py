import pytest

from duplexmock.core.given import anything, like
from duplexmock.core.source import imports, script_source, script_text
from duplexmock.core.words import (
    after,
    any_order,
    cancel,
    client,
    every,
    half_close,
    header,
    one_of,
    optional,
    repeat,
    reset,
    sequence,
    server,
    status,
    turn,
)
from duplexmock.errors import ScriptError
from tests.core.scripts import echo, is_short
from tests.playbook import METHOD

EVERYTHING = (
    client(header({"x-room": "42", "k-bin": b"\x00"}), {"text": "it's", "more": [1, {"x": None}]}),
    any_order(
        repeat(turn(like(is_short, b"a"), reply=echo), 1, 5),
        every("5s", server(b"tick")),
        sequence(after("100ms"), after("1s", optional(client(b"b")))),
    ),
    one_of(server(status("NOT_FOUND", "gone", {"t": "1"}, details=b"d")), server(reset()), client(cancel("NO_ERROR"))),
)


def test_a_script_in_one_line():
    assert script_text(METHOD, EVERYTHING) == (
        'Script("/chat.ChatService/Chat", '
        'client(header({"x-room": "42", "k-bin": b"\\x00"}), {"text": "it\'s", "more": [1, {"x": None}]}), '
        'any_order(repeat(turn(like(tests.core.scripts.is_short, b"a"), reply=tests.core.scripts.echo), 1, 5), '
        'every("5s", server(b"tick")), sequence(after("100ms"), after("1s", optional(client(b"b"))))), '
        'one_of(server(status("NOT_FOUND", "gone", {"t": "1"}, details=b"d")), server(reset()), '
        'client(cancel("NO_ERROR"))))'
    )


def test_a_script_as_people_write_it():
    assert (
        script_source(METHOD, EVERYTHING)
        == """\
Script(
    "/chat.ChatService/Chat",
    client(header({"x-room": "42", "k-bin": b"\\x00"}), {"text": "it's", "more": [1, {"x": None}]}),
    any_order(
        repeat(turn(like(tests.core.scripts.is_short, b"a"), reply=tests.core.scripts.echo), 1, 5),
        every("5s", server(b"tick")),
        sequence(after("100ms"), after("1s", optional(client(b"b")))),
    ),
    one_of(
        server(status("NOT_FOUND", "gone", {"t": "1"}, details=b"d")),
        server(reset()),
        client(cancel("NO_ERROR")),
    ),
)"""
    )


def test_the_names_that_it_is_written_with():
    assert imports([turn(anything, reply=b"a"), client(half_close())]) == (
        "from duplexmock import Script, anything, client, half_close, turn\n"
    )


def test_a_lambda_is_said_to_be_none_that_prints():
    with pytest.raises(ScriptError) as caught:
        script_source(METHOD, (turn(lambda message: True, reply=b"a"),))
    assert str(caught.value) == (
        "tests.core.test_source.test_a_lambda_is_said_to_be_none_that_prints.<locals>.<lambda> is a lambda: a script "
        "prints as source if its functions stand in a module by name"
    )


def test_a_function_in_a_function_is_said_to_be_none_that_prints():
    def reply(message):
        return message

    with pytest.raises(ScriptError) as caught:
        script_source(METHOD, (turn(anything, reply=reply),))
    assert str(caught.value) == (
        "tests.core.test_source.test_a_function_in_a_function_is_said_to_be_none_that_prints.<locals>.reply is a "
        "function that no module has by this name: a script prints as source if its functions stand in a module by name"
    )
