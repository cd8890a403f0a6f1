from google.protobuf.descriptor_pb2 import FileDescriptorProto

from duplexmock.core.events import Side
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import parse, routes
from duplexmock.schema.selection import Selection
from tests.schema.protos import CHAT, KINDS, add_field, chat_file, kinds_file, set_of

DESCRIPTORS = Descriptors(set_of(chat_file(), kinds_file()))


def _selection(*paths, descriptors=DESCRIPTORS):
    return Selection(routes([parse(path) for path in paths], descriptors), descriptors)


def test_a_path_of_a_method_is_selected_there_and_nowhere_else():
    selection = _selection(f"{CHAT}>3.1", descriptors=None)

    spot = selection.of(CHAT, Side.CLIENT)
    assert (spot.selected, sorted(spot.into)) == ({}, [3])
    assert spot.into[3].selected == {1: None}
    assert selection.of(CHAT, Side.SERVER) is None
    assert selection.of(KINDS, Side.CLIENT) is None


def test_a_type_that_holds_itself_leads_back_to_its_own_spot():
    spot = _selection("kinds.Everything.a_string").of(KINDS, Side.CLIENT)

    assert list(spot.selected) == [14]
    assert spot.into[21] is spot
    assert spot.into[24] is spot
    assert spot.into[25].into[2] is spot
    assert spot.maps == {25, 26}


def test_only_what_leads_somewhere_is_looked_into():
    assert sorted(_selection("kinds.Everything.a_string").of(KINDS, Side.CLIENT).into) == [21, 24, 25, 32]
    assert sorted(_selection(f"{KINDS}>nested.this").of(KINDS, Side.CLIENT).into) == [21]
    assert _selection("kinds.Everything.a_string").of(KINDS, Side.SERVER) is None
    assert _selection("kinds.Everything.a_string").of("/no.Such/Method", Side.CLIENT) is None
    assert _selection().of(KINDS, Side.CLIENT) is None


def test_an_any_leads_to_the_message_it_names():
    in_any = _selection("chat.ChatMessage.timestamp").of(KINDS, Side.CLIENT).into[32]

    assert list(in_any.packed("type.googleapis.com/chat.ChatMessage").selected) == [3]
    assert in_any.packed("type.googleapis.com/chat.Ack") is None
    assert in_any.packed("type.googleapis.com/no.Such") is None


def test_a_long_chain_of_types_is_followed():
    file = FileDescriptorProto(name="chain.proto", syntax="proto3")
    for number in range(3000):
        add_field(file.message_type.add(name=f"M{number}"), "next", 1, "message", f".M{number + 1}")
    add_field(file.message_type.add(name="M3000"), "id", 1, "string")
    file.service.add(name="S").method.add(name="Call", input_type=".M0", output_type=".M0")

    spot = _selection("M3000.id", descriptors=Descriptors(set_of(file))).of("/S/Call", Side.CLIENT)

    for _ in range(3000):
        spot = spot.into[1]
    assert list(spot.selected) == [1]
