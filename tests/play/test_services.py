"""The mock's own services, as a grpc client and grpcurl meet them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from chat_app import chat_pb2

import duplexmock
from duplexmock.schema import reflection
from tests.net.chats import CHAT, channel
from tests.net.wires import LIMIT_S
from tests.peers.programs import ROOT

TOOLS = ROOT / "build" / "tools"
MODULE = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
REFLECTION = reflection.METHODS
SERVICES = (
    "chat.ChatService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


@duplexmock.handler(CHAT, descriptors=chat_pb2)
async def echo(call: duplexmock.Call) -> None:
    async for message in call:
        await call.send(message)


@duplexmock.handler("/lobby.Lobby/Enter")
async def unknown(call: duplexmock.Call) -> None:
    await call.receive()


def asked(target: str, method: str, *requests: bytes) -> list[bytes]:
    with channel(target) as dialled:
        return list(dialled.stream_stream(method)(iter(requests), timeout=LIMIT_S))


def service(name: str) -> bytes:
    return bytes((10, len(name))) + name.encode()


# Reflection


@pytest.mark.parametrize("method", REFLECTION)
def test_reflection_lists_the_services_and_gives_their_files(method: str) -> None:
    requests = (
        reflection.ListServices(),
        reflection.FileWithSymbol("chat.ChatMessage"),
        reflection.FileNamed("grpc/health/v1/health.proto"),
        reflection.FileWithSymbol("grpc.reflection.v1alpha.ServerReflection"),
        reflection.FileWithSymbol("nobody.Here"),
    )
    with duplexmock.serve(echo) as mock:
        answers = asked(mock.target, method, *map(reflection.write_request, requests))
        assert mock.calls == ()

    services, chat, health, itself, nobody = map(reflection.read_answer, answers)
    assert services == reflection.Services(SERVICES)
    assert chat == reflection.Files((chat_pb2.DESCRIPTOR.serialized_pb,))
    assert isinstance(health, reflection.Files)
    assert b"HealthCheckRequest" in health.serialized[0]
    assert isinstance(itself, reflection.Files)
    assert nobody == reflection.Refused(5, "nobody.Here is not known here")


def test_a_mock_without_descriptors_names_its_services() -> None:
    request = reflection.write_request(reflection.ListServices())
    with duplexmock.serve(unknown) as mock:
        (answer,) = asked(mock.target, REFLECTION[0], request)
    assert reflection.read_answer(answer) == reflection.Services((*SERVICES[1:], "lobby.Lobby"))


def test_where_a_script_has_one_of_their_methods_the_scripts_is_meant() -> None:
    @duplexmock.handler(CHECK)
    async def sick(call: duplexmock.Call) -> bytes:
        return b"\x08\x02"

    with duplexmock.serve(sick) as mock:
        assert asked(mock.target, CHECK, b"") == [b"\x08\x02"]
        assert [call.method for call in mock.calls] == [CHECK]
        assert len(asked(mock.target, REFLECTION[0], reflection.write_request(reflection.ListServices()))) == 1


def test_services_can_be_left_out() -> None:
    mock = duplexmock.serve(echo, services="none")
    with pytest.raises(duplexmock.MismatchError) as raised, mock:
        with pytest.raises(grpc.RpcError):
            asked(mock.target, CHECK, b"")
    assert "No script answers /grpc.health.v1.Health/Check" in str(raised.value)


# Health


def test_health_is_serving_for_the_server_and_for_each_service_of_a_script() -> None:
    with duplexmock.serve(echo) as mock:
        assert asked(mock.target, CHECK, b"") == [b"\x08\x01"]
        assert asked(mock.target, CHECK, service("chat.ChatService")) == [b"\x08\x01"]
        with pytest.raises(grpc.RpcError) as unknown:
            asked(mock.target, CHECK, service("no.Service"))
    assert (unknown.value.code(), unknown.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "no service no.Service here",
    )


def test_a_watch_says_so_once_and_ends_with_the_mock() -> None:
    with channel_to(duplexmock.serve(echo, grace_s=LIMIT_S)) as (mock, dialled):
        known, strange = (dialled.unary_stream(WATCH)(each, timeout=LIMIT_S) for each in (b"", service("no.Service")))
        assert (next(known), next(strange)) == (b"\x08\x01", b"\x08\x03")
        mock.__exit__(None, None, None)
        with pytest.raises(grpc.RpcError) as ended:
            next(known)
    assert (ended.value.code(), ended.value.details()) == (grpc.StatusCode.UNAVAILABLE, "the mock is going away")


class channel_to:
    """A mock that is entered, and a channel to it."""

    def __init__(self, mock: duplexmock.net.serve.Mock) -> None:
        self._mock = mock

    def __enter__(self) -> tuple[duplexmock.net.serve.Mock, grpc.Channel]:
        self._mock.__enter__()
        self._channel = channel(self._mock.target)
        return self._mock, self._channel

    def __exit__(self, *exc: object) -> None:
        self._channel.close()
        self._mock.__exit__(None, None, None)


# grpcurl


@pytest.fixture(scope="module")
def grpcurl() -> Path:
    """grpcurl, built once into build/tools."""
    binary = TOOLS / "grpcurl"
    if not binary.exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("grpcurl: Go is not installed")
        done = subprocess.run(
            [go, "install", MODULE],
            env={**os.environ, "GOBIN": str(TOOLS)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            pytest.skip(f"grpcurl cannot be had: {done.stderr.strip()}")
    return binary


@pytest.fixture
def chat() -> Iterator[str]:
    """`duplexmock serve chat`, and where it listens."""
    from tests.cli.commands import running

    with running("serve", "chat") as mock:
        yield mock.target


def test_grpcurl_lists_and_calls_a_mock(grpcurl: Path, chat: str) -> None:
    def ran(*arguments: str) -> str:
        done = subprocess.run([grpcurl, "-plaintext", *arguments], capture_output=True, text=True, timeout=LIMIT_S)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert ran(chat, "list").split() == list(SERVICES)
    assert ran(chat, "describe", "chat.ChatService").splitlines() == [
        "chat.ChatService is a service:",
        "service ChatService {",
        "  rpc Chat ( stream .chat.ChatMessage ) returns ( stream .chat.ChatMessage );",
        "}",
    ]
    assert json.loads(ran("-d", '{"service": "chat.ChatService"}', chat, CHECK[1:])) == {"status": "SERVING"}
    called = subprocess.run(
        [grpcurl, "-plaintext", "-max-time", "0.3", "-d", '{"message": "hi"}', chat, CHAT[1:]],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    heard = json.loads(called.stdout)
    assert (heard["sender"], heard["message"]) == ("Server", "Hello from the server!")
    assert "DeadlineExceeded" in called.stderr
