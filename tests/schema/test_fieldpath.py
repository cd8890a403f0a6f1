import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from duplexmock.core.events import Side
from duplexmock.errors import ScriptError
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.fieldpath import MetadataPath, MethodPath, TypePath, check, metadata_keys, parse, resolve, routes
from tests.schema.protos import CHAT, KINDS, add_field, chat_file, kinds_file, set_of

DESCRIPTORS = Descriptors(set_of(chat_file(), kinds_file()), "set.pb")
FORMS = "a path is package.Message.field, /package.Service/Method>3.1 or metadata:KEY"
NEEDS_DESCRIPTORS = "names need descriptors; without them, fields are numbers: /package.Service/Method>3.1"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("chat.ChatMessage.timestamp", TypePath(("chat", "ChatMessage", "timestamp"))),
        ("Message.3", TypePath(("Message", 3))),
        (f"{CHAT}>3.1", MethodPath(CHAT, Side.CLIENT, (3, 1))),
        (f"{CHAT}<nested.a_string", MethodPath(CHAT, Side.SERVER, ("nested", "a_string"))),
        ("/a/b/c>536870911", MethodPath("/a/b/c", Side.CLIENT, (536870911,))),
        ("metadata:x-request-id", MetadataPath("x-request-id")),
    ],
)
def test_a_path_is_read_and_written_alike(text, path):
    assert parse(text) == path
    assert str(path) == text


def test_a_metadata_key_is_read_in_lower_case():
    assert parse("metadata:X-Request-Id") == MetadataPath("x-request-id")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", FORMS),
        ("timestamp", FORMS),
        ("3.1", FORMS),
        ("chat..timestamp", "'' is neither a field's name nor its number"),
        ("chat.Message.time-stamp", "'time-stamp' is neither a field's name nor its number"),
        (f"{CHAT}>0", "'0' is neither a field's name nor its number"),
        (f"{CHAT}>536870912", "'536870912' is neither a field's name nor its number"),
        (f"{CHAT}>3>1", "'3>1' is neither a field's name nor its number"),
        ("metadata:", "not a metadata key; they have letters, digits, '-', '_' and '.'"),
        ("metadata::path", "not a metadata key; they have letters, digits, '-', '_' and '.'"),
        ("metadata:grpc-status", "how a call ends is no metadata"),
    ]
    + [
        (
            text,
            "behind the method stands '>' for the client's messages or '<' for the server's, and then the field:"
            " /package.Service/Method>3.1",
        )
        for text in ("/", CHAT, f"{CHAT}>", "/>3", f"{CHAT}.3")
    ],
)
def test_what_is_no_path_gets_one_sentence(text, reason):
    with pytest.raises(ScriptError) as refusal:
        parse(text, "ignore")
    assert str(refusal.value) == f"ignore {text!r}: {reason}"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("chat.ChatMessage.timestamp", (3,)),
        ("kinds.Everything.nested.names", (21, 22)),
        ("kinds.Everything.nested.99", (21, 99)),
        ("kinds.Everything.tags", (25,)),
        ("kinds.Everything.tags.a_string", (25, 2, 14)),
        ("kinds.Everything.tags.tags.this", (25, 2, 25, 2, 27)),
        ("kinds.Everything.TagsEntry.key", (1,)),
        (f"{KINDS}>timestamp.seconds", (30, 1)),
        (f"{KINDS}>25.2.14", (25, 2, 14)),
        (f"{KINDS}>25.1", (25, 1)),
        (f"{KINDS}>99.1", (99, 1)),
        (f"{KINDS}>a_bytes.1", (15, 1)),
        ("/no.Such/Method<7.1", (7, 1)),
    ],
)
def test_a_path_leads_to_numbers(text, numbers):
    check(parse(text), DESCRIPTORS)
    assert resolve(parse(text), DESCRIPTORS).numbers == numbers


def test_a_path_by_numbers_needs_no_descriptors():
    check(parse(f"{CHAT}>3.1"), None)
    check(parse("metadata:x-room"), None)
    assert resolve(parse(f"{CHAT}>3.1"), None).numbers == (3, 1)


def test_only_a_path_that_ends_at_a_map_goes_on_to_its_values():
    found = [
        resolve(parse(f"kinds.Everything.{fields}"), DESCRIPTORS).to_values().numbers
        for fields in ("tags", "flags", "names", "tags.this")
    ]

    assert found == [(25, 2), (26, 2), (22,), (25, 2, 27)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no.Message.field", "'set.pb' has no message that this begins with"),
        (
            "chat.ChatMessage",
            "that is a message; the field stands behind it; it has sender, message, timestamp",
        ),
        ("chat.ChatMessage.time", "chat.ChatMessage has no field 'time'; it has sender, message, timestamp"),
        ("chat.ChatMessage.sender.name", "chat.ChatMessage.sender holds no message that has 'name'"),
        ("chat.ChatMessage.sender.1", "chat.ChatMessage.sender holds no message that has 1"),
        ("kinds.Everything.a_bytes.name", "kinds.Everything.a_bytes holds no message that has 'name'"),
        ("kinds.Everything.flags.name", "no message is known there that has 'name'"),
        ("kinds.Everything.99.name", "no message is known there that has 'name'"),
        ("google.protobuf.Empty.x", "google.protobuf.Empty has no field 'x'; it has none"),
        (
            f"{KINDS}>b",
            "kinds.Everything has no field 'b'; it has a_double, a_float, a_int32, a_int64, a_uint32, a_uint64,"
            " a_sint32, a_sint64, a_fixed32, a_fixed64 and 27 more",
        ),
        ("/no.Such/Method>name", "'set.pb' has no method '/no.Such/Method'"),
    ],
)
def test_a_path_that_leads_nowhere_gets_one_sentence(text, reason):
    with pytest.raises(ScriptError) as refusal:
        check(parse(text), DESCRIPTORS, "ignore")
    assert str(refusal.value) == f"ignore '{text}': {reason}"


@pytest.mark.parametrize("text", ["chat.ChatMessage.timestamp", f"{CHAT}>timestamp"])
def test_names_without_descriptors_get_one_sentence(text):
    with pytest.raises(ScriptError) as refusal:
        check(parse(text), None, "ignore")
    assert str(refusal.value) == f"ignore '{text}': {NEEDS_DESCRIPTORS}"


def test_a_message_in_a_message_is_told_from_a_field():
    file = FileDescriptorProto(name="a.proto", syntax="proto3")
    outer = file.message_type.add(name="Outer")
    add_field(outer.nested_type.add(name="Inner"), "id", 1, "string")
    add_field(outer, "inner", 2, "message", ".Outer.Inner")
    descriptors = Descriptors(set_of(file))

    found = [resolve(parse(text), descriptors) for text in ("Outer.Inner.id", "Outer.inner.id")]

    assert [(route.kind.full_name, route.numbers) for route in found] == [("Outer.Inner", (1,)), ("Outer", (2, 1))]


def test_only_paths_that_lead_somewhere_have_routes():
    paths = [parse(text) for text in ("metadata:x", "no.Message.x", f"{CHAT}>3", "chat.ChatMessage.sender")]

    assert [str(route.path) for route in routes(paths, DESCRIPTORS)] == [f"{CHAT}>3", "chat.ChatMessage.sender"]
    assert [str(route.path) for route in routes(paths, None)] == [f"{CHAT}>3"]
    assert metadata_keys(paths) == {"x"}
