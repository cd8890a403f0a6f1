import pytest

from duplexmock.core.events import Cancel, ClientHalfClose, ClientMessage, Reset, ServerMessage, ServerTrailer, Side
from duplexmock.core.given import Fields, anything, like
from duplexmock.core.metadata import Metadata
from duplexmock.core.parts import After, Line, Pause, Repeat, Sequence, Turn
from duplexmock.core.status import Code, ErrorCode, Status
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


def test_words_make_values():
    assert client(b"a", half_close()) == Line(Side.CLIENT, (b"a", ClientHalfClose()))
    assert turn(anything, reply=[b"a", b"b"]) == Turn(anything, (b"a", b"b"))
    assert turn({"a": [1, {"b": 2}]}, reply=len) == Turn(Fields({"a": (1, Fields({"b": 2}))}), len)
    assert after("1.5s") == Pause(1_500_000_000)
    assert after("100ms", client(b"a")) == After(100_000_000, client(b"a"))
    assert repeat(client(b"a"), 1, 5) == Repeat(client(b"a"), 1, 5)
    assert hash(repeat(client({"a": 1}))) == hash(repeat(client({"a": 1})))


def test_a_sequence_in_a_sequence_is_one():
    made = sequence(client(b"a"), sequence(server(b"b"), client(b"c")))
    assert made == Sequence((client(b"a"), server(b"b"), client(b"c")))


def test_a_message_may_be_given_as_the_event_it_is():
    assert client(ClientMessage(b"a")) == client(b"a")
    assert server(ServerMessage(b"a")) == server(b"a")


def test_endings_are_events():
    trailing = Metadata((("x-room", "42"),))
    assert status("NOT_FOUND", "gone", {"x-room": "42"}) == ServerTrailer(Status(Code.NOT_FOUND, "gone"), trailing)
    assert status(5) == status(Code.NOT_FOUND) == status("NOT_FOUND")
    assert cancel() == Cancel(ErrorCode.CANCEL)
    assert reset("INTERNAL_ERROR") == Reset(ErrorCode.INTERNAL_ERROR)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: client("hi"), "client(…): 'hi' is text: a message is bytes, a dict of fields or a protobuf message"),
        (lambda: client(7), "client(…): 7 is no message: bytes, a dict of fields, a protobuf message, or a function"),
        (lambda: client(int), "client(…): int is a type: write int(...) for a message, or anything for any"),
        (lambda: client({1: b"a"}), "client(…): field 1: fields are given by their names"),
        (lambda: client({"a": object}), f"client(…): field 'a': {object!r} is no field's value"),
        (lambda: client(), "client(): nothing is said"),
        (lambda: client(half_close), "half_close is a function: write half_close()"),
        (lambda: any_order(client, server), "client is a function: write client(…)"),
        (lambda: client([b"a", b"b"]), "client([b'a', b'b']): events are given one by one: client(a, b)"),
        (lambda: client(client(b"a")), "client(…): a part is no event; write it beside client(…), not in it"),
        (lambda: client(status()), "client(status('OK')): that is the server's to say"),
        (lambda: server(half_close()), "server(half_close()): that is the client's to say"),
        (lambda: server(cancel()), "server(cancel()): that is the client's to say"),
        (lambda: repeat(b"x"), "repeat(b'x'): a part says whose it is: client(b'x') or server(…)"),
        (lambda: repeat([client(b"a")]), "repeat([…]): parts one after another are written sequence(s, t)"),
        (lambda: repeat(client(b"x"), 3, 2), "repeat(…, 3, 2): at least 3 times and at most 2 is never"),
        (lambda: repeat(client(b"x"), 0, 0), "repeat(…, 0, 0): what happens 0 times is left out"),
        (lambda: repeat(client(b"x"), -1), "repeat(…, -1, None): times are counted by whole numbers from 0"),
        (lambda: client(ClientMessage(b"a", 1)), "client(…): a message is given without its compression"),
        (lambda: one_of(), "one_of(): there is nothing to choose from"),
        (
            lambda: optional(half_close()),
            "optional(half_close()): a part says whose it is: client(half_close()) or server(…)",
        ),
        (lambda: every("5", client(b"x")), "every '5': a time is written '5s', '100ms', '1.5s', '2m' or '1h'"),
        (lambda: after(5), "after 5: a time is written '5s', '100ms', '1.5s', '2m' or '1h'"),
        (lambda: after("0s"), "after '0s': a time is written '5s', '100ms', '1.5s', '2m' or '1h'"),
        (
            lambda: cancel("LATER"),
            "cancel('LATER'): there is no such code; there are " + ", ".join(ErrorCode.__members__),
        ),
        (lambda: status("Ok"), "status('Ok'): there is no such code; there are " + ", ".join(Code.__members__)),
        (lambda: status(1.5), "status(1.5): a code is its name or its number"),
        (
            lambda: header({"X-Room": "1"}),
            "metadata {'X-Room': '1'}: metadata key 'X-Room': gRPC's keys are lower case",
        ),
        (lambda: like(like(len, b"a"), b"a"), 'like(like(len, b"a"), …): the match is a like already'),
        (
            lambda: like(anything, len),
            "like(anything, len): an example is bytes, a dict of fields or a protobuf message",
        ),
    ],
)
def test_a_mistake_has_a_sentence(make, sentence):
    with pytest.raises(ScriptError) as caught:
        make()
    assert str(caught.value) == sentence
