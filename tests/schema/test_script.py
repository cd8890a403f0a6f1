"""Scripts as values, with protobuf messages, dicts and bytes."""

import pytest
from chat_app import chat_pb2
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from duplexmock import Script, anything, client, half_close, like, repeat, sequence, server, status, turn
from duplexmock.core.events import ClientHalfClose, ClientMessage, ServerMessage, Side
from duplexmock.core.scriptplayer import ScriptPlayer
from duplexmock.errors import MismatchError, ScriptError
from duplexmock.schema.descriptors import Descriptors
from duplexmock.store.fixture import Fixture
from tests.playbook import ANSWER, HEADER, METHOD, OK, ask, recorded, row_of
from tests.schema.protos import chat_file, set_of

HI = chat_pb2.ChatMessage(sender="Client", message="hi", timestamp=7)
YO = chat_pb2.ChatMessage(sender="Server", message="yo")


def shout(message):
    return {"sender": "Server", "message": message.message.upper()}


def is_greeting(message):
    return message.message == "hi"


def says_no(message):
    return "no"


def answers(script, *payloads):
    """Return what a server that plays the script answers to these messages."""
    player = ScriptPlayer(script.prepared(Side.SERVER), Side.SERVER)
    player.received([row_of(HEADER), *(row_of(ClientMessage(payload)) for payload in payloads)], 0)
    if player.mismatch is not None:
        return player.mismatch.sentence
    events = [step.event for step in player.next(0).steps]
    return [event.payload for event in events if isinstance(event, ServerMessage)]


def chat(payload):
    return chat_pb2.ChatMessage.FromString(payload)


# Messages


def test_a_protobuf_message_brings_its_descriptors():
    script = Script(METHOD, turn(chat_pb2.ChatMessage(message="hi"), reply=shout))
    (payload,) = answers(script, HI.SerializeToString())
    assert chat(payload) == chat_pb2.ChatMessage(sender="Server", message="HI")


def test_a_dict_is_matched_on_the_fields_it_names():
    script = Script(METHOD, turn({"message": "hi"}, reply={"message": "yo"}), descriptors=chat_pb2)
    (payload,) = answers(script, HI.SerializeToString())
    assert chat(payload) == chat_pb2.ChatMessage(message="yo")
    assert answers(script, YO.SerializeToString()) == (
        "ClientMessage #1 {sender: 'Server', message: 'yo'} is not allowed here: after the client's header only "
        "{\"message\": \"hi\"} may come from the client (message: expected 'hi', got 'yo')."
    )


def test_a_field_that_is_named_with_its_default_has_to_be_that():
    script = Script(METHOD, turn({"timestamp": 0}, reply=b""), descriptors=chat_pb2)
    assert answers(script, YO.SerializeToString()) == [b""]
    assert "(timestamp: expected 0, got 7)" in answers(script, HI.SerializeToString())


def test_functions_get_what_came():
    script = Script(METHOD, turn(is_greeting, reply=shout), turn(anything, reply=b"?"), descriptors="chat_app.chat_pb2")
    first, second = answers(script, HI.SerializeToString(), b"\x0a\x01x")
    assert (chat(first).message, second) == ("HI", b"?")


def test_functions_get_bytes_without_descriptors():
    assert answers(Script(METHOD, turn(lambda message: message == b"a", reply=lambda message: message * 2)), b"a") == [
        b"aa"
    ]


def test_descriptors_may_be_given_where_it_is_played():
    script = Script(METHOD, turn({"message": "hi"}, reply=YO))
    known = Descriptors(set_of(chat_file()))
    assert script.prepared(Side.SERVER, known).codec.text(Side.CLIENT, HI.SerializeToString()).startswith("{sender:")


def test_bytes_are_compared_as_messages_where_descriptors_are_known():
    swapped = b"\x12\x02hi\x0a\x06Client\x18\x07"  # an encoder's choice
    assert answers(Script(METHOD, turn(HI.SerializeToString(), reply=b"ok"), descriptors=chat_pb2), swapped) == [b"ok"]


