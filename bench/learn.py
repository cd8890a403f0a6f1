"""Learning: how much of the truth `learn` finds, of programs of which it is known.

Their needed order (tests/learn/protocols.py), and what of them changes or comes back (tests/learn/exchanges.py).

Each program is recorded once and learned from both seats, with the holds and the number of probes that are chosen
unasked. An edge is where an event needs more than the one before it. It is found where the probes say it, lost where
the replay would demand less than the truth, and made up where it would demand more. What is to be ignored and bound is
exact where all of it is proposed, and nothing else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from bench.rows import Row, Target
from duplexmock.core.events import Side
from duplexmock.learn.learning import Lesson, learn_client, learn_server

if TYPE_CHECKING:
    from duplexmock.learn.proposals import Proposals
    from tests.learn.exchanges import Exchange
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
    yield from _changes(folder)


def _changes(folder: Path) -> Iterator[Row]:
    """Yield a row for each program and seat whose ids, leases, nonces and times are known, and what they come to."""
    from tests.learn.exchanges import EXCHANGES, recorded

    exact = cases = 0
    for number, exchange in enumerate(EXCHANGES):
        path = folder / f"exchange {number}.duplex"
        recorded(exchange, path)
        for side, lesson, truth in _lessons(exchange, path):
            proposed = (*lesson.proposals.ignore, *lesson.proposals.bind)
            true = (*truth.ignore, *truth.bind)
            is_exact = lesson.proposals == truth
            exact += is_exact
            cases += 1
            told = f"{len(truth.ignore)} ignored, {len(truth.bind)} bound"
            wrong = f", {len(set(true) - set(proposed))} lost, {len(set(proposed) - set(true))} made up"
            yield Row(
                f"what changes of the {side.name.lower()}, {exchange}: {told}{'' if is_exact else wrong}", None, ""
            )
    yield Row("volatile and bound fields exact", exact / cases, f"of {cases} programs and seats", Target(">=", 1))


def _lessons(exchange: Exchange, path: Path) -> Iterator[tuple[Side, Lesson, Proposals]]:
    from tests.learn.exchanges import serving

    with serving(exchange, 1) as target:
        yield Side.SERVER, learn_server(path, target), exchange.of_server
    runs = count(1)
    lesson = learn_client(path, lambda target: exchange.run_client(target, next(runs)))
    yield Side.CLIENT, lesson, exchange.of_client


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
