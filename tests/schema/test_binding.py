import pytest
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.schema.binding import Bind, Bindings, check_bind, parse_bind
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import MethodPath, TypePath, parse
from duplexmock.schema.payloads import Payloads
from tests.schema.protos import CHAT, KINDS, chat_file, chat_message, everything, kinds_file, set_of
from tests.wire.talk import examples

DESCRIPTORS = Descriptors(set_of(chat_file(), kinds_file()), "set.pb")
CLIENT, SERVER = Side.CLIENT, Side.SERVER
COOK, COOKED = "/kinds.Kitchen/Cook", "/kinds.Kitchen/Cooked"


def _bindings(*texts, descriptors=DESCRIPTORS):
    return Bindings([parse_bind(text) for text in texts], descriptors)


def _learn(bindings, expected, actual, method=KINDS):
    bindings.received(method, CLIENT, expected.SerializeToString(), actual.SerializeToString())


def _say(bindings, message, method=CHAT):
    return bindings.bound(method, SERVER, message.SerializeToString())


def test_a_bind_is_read_and_written_alike():
    text = f"{CHAT}>1=chat.ChatMessage.sender"

    assert parse_bind(text) == Bind(MethodPath(CHAT, CLIENT, (1,)), TypePath(("chat", "ChatMessage", "sender")))
    assert str(parse_bind(text)) == text
    check_bind(parse_bind(text), DESCRIPTORS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{CHAT}>1", f"bind '{CHAT}>1': not FROM=TO, two field paths"),
        (
            f"{CHAT}>1=metadata:x",
            "bind 'metadata:x': values are bound from and to fields of messages, not metadata",
        ),
        (
            f"id={CHAT}<1",
            "bind 'id': a path is package.Message.field, /package.Service/Method>3.1 or metadata:KEY",
        ),
        (
            f"{CHAT}>1=chat.ChatMessage.id",
            "bind 'chat.ChatMessage.id': chat.ChatMessage has no field 'id'; it has sender, message, timestamp",
        ),
        (f"no.Such.id={CHAT}>1", "bind 'no.Such.id': 'set.pb' has no message that this begins with"),
    ],
)
def test_a_bind_that_makes_no_sense_gets_one_sentence(text, sentence):
    with pytest.raises(ScriptError) as refusal:
        check_bind(parse_bind(text), DESCRIPTORS)
    assert str(refusal.value) == sentence


def test_the_id_that_the_client_chose_comes_back():
    bindings = _bindings(f"{CHAT}>sender={CHAT}<message", f"{CHAT}>3={CHAT}<3")
    _learn(bindings, chat_message("id-1", "Hi", 100), chat_message("a much longer id", "Hi", 1), CHAT)

    assert _say(bindings, chat_message("Server", "id-1", 100)) == (
        chat_message("Server", "a much longer id", 1).SerializeToString()
    )
    assert _say(bindings, chat_message("id-1", "id-2", 101)) == chat_message("id-1", "id-2", 101).SerializeToString()


def test_names_are_not_needed():
    bindings = _bindings(f"{CHAT}>1={CHAT}<2", descriptors=None)
    _learn(bindings, chat_message("id-1", "Hi"), chat_message("x", "Hi"), CHAT)

    assert _say(bindings, chat_message("Server", "id-1")) == chat_message("Server", "x").SerializeToString()


def test_a_value_changes_its_encoding_with_its_field():
    bindings = _bindings(*(f"{KINDS}>a_sint64={CHAT}<{to}" for to in ("timestamp",)), f"{KINDS}>a_bytes={CHAT}<1")
    _learn(bindings, everything(a_sint64=-7, a_bytes=b"ab"), everything(a_sint64=1 << 40, a_bytes=b"cd"))

    assert _say(bindings, chat_message("ab", "", -7)) == chat_message("cd", "", 1 << 40).SerializeToString()


def test_a_value_is_bound_wherever_its_message_is_nested():
    bindings = Bindings([parse_bind(f"{CHAT}>sender=kinds.Everything.a_string")], DESCRIPTORS)
    _learn(bindings, chat_message("old", ""), chat_message("new", ""), CHAT)

    def nested(text):
        inner = everything(a_string=text, names=[text])
        return everything(nested=inner, children=[everything(), inner], tags={"k": inner}).SerializeToString()

    expected = everything()
    expected.MergeFromString(nested("old"))
    for holder in (expected.nested, expected.children[1], expected.tags["k"]):
        holder.a_string = "new"
    said = everything()
    said.MergeFromString(bindings.bound(KINDS, CLIENT, nested("old")))
    assert said == expected


