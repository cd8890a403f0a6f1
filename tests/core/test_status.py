"""Codes against the tables of grpcio and h2, and the two mappings of gRPC's documents."""

from __future__ import annotations

import grpc
import pytest
from h2.errors import ErrorCodes

from duplexmock.core.status import Code, ErrorCode, Status, code_name, code_of_http_status, code_of_reset, error_name


def test_codes_are_those_of_grpcio() -> None:
    assert {code.name: int(code) for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_error_codes_are_those_of_rfc_9113() -> None:
    assert {code.name: int(code) for code in ErrorCode} == {code.name: int(code) for code in ErrorCodes}


def test_a_code_without_a_name_is_shown_as_a_number() -> None:
    assert [code_name(code) for code in (0, 5, 16, 17, 42, -1)] == [
        "OK", "NOT_FOUND", "UNAUTHENTICATED", "code 17", "code 42", "code -1",
    ]  # fmt: skip
    assert [error_name(code) for code in (0, 8, 13, 14, 42, 0xFFFF_FFFF)] == [
        "NO_ERROR", "CANCEL", "HTTP_1_1_REQUIRED", "error 0xe", "error 0x2a", "error 0xffffffff",
    ]  # fmt: skip


def test_every_code_has_its_name() -> None:
    assert [code_name(code) for code in Code] == [code.name for code in Code]
    assert [error_name(code) for code in ErrorCode] == [code.name for code in ErrorCode]


@pytest.mark.parametrize(
    ("http_status", "code"),
    [
        (400, Code.INTERNAL),
        (401, Code.UNAUTHENTICATED),
        (403, Code.PERMISSION_DENIED),
        (404, Code.UNIMPLEMENTED),
        (429, Code.UNAVAILABLE),
        (502, Code.UNAVAILABLE),
        (503, Code.UNAVAILABLE),
        (504, Code.UNAVAILABLE),
        (200, Code.UNKNOWN),
        (301, Code.UNKNOWN),
        (500, Code.UNKNOWN),
        (0, Code.UNKNOWN),
    ],
)
def test_an_answer_without_a_status_means_what_its_http_status_means(http_status: int, code: Code) -> None:
    assert code_of_http_status(http_status) is code


def test_a_reset_means_what_its_error_code_means() -> None:
    assert {error.name: code_of_reset(error).name for error in ErrorCode} == {
        "NO_ERROR": "INTERNAL",
        "PROTOCOL_ERROR": "INTERNAL",
        "INTERNAL_ERROR": "INTERNAL",
        "FLOW_CONTROL_ERROR": "INTERNAL",
        "SETTINGS_TIMEOUT": "INTERNAL",
        "STREAM_CLOSED": "UNKNOWN",
        "FRAME_SIZE_ERROR": "INTERNAL",
        "REFUSED_STREAM": "UNAVAILABLE",
        "CANCEL": "CANCELLED",
        "COMPRESSION_ERROR": "INTERNAL",
        "CONNECT_ERROR": "INTERNAL",
        "ENHANCE_YOUR_CALM": "RESOURCE_EXHAUSTED",
        "INADEQUATE_SECURITY": "PERMISSION_DENIED",
        "HTTP_1_1_REQUIRED": "UNKNOWN",
    }
    assert code_of_reset(0x2A) is Code.UNKNOWN


def test_a_status_is_a_number_a_message_and_details() -> None:
    assert Status(5) == Status(Code.NOT_FOUND, "", None)
    assert Status(42, "x").code == 42
    assert Status(0, details=b"") != Status(0)
