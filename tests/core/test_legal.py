import pytest

from duplexmock.core.given import anything
from duplexmock.core.legal import check_method, check_parts
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
    sequence,
    server,
    status,
    turn,
)
from duplexmock.errors import ScriptError
from tests.core.scripts import echo
from tests.playbook import METHOD

TICK = every("5s", server(b"x"))


@pytest.mark.parametrize(
    "parts",
    [
        (client(header({"x-room": "1"}), b"a", half_close()), server(header(), b"b", status("NOT_FOUND"))),
        (TICK,),
        (any_order(TICK, repeat(turn(anything, reply=echo))), server(status())),
        (any_order(TICK, sequence(client(b"a"), client(half_close()))),),
        (TICK, after("20s"), server(status())),
        (TICK, client(cancel())),
        (every("1s", client(b"x")), server(status())),
        (client(half_close(), cancel()),),
        (one_of(server(status("NOT_FOUND")), turn(b"a", reply=b"b")),),
        (optional(every("5s", server(b"x"))),),
    ],
)
def test_what_a_call_can_do_is_accepted(parts):
    check_parts(METHOD, parts)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            (client(b"a", half_close(), b"c"),),
            'client(b"c") can never come behind client(half_close()), which is the last that the client says',
        ),
        (
            (server(status()), server(b"x")),
            'server(b"x") can never come behind server(status("OK")), which ends the call',
        ),
        (
            (server(status()), client(b"x")),
            'client(b"x") can never come behind server(status("OK")), which ends the call',
        ),
        (
            (server(status(), status("ABORTED")),),
            'server(status("ABORTED")) can never come behind server(status("OK")), which ends the call',
        ),
        (
            (any_order(server(b"x"), server(status())),),
            'server(b"x") can never come behind server(status("OK")), which ends the call',
        ),
        (
            (one_of(server(status()), turn(b"a", reply=b"b")), client(b"c")),
            'client(b"c") can never come behind server(status("OK")), which ends the call',
        ),
        (
            (repeat(sequence(client(b"a"), client(half_close()))),),
            'client(b"a") can never come behind client(half_close()), which is the last that the client says',
        ),
        (
            (client(b"a"), client(header({"x-room": "1"}))),
            'client(header({"x-room": "1"})): the client\'s header comes first of all',
        ),
        (
            (server(b"a"), server(header())),
            "server(header()): the server's header comes before its messages, and once",
        ),
        (
            (client(half_close()), TICK),
            'every("5s", server(b"x")) would never be said: the client has half-closed before, so that the server\'s '
            "status can be said at once",
        ),
        (
            (TICK, server(status())),
            'every("5s", server(b"x")) would never be said: what follows, server(status("OK")), can be said at once; '
            'write after("…") before it, or any_order(…)',
        ),
        (
            (every("1s", client(b"x")),),
            'every("1s", client(b"x")) has no end: nothing that the server says ends it; use repeat(…)',
        ),
        ((every("1s", after("1s")),), 'every("1s", after("1s")): nothing is said in it'),
    ],
)
def test_what_could_never_be_played_is_refused_by_the_step_that_makes_it_so(parts, sentence):
    with pytest.raises(ScriptError) as caught:
        check_parts(METHOD, parts)
    assert str(caught.value) == f"{METHOD}: {sentence}"


@pytest.mark.parametrize("method", ["Chat", "/Chat", "chat.ChatService/Chat", "/a/b/c", "/a b/c", None])
def test_a_method_is_written_with_its_service(method):
    with pytest.raises(ScriptError) as caught:
        check_method(method)
    assert str(caught.value) == f"method {method!r}: a method is written /package.Service/Method"
