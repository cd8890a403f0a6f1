"""The ready-made scripts, each with a client of grpcio, of grpc.aio, of grpc-go and of grpc-js."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_app import chat_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import duplexmock
from duplexmock.cli.scripts import READY_MADE, found, ready_made
from duplexmock.core.events import Side
from duplexmock.schema.sources import compiled
from tests.net.chats import channel
from tests.net.test_serve import Talking, chatting, texts
from tests.peers.programs import ROOT, run, serving
from tests.scripts.clients import CLIENTS, STAMP, Chatted, chatted

Peer = Callable[[str, str], list[str]]

SAID = [f"< [{STAMP}] Client: Hi there! Message {number}" for number in range(3)]
ACKS = [f"< [{STAMP}] Server: ack: Hi there! Message {number}" for number in range(5)]
HELLO = "< [now] Server: Hello from the server!"


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def served(name: str) -> duplexmock.net.serve.Mock:
    return duplexmock.serve(*found(name))


def test_echo(client: str, peer: Peer) -> None:
    with served("echo") as mock:
        assert chatted(client, mock.target, peer) == Chatted(tuple(SAID), "OK")


def test_chat_greets_and_stays_until_the_deadline(client: str, peer: Peer) -> None:
    with served("chat") as mock:
        assert chatted(client, mock.target, peer, deadline_s=0.3) == Chatted((HELLO,), "DEADLINE_EXCEEDED")
        call = mock.wait_for(lambda mock: mock.calls[0].is_over and mock.calls[0])
        assert [message.message for message in call.received] == [f"Hi there! Message {number}" for number in range(3)]


def test_room_passes_on_what_is_said(client: str, peer: Peer) -> None:
    with served("room") as mock:
        listener = Talking(mock.target)
        list(listener.call.initial_metadata())  # it is in
        assert chatted(client, mock.target, peer) == Chatted((), "OK")
        listener.half_closes()
        assert texts(listener.call) == [f"Hi there! Message {number}" for number in range(3)]


def test_slow_is_too_slow_for_a_near_deadline(client: str, peer: Peer) -> None:
    with served("slow") as mock:
        assert chatted(client, mock.target, peer, deadline_s=0.3) == Chatted((), "DEADLINE_EXCEEDED")


def test_slow_answers_who_waits(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    (slow,) = found("slow")
    monkeypatch.setitem(slow.function.__globals__, "DELAY_S", 0)
    with duplexmock.serve(slow) as mock:
        assert chatted("grpcio sync", mock.target, peer) == Chatted(tuple(ACKS[:3]), "OK")


def test_flaky_fails_every_other_call(client: str, peer: Peer) -> None:
    (flaky,) = found("flaky")
    fresh = type(flaky.function.__self__)()
    with duplexmock.serve(duplexmock.handler(flaky.method, descriptors=flaky.descriptors)(fresh.answer)) as mock:
        assert chatted(client, mock.target, peer) == Chatted((ACKS[0],), "UNAVAILABLE")
        assert chatted(client, mock.target, peer) == Chatted(tuple(ACKS[:3]), "OK")


def test_drain_answers_what_it_accepted_and_takes_no_more_calls_on_that_connection(client: str, peer: Peer) -> None:
    with served("drain") as mock:
        assert chatted(client, mock.target, peer, count=5) == Chatted(tuple(ACKS), "OK")
        said = mock.calls[0].session.connection.goaways
        (goaway,) = [each for each in said if each.side is Side.SERVER]
        assert (goaway.code, goaway.debug) == (0, b"the server is shutting down")


def test_drain_sends_the_next_call_to_another_connection() -> None:
    with served("drain") as mock, channel(mock.target) as dialled:
        assert len(texts(chatting(mock.target, "a", "b", "c", dialled=dialled))) == 3
        assert len(texts(chatting(mock.target, "a", dialled=dialled))) == 1
        assert [call.session.connection.number for call in mock.calls] == [1, 2]


def test_the_go_chat_client_prints_what_it_prints_against_the_go_server(peer: Peer) -> None:
    talk = [*peer("go", "chat-client"), "--interval", "0.02", "--deadline", "0.3", "--ends", "DEADLINE_EXCEEDED"]
    with serving([*peer("go", "chat-server")]) as server:
        by_go = run(talk, server.address)
    with served("chat") as mock:
        by_mock = run(talk, mock.target)

    assert lanes(by_mock.lines) == lanes(by_go.lines)
    assert (by_mock.exit_code, by_go.exit_code) == (0, 0)
    assert lanes(by_go.lines)[1] == [HELLO]


def lanes(lines: tuple[str, ...]) -> tuple[list[str], ...]:
    """What is said, what is heard, and the rest, without the stamps of the clock: how they mix is free."""
    plain = [re.sub(r"\[\d+\]", "[now]", line) for line in lines]
    return tuple([line for line in plain if line[0] == arrow] for arrow in "><e")


def test_each_ready_made_script_says_in_a_line_what_it_is() -> None:
    assert [name for name, _ in ready_made()] == ["chat", "drain", "echo", "flaky", "room", "slow"]
    assert all(said.endswith(".") and len(said) <= 120 for _, said in ready_made())


def test_the_descriptors_of_the_chat_are_those_of_its_proto_file() -> None:
    held = duplexmock.Descriptors.read(READY_MADE / "chat.pb")
    of_file = compiled([ROOT / "proto" / "chat.proto"])
    assert held.serialized == of_file.serialized
    generated = FileDescriptorProto.FromString(chat_pb2.DESCRIPTOR.serialized_pb)
    assert generated.message_type[0].name == "ChatMessage"


def test_no_generated_code_is_in_the_package() -> None:
    listed = subprocess.run(["git", "ls-files", "duplexmock"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [Path(path).name for path in listed.stdout.split() if "_pb2" in path] == []
