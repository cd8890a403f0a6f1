import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.json_format import MessageToDict
from grpc_reflection.v1alpha import reflection_pb2

from duplexmock.errors import ProtocolError
from duplexmock.schema import reflection
from duplexmock.schema.reflection import (
    Asking,
    FileNamed,
    Files,
    FileWithSymbol,
    ListServices,
    Refused,
    Services,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from tests.schema.protos import CHAT, KINDS, chat_file, kinds_file


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (ListServices(), {"list_services": "*"}),
        (FileWithSymbol("chat.ChatService"), {"file_containing_symbol": "chat.ChatService"}),
        (FileNamed("chat.proto"), {"file_by_filename": "chat.proto"}),
    ],
)
def test_a_request_is_what_the_published_messages_say(request_, fields):
    payload = write_request(request_)

    published = reflection_pb2.ServerReflectionRequest.FromString(payload)
    assert MessageToDict(published, preserving_proto_field_name=True) == fields
    assert read_request(payload) == request_


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (
            Services(("a.B", "c.D")),
            {"list_services_response": {"service": [{"name": "a.B"}, {"name": "c.D"}]}},
        ),
        (Files((b"one", b"two")), {"file_descriptor_response": {"file_descriptor_proto": ["b25l", "dHdv"]}}),
        (Refused(5, "no such"), {"error_response": {"error_code": 5, "error_message": "no such"}}),
    ],
)
def test_an_answer_is_what_the_published_messages_say(answer, fields):
    payload = write_answer(answer, write_request(FileNamed("x")))

    published = reflection_pb2.ServerReflectionResponse.FromString(payload)
    expected = {"original_request": {"file_by_filename": "x"}} | fields
    assert MessageToDict(published, preserving_proto_field_name=True) == expected
    assert read_answer(payload) == answer


def test_a_request_for_extensions_is_none_that_is_known():
    published = reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="x")
    assert read_request(published.SerializeToString()) is None
    assert read_request(b"") is None


@pytest.mark.parametrize(
    ("read", "payload", "text"),
    [
        (read_request, b"\xff", "not a ServerReflectionRequest"),
        (read_answer, b"\xff", "not a ServerReflectionResponse"),
        (read_answer, b"", "a reflection response without an answer"),
    ],
)
def test_what_is_no_message_is_the_peers_error(read, payload, text):
    with pytest.raises(ProtocolError) as refusal:
        read(payload)
    assert str(refusal.value) == text


class _Server:
    """Answers as a server with these files; `with_imports` sends a file's imports along, as C++ does and Go does."""

    def __init__(self, *files, with_imports=False, services=None):
        self.files = {file.name: file for file in files}
        self.with_imports = with_imports
        self.services = services
        self.asked = []

    def answer(self, payload):
        request = read_request(payload)
        self.asked.append(request)
        return write_answer(self._answer(request), payload)

    def _answer(self, request):
        match request:
            case ListServices():
                named = [f"{file.package}.{service.name}" for file in self.files.values() for service in file.service]
                return Services(tuple(self.services or ("grpc.reflection.v1.ServerReflection", *named)))
            case FileNamed(name) if name in self.files:
                return self._sent(self.files[name])
            case FileWithSymbol(symbol):
                for file in self.files.values():
                    if symbol in [f"{file.package}.{service.name}" for service in file.service]:
                        return self._sent(file)
        return Refused(5, "not found")

    def _sent(self, file):
        sent = [file]
        for one in sent if self.with_imports else ():
            sent += [self.files[name] for name in one.dependency if name in self.files]
        return Files(tuple(one.SerializeToString() for one in sent))


def _asked(server):
    asking = Asking()
    while (request := asking.next()) is not None:
        asking.answered(server.answer(request))
    return asking.descriptors()


def _split():
    """chat.proto in two files, the service in one and its messages in the other."""
    whole = chat_file()
    messages = FileDescriptorProto(name="messages.proto", package="chat", syntax="proto3")
    messages.message_type.extend(whole.message_type)
    service = FileDescriptorProto(name="chat.proto", package="chat", syntax="proto3", dependency=["messages.proto"])
    service.service.extend(whole.service)
    return service, messages