# Refusals


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Script("Chat", client(b"a")), "method 'Chat': a method is written /package.Service/Method"),
        (lambda: Script(METHOD), "/chat.ChatService/Chat: a script without a part says nothing"),
        (lambda: Script(METHOD, b"a"), "Script(b'a'): a part says whose it is: client(b'a') or server(…)"),
        (
            lambda: Script("/chat.ChatService/Chap", client(HI)),
            "method '/chat.ChatService/Chap': chat.ChatService has no such method; it has Chat",
        ),
        (
            lambda: Script(METHOD, turn(Timestamp(seconds=1), reply=b""), descriptors=chat_pb2),
            "/chat.ChatService/Chat: client(google.protobuf.timestamp_pb2.Timestamp(seconds=1)): the client's messages "
            "are chat.ChatMessage, and this is a google.protobuf.Timestamp",
        ),
        (
            lambda: Script(METHOD, server(Struct()), descriptors=chat_pb2),
            "/chat.ChatService/Chat: server(google.protobuf.struct_pb2.Struct()): the server's messages "
            "are chat.ChatMessage, and this is a google.protobuf.Struct",
        ),
        (
            lambda: Script(METHOD, turn({"mesage": "hi"}, reply=b""), descriptors=chat_pb2),
            "/chat.ChatService/Chat: client({\"mesage\": \"hi\"}): {'mesage': 'hi'} is no chat.ChatMessage: Protocol "
            'message ChatMessage has no "mesage" field.',
        ),
        (
            lambda: Script(METHOD, client({"message": "hi"})).language(),
            '/chat.ChatService/Chat: client({"message": "hi"}): a dict needs descriptors to become a message, and none '
            "know this method; give descriptors=, or a protobuf message, or bytes",
        ),
        (
            lambda: Script(METHOD, client(is_greeting)).prepared(Side.CLIENT),
            "/chat.ChatService/Chat: client(tests.schema.test_script.is_greeting) matches and does not say what is "
            "to be said; the client can be played with like(tests.schema.test_script.is_greeting, example)",
        ),
        (
            lambda: answers(Script(METHOD, turn(anything, reply=len)), b"abc"),
            "len replied 3: a reply is bytes, or a protobuf message",
        ),
        (
            lambda: answers(Script(METHOD, turn(anything, reply=says_no), descriptors=chat_pb2), b""),
            "tests.schema.test_script.says_no replied 'no' is text: a message is bytes, a dict of fields or a protobuf "
            "message",
        ),
    ],
)
def test_what_could_never_be_played_is_refused(make, sentence):
    with pytest.raises(ScriptError) as caught:
        make()
    assert str(caught.value) == sentence


def test_a_script_is_a_value():
    script = Script(METHOD, turn(HI, reply=shout))
    with pytest.raises(AttributeError, match="a Script is a value: its method cannot be changed"):
        script.method = "/a.B/C"


# Arrows, sessions, source


def test_straight_lines_are_written_by_arrows():
    written = Script(METHOD, client(b"a")) << b"b" >> (b"c", half_close()) << status("ABORTED")
    assert written == Script(METHOD, client(b"a"), server(b"b"), client(b"c", half_close()), server(status("ABORTED")))


def test_a_session_is_checked():
    script = Script(METHOD, repeat(turn({"message": "hi"}, reply=shout)), descriptors=chat_pb2)
    heard = ClientMessage(HI.SerializeToString())
    said = ServerMessage(chat_pb2.ChatMessage(sender="Server", message="HI", timestamp=9).SerializeToString())
    script.check(_session(heard, said))
    wrong = ServerMessage(YO.SerializeToString())
    with pytest.raises(MismatchError) as caught:
        script.check(_session(heard, wrong))
    assert str(caught.value) == (
        "session 1, /chat.ChatService/Chat: Entry 4, ServerMessage #1 {sender: 'Server', message: 'yo'}, is not "
        "allowed here: after the server's initial metadata only the half-close may come from the client, or "
        '{"sender": '
        '"Server", "message": "HI"} from the server (message: expected \'HI\', got \'yo\').'
    )


def _session(heard, said):
    return recorded(*enumerate([HEADER, heard, ANSWER, said, ClientHalfClose(), OK]))


def test_every_fixture_becomes_a_script_that_prints_and_allows_it(chat_fixtures):
    for session, known in chat_fixtures:
        for descriptors in (None, known):
            script = Script.of(session, descriptors)
            script.check(session)
            names: dict = {}
            exec(script.module("found"), names)
            assert names["found"] == script


@pytest.fixture
def chat_fixtures(request):
    found = []
    for path in sorted(request.config.rootpath.glob("fixtures/**/*.duplex")):
        with Fixture.open(path) as fixture:
            known = Descriptors(fixture.descriptors) if fixture.descriptors else None
            found += [(session, known) for session in fixture.chosen((), ())]
    assert found
    return found


def test_a_script_prints_its_descriptors_where_they_have_a_name():
    script = Script(METHOD, sequence(client(like(is_greeting, HI))), descriptors=chat_pb2)
    assert repr(script) == (
        'Script("/chat.ChatService/Chat", sequence(client(like(tests.schema.test_script.is_greeting, '
        'chat_app.chat_pb2.ChatMessage(sender="Client", message="hi", timestamp=7)))), '
        'descriptors="chat_app.chat_pb2")'
    )


def test_the_client_plays_against_what_the_function_would_answer():
    script = Script(METHOD, turn(HI, reply=shout))
    player = ScriptPlayer(script.prepared(Side.CLIENT), Side.CLIENT)
    assert [type(step.event).__name__ for step in player.next(0).steps] == [
        "ClientHeader",
        "ClientMessage",
        "ClientHalfClose",
    ]
    player.received([row_of(ServerMessage(YO.SerializeToString()))], 1)
    assert player.mismatch is not None
    assert player.mismatch.sentence == (
        "ServerMessage #1 {sender: 'Server', message: 'yo'} is not allowed here: after the client's half-close only "
        '{"sender": "Server", "message": "HI"} may come from the server (message: expected \'HI\', got \'yo\').'
    )


def test_a_session_that_fits_has_no_mismatch():
    assert (
        Script(METHOD, client(b"a")).check(recorded((0, HEADER), (1, ask("a")), (2, ClientHalfClose()), (3, OK)))
        is None
    )
