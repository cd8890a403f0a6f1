"""Descriptor sets for the tests, built in code: chat.proto, and kinds.proto with a field of every kind."""

from functools import cache
from importlib import import_module

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

CHAT = "/chat.ChatService/Chat"
KINDS = "/kinds.Kitchen/Cook"


def chat_file(name="chat.proto", reply="ChatMessage"):
    file = FileDescriptorProto(name=name, package="chat", syntax="proto3")
    message = file.message_type.add(name="ChatMessage")
    add_field(message, "sender", 1, "string")
    add_field(message, "message", 2, "string")
    add_field(message, "timestamp", 3, "int64")
    add_field(file.message_type.add(name="Ack"), "of", 1, "string")
    service = file.service.add(name="ChatService")
    service.method.add(
        name="Chat",
        input_type=".chat.ChatMessage",
        output_type=f".chat.{reply}",
        client_streaming=True,
        server_streaming=True,
    )
    return file


def kinds_file():
    file = FileDescriptorProto(name="kinds.proto", package="kinds", syntax="proto3")
    for name in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"):
        file.dependency.append(f"google/protobuf/{name}.proto")
    colour = file.enum_type.add(name="Colour")
    for number, name in enumerate(("UNSPECIFIED", "RED", "GREEN")):
        colour.value.add(name=name, number=number)
    message = file.message_type.add(name="Everything")
    scalars = ("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64")
    scalars += ("fixed32", "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes")
    for number, name in enumerate(scalars, start=1):
        add_field(message, f"a_{name}", number, name)
    add_field(message, "colour", 20, "enum", ".kinds.Colour")
    add_field(message, "nested", 21, "message", ".kinds.Everything")
    add_field(message, "names", 22, "string", repeated=True)
    add_field(message, "numbers", 23, "int32", repeated=True)
    add_field(message, "children", 24, "message", ".kinds.Everything", repeated=True)
    entry = message.nested_type.add(name="TagsEntry")
    entry.options.map_entry = True
    add_field(entry, "key", 1, "string")
    add_field(entry, "value", 2, "message", ".kinds.Everything")
    add_field(message, "tags", 25, "message", ".kinds.Everything.TagsEntry", repeated=True)
    entry = message.nested_type.add(name="FlagsEntry")
    entry.options.map_entry = True
    add_field(entry, "key", 1, "bool")
    add_field(entry, "value", 2, "int64")
    add_field(message, "flags", 26, "message", ".kinds.Everything.FlagsEntry", repeated=True)
    message.oneof_decl.add(name="choice")
    add_field(message, "this", 27, "string").oneof_index = 0
    add_field(message, "that", 28, "int32").oneof_index = 0
    for number, name in enumerate(
        ("Timestamp", "Duration", "Any", "Struct", "Value", "ListValue", "FieldMask", "Empty"), start=30
    ):
        add_field(message, name.lower(), number, "message", f".google.protobuf.{name}")
    for number, name in enumerate(("String", "Int64", "Bool", "Bytes", "Float"), start=40):
        add_field(message, f"{name.lower()}_value", number, "message", f".google.protobuf.{name}Value")
    service = file.service.add(name="Kitchen")
    service.method.add(name="Cook", input_type=".kinds.Everything", output_type=".google.protobuf.Empty")
    return file


def add_field(message, name, number, kind, type_name="", repeated=False):
    field = message.field.add(name=name, number=number, json_name=name)
    field.type = getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}")
    field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    if type_name:
        field.type_name = type_name
    return field


def set_of(*files):
    return FileDescriptorSet(file=files).SerializeToString()


@cache
def _class(name):
    """The class that the tests write messages with, from a pool that the code under test does not know."""
    pool = DescriptorPool()
    for dependency in kinds_file().dependency:
        module = import_module(dependency.removesuffix(".proto").replace("/", ".") + "_pb2")
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in (chat_file(), kinds_file()):
        pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(name))


def chat_message(sender, message, timestamp=1795348800):
    return _class("chat.ChatMessage")(sender=sender, message=message, timestamp=timestamp)


def everything(**fields):
    """A kinds.Everything; a message of another pool is taken for what it says."""
    message = _class("kinds.Everything")()
    for name, value in fields.items():
        if isinstance(value, Message) and not isinstance(value, _class("kinds.Everything")):
            getattr(message, name).SetInParent()
            getattr(message, name).MergeFromString(value.SerializeToString())
        else:
            message.MergeFrom(_class("kinds.Everything")(**{name: value}))
    return message
