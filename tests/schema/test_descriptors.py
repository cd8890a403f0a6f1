from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.schema.descriptors import Descriptors
from tests.schema.protos import CHAT, KINDS, add_field, chat_file, kinds_file, set_of

HOW = "make it with: protoc --include_imports --descriptor_set_out=set.pb FILE.proto"


def _importing(name, *imports):
    return FileDescriptorProto(name=name, syntax="proto3", dependency=imports)


def test_a_method_has_the_types_of_both_sides():
    descriptors = Descriptors(set_of(chat_file(reply="Ack")))

    assert descriptors.input_type(CHAT).full_name == "chat.ChatMessage"
    assert descriptors.output_type(CHAT).full_name == "chat.Ack"
    assert descriptors.type_sent(CHAT, Side.CLIENT) is descriptors.input_type(CHAT)
    assert descriptors.type_sent(CHAT, Side.SERVER) is descriptors.output_type(CHAT)


@pytest.mark.parametrize(
    "method", ["/chat.ChatService/Talk", "/chat.Other/Chat", "/chat.ChatService", "", "/", "a/b/c", "/\0/\udcff"]
)
def test_what_the_set_does_not_hold_has_no_type(method):
    descriptors = Descriptors(set_of(chat_file()))

    assert descriptors.input_type(method) is None
    assert descriptors.output_type(method) is None


def test_two_sets_with_a_chat_proto_each_do_not_meet():
    one = Descriptors(set_of(chat_file()))
    other = Descriptors(set_of(chat_file(reply="Ack")))

    assert (one.output_type(CHAT).full_name, other.output_type(CHAT).full_name) == ("chat.ChatMessage", "chat.Ack")


def test_files_may_stand_in_any_order_and_more_than_once():
    top, middle, bottom = _importing("top.proto", "middle.proto"), _importing("middle.proto", "chat.proto"), chat_file()

    descriptors = Descriptors(set_of(top, middle, bottom, middle, top))

    assert descriptors.input_type(CHAT) is not None
    names = [file.name for file in FileDescriptorSet.FromString(descriptors.serialized).file]
    assert names == ["top.proto", "middle.proto", "chat.proto"]


def test_files_of_protobuf_itself_are_supplied():
    assert Descriptors(set_of(kinds_file())).output_type(KINDS).full_name == "google.protobuf.Empty"


def test_files_of_protobuf_itself_are_the_installed_ones():
    forged = FileDescriptorProto(name="google/protobuf/timestamp.proto", package="google.protobuf", syntax="proto3")
    add_field(forged.message_type.add(name="Timestamp"), "seconds", 1, "string")

    everything = Descriptors(set_of(forged, kinds_file())).input_type(KINDS)

    timestamp = everything.fields_by_name["timestamp"].message_type
    assert [field.name for field in timestamp.fields] == ["seconds", "nanos"]


def test_a_long_chain_of_imports_is_followed():
    chain = [_importing(f"{number}.proto", f"{number + 1}.proto") for number in range(2000)]

    Descriptors(set_of(*chain, _importing("2000.proto")))


def test_a_set_comes_back_as_it_went_in(tmp_path):
    path = tmp_path / "set.pb"
    path.write_bytes(set_of(chat_file()))

    assert Descriptors.read(path).serialized == path.read_bytes()


def test_merged_sets_know_the_methods_of_both():
    both = Descriptors(set_of(chat_file()), "one.pb").merge(Descriptors(set_of(kinds_file(), chat_file()), "two.pb"))

    assert both.input_type(CHAT).full_name == "chat.ChatMessage"
    assert both.input_type(KINDS).full_name == "kinds.Everything"


def test_sets_that_contradict_one_another_are_not_merged():
    one = Descriptors(set_of(chat_file()), "one.pb")

    with pytest.raises(ScriptError) as same_name:
        one.merge(Descriptors(set_of(chat_file(reply="Ack")), "two.pb"))
    with pytest.raises(ScriptError) as same_type:
        one.merge(Descriptors(set_of(chat_file(name="app/chat.proto")), "two.pb"))

    assert str(same_name.value) == "'one.pb and two.pb' holds two different files named 'chat.proto'"
    assert str(same_type.value).startswith("'one.pb and two.pb': protobuf does not accept 'app/chat.proto': ")


@pytest.mark.parametrize(
    ("serialized", "text"),
    [
        (b'syntax = "proto3";', f"'set.pb' is not a descriptor set; {HOW}"),
        (b"\x0a\x00", f"'set.pb' is not a descriptor set; {HOW}"),
        (b"", f"'set.pb' holds no files; {HOW}"),
        (
            set_of(_importing("a.proto", "b.proto")),
            f"'set.pb': 'a.proto' imports 'b.proto', which is missing; {HOW}",
        ),
        (
            set_of(_importing("a.proto", "b.proto"), _importing("b.proto", "a.proto")),
            "'set.pb': 'a.proto' imports itself, over 2 file(s)",
        ),
    ],
)
def test_bad_bytes_get_one_sentence(serialized, text):
    with pytest.raises(ScriptError) as refusal:
        Descriptors(serialized, "set.pb")
    assert str(refusal.value) == text


def test_a_file_that_protobuf_refuses_gets_one_sentence():
    file = chat_file()
    file.message_type[0].field[0].number = 2

    with pytest.raises(ScriptError) as refusal:
        Descriptors(set_of(file), "set.pb")

    text = str(refusal.value)
    assert text.startswith("'set.pb': protobuf does not accept 'chat.proto': ")
    assert "\n" not in text


def test_a_file_that_cannot_be_read_gets_one_sentence(tmp_path):
    with pytest.raises(ScriptError) as absent:
        Descriptors.read(tmp_path / "no.pb")
    with pytest.raises(ScriptError) as folder:
        Descriptors.read(Path("/"))

    assert str(absent.value) == f"'{tmp_path}/no.pb': the descriptor set cannot be read: No such file or directory"
    assert str(folder.value) == "'/': the descriptor set cannot be read: Is a directory"


def test_a_set_cut_anywhere_but_between_files_is_refused_in_one_sentence():
    first, whole = set_of(chat_file()), set_of(chat_file(), kinds_file())

    def outcome(end):
        try:
            return Descriptors(whole[:end], "set.pb").input_type(CHAT).full_name
        except ScriptError as refusal:
            return str(refusal)

    outcomes = {end: outcome(end) for end in range(len(whole) + 1)}

    assert {end for end, text in outcomes.items() if text == "chat.ChatMessage"} == {len(first), len(whole)}
    assert {text for end, text in outcomes.items() if end not in (len(first), len(whole))} == {
        f"'set.pb' holds no files; {HOW}",
        f"'set.pb' is not a descriptor set; {HOW}",
    }
