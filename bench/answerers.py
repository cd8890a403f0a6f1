"""Who answers: a replay of a fixture, and the servers that it stands beside."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from google.protobuf import descriptor_pb2

from bench.conversations import Said, write
from bench.jobs import PROGRAM
from bench.middlemen import listening_on
from bench.processes import BenchError, Process, started
from examples.chat_app.chat_app import chat_pb2

Name = Literal["grpc-go", "grpc.aio", "grpclib", "canned", "replay", "protobuf"]
"""`canned` is the endpoint alone; `protobuf` a replay of messages that differ in a field which is ignored."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is said: a call, how often, how many messages the server's lane has, and how fast a replay says them."""

    said: Said
    calls: int
    messages: int
    speed: float = math.inf


@contextmanager
def answering(name: Name, part: Part, fixture: Path) -> Iterator[tuple[str, Process]]:
    """Run a server while the context lasts: what to dial, and its process. Ask a replay to `check` at the end."""
    if name == "grpc-go":
        with started(name, [str(PROGRAM)]) as process:
            yield json.loads(process.read_line())["answers"], process
        return
    with started(name, [sys.executable, "-m", *_module(name, part, fixture)]) as process:
        yield listening_on(process), process


def check(name: Name, process: Process, calls: int) -> None:
    """Raise BenchError where not so many calls of a replay have agreed; other servers are not asked."""
    if name not in ("replay", "protobuf"):
        return
    process.write_line("")
    agreed = int(process.read_line())
    if agreed != calls:
        raise BenchError(f"{agreed} of {calls} calls agreed with the fixture")


def _module(name: Name, part: Part, fixture: Path) -> Sequence[str]:
    if name == "grpc.aio":
        return ["bench.answer_aio"]
    if name == "grpclib":
        return ["bench.answer_grpclib"]
    if name == "canned":
        return ["bench.answer_canned", str(part.messages)]
    ignored = ["chat.ChatMessage.timestamp"] if name == "protobuf" else []
    write(fixture, part.said, 1, _descriptors() if ignored else None)
    return ["bench.answer_replay", str(fixture), str(part.calls), str(part.speed), *ignored]


def _descriptors() -> bytes:
    return descriptor_pb2.FileDescriptorSet(
        file=[descriptor_pb2.FileDescriptorProto.FromString(chat_pb2.DESCRIPTOR.serialized_pb)]
    ).SerializeToString()
