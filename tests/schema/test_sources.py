import importlib.util
import sys
from types import ModuleType

import pytest
from chat_app import chat_pb2, chat_pb2_grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from duplexmock.errors import ScriptError
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.sources import compiled, load, of_modules
from tests.schema.protos import CHAT, KINDS, chat_file, kinds_file, set_of

PROTO = """
syntax = "proto3";
package chat;
import "google/protobuf/timestamp.proto";
import "parts/message.proto";
message Sent { google.protobuf.Timestamp at = 1; }
service ChatService { rpc Chat(stream parts.Message) returns (stream Sent); }
"""
MESSAGE = 'syntax = "proto3"; package parts; message Message { string text = 1; }'

needs_grpcio_tools = pytest.mark.skipif(importlib.util.find_spec("grpc_tools") is None, reason="no grpcio-tools")


def _names(descriptors):
    return [file.name for file in FileDescriptorSet.FromString(descriptors.serialized).file]


@pytest.fixture
def protos(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "message.proto").write_text(MESSAGE)
    (tmp_path / "chat.proto").write_text(PROTO)
    return tmp_path


def test_a_generated_module_has_its_descriptors():
    descriptors = of_modules([chat_pb2])

    assert descriptors.input_type(CHAT).full_name == "chat.ChatMessage"
    assert descriptors.name == "chat_app.chat_pb2"
    assert load("chat_app.chat_pb2").serialized == descriptors.serialized


def test_a_module_of_stubs_stands_for_the_messages_it_imports():
    assert of_modules([chat_pb2_grpc]).serialized == of_modules([chat_pb2]).serialized
    assert load("chat_app.chat_pb2_grpc").serialized == of_modules([chat_pb2]).serialized


def test_what_a_module_imports_comes_with_it():
    pool = DescriptorPool()
    for dependency in kinds_file().dependency:
        pool.AddSerializedFile(
            importlib.import_module(dependency[:-6].replace("/", ".") + "_pb2").DESCRIPTOR.serialized_pb
        )
    pool.AddSerializedFile(kinds_file().SerializeToString())
    module = ModuleType("kinds_pb2")
    module.DESCRIPTOR = pool.FindFileByName("kinds.proto")

    descriptors = of_modules([module, chat_pb2])

    assert descriptors.input_type(KINDS).full_name == "kinds.Everything"
    assert descriptors.input_type(CHAT).full_name == "chat.ChatMessage"
    assert "google/protobuf/timestamp.proto" in _names(descriptors)


def test_something_in_a_module_that_knows_its_file_will_do(monkeypatch):
    module = ModuleType("my_protos")
    module.pb2, module.MESSAGE, module.FILE = chat_pb2, chat_pb2.ChatMessage, chat_pb2.DESCRIPTOR
    module.SET = of_modules([chat_pb2])
    monkeypatch.setitem(sys.modules, "my_protos", module)

    for name in ("pb2", "MESSAGE", "FILE", "SET", "pb2.ChatMessage"):
        assert load(f"my_protos:{name}").serialized == of_modules([chat_pb2]).serialized


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("no_such_pb2", "cannot be imported: No module named 'no_such_pb2'; is its folder on PYTHONPATH?"),
        ("chat_app.chat_pb2:Nobody", "the module has no 'Nobody'"),
        ("json:decoder", "neither a generated module nor anything else that knows its .proto file"),
        ("json:dumps", "neither a generated module nor anything else that knows its .proto file"),
    ],
)
def test_a_module_that_knows_no_descriptors_gets_one_sentence(source, sentence):
    with pytest.raises(ScriptError) as refusal:
        load(source)
    assert str(refusal.value) == f"{source!r}: {sentence}"


def test_a_module_that_fails_gets_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "broken_pb2.py").write_text("raise RuntimeError('of protobuf\\n  6')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ScriptError) as refusal:
        load("broken_pb2")

    assert str(refusal.value) == ("'broken_pb2': cannot be imported: of protobuf 6; is its folder on PYTHONPATH?")


def test_two_modules_that_contradict_one_another_get_one_sentence():
    pool = DescriptorPool()
    pool.AddSerializedFile(chat_file(name=chat_pb2.DESCRIPTOR.name).SerializeToString())
    module = ModuleType("other_pb2")
    module.DESCRIPTOR = pool.FindFileByName(chat_pb2.DESCRIPTOR.name)

    with pytest.raises(ScriptError) as refusal:
        of_modules([chat_pb2, module])

    name = chat_pb2.DESCRIPTOR.name
    assert str(refusal.value) == f"'other_pb2': another module has a different {name!r}"


def test_a_descriptor_set_is_read(tmp_path, monkeypatch):
    path = tmp_path / "set.pb"
    path.write_bytes(set_of(chat_file()))
    monkeypatch.chdir(tmp_path)

    assert load(str(path)).serialized == load("set.pb").serialized == Descriptors(set_of(chat_file())).serialized
    (tmp_path / "set_pb2").write_bytes(set_of(chat_file()))
    assert load("set_pb2").input_type(CHAT) is not None  # a file of this name is there


def test_what_is_nothing_of_all_is_taken_for_a_set_that_is_not_there():
    with pytest.raises(ScriptError) as refusal:
        load("no.pb")
    assert str(refusal.value) == "'no.pb': the descriptor set cannot be read: No such file or directory"


@needs_grpcio_tools
def test_a_proto_file_is_compiled_with_its_imports(protos):
    descriptors = load(str(protos / "chat.proto"))

    assert descriptors.input_type(CHAT).full_name == "parts.Message"
    assert sorted(_names(descriptors)) == ["chat.proto", "google/protobuf/timestamp.proto", "parts/message.proto"]
    assert descriptors.name == str(protos / "chat.proto")


@needs_grpcio_tools
def test_imports_are_looked_for_in_the_given_folders(protos, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (protos / "chat.proto").rename(elsewhere / "chat.proto")

    assert compiled([elsewhere / "chat.proto"], include=[elsewhere, protos]).input_type(CHAT) is not None
    with pytest.raises(ScriptError) as refusal:
        compiled([elsewhere / "chat.proto"])
    path = elsewhere / "chat.proto"
    assert str(refusal.value) == (
        f"'{path}': parts/message.proto: File not found.;"
        f' chat.proto:5:1: Import "parts/message.proto" was not found or had errors.;'
        f' chat.proto:7:39: "parts.Message" is not defined.'
    )


@needs_grpcio_tools
def test_a_proto_file_that_is_wrong_gets_one_sentence(tmp_path):
    path = tmp_path / "bad.proto"
    path.write_text('syntax = "proto3";\nmessage { }\n')

    with pytest.raises(ScriptError) as refusal:
        load(str(path))

    assert str(refusal.value) == f"'{path}': bad.proto:2:9: Expected message name."


def test_a_proto_file_that_is_not_there_gets_one_sentence(tmp_path):
    with pytest.raises(ScriptError) as refusal:
        load(f"{tmp_path}/no.proto")
    assert str(refusal.value) == f"'{tmp_path}/no.proto': there is no such file"


def test_without_grpcio_tools_one_sentence_says_what_to_install(protos, monkeypatch):
    monkeypatch.setattr("duplexmock.schema.sources.find_spec", lambda name: None)

    with pytest.raises(ScriptError) as refusal:
        load(str(protos / "chat.proto"))

    assert str(refusal.value) == f"'{protos}/chat.proto': to read .proto files: pip install 'duplexmock[proto]'"