def test_values_of_a_list_are_paired_by_position_and_those_of_a_map_by_key():
    bindings = _bindings(f"{KINDS}>names={CHAT}<1", f"{KINDS}>numbers={CHAT}<3", f"{KINDS}>tags.this={CHAT}<1")
    _learn(
        bindings,
        everything(names=["a", "b"], numbers=[1, 2], tags={"x": everything(this="c"), "y": everything(this="d")}),
        everything(names=["A"], numbers=[10, 20, 30], tags={"z": everything(this="?"), "y": everything(this="D")}),
    )

    said = [_say(bindings, chat_message(sender, "", at)) for sender, at in (("a", 1), ("b", 2), ("c", 3), ("d", 4))]

    expected = (("A", 10), ("b", 20), ("c", 3), ("D", 4))
    assert said == [chat_message(sender, "", at).SerializeToString() for sender, at in expected]


def test_values_of_a_map_and_of_a_list_are_bound():
    bindings = _bindings(f"{KINDS}>a_int64={KINDS}<flags", f"{KINDS}>a_int64=kinds.Everything.numbers")
    _learn(bindings, everything(a_int64=7), everything(a_int64=700))

    said = everything()
    said.MergeFromString(bindings.bound(KINDS, CLIENT, everything(numbers=[6, 7, 8, 7]).SerializeToString()))
    assert list(said.numbers) == [6, 700, 8, 700]


def test_a_value_that_does_not_fit_stays_as_recorded():
    bindings = _bindings(f"{KINDS}>a_int64={COOK}>a_int32")
    _learn(bindings, everything(a_int64=7), everything(a_int64=1 << 40))

    payload = everything(a_int32=7).SerializeToString()
    assert bindings.bound(COOK, CLIENT, payload) is payload


def test_a_number_is_not_taken_for_another_kind_of_number():
    bindings = _bindings(f"{KINDS}>a_double={CHAT}<3")
    _learn(bindings, everything(a_double=7), everything(a_double=8))

    payload = chat_message("", "", 7).SerializeToString()
    assert bindings.bound(CHAT, SERVER, payload) is payload


def test_binds_to_one_place_do_not_feed_each_other():
    bindings = _bindings(f"{CHAT}>1={CHAT}<2", f"{CHAT}>2={CHAT}<2")
    _learn(bindings, chat_message("a", "b"), chat_message("b", "c"), CHAT)

    assert [_say(bindings, chat_message("", text)) for text in "ab"] == [
        chat_message("", text).SerializeToString() for text in "bc"
    ]


def test_a_value_crosses_calls_but_a_call_believes_itself_first():
    play = _bindings(f"{CHAT}>1={CHAT}<1")
    one, other, third = play.of_call(), play.of_call(), play.of_call()
    one.share()
    other.share()
    _learn(one, chat_message("id", ""), chat_message("one", ""), CHAT)
    _learn(other, chat_message("id", ""), chat_message("other", ""), CHAT)

    said = [_say(bindings, chat_message("id", "")) for bindings in (one, other, third, play)]

    assert said == [chat_message(text, "").SerializeToString() for text in ("one", "other", "other", "other")]


def test_what_a_call_learns_is_its_own_until_it_is_shared():
    play = _bindings(f"{CHAT}>1={CHAT}<1")
    one, other = play.of_call(), play.of_call()
    payload = chat_message("id", "").SerializeToString()
    _learn(one, chat_message("id", ""), chat_message("one", ""), CHAT)
    assert _say(one, chat_message("id", "")) == chat_message("one", "").SerializeToString()
    assert other.bound(CHAT, SERVER, payload) is payload

    one.share()
    _learn(one, chat_message("more", ""), chat_message("two", ""), CHAT)

    said = [_say(bindings, chat_message(text, "")) for bindings in (other, play) for text in ("id", "more")]
    assert said == [chat_message(text, "").SerializeToString() for text in ("one", "two", "one", "two")]