@pytest.mark.parametrize("with_imports", [True, False])
def test_the_files_of_all_services_are_asked_for(with_imports):
    server = _Server(*_split(), kinds_file(), with_imports=with_imports)

    descriptors = _asked(server)

    assert descriptors.input_type(CHAT).full_name == "chat.ChatMessage"
    assert descriptors.input_type(KINDS).full_name == "kinds.Everything"
    files = FileDescriptorSet.FromString(descriptors.serialized).file
    assert sorted(file.name for file in files) == ["chat.proto", "kinds.proto", "messages.proto"]
    assert server.asked == [
        ListServices(),
        FileWithSymbol("chat.ChatService"),
        FileWithSymbol("kinds.Kitchen"),
        *([] if with_imports else [FileNamed("messages.proto")]),
    ]


def test_a_service_that_came_with_another_is_not_asked_for():
    service, messages = _split()
    service.service.add(name="Other")
    server = _Server(service, messages)

    assert _asked(server) is not None
    assert server.asked == [ListServices(), FileWithSymbol("chat.ChatService"), FileNamed("messages.proto")]


def test_what_the_server_does_not_find_is_left_out():
    service, _ = _split()
    descriptors = _asked(_Server(service, kinds_file(), services=("no.Such", "chat.ChatService", "kinds.Kitchen")))

    assert descriptors.input_type(CHAT) is None
    assert descriptors.input_type(KINDS) is not None


def test_of_files_that_contradict_one_another_the_first_is_kept():
    other = chat_file(name="other.proto")
    other.service[0].name = "Other"

    descriptors = _asked(_Server(chat_file(), other, kinds_file()))

    assert descriptors.input_type(CHAT) is not None
    assert descriptors.input_type("/chat.Other/Chat") is None
    assert descriptors.input_type(KINDS) is not None


def test_files_that_import_one_another_are_left_out():
    service, messages = _split()
    messages.dependency.append("chat.proto")

    descriptors = _asked(_Server(service, messages, kinds_file()))

    assert (descriptors.input_type(CHAT), descriptors.input_type(KINDS).full_name) == (None, "kinds.Everything")


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [b"\xff"],
        [b""],
        [write_answer(Refused(12, "no"), b"")],
        [write_answer(Services(()), b"")],
        [write_answer(Services(("grpc.reflection.v1alpha.ServerReflection",)), b"")],
        [write_answer(Services(("a.B",)), b""), b"\xff"],
        [write_answer(Services(("a.B",)), b""), write_answer(Files((b"\xff", b"")), b"")],
    ],
)
def test_answers_that_say_nothing_give_no_descriptors(answers):
    asking = Asking()
    for answer in answers:
        assert asking.next() is not None
        asking.answered(answer)

    assert answers == [] or asking.next() is None
    assert asking.descriptors() is None


def test_what_a_server_sends_is_bounded(monkeypatch):
    files = [FileDescriptorProto(name=f"{number}.proto", syntax="proto3") for number in range(10)]
    serialized = tuple(file.SerializeToString() for file in files)

    def kept():
        asking = Asking()
        asking.next()
        asking.answered(write_answer(Files(serialized), b""))
        return len(asking._files)

    assert kept() == 10
    monkeypatch.setattr(reflection, "MAX_BYTES", 3 * len(serialized[0]))
    assert kept() == 3
    monkeypatch.setattr(reflection, "MAX_FILES", 2)
    assert kept() == 2


def test_a_server_cannot_be_asked_without_end(monkeypatch):
    monkeypatch.setattr(reflection, "MAX_FILES", 5)
    asking, asked = Asking(), 0
    while (payload := asking.next()) is not None:
        asked += 1
        imports = [f"{asked}.{number}.proto" for number in range(3)]
        file = FileDescriptorProto(name=f"{asked}.proto", dependency=imports)
        first = Services(tuple(f"a.S{number}" for number in range(100)))
        asking.answered(write_answer(Files((file.SerializeToString(),)) if asked > 1 else first, payload))

    assert asked <= 1 + 5 + 3 * 5
