"""Health checking: its messages and its file. Pure; the source is grpc/health/v1/health.proto.

Built from descriptors as values, so that no generated code of the same file can collide with them. A request names a
service in field 1, an answer has a status in field 1, so that reading and writing them takes no generated code either.
"""

from __future__ import annotations

from enum import IntEnum

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from duplexmock.errors import ProtocolError
from duplexmock.schema.wireformat import decode

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"


class Serving(IntEnum):
    """How a service is; the numbers are health.proto's."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def read_request(payload: bytes) -> str:
    """Return the service that a HealthCheckRequest asks for, empty for the server; ProtocolError where it is none."""
    fields = decode(payload)
    if fields is None:
        raise ProtocolError("not a HealthCheckRequest")
    named = [field.value for field in fields if field.number == 1]
    return str(named[-1]) if named else ""


def write_answer(status: Serving) -> bytes:
    """Write a HealthCheckResponse."""
    return bytes((8, status)) if status else b""


def described() -> FileDescriptorProto:
    """Return the file that describes the service."""
    file = FileDescriptorProto(name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3")
    request = file.message_type.add(name="HealthCheckRequest").field.add(name="service", number=1)
    request.type, request.label = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.LABEL_OPTIONAL
    response = file.message_type.add(name="HealthCheckResponse")
    status = response.field.add(name="status", number=1, type_name=".grpc.health.v1.HealthCheckResponse.ServingStatus")
    status.type, status.label = FieldDescriptorProto.TYPE_ENUM, FieldDescriptorProto.LABEL_OPTIONAL
    statuses = response.enum_type.add(name="ServingStatus")
    for each in Serving:
        statuses.value.add(name=each.name, number=each)
    service = file.service.add(name="Health")
    for method in (CHECK, WATCH):
        service.method.add(
            name=method.rpartition("/")[2],
            input_type=".grpc.health.v1.HealthCheckRequest",
            output_type=".grpc.health.v1.HealthCheckResponse",
            server_streaming=method == WATCH,
        )
    return file
