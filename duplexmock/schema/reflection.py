"""Server reflection: its messages, and the asking of a server for the descriptors of all its services. Pure.

    asking = Asking()
    while (request := asking.next()) is not None:
        asking.answered(what the server sends for request)
    descriptors = asking.descriptors()

The messages are those of grpc/reflection/v1/reflection.proto, which v1alpha has too, under another name; they are built
from descriptors as values, so that no generated code of the same file can collide with them. What a server answers is
bounded, and whatever it answers is no error: what cannot be read or does not fit is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from duplexmock.errors import ProtocolError
from duplexmock.schema.descriptors import PROTOBUFS_OWN, Descriptors, fitting

METHODS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
"""The two names of the service, in the order in which they are asked for."""

MAX_FILES = 10_000
"""The most files that are taken from one server; the largest known sets of public APIs have some 6,000."""

MAX_BYTES = 64 * 1024 * 1024
"""The most that these files are together; they go into every fixture."""


@dataclass(frozen=True, slots=True)
class ListServices:
    """Asks for the names of all services."""


@dataclass(frozen=True, slots=True)
class FileWithSymbol:
    """Asks for the file that defines a service, a message or another full name."""

    symbol: str


@dataclass(frozen=True, slots=True)
class FileNamed:
    """Asks for a file by its name, as imports have it."""

    name: str


@dataclass(frozen=True, slots=True)
class Services:
    """Answers ListServices."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Answers with serialized FileDescriptorProtos: the one that was asked for, and any of those that it imports."""

    serialized: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Answers with a gRPC status code, NOT_FOUND for instance, and why."""

    code: int
    message: str


Request = ListServices | FileWithSymbol | FileNamed
Answer = Services | Files | Refused


def write_request(request: Request) -> bytes:
    """Write a ServerReflectionRequest."""
    match request:
        case ListServices():
            return _new("ServerReflectionRequest", list_services="*")
        case FileWithSymbol(symbol):
            return _new("ServerReflectionRequest", file_containing_symbol=symbol)
        case FileNamed(name):
            return _new("ServerReflectionRequest", file_by_filename=name)
        case _:
            raise TypeError(f"{request!r} is no request")


def read_request(payload: bytes) -> Request | None:
    """Read a ServerReflectionRequest; None where it asks for extensions or nothing, ProtocolError where it is none."""
    request = _parsed("ServerReflectionRequest", payload)
    match request.WhichOneof("message_request"):
        case "list_services":
            return ListServices()
        case "file_containing_symbol":
            return FileWithSymbol(request.file_containing_symbol)
        case "file_by_filename":
            return FileNamed(request.file_by_filename)
        case _:
            return None


def write_answer(answer: Answer, request: bytes) -> bytes:
    """Write a ServerReflectionResponse to a serialized request, which it repeats."""
    match answer:
        case Services(names):
            body: dict[str, object] = {"list_services_response": {"service": [{"name": name} for name in names]}}
        case Files(serialized):
            body = {"file_descriptor_response": {"file_descriptor_proto": serialized}}
        case Refused(code, message):
            body = {"error_response": {"error_code": code, "error_message": message}}
        case _:
            raise TypeError(f"{answer!r} is no answer")
    original = _parsed("ServerReflectionRequest", request)
    return _new("ServerReflectionResponse", original_request=original, **body)


def read_answer(payload: bytes) -> Answer:
    """Read a ServerReflectionResponse; ProtocolError where it is none, or has none of these answers."""
    response = _parsed("ServerReflectionResponse", payload)
    match response.WhichOneof("message_response"):
        case "list_services_response":
            return Services(tuple(service.name for service in response.list_services_response.service))
        case "file_descriptor_response":
            return Files(tuple(response.file_descriptor_response.file_descriptor_proto))
        case "error_response":
            return Refused(response.error_response.error_code, response.error_response.error_message)
        case _:
            raise ProtocolError("a reflection response without an answer")


class Asking:
    """Asks for the services, for the file of each, and for the imports that did not come with them.

    One request at a time: `next` says it, `answered` takes the response.
    """

    def __init__(self) -> None:
        self._files: dict[str, FileDescriptorProto] = {}
        self._services: set[str] = set()
        self._bytes = 0
        self._todo: deque[Request] = deque((ListServices(),))
        self._asked: set[Request] = set()

    def next(self) -> bytes | None:
        """Return the next request; None when there is nothing more to ask."""
        while self._todo:
            request = self._todo.popleft()
            if request not in self._asked and not self._has(request):
                self._asked.add(request)
                return write_request(request)
        return None

    def answered(self, payload: bytes) -> None:
        """Take the response to the last request."""
        try:
            answer = read_answer(payload)
        except ProtocolError:
            return
        match answer:
            case Services(names):
                self._todo += [
                    FileWithSymbol(name) for name in names[:MAX_FILES] if not name.startswith("grpc.reflection.")
                ]
            case Files(serialized):
                for file in serialized:
                    self._take(file)
            case Refused():
                pass

    def descriptors(self) -> Descriptors | None:
        """Return the files that came with all they import and fit together; None where there are none."""
        return fitting(self._files.values(), "server reflection")

    def _take(self, serialized: bytes) -> None:
        try:
            file = FileDescriptorProto.FromString(serialized)
        except DecodeError:
            return
        is_too_much = len(self._files) >= MAX_FILES or self._bytes + len(serialized) > MAX_BYTES
        if not file.name or file.name in self._files or is_too_much:
            return
        self._files[file.name] = file
        self._services.update(f"{file.package}.{service.name}".lstrip(".") for service in file.service)
        self._bytes += len(serialized)
        self._todo += [FileNamed(name) for name in file.dependency if name not in PROTOBUFS_OWN]

    def _has(self, request: Request) -> bool:
        match request:
            case FileNamed(name):
                return name in self._files
            case FileWithSymbol(symbol):
                return symbol in self._services
            case _:
                return False


# The messages have the fields that their descriptors below say.
def _parsed(name: str, payload: bytes) -> Any:
    try:
        return _classes()[name].FromString(payload)
    except DecodeError as exc:
        raise ProtocolError(f"not a {name}") from exc


def _new(name: str, **fields: object) -> bytes:
    return _classes()[name](**fields).SerializeToString()


@cache
def _classes() -> Mapping[str, type[Message]]:
    pool = DescriptorPool()
    pool.AddSerializedFile(described(METHODS[0]).SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"grpc.reflection.v1.{name}")) for name in _MESSAGES}


def described(method: str) -> FileDescriptorProto:
    """Return the file that describes the service of one of METHODS."""
    service, _, name = method.removeprefix("/").partition("/")
    package = service.rpartition(".")[0]
    file = FileDescriptorProto(name=f"{package.replace('.', '/')}/reflection.proto", package=package, syntax="proto3")
    file.service.add(name=service.rpartition(".")[2]).method.add(
        name=name,
        input_type=f".{package}.ServerReflectionRequest",
        output_type=f".{package}.ServerReflectionResponse",
        client_streaming=True,
        server_streaming=True,
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        oneofs: list[str] = []
        for number, (name, kind, where) in fields.items():
            field = described.field.add(name=name, number=number)
            field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}" if kind.islower() else "TYPE_MESSAGE")
            if not kind.islower():
                field.type_name = f".{package}.{kind}"
            is_repeated = where == "repeated"
            field.label = FieldDescriptorProto.LABEL_REPEATED if is_repeated else FieldDescriptorProto.LABEL_OPTIONAL
            if where and not is_repeated:
                if where not in oneofs:
                    oneofs.append(where)
                    described.oneof_decl.add(name=where)
                field.oneof_index = oneofs.index(where)
    return file


_MESSAGES = {
    "ExtensionRequest": {1: ("containing_type", "string", ""), 2: ("extension_number", "int32", "")},
    "ServerReflectionRequest": {
        1: ("host", "string", ""),
        3: ("file_by_filename", "string", "message_request"),
        4: ("file_containing_symbol", "string", "message_request"),
        5: ("file_containing_extension", "ExtensionRequest", "message_request"),
        6: ("all_extension_numbers_of_type", "string", "message_request"),
        7: ("list_services", "string", "message_request"),
    },
    "ServerReflectionResponse": {
        1: ("valid_host", "string", ""),
        2: ("original_request", "ServerReflectionRequest", ""),
        4: ("file_descriptor_response", "FileDescriptorResponse", "message_response"),
        5: ("all_extension_numbers_response", "ExtensionNumberResponse", "message_response"),
        6: ("list_services_response", "ListServiceResponse", "message_response"),
        7: ("error_response", "ErrorResponse", "message_response"),
    },
    "FileDescriptorResponse": {1: ("file_descriptor_proto", "bytes", "repeated")},
    "ExtensionNumberResponse": {
        1: ("base_type_name", "string", ""),
        2: ("extension_number", "int32", "repeated"),
    },
    "ListServiceResponse": {1: ("service", "ServiceResponse", "repeated")},
    "ServiceResponse": {1: ("name", "string", "")},
    "ErrorResponse": {1: ("error_code", "int32", ""), 2: ("error_message", "string", "")},
}
"""reflection.proto: by message and number the name, the type, and the oneof, or `repeated`."""
