import pytest

from duplexmock.core.connection import Closing
from duplexmock.core.events import Cancel, ServerHeader, Side
from duplexmock.core.given import anything
from duplexmock.core.monitor import monitor
from duplexmock.core.words import any_order, client, every, half_close, header, repeat, server, status, turn
from tests.core.scripts import echo, language, twice
from tests.playbook import ANSWER, HALF_CLOSE, HEADER, OK, ask, lost_by, recorded, reply
from tests.playbook import header as opens

GOODBYE = (client(b"a"), server(b"b"), client(half_close()), server(b"bye"), server(status()))


def sentence(parts, *events, **more):
    mismatch = monitor(language(*parts), recorded(*enumerate(events), **more))
    return mismatch and mismatch.sentence


@pytest.mark.parametrize(
    ("parts", "events"),
    [
        (GOODBYE, (HEADER, ANSWER, ask("a"), reply("b"), HALF_CLOSE, reply("bye"), OK)),
        (GOODBYE, (HEADER, ask("a"), ANSWER, reply("b"), HALF_CLOSE, reply("bye"), OK, Cancel(8))),
        (
            (repeat(turn(anything, reply=echo)),),
            (HEADER, ask("a"), ANSWER, reply("a"), ask("b"), HALF_CLOSE, reply("b"), OK),
        ),
        ((turn(b"a", reply=twice),), (HEADER, ask("a"), ANSWER, reply("a"), reply("a"), HALF_CLOSE, OK)),
        (
            (any_order(every("5s", server(b"tick")), client(b"a", b"b")),),
            (HEADER, ANSWER, reply("tick"), ask("a"), reply("tick"), ask("b"), reply("tick"), HALF_CLOSE, OK),
        ),
    ],
)
def test_a_session_that_is_a_word_of_the_script(parts, events):
    assert sentence(parts, *events) is None


@pytest.mark.parametrize(
    ("parts", "events", "expected"),
    [
        (
            (client(b"a", half_close()), server(b"bye"), server(status())),
            (HEADER, ask("a"), HALF_CLOSE, ANSWER, reply("hi"), OK),
            "Entry 5, ServerMessage #1 b'hi', is not allowed here: after the server's initial metadata only b\"bye\" "
            "may come from the server (message: expected b'bye', got b'hi').",
        ),
        (
            (client(b"a"), server(b"b"), client(half_close()), repeat(server(b"bye"), 0, 1), server(status())),
            (HEADER, ANSWER, ask("a"), reply("b"), HALF_CLOSE, reply("b"), OK),
            "Entry 6, ServerMessage #2 b'b', is not allowed here: after the client's half-close only b\"bye\" or "
            "status OK may come from the server (message: expected b'bye', got b'b').",
        ),
        (
            (repeat(turn(anything, reply=echo)),),
            (HEADER, ask("a"), ask("b"), ANSWER, reply("a"), reply("b"), HALF_CLOSE, OK),
            "Entry 3, ClientMessage #2 b'b', is not allowed here: after ClientMessage #1 only the half-close may come "
            'from the client, or b"a" from the server.',
        ),
        (
            (client(header({"x-room": "42"})), client(b"a")),
            (opens(("x-room", "7")), ask("a")),
            "The call's metadata is not as the script has it: metadata.x-room: expected '42', got '7'.",
        ),
        (
            (client(b"a"),),
            (opens(method="/other.Service/Method"),),
            "The call's metadata is not as the script has it: method: expected '/chat.ChatService/Chat', got "
            "'/other.Service/Method'.",
        ),
        (
            (server(header({"x-mood": "good"})), server(b"a")),
            (HEADER, ServerHeader(), reply("a")),
            "Entry 2, the server's initial metadata, is not allowed here: after the client's header only the "
            "half-close may come from the client, or the initial metadata from the server.",
        ),
    ],
)
def test_the_first_entry_that_the_script_does_not_allow(parts, events, expected):
    assert sentence(parts, *events) == expected


def test_a_session_that_ends_before_the_script_does():
    lost = {"closed": lost_by(Side.CLIENT, 3, Closing.RESET)}
    assert sentence(GOODBYE, HEADER, ask("a"), **lost) == (
        'The session ends with entry 2 (connection lost): after ClientMessage #1 only b"b" may come from the server.'
    )


def test_a_mismatch_says_where():
    mismatch = monitor(language(client(b"a", b"b")), recorded((0, HEADER), (2, ask("a")), (5, ask("c"))))
    assert (mismatch.side, mismatch.position, mismatch.messages, mismatch.at_ns, mismatch.entries) == (
        Side.CLIENT, 2, 1, 5_000_000, 2,
    )  # fmt: skip
    assert mismatch.actual == ask("c")
