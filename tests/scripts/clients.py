"""The four clients that every ready-made script meets, as programs that say the same and print what they hear."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from chat_app.client import Talk, chat, chat_sync

from tests.net.chats import channel, clock
from tests.peers.programs import run

CLIENTS = ("grpcio sync", "grpcio aio", "go", "node")

STAMP = int(clock())


@dataclass(frozen=True, slots=True)
class Chatted:
    """What a client has heard, with the stamps that a server's own clock made left out, and how the call ended."""

    heard: tuple[str, ...]
    ended: str


def chatted(
    client: str, target: str, peer: Callable[[str, str], list[str]], count: int = 3, deadline_s: float = 20.0
) -> Chatted:
    """Have a client say `count` messages, half-close, and read to the end."""
    lines: list[str] = []
    talk = Talk(count, 0.02, deadline_s, clock)
    match client:
        case "grpcio sync":
            with channel(target) as dialled:
                chat_sync(dialled, talk, lines.append)
        case "grpcio aio":
            asyncio.run(_by_aio(target, talk, lines.append))
        case _:
            said = ["--count", count, "--interval", talk.interval_s, "--deadline", deadline_s, "--timestamp", STAMP]
            lines += run([*peer(client, "chat-client"), *map(str, said)], target).lines
    heard = tuple(re.sub(rf"\[(?!{STAMP}\])\d+\]", "[now]", line) for line in lines if line.startswith("<"))
    (ended,) = [line.removeprefix("ended: ") for line in lines if line.startswith("ended: ")]
    return Chatted(heard, ended)


async def _by_aio(target: str, talk: Talk, show: Callable[[str], Any]) -> None:
    async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as dialled:
        await chat(dialled, talk, show)
