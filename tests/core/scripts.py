"""Scripts that are played without sockets: one seat against arrows (playbook.py), or both against each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from duplexmock.core.events import ServerHeader, Side
from duplexmock.core.language import Language
from duplexmock.core.legal import check_parts
from duplexmock.core.metadata import GRPC_ANSWER
from duplexmock.core.moves import Done, Send, Wait
from duplexmock.core.outcome import Outcome
from duplexmock.core.rows import Row, row_of
from duplexmock.core.scriptplayer import ScriptPlayer
from duplexmock.core.steps import PlainCodec
from tests.playbook import CONNECTION, METHOD, Playbook

ANSWER = ServerHeader(GRPC_ANSWER)


def language(*parts: Any) -> Language:
    check_parts(METHOD, parts)
    return Language(METHOD, parts, PlainCodec())


def played_by_server(*parts: Any, **more: Any) -> Playbook:
    return Playbook.of(ScriptPlayer(language(*parts), Side.SERVER, **more))


def played_by_client(*parts: Any, **more: Any) -> Playbook:
    return Playbook.of(ScriptPlayer(language(*parts), Side.CLIENT, authority="", **more))


# Functions that scripts name


def echo(message: bytes) -> bytes:
    return message


def twice(message: bytes) -> list[bytes]:
    return [message, message]


def no_answer(message: bytes) -> None:
    return None


def is_short(message: bytes) -> bool:
    return len(message) < 3


# Both seats


@dataclass
class Pipe:
    """What is on its way to one side; it arrives in order, in reads of any size."""

    rows: list[Row]
    at_ns: int = 0


def joined(
    spoken: Language,
    *,
    choose: Callable[[Any], int] = lambda moves: 0,
    seed: int = 0,
    most_delay_ns: int = 1_000_000,
    **more: Any,
) -> dict[Side, Outcome]:
    """Play a script by both sides against each other, in virtual time; return what it led to for each."""
    rng = random.Random(seed)
    players = {side: ScriptPlayer(spoken, side, choose=choose, **more) for side in Side}
    pipes = {side: Pipe([]) for side in Side}
    done: set[Side] = set()
    wakes = {Side.CLIENT: 0, Side.SERVER: 1 << 63}
    now_ns = said = 0
    for _ in range(10_000):
        times = {side: wakes[side] for side in Side if side not in done}
        for side, pipe in pipes.items():
            if pipe.rows:
                times[side] = min(times.get(side, pipe.at_ns), pipe.at_ns)
        if not times:
            return {side: player.outcome(CONNECTION, 1) for side, player in players.items()}
        side = min(times, key=lambda each: (times[each], each.value))
        now_ns = max(now_ns, times[side])
        player, pipe = players[side], pipes[side]
        if pipe.rows and pipe.at_ns <= now_ns:
            taken = rng.randint(1, len(pipe.rows))
            rows, pipe.rows = pipe.rows[:taken], pipe.rows[taken:]
            pipe.at_ns = now_ns + rng.randint(0, most_delay_ns)
            player.received(rows, now_ns)
        while True:
            match player.next(now_ns):
                case Send(steps):
                    said += len(steps)
                    assert said < 5_000, "a seat goes on and on"
                    other = pipes[side.other]
                    if not other.rows:
                        other.at_ns = now_ns + rng.randint(0, most_delay_ns)
                    other.rows += [row_of(step.event, 1) for step in steps]
                case Wait(until_ns):
                    assert until_ns > now_ns, "a wait for what is past"
                    wakes[side] = until_ns
                    break
                case Done():
                    done.add(side)
                    break
    raise AssertionError("it goes on and on")