def test_what_is_withdrawn_is_as_it_was_before():
    play = _bindings(f"{CHAT}>1={CHAT}<1")
    first, wrong = play.of_call(), play.of_call()

    def said():
        return [_say(play, chat_message(text, "")) for text in ("id", "more")]

    def messages(*texts):
        return [chat_message(text, "").SerializeToString() for text in texts]

    first.share()
    _learn(first, chat_message("id", ""), chat_message("one", ""), CHAT)
    _learn(wrong, chat_message("id", ""), chat_message("two", ""), CHAT)
    wrong.share()
    _learn(wrong, chat_message("id", ""), chat_message("three", ""), CHAT)
    _learn(wrong, chat_message("more", ""), chat_message("four", ""), CHAT)
    assert said() == messages("three", "four")

    wrong.withdraw()
    assert said() == messages("one", "more")
    wrong.share()
    assert said() == messages("three", "four")
    _learn(first, chat_message("id", ""), chat_message("five", ""), CHAT)
    wrong.withdraw()
    wrong.withdraw()
    assert said() == messages("five", "more")


def test_a_value_that_came_as_recorded_overrides_what_another_call_said():
    play = _bindings(f"{CHAT}>1={CHAT}<1")
    one = play.of_call()
    one.share()
    _learn(one, chat_message("id", ""), chat_message("one", ""), CHAT)
    same = play.of_call()
    _learn(same, chat_message("id", ""), chat_message("id", ""), CHAT)

    payload = chat_message("id", "").SerializeToString()
    assert same.bound(CHAT, SERVER, payload) is payload


def test_what_is_not_concerned_is_told_cheaply():
    bindings = _bindings(f"{CHAT}>1={CHAT}<1", f"kinds.Everything.names={COOK}>names")
    payload = chat_message("id", "").SerializeToString()

    def told(asked):
        return [asked(method, side) for method in (CHAT, KINDS, COOKED) for side in Side]

    assert told(bindings.learns) == [True, False, True, False, False, False]
    assert told(bindings.concerns) == [False, True, True, False, False, False]
    assert not Bindings().concerns(CHAT, SERVER)
    assert bindings.of_call().concerns(CHAT, SERVER)
    assert bindings.bound(CHAT, CLIENT, payload) is payload
    assert bindings.bound(CHAT, SERVER, payload) is payload


def test_where_values_are_learned_is_not_compared():
    bindings = _bindings(f"{CHAT}>1={CHAT}<1", f"{CHAT}>1={CHAT}<2")
    payloads = Payloads(DESCRIPTORS, bindings.ignored)

    assert bindings.ignored == (parse(f"{CHAT}>1"),)
    pair = [chat_message(sender, "Hi").SerializeToString() for sender in ("a", "b")]
    assert list(payloads.differences(CHAT, CLIENT, *pair)) == []


def test_what_is_tried_is_bound_and_compared():
    tried = Bindings([], DESCRIPTORS, [parse_bind(f"{CHAT}>1={CHAT}<1")])
    recorded, came = (chat_message(sender, "Hi").SerializeToString() for sender in ("a", "b"))

    assert tried.ignored == ()
    tried.received(CHAT, CLIENT, recorded, came)
    assert tried.bound(CHAT, SERVER, recorded) == came


@examples(100)
@given(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.text(min_size=1, max_size=200),
    st.text(max_size=200),
)
def test_a_bound_message_is_the_one_with_the_actual_values(old_number, new_number, old_text, new_text):
    bindings = _bindings(f"{KINDS}>a_sfixed64={KINDS}>children.a_int64", f"{KINDS}>a_string={KINDS}>children.tags.this")
    _learn(
        bindings,
        everything(a_sfixed64=old_number, a_string=old_text),
        everything(a_sfixed64=new_number, a_string=new_text),
    )

    def shaped(number, text):
        inner = everything(a_int64=number, tags={"k": everything(this=text), "": everything(that=1)})
        return everything(children=[inner, everything(), inner], a_string=old_text, a_int64=old_number)

    said = everything()
    said.MergeFromString(bindings.bound(KINDS, CLIENT, shaped(old_number, old_text).SerializeToString()))
    # A zero that is not on the wire is not there to be replaced; one that no bytes say was not learned either.
    kept = old_number == 0 or new_number == 0
    kept_text = new_text == ""
    assert said == shaped(old_number if kept else new_number, old_text if kept_text else new_text)
