"""Learning: how much of the truth `learn` finds, of programs whose needed order is known (tests/learn/protocols.py).

Each program is recorded once and learned from both seats, with the holds and the number of probes that are chosen
unasked. An edge is where an event needs more than the one before it. It is found where the probes say it, lost where
the replay would demand less than the truth, and made up where it would demand more.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from bench.rows import Row, Target
from duplexmock.core.events import Side
from duplexmock.learn.learning import Lesson, learn_client, learn_server

if TYPE_CHECKING:
    from tests.learn.protocols import Protocol

SEED = 20_261_124


@dataclass(slots=True)
class Edges:
    """How many edges there are, and what became of them."""

    true: int = 0
    found: int = 0
    lost: int = 0
    made_up: int = 0

    def add(self, truth: Sequence[int], demanded: Sequence[int], base: int) -> None:
        """Compare what is demanded of one lane with the truth."""
        before = demanded_before = base
        for true, demand in zip(truth, demanded, strict=True):
            self.true += true > before
            self.found += demand > demanded_before and demand <= true
            self.made_up += demand > demanded_before and demand > true
            self.lost += true > before and demand < true
            before, demanded_before = true, demand


def rows(folder: Path) -> Iterator[Row]:
    """Yield a row for each program and seat, and what all of them come to."""
    sys.path.append(str(Path(__file__).parents[1] / "examples" / "chat_app"))  # one of them is the chat program
    from tests.learn.protocols import PROTOCOLS, recorded

    every = Edges()
    probes = 0
    for number, protocol in enumerate(PROTOCOLS):
        path = folder / f"{number}.duplex"
        asyncio.run(recorded(protocol, path, SEED))
        for side in Side:
            lesson = _learned(protocol, path, side)
            edges = Edges()
            needs_of = protocol.server_needs if side is Side.SERVER else protocol.client_needs
            for each in (edges, every):
                for session, needs in zip(lesson.recorded, lesson.needs, strict=True):
                    each.add(needs_of(session), needs.demand, 1 if side is Side.SERVER else 0)
            probes = max(probes, lesson.probes)
            yield Row(f"{_named(protocol, side)}: {_told(edges)}", None, "")
    asserted = every.found + every.made_up
    yield Row("learned edges that are true", every.found / asserted, "of all", Target(">=", 0.99))
    yield Row("true edges that were lost", float(every.lost), "edges", Target("<=", 0))
    yield Row("probes, the most for one program and seat", float(probes), "probes", Target("<=", 3))


def _named(protocol: Protocol, side: Side) -> str:
    timers = ", by timers" if protocol.has_timers else ""
    return f"what the {side.name.lower()} needs, {protocol.name}{timers}"


def _told(edges: Edges) -> str:
    return f"{edges.found} of {edges.true} edges, {edges.lost} lost, {edges.made_up} made up"


def _learned(protocol: Protocol, path: Path, side: Side) -> Lesson:
    if side is Side.CLIENT:
        return learn_client(path, lambda target: asyncio.run(protocol.run_client(target, Random(SEED + 1))))

    from tests.learn.protocols import serving

    async def learned() -> Lesson:
        async with serving(protocol, SEED + 2) as target:
            return await asyncio.to_thread(learn_server, path, target)

    return asyncio.run(learned())
