"""Health checking's messages, beside those that protobuf makes of their descriptors."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from duplexmock.errors import ProtocolError
from duplexmock.schema import health


def made(name: str) -> Any:
    pool = DescriptorPool()
    pool.AddSerializedFile(health.described().SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.{name}"))


@pytest.mark.parametrize("service", ["", "chat.ChatService", "a"])
def test_a_request_names_a_service(service: str) -> None:
    assert health.read_request(made("HealthCheckRequest")(service=service).SerializeToString()) == service


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not a HealthCheckRequest"):
        health.read_request(b"\xff")


@pytest.mark.parametrize("status", health.Serving)
def test_an_answer_is_a_status(status: health.Serving) -> None:
    assert made("HealthCheckResponse").FromString(health.write_answer(status)).status == status
